"""
What is in a directory of a web server, by its own listing.  Pure: bytes in, entries out.

Names that cannot be part of a key (not UTF-8, control characters, a slash) are left out.  A listing is as large
as a server likes, so no tree is made of it: what is not asked for is dropped as it is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec
from defusedxml import ElementTree

from dragonbelly.keys import is_key
from dragonbelly.model import Bytes

#: Asks for what ``of_propfind`` reads (RFC 4918).
PROPFIND = (
    b'<?xml version="1.0" encoding="utf-8"?>'
    b'<propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/></prop></propfind>'
)

#: XML is read in pieces of so many bytes.  A tag or comment ends within a few of them: what is left of one is
#: read from its beginning again with every piece.
PIECE, PIECES = 64 * 1024, 4

#: How deep elements lie within others, and how many there are, at most.
DEPTH, ELEMENTS = 32, 2_000_000


class Entry(NamedTuple):
    """A file or a directory; ``size`` (bytes) is a file's."""

    name: str
    directory: bool
    size: int


class _Listed(msgspec.Struct, gc=False):
    name: str
    type: str = ""
    size: Bytes | None = None


_autoindex = msgspec.json.Decoder(list[_Listed])
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


def of_autoindex(listing: bytes) -> list[Entry]:
    """
    Of nginx' ``autoindex_format json``.  Names that begin with a dot are not in it: nginx leaves them out.

    :raises ValueError: it is no such listing.
    """
    try:
        found = _autoindex.decode(_readable(listing))
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return _usable(
        Entry(item.name, item.type == "directory", 0 if item.type == "directory" else item.size or 0)
        for item in found
        if item.type == "directory" or (item.type == "file" and item.size is not None)
    )


def _readable(listing: bytes) -> bytes | str:
    # nginx copies names as they are, so one that is no UTF-8 must not spoil the others: it gets a control
    # character, and is left out.
    try:
        return listing.decode()
    except UnicodeDecodeError:
        return _NOT_UTF8.sub("\x7f", listing.decode("utf-8", "surrogateescape"))


def of_propfind(listing: bytes, directory: str) -> list[Entry]:
    """
    Of a PROPFIND with ``Depth: 1``.  ``directory`` is the decoded path that was asked for, ``/…/``.

    :raises ValueError: it is no such listing.
    """
    reader = _Multistatus(directory)
    # A document type may define entities that grow without end, or are files of ours.
    parser = ElementTree.XMLParser(target=reader, forbid_dtd=True)
    still = 0
    try:
        for start in range(0, len(listing), PIECE):
            seen = reader.seen
            parser.feed(listing[start : start + PIECE])
            still = still + 1 if reader.seen == seen else 0
            if still > PIECES:
                raise ValueError("a tag or comment without an end")
        parser.close()
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error
    return _usable(reader.entries)


class _Multistatus:
    """Hears the elements of a multistatus as they come; ``seen`` counts what was heard."""

    def __init__(self, directory: str) -> None:
        self.entries: list[Entry] = []
        self.seen = 0
        self._directory = directory
        self._within: list[str] = []
        self._elements = 0
        self._text: list[str] | None = None
        self._href = self._size = ""
        self._collection = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.seen += 1
        self._elements += 1
        if not self._within and tag != "{DAV:}multistatus":
            raise ValueError("no multistatus")
        if len(self._within) >= DEPTH or self._elements > ELEMENTS:
            raise ValueError("elements too deep, or too many")
        self._within.append(tag)
        at = self._within[1:]
        if at == _RESPONSE:
            self._href, self._size, self._collection = "", "", False
        elif at in (_HREF, _SIZE):
            self._text = []
        elif at == _COLLECTION:
            self._collection = True

    def data(self, text: str) -> None:
        self.seen += 1
        if self._text is not None:
            self._text.append(text)

    def end(self, tag: str) -> None:
        self.seen += 1
        at = self._within[1:]
        self._within.pop()
        if at == _RESPONSE:
            self._add()
        elif self._text is not None:
            # The first of several is the one that counts.
            text, self._text = "".join(self._text), None
            if at == _HREF:
                self._href = self._href or text
            else:
                self._size = self._size or text

    def _add(self) -> None:
        try:
            path = unquote(urlsplit(self._href).path, errors="strict")
        except UnicodeDecodeError:
            return
        if not path.startswith(self._directory):
            return
        name = path[len(self._directory) :].removesuffix("/")
        if self._collection:
            self.entries.append(Entry(name, True, 0))
        elif re.fullmatch("[0-9]{1,18}", self._size):
            self.entries.append(Entry(name, False, int(self._size)))

    def close(self) -> None: ...


_RESPONSE = ["{DAV:}response"]
_HREF = [*_RESPONSE, "{DAV:}href"]
_PROP = [*_RESPONSE, "{DAV:}propstat", "{DAV:}prop"]
_SIZE = [*_PROP, "{DAV:}getcontentlength"]
_COLLECTION = [*_PROP, "{DAV:}resourcetype", "{DAV:}collection"]


def _usable(entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if "/" not in entry.name and is_key(entry.name)]
