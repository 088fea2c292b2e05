"""A node that listens on a free port, in the test process' reactor, and plain HTTP to talk to it."""

from __future__ import annotations

import http.client
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import quote

from twisted.internet.endpoints import TCP4ServerEndpoint

from dragonbelly.node.server import make_node
from dragonbelly.node.signature import sign
from dragonbelly.node.store import Store
from dragonbelly.testing import reactor

SECRET = b"a secret of the test"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class RunningNode:
    """``options`` are those of ``make_node``."""

    def __init__(self, root: Path, port: int = 0, reserve: int = 0, **options: Any) -> None:
        self.root = root
        self.reserve = reserve
        self.port = port
        self.options = options
        self._listening: Any = None

    def start(self) -> None:
        async def listen() -> Any:
            running = reactor.start()
            store = Store(self.root, self.reserve)
            store.prepare()
            factory = make_node(running, store, SECRET, **self.options)
            return await TCP4ServerEndpoint(running, self.port, interface="127.0.0.1").listen(factory)

        self._listening = reactor.run(listen)
        self.port = self._listening.getHost().port

    def stop(self) -> None:
        """No longer answer; connections are cut, too."""
        listening, self._listening = self._listening, None
        if listening is None:
            return

        async def stop() -> None:
            await listening.stopListening()
            for reader in reactor.start().getReaders():
                # the server's ends of connections to this port
                if getattr(reader, "server", None) is listening:
                    reader.abortConnection()

        reactor.run(stop)

    def __enter__(self) -> RunningNode:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def signed(self, method: str, key: str, expires: int | None = None) -> str:
        """The target of a request, with a good signature."""
        return f"/{quote(key)}?{sign(SECRET, method, key, expires or int(time.time()) + 60)}"

    def ask(self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, target, body=body, headers=headers or {})
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, fields, answer.read())
        finally:
            connection.close()

    def put(self, key: str, body: Any, **headers: str) -> int:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("PUT", self.signed("PUT", key), body, fields).status

    def raw(self, data: bytes) -> bytes:
        """All that the node answers to ``data`` until it closes the connection, or is silent for long."""
        with self.connect() as connection:
            connection.sendall(data)
            received = b""
            while piece := connection.recv(65536):
                received += piece
            return received

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def files(self) -> list[str]:
        """Every file below the root, unfinished uploads included."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())
