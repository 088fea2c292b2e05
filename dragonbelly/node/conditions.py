"""
Which part of a file a GET gets, if any: preconditions and ranges (RFC 9110 sections 13 and 14).  Pure.

A request for several ranges gets the whole file, as section 14.2 allows: many overlapping ones would make a
small file into any amount of traffic.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Callable
from email.utils import parsedate
from typing import NamedTuple

_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*")
_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


class Part(NamedTuple):
    """The status, and the bytes that go with 200 and 206."""

    status: int
    start: int
    length: int


def select(header: Callable[[str], str | None], size: int, tag: str, modified: int, *, ranges: bool) -> Part:
    """
    :param header: gives a request header's value by its name.
    :param tag: the file's strong entity tag, with its quotes.
    :param modified: when it was written, unix s.
    :param ranges: whether the method knows ranges: GET does, HEAD does not.
    """
    if (status := _precondition(header, tag, modified)) is not None:
        return Part(status, 0, 0)
    if ranges and (asked := header("range")) is not None and _range_holds(header("if-range"), tag, modified):
        return _slice(asked, size)
    return Part(200, 0, size)


def _precondition(header: Callable[[str], str | None], tag: str, modified: int) -> int | None:
    """The status that ends the request, in the order of section 13.2.2."""
    if (match := header("if-match")) is not None:
        # Strongly: a weak tag never matches, section 13.1.1.
        if match.strip() != "*" and tag not in re.sub(r'W/"[^"]*"', "", match):
            return 412
    elif (since := _date(header("if-unmodified-since"))) is not None and modified > since:
        return 412
    if (none := header("if-none-match")) is not None:
        return 304 if none.strip() == "*" or tag in _TAG.findall(none) else None
    since = _date(header("if-modified-since"))
    return 304 if since is not None and modified <= since else None


def _range_holds(condition: str | None, tag: str, modified: int) -> bool:
    if condition is None:
        return True
    condition = condition.strip()
    return condition == tag if condition.endswith('"') else _date(condition) == modified


def _slice(asked: str, size: int) -> Part:
    match = _RANGE.fullmatch(asked.strip())
    if match is None or match[1] == match[2] == "":
        return Part(200, 0, size)  # not one range of bytes: as if nobody had asked
    if match[1] == "":
        start, stop = max(0, size - int(match[2])), size
    else:
        start, stop = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < start:
            return Part(200, 0, size)  # malformed, section 14.1.1
    return Part(206, start, stop - start) if start < stop else Part(416, 0, 0)


def _date(text: str | None) -> int | None:
    """Unix s of an HTTP date, which is always GMT; None for what is none: it is ignored then."""
    if text is None:
        return None
    try:
        parsed = parsedate(text)
        return None if parsed is None else timegm(parsed)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
