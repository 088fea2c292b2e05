"""A real storage node for a test: ``twistd -n dragonbelly-node`` in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from tests.servers.daemon import TWISTD
from tests.servers.ports import free_port
from tests.servers.process import ServerProcess, listens


class NodeServer(ServerProcess):
    """One with this ``secret``, which is in a file; ``options`` are further words of its command line."""

    def __init__(self, secret: str, *options: str) -> None:
        super().__init__()
        self.port = free_port()
        self.options = options
        self.root = self.directory / "objects"
        self.secret_file = self.directory / "secret"
        self.secret_file.touch(mode=0o600)
        self.secret_file.write_text(secret)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        listen = f"tcp:{self.port}:interface=127.0.0.1"
        where: list[str | Path] = ["--root", self.root, "--listen", listen, "--secret-file", self.secret_file]
        self.spawn([TWISTD, "--pidfile=", "-n", "dragonbelly-node", *where, *self.options])
        self.wait_until_it_answers(20)
        return self

    def answers(self) -> bool:
        return listens(self.port)
