"""
What is in a directory of a web server, by its own listing.  Pure: bytes in, entries out.

Names that cannot be part of a key (not UTF-8, control characters, a slash) are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from defusedxml import ElementTree

#: Asks for what ``of_propfind`` reads (RFC 4918).
PROPFIND = (
    b'<?xml version="1.0" encoding="utf-8"?>'
    b'<propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/></prop></propfind>'
)


class Entry(NamedTuple):
    """A file or a directory; ``size`` (bytes) is a file's."""

    name: str
    directory: bool
    size: int


def of_autoindex(listing: bytes) -> list[Entry]:
    """
    Of nginx' ``autoindex_format json``.  Names that begin with a dot are not in it: nginx leaves them out.

    :raises ValueError: it is no such listing.
    """
    # nginx copies names as they are, so one that is no UTF-8 must not spoil the others.
    found = json.loads(listing.decode("utf-8", "surrogateescape"))
    if not isinstance(found, list):
        raise ValueError("no list")
    entries = []
    for item in found:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise ValueError("an entry without a name")
        name, kind, size = item["name"], item.get("type"), item.get("size")
        if kind == "directory":
            entries.append(Entry(name, True, 0))
        elif kind == "file" and isinstance(size, int):
            entries.append(Entry(name, False, size))
    return _usable(entries)


def of_propfind(listing: bytes, directory: str) -> list[Entry]:
    """
    Of a PROPFIND with ``Depth: 1``.  ``directory`` is the decoded path that was asked for, ``/…/``.

    :raises ValueError: it is no such listing.
    """
    try:
        # A document type may define entities that grow without end; no PROPFIND answer needs one.
        root = ElementTree.fromstring(listing, forbid_dtd=True)
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error
    if root.tag != "{DAV:}multistatus":
        raise ValueError("no multistatus")
    entries = []
    for response in root.iterfind("{DAV:}response"):
        try:
            path = unquote(urlsplit(response.findtext("{DAV:}href") or "").path, errors="strict")
        except UnicodeDecodeError:
            continue
        if not path.startswith(directory):
            continue
        name = path[len(directory) :].removesuffix("/")
        collection = response.find("{DAV:}propstat/{DAV:}prop/{DAV:}resourcetype/{DAV:}collection") is not None
        size = response.findtext("{DAV:}propstat/{DAV:}prop/{DAV:}getcontentlength") or ""
        if collection:
            entries.append(Entry(name, True, 0))
        elif size.isascii() and size.isdigit():
            entries.append(Entry(name, False, int(size)))
    return _usable(entries)


def _usable(entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if _is_segment(entry.name)]


def _is_segment(name: str) -> bool:
    if name in ("", ".", "..") or "/" in name:
        return False
    return not any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in name)
