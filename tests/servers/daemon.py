"""A real daemon for a test: ``twistd -n dragonbelly`` in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

import psutil

from tests.servers.nginx import NginxServer
from tests.servers.ports import free_port
from tests.servers.process import ServerProcess

TWISTD = Path(sys.executable).with_name("twistd")


def configuration(
    redis: str, stores: dict[str, NginxServer], public: int, admin: int, extra: str = "", http: str = ""
) -> str:
    """
    A configuration file: nginx stores by name, each its own host, intervals short enough for a test.  ``extra``
    are further lines; a section that it has replaces ours.  ``http`` are further lines of that section.
    """
    here = "interface=127.0.0.1"
    sections = {
        "state": f'redis = "{redis}"',
        "http": f'listen = ["tcp:{public}:{here}"]\nadmin = ["tcp:{admin}:{here}"]\n{http}',
        "replication": 'every = "200ms"\npatience = "1s"\nlease = "5s"',
        "delete": 'grace = "1s"',
        "health": 'every = "500ms"\ntimeout = "450ms"',
    }
    if "[domain." not in extra:
        # Without the last line "*" would be the names of this machine only.
        everybody = 'anonymous = ["read", "list", "write"]\nallow_anonymous_write = true'
        sections["domain.default"] = f'hosts = ["*"]\n{everybody}'

    text = "".join(f"[{name}]\n{lines}\n" for name, lines in sections.items() if f"[{name}]" not in extra)
    for name, store in stores.items():
        if f"[backend.{name}]" not in extra:
            text += f'[backend.{name}]\nkind = "dav"\n{store.options_in_toml}'
    return text + extra


class Daemon(ServerProcess):
    """
    ``Daemon(redis_url, stores)`` is one daemon in front of nginx stores; ``Daemon(arguments=[...])`` runs any
    other command line, such as the embedded mode's, on the ports ``public`` and ``admin``.  ``environment``
    replaces ours, ``http`` are further lines of the configuration's section.
    """

    def __init__(
        self,
        redis: str | None = None,
        stores: dict[str, NginxServer] | None = None,
        extra: str = "",
        arguments: list[str] | None = None,
        environment: dict[str, str] | None = None,
        http: str = "",
    ) -> None:
        super().__init__()
        self.program = [str(TWISTD), "--pidfile=", "-n"]
        self.environment = environment
        self.public, self.admin_port = free_port(), free_port()
        if arguments is None:
            assert redis is not None and stores is not None
            file = self.directory / "dragonbelly.toml"
            file.write_text(configuration(redis, stores, self.public, self.admin_port, extra, http))
            arguments = ["--config", str(file)]
        self.arguments = arguments

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.public}"

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def start(self, wait: bool = True) -> Self:
        # A process group of its own, as a shell gives to each command: a Ctrl-C is sent to all of it.
        command = [*self.program, "dragonbelly", *self.arguments]
        self.spawn(command, env=self.environment, process_group=0)
        if wait:
            self.wait_until_it_answers(20)
        return self

    def answers(self) -> bool:
        try:
            return bool(self.get_json("/-/health")["status"] == "ok")
        except OSError:
            return False

    def get_json(self, path: str, admin: bool = True) -> Any:
        """:raises urllib.error.HTTPError: any other status than 2xx."""
        with urllib.request.urlopen((self.admin if admin else self.url) + path, timeout=10) as answer:
            return json.load(answer)

    def send_json(self, method: str, path: str, value: object) -> Any:
        request = urllib.request.Request(
            self.admin + path,
            json.dumps(value).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def file(self, path: str) -> Any:
        """What the API tells of a file; None when there is none."""
        try:
            return self.get_json(f"/-/api/v1/files/{path}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def status(self) -> Any:
        return self.get_json("/-/api/v1/status")

    def set_backend(self, name: str, state: str) -> None:
        self.send_json("PATCH", f"/-/api/v1/backends/{name}", {"state": state})

    def backend(self, name: str) -> Any:
        return self.get_json(f"/-/api/v1/backends/{name}")

    def psutil(self) -> psutil.Process:
        return psutil.Process(self.running.pid)

    def interrupt(self) -> int:
        """SIGINT to the whole process group, as Ctrl-C at a terminal does; its exit status."""
        os.killpg(self.running.pid, signal.SIGINT)
        return self.end(signal.SIGCONT)
