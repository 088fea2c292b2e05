"""A storage node as a child process: ``twistd dragonbelly-node``, with a socket that is ours."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from dragonbelly.child import Child
from dragonbelly.errors import StartError
from dragonbelly.state.address import host_and_port

#: Connections that wait while the node is not there yet, or not there again.
BACKLOG = 128


class PrivateNode(Service):
    """
    The node ``name`` with its files in ``root``, on ``interface``: clients find it at ``host``, the daemon at
    ``inside``.

    The socket stays open while the process is started again: who connects meanwhile waits, and the address is
    the same.  Pages of ``origins`` may read and upload with ``fetch``.

    :raises StartError: there is no such directory, or no port.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        name: str,
        root: Path,
        secret_file: Path,
        *,
        interface: str = "127.0.0.1",
        host: str = "127.0.0.1",
        inside: str = "127.0.0.1",
        origins: Iterable[str] = (),
    ) -> None:
        self.name: str = name
        self._host, self._inside = host, inside
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._socket = socket.create_server((interface, 0), family=family, backlog=BACKLOG)
        except OSError as error:
            raise StartError(f"node {name} in {root}: {error.strerror}") from error
        command = [sys.executable, "-m", "twisted", "--log-format=text", "--log-level=warn"]
        command += [
            "dragonbelly-node",
            "--listen",
            f"systemd:domain={family.name.removeprefix('AF_')}:name=http",
            "--name",
            name,
        ]
        command += ["--root", str(root), "--secret-file", str(secret_file)]
        for origin in origins:
            command += ["--origin", origin]
        self._child = Child(
            reactor,
            f"node {name}",
            command,
            environment={**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"},
            listeners=(self._socket.fileno(),),
        )

    @property
    def url(self) -> str:
        return f"http://{host_and_port(self._host, self._socket.getsockname()[1])}"

    @property
    def internal_url(self) -> str:
        return f"http://{host_and_port(self._inside, self._socket.getsockname()[1])}"

    def startService(self) -> None:
        super().startService()
        self._child.startService()
        self._log.info("node {name}: {url}, process {pid}", name=self.name, url=self.url, pid=self._child.pid)

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        self._socket.close()
        return self._child.stopService()
