"""Where the corpus is sent to: anything that listens, by a name.  What is added here answers all of it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import NamedTuple

from tests.hostile.corpus import Case

#: Asked for last, on the same connection: who answers it took what came before for what it was.
CANARY = b"GET /canary HTTP/1.1\r\nHost: files.example.com\r\nConnection: close\r\n\r\n"

#: Whatever is asked, no other header is ever in an answer.
HEADERS = frozenset(
    {
        *("server", "date", "content-type", "content-length", "cache-control", "retry-after", "allow"),
        *("connection", "location", "link", "etag", "repr-digest", "dragonbelly-upload", "last-modified"),
        *("accept-ranges", "content-range", "x-content-type-options"),
    }
)


#: A name that operators may use, as long as the other.
LOCAL = b"[0:0:0:0:0:0:0:1]"


class Lane(NamedTuple):
    """``taker()`` is a request line of something that takes a body of any kind."""

    name: str
    port: int
    node: bool
    taker: Callable[[], str]

    def statuses(self, case: Case) -> tuple[int, ...]:
        said = case.node if self.node else case.said
        assert said is not None
        return said

    def tell(self, data: bytes, ends: bool = True) -> bytes:
        """All that comes back for ``data``, and for the canary behind it, until the connection ends."""
        data = data.replace(b"%BODY%", self.taker().encode())
        canary = CANARY
        if self.name == "admin":
            data, canary = (part.replace(b"files.example.com", LOCAL) for part in (data, canary))
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            # It may have closed before it has read all.
            with suppress(ConnectionError):
                connection.sendall(data + canary if ends else data)
            with suppress(ConnectionError):
                while piece := connection.recv(65536):
                    received += piece
        return received


def site_lane(name: str, port: int) -> Lane:
    """A listener of a daemon."""
    return Lane(name, port, False, lambda: "POST /-/api/v1/uploads HTTP/1.1")


def node_lane(port: int, signed: Callable[[str, str], str]) -> Lane:
    """A storage node; each upload is of a key of its own."""
    keys = count()
    return Lane("node", port, True, lambda: f"PUT {signed('PUT', f'd/k{next(keys)}')} HTTP/1.1")
