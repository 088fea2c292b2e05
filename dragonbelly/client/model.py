"""What the API tells of files, as values.  Sizes are in bytes, digests in hex, times aware (UTC)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec


class Replica(msgspec.Struct, frozen=True):
    """One copy.  ``url`` is where it can be read, None when it cannot."""

    backend: str
    state: str
    host: str | None = None
    url: str | None = None


class Copies(msgspec.Struct, frozen=True):
    """How many copies a file is owed, has, and can have with the servers there are."""

    owed: int
    held: int
    possible: int
    enough: bool
    asked: int | None = None


class Entry(msgspec.Struct, frozen=True):
    """A file as a listing shows it."""

    path: str
    version: str
    size: int | None
    content_type: str | None
    sha256: str | None
    created: datetime
    attributes: dict[str, str]
    damaged: bool = False


class File(Entry, frozen=True, kw_only=True):
    """All about a file.  ``url`` is what readers are given."""

    domain: str
    url: str
    state: str
    expires: datetime | None
    policy: str
    copies: Copies
    thin_since: datetime | None
    replicas: tuple[Replica, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the bytes can be read, best first."""
        return tuple(replica.url for replica in self.replicas if replica.url is not None)


class Page(msgspec.Struct, frozen=True):
    """Some of a listing: ``prefixes`` are what names have in common up to the delimiter; ``next`` goes on."""

    files: tuple[Entry, ...]
    prefixes: tuple[str, ...]
    next: str | None


class Target(msgspec.Struct, frozen=True):
    """Where an upload may go."""

    method: str
    url: str
    headers: dict[str, str]


class Begun(msgspec.Struct, frozen=True):
    """An upload that was accepted: ``targets`` in the order in which they are to be tried."""

    upload: str
    targets: tuple[Target, ...]
    expires: datetime


class Signed(msgspec.Struct, frozen=True):
    """A signed URL, without the server's address."""

    url: str


class Unset:
    """What ``set`` is to leave as it is."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Any = Unset()
