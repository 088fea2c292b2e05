"""
What a request asks a node for: the request target as it came, turned into a key or refused.

It is decoded once, here.  What passes names exactly one file below the root, and a key has one way only to be
written on the disk.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

from dragonbelly.errors import BadPath, BadRequest

#: Bytes of a key, as ``IBackend`` allows them, and of one segment, as file systems do.
MAX_KEY = 1200
MAX_SEGMENT = 255

#: Bytes of a target: every byte of the longest key escaped, and as much again for the query.
MAX_TARGET = 2 * 3 * MAX_KEY

_ORIGIN = re.compile(rb"(?i:https?)://[^/?#]*")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL_OR_BACKSLASH = re.compile(rb"[\x00-\x1f\x7f\\]")


class Target(NamedTuple):
    """``key`` is decoded and checked; one that starts with ``-/`` is the node's own."""

    key: str
    query: dict[str, str]


def parse_target(raw: bytes) -> Target:
    """
    :raises BadPath: the path is no key.
    :raises BadRequest: the query cannot be read.
    """
    if len(raw) > MAX_TARGET:
        raise BadPath("the request target is too long")
    if match := _ORIGIN.match(raw):  # a proxy's form of a request, RFC 9112 section 3.2.2
        raw = raw[match.end() :]
    path, _, query = raw.partition(b"?")
    if not path.startswith(b"/"):
        raise BadPath("a path starts with a slash")
    if b"#" in raw:
        raise BadPath("a fragment is not for the server")
    if _BAD_ESCAPE.search(path):
        raise BadPath("a percent sign is not followed by two hexadecimal digits")
    return Target("/".join(check_segments([_decode(s) for s in path[1:].split(b"/")])), _fields(query))


def check_segments(segments: list[str]) -> list[str]:
    """The segments of a key.  :raises BadPath: they are not."""
    for segment in segments:
        if (reason := _fault(segment)) is not None:
            raise BadPath(reason)
    if sum(len(s.encode()) + 1 for s in segments) - 1 > MAX_KEY:
        raise BadPath(f"a key has at most {MAX_KEY} bytes")
    return segments


def name_of(raw: bytes) -> str | None:
    """The segment that a file's or directory's name is, None if no key can contain it."""
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        return None
    return name if _fault(name) is None else None


def _fault(segment: str) -> str | None:
    if segment in ("", ".", ".."):
        return "a segment is empty, . or .."
    try:
        raw = segment.encode()
    except UnicodeEncodeError:
        return "the key is not valid UTF-8"
    if len(raw) > MAX_SEGMENT:
        return f"a segment has at most {MAX_SEGMENT} bytes"
    if b"/" in raw:
        return "an escaped slash in a segment"
    if _CONTROL_OR_BACKSLASH.search(raw):
        return "a control character or a backslash"
    return None


def _decode(segment: bytes) -> str:
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise BadPath("the key is not valid UTF-8") from None


def _fields(query: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=16)
    except ValueError:
        raise BadRequest("the query cannot be read") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BadRequest("a field of the query comes twice")
    return fields
