"""
Contents that say whose they are: whoever finds some bytes knows which upload they are of, if of any.

``path op size\\n`` and then bytes that follow from these, so that nothing has to be kept to compare with.
"""

from __future__ import annotations

import random
import re

_HEADER = re.compile(rb"([^\s]+) ([0-9]+) ([0-9]+)\n")


def content(path: str, op: int, size: int) -> bytes:
    """The bytes of upload ``op``: ``size`` of them, or as few more as its name takes."""
    head = f"{path} {op} {size}\n".encode()
    return head + random.Random(f"{path} {op}").randbytes(max(0, size - len(head)))


def origin(data: bytes) -> tuple[str, int] | None:
    """The path and the op that the bytes are the whole content of; None if of none."""
    match = _HEADER.match(data)
    if match is None:
        return None
    path, op, size = match[1].decode(errors="replace"), int(match[2]), int(match[3])
    if len(data) != max(size, match.end()):
        return None
    return (path, op) if content(path, op, size) == data else None
