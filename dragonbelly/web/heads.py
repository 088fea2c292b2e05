"""
Heads of requests that leave no doubt: one shape of request line, fields of plain characters, a body whose
length is told once, nothing asked for but an answer.  Pure.

Whatever is not so plain is no mistake by that: it is left to ``twisted.web`` and what guards it (see
``dragonbelly.web.channel``).  So the rules here only have to be stricter than those there, and two parsers
never have to agree on what is odd.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from dragonbelly.web.paths import host_name

#: Bytes that each line of a head counts more than it has (as in RFC 9113 section 6.5.2).
LINE_COST = 32

#: Ends the head of a request.
END = b"\r\n\r\n"

_LINE = re.compile(rb'(GET|HEAD|PUT|POST|PATCH|DELETE) (/[!"$-~]*) HTTP/1\.1')

#: RFC 9112 section 5, without folding; bytes that are no ASCII are field text of old (RFC 9110 section 5.5).
#: Possessive: what does not match is given up in one pass.
_FIELDS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t -~\x80-\xff]*+\r\n)++\r\n")
_FIELD = re.compile(rb"([^:\r\n]++):([^\r\n]*+)\r\n")

_LENGTH = re.compile(r"[0-9]{1,9}")

#: What of a message may only be there once, or not at all.
_ODD = frozenset({"transfer-encoding", "expect", "upgrade"})


class Fields(NamedTuple):
    """
    The fields of one head: ``headers`` by lower-case name, several values joined with commas; ``host`` as it
    came; ``length`` of the body in bytes; ``size`` is what they, and the empty line behind them, count for the
    limit of a head.
    """

    headers: Mapping[str, str]
    host: bytes
    length: int
    size: int


def read_line(line: bytes) -> tuple[str, bytes] | None:
    """Method and target; None: it is not plain."""
    match = _LINE.fullmatch(line)
    return (match[1].decode(), match[2]) if match is not None else None


def read_fields(block: bytes) -> Fields | None:
    """What stands behind the request line, with the empty line at the end; None: it is not plain."""
    if not _FIELDS.fullmatch(block):
        return None
    headers: dict[str, str] = {}
    hosts = lengths = 0
    found = _FIELD.findall(block)
    for name, value in found:
        key = name.decode().lower()
        hosts += key == "host"
        lengths += key == "content-length"
        text = value.strip(b" \t").decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    host = headers.get("host", "")
    length = headers.get("content-length", "0")
    if (
        hosts != 1
        or lengths > 1
        or not host_name(host.encode("latin-1"))
        or not _LENGTH.fullmatch(length)
        or headers.get("connection", "keep-alive").lower() != "keep-alive"
        or not _ODD.isdisjoint(headers)
    ):
        return None
    return Fields(headers, host.encode("latin-1"), int(length), len(block) + LINE_COST * (len(found) + 1))
