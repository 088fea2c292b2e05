"""A TCP server that says what a test tells it to say, at its own pace: what no decent HTTP server would."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType


class Conversation:
    """One connection.  ``head`` is the last request's header, ``request`` how many there were in all."""

    def __init__(self, server: RawServer, connection: socket.socket) -> None:
        self.connection = connection
        self.head = b""
        self.left = b""
        self._server = server

    def next_request(self) -> bool:
        """Read a header; False when the client has gone."""
        data = self.left
        while b"\r\n\r\n" not in data:
            more = self.connection.recv(65536)
            if not more:
                return False
            data += more
        self.head, _, self.left = data.partition(b"\r\n\r\n")
        self._server.heads.append(self.head)
        return True

    def say(self, data: bytes) -> None:
        self.connection.sendall(data)

    def wait(self, seconds: float = 20) -> None:
        """Say and read nothing, until the test is over."""
        self._server.over.wait(seconds)

    def drip(self, data: bytes, every: float) -> None:
        for byte in data:
            self.say(bytes([byte]))
            if self._server.over.wait(every):
                return

    def flood(self, piece: bytes) -> None:
        """The same, without an end."""
        while not self._server.over.is_set():
            self.say(piece)


class RawServer:
    """Calls ``behave`` in a thread for each connection, after the first header; then the connection ends."""

    def __init__(self, behave: Callable[[Conversation], object]) -> None:
        self.heads: list[bytes] = []
        self.over = threading.Event()
        self.connections = 0
        self._behave = behave
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> RawServer:
        self._spawn(self._listen)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        # accept() is not woken by close() in another thread, but by a connection.
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self._listener.close()

    def _spawn(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self.over.is_set():
                connection.close()
                return
            self.connections += 1
            self._open.append(connection)
            self._spawn(lambda connection=connection: self._converse(connection))  # type: ignore[misc]

    def _converse(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            conversation = Conversation(self, connection)
            if conversation.next_request():
                self._behave(conversation)
