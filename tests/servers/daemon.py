"""A real daemon for a test: ``twistd -n dragonbelly`` in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from tests.servers.nginx import NginxServer
from tests.servers.ports import free_port

TWISTD = Path(sys.executable).with_name("twistd")


def configuration(redis: str, stores: dict[str, NginxServer], public: int, admin: int, extra: str = "") -> str:
    """
    A configuration file: nginx stores by name, each its own host, intervals short enough for a test.  ``extra``
    are further lines; a section that it has replaces ours.
    """
    sections = {
        "state": f'redis = "{redis}"',
        "http": f'listen = ["tcp:{public}:interface=127.0.0.1"]\nadmin = ["tcp:{admin}:interface=127.0.0.1"]',
        "replication": 'every = "200ms"\npatience = "1s"\nlease = "5s"',
        "delete": 'grace = "1s"',
        "health": 'every = "500ms"\ntimeout = "450ms"',
    }
    text = "".join(f"[{name}]\n{lines}\n" for name, lines in sections.items() if f"[{name}]" not in extra)
    for name, store in stores.items():
        if f"[backend.{name}]" not in extra:
            text += f'[backend.{name}]\nkind = "dav"\nurl = "{store.url}"\n'
            if store.secret is not None:
                text += f'secure_link_secret = "{store.secret}"\n'
    return text + extra


class Daemon:
    """
    ``Daemon(redis_url, stores)`` is one daemon in front of nginx stores; ``Daemon(arguments=[...])`` runs any
    other command line, such as the embedded mode's, on the ports ``public`` and ``admin``.  ``environment``
    replaces ours.
    """

    def __init__(
        self,
        redis: str | None = None,
        stores: dict[str, NginxServer] | None = None,
        extra: str = "",
        arguments: list[str] | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="daemon-"))
        self.environment = environment
        self.public, self.admin_port = free_port(), free_port()
        if arguments is None:
            assert redis is not None and stores is not None
            file = self.directory / "dragonbelly.toml"
            file.write_text(configuration(redis, stores, self.public, self.admin_port, extra))
            arguments = ["--config", str(file)]
        self.arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.public}"

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def start(self, wait: bool = True) -> Self:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(TWISTD), "--pidfile=", "-n", "dragonbelly", *self.arguments],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                # Its own, as a shell gives to each command: a Ctrl-C is sent to all of it.
                process_group=0,
            )
        deadline = time.monotonic() + 20
        while wait and not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the daemon did not start:\n{self.log()}")
            time.sleep(0.05)
        return self

    def ready(self) -> bool:
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
        return psutil.Process(self._running().pid)

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        return self._end(signal.SIGTERM)

    def interrupt(self) -> int:
        """SIGINT to the whole process group, as Ctrl-C at a terminal does; its exit status."""
        os.killpg(self._running().pid, signal.SIGINT)
        return self._wait()

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def log(self) -> str:
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self) -> None:
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "not started"
        return self.process

    def _end(self, signal_number: int) -> int:
        process = self._running()
        process.send_signal(signal_number)
        process.send_signal(signal.SIGCONT)
        return self._wait()

    def _wait(self) -> int:
        process = self._running()
        try:
            status = process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        self.process = None
        return status
