"""
HTTP requests on connections that are kept, as many as one process of Python can: for the load generators.

Each connection has one request at a time.  Answers are taken apart as far as it takes to know where they end.
"""

from __future__ import annotations

import re
import select
import socket
from collections import deque
from collections.abc import Callable, Sequence

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)

#: A request that was answered so late counts as not answered at all, in s.
PATIENCE = 10.0


def whole(data: bytes) -> bool:
    """
    Whether this is all of an answer.

    :raises ValueError: it is none whose end can be known.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = _LENGTH.search(data, 0, end + 2)
    if length is not None:
        return len(data) >= end + 4 + int(length[1])
    if data[9:12] in (b"204", b"304"):
        return True
    raise ValueError(f"an answer without Content-Length: {data[:300]!r}")


def status(answer: bytes) -> int:
    return int(answer[9:12])


class Connection:
    """One; ``job`` is what its request is for, whatever that is to the caller; ``idle`` is where it waits."""

    def __init__(self, address: tuple[str, int], idle: deque[Connection]) -> None:
        self.address = address
        self.job: object = None
        self.idle = idle
        idle.append(self)
        self._data = b""
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.create_connection(self.address, timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, request: bytes) -> None:
        self._socket.sendall(request)

    def receive(self) -> bytes | None:
        """
        To be called when there is something to read: the answer, if that was the end of it.

        :raises ConnectionError: the server closed it before.
        """
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError(f"closed by {self.address} after {self._data[:300]!r}")
        if self._data:
            data = self._data + data
        if not whole(data):
            self._data = data
            return None
        self._data = b""
        if _CLOSE.search(data, 0, data.find(b"\r\n\r\n") + 2):
            self._socket.close()
            self._connect()
        return data

    def close(self) -> None:
        self._socket.close()


class Pool:
    """So many connections to one server; ``idle`` are those without a request."""

    def __init__(self, address: tuple[str, int], connections: int) -> None:
        self.idle: deque[Connection] = deque()
        self.all = [Connection(address, self.idle) for _ in range(connections)]

    def send(self, request: bytes, job: object) -> None:
        """On an idle connection; there must be one."""
        connection = self.idle.popleft()
        connection.job = job
        connection.send(request)

    def close(self) -> None:
        for connection in self.all:
            connection.close()


def wait(connections: Sequence[Connection], seconds: float, answered: Callable[[object, bytes], None]) -> None:
    """
    For answers, for so long at most; ``answered(job, answer)`` is told of each, its connection being idle
    again.

    :raises TimeoutError: none came for ``PATIENCE`` seconds.
    """
    # Not epoll: that waits for whole milliseconds only.
    readable, _, _ = select.select(connections, (), (), seconds)
    if not readable and seconds >= PATIENCE:
        raise TimeoutError(f"no answer within {seconds:g} s")
    for connection in readable:
        answer = connection.receive()
        if answer is not None:
            connection.idle.append(connection)
            answered(connection.job, answer)
