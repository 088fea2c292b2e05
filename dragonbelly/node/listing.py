"""
A node's keys, page by page, in the order of their segments' bytes.

Bounded in memory, whatever the number of files: a directory is read through once for every ``BATCH`` names of
it, of which the next ones are kept.  Bounded in time, too: a page may be short, or empty, and say where to go
on; it ends where it says so.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from heapq import nsmallest
from pathlib import Path
from typing import NamedTuple

import msgspec

from dragonbelly.errors import BadRequest
from dragonbelly.model import StoredKey
from dragonbelly.node.directories import directory
from dragonbelly.node.signature import RESERVED
from dragonbelly.node.target import MAX_KEY, check_segments, name_of

BATCH = 1000

#: Keys of a page at most, and directories that are opened for it.
MAX_LIMIT = 5000
MAX_DIRECTORIES = 5000


class Page(msgspec.Struct, frozen=True):
    """``next`` is what ``after`` is in the next question, None at the end."""

    keys: list[StoredKey]
    next: str | None = None


class _Entry(NamedTuple):
    name: bytes
    #: None: a directory.
    size: int | None


def page(root: Path, prefix: str, after: str, limit: int) -> Page:
    """
    Up to ``limit`` keys that lie under the directory ``prefix`` and come after the key ``after``; blocks.

    :param prefix: empty for all.
    :param after: empty for the start; it need not exist (any more).
    """
    top, rest = _segments(prefix), _segments(after)
    if rest and rest[: len(top)] != top:
        raise BadRequest("after is not under prefix")
    rest = rest[len(top) :]
    found: list[StoredKey] = []
    way = [(top, _entries(root, top, rest))]  # from the prefix down: a directory, and what of it is yet to come
    opened = 1
    while way:
        above, entries = way[-1]
        entry = next(entries, None)
        if entry is None:
            way.pop()
            rest = ()  # only the first way down follows ``after``
            continue
        here = (*above, entry.name)
        raw = b"/".join(here)
        if len(raw) > MAX_KEY:
            continue
        if entry.size is not None:
            found.append(StoredKey(raw.decode(), entry.size))
            if len(found) == limit:
                return Page(found, raw.decode())
        elif opened == MAX_DIRECTORIES:
            return Page(found, raw.decode())  # all of it comes after its own path
        else:
            opened += 1
            rest = rest[1:] if rest[:1] == (entry.name,) else ()
            way.append((here, _entries(root, here, rest)))
    return Page(found)


def _segments(key: str) -> tuple[bytes, ...]:
    """:raises BadPath: it is no key."""
    return tuple(s.encode() for s in check_segments(key.split("/"))) if key else ()


def _entries(root: Path, path: tuple[bytes, ...], after: tuple[bytes, ...]) -> Iterator[_Entry]:
    """Files and directories of one directory in order, the directory that leads to ``after`` included."""
    floor, inclusive, more = (after[0], True, True) if after else (b"", False, True)
    while more:
        try:
            with directory(root, path) as fd, os.scandir(fd) as entries:
                ours = filter(None, (_ours(e, not path, floor, inclusive) for e in entries))
                names = nsmallest(BATCH, ours)
                batch = [_Entry(name, _size(entry)) for name, entry in names]
        except (FileNotFoundError, NotADirectoryError):
            return  # gone meanwhile, or never there
        yield from batch
        more = len(names) == BATCH
        if more:
            floor, inclusive = names[-1][0], False


def _ours(
    entry: os.DirEntry[str], at_root: bool, floor: bytes, inclusive: bool
) -> tuple[bytes, os.DirEntry[str]] | None:
    name = os.fsencode(entry.name)
    if name < floor or name_of(name) is None or (at_root and entry.name == RESERVED):
        return None
    is_directory = entry.is_dir(follow_symlinks=False)
    if name == floor and not (inclusive and is_directory):
        return None
    # neither links nor pipes nor sockets are objects
    return (name, entry) if is_directory or entry.is_file(follow_symlinks=False) else None


def _size(entry: os.DirEntry[str]) -> int | None:
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None  # as if it were a directory: one that is gone has no keys
    return None if stat.S_ISDIR(found.st_mode) else found.st_size
