"""What an entry of the corpus is."""

from __future__ import annotations

from typing import NamedTuple

HOST = b"Host: files.example.com\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: files.example.com\r\n\r\n"


class Case(NamedTuple):
    """
    ``data`` is sent; ``said`` are the statuses of a daemon's answers, ``node`` those of a storage node (None:
    not for nodes).  ``lives``: the connection takes another request afterwards.  ``tells`` is in the last
    answer of a daemon.
    """

    name: str
    data: bytes
    said: tuple[int, ...]
    lives: bool
    node: tuple[int, ...] | None
    tells: bytes = b""


CASES: list[Case] = []


def add(
    name: str,
    data: bytes,
    *said: int,
    lives: bool = False,
    node: int | tuple[int, ...] | None = -1,
    tells: bytes = b"",
) -> None:
    theirs = said if node == -1 else (node,) if isinstance(node, int) else node
    CASES.append(Case(name, data, said, lives, theirs, tells))


def get(target: bytes, headers: bytes = HOST, method: bytes = b"GET") -> bytes:
    return b"%s %s HTTP/1.1\r\n%s\r\n" % (method, target, headers)


def body(headers: bytes, data: bytes) -> bytes:
    return b"%BODY%\r\n" + HOST + headers + b"\r\n" + data
