"""What lies on a storage server, against what the records know of it.  The rules are pure."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from dragonbelly.errors import BadPath
from dragonbelly.events import DELETED
from dragonbelly.ids import created
from dragonbelly.interfaces import IBackend
from dragonbelly.keys import parse_key, storage_key
from dragonbelly.model import Path, Record, Version, VersionState
from dragonbelly.names import check_name

#: Objects that are looked at together.
LOT = 200


class StoredObject(msgspec.Struct, frozen=True):
    """One object of the form of ``dragonbelly.keys``, and what its key says."""

    key: str
    size: int
    path: Path
    version: str
    generation: int


def of_key(key: str, size: int) -> StoredObject | None:
    """None: the key is none of ours."""
    parsed = parse_key(key)
    if parsed is None or storage_key(*parsed) != key:
        return None
    try:
        check_name(parsed[0].name)
    except BadPath:
        return None  # no file has that name, whatever the server says
    return StoredObject(key, size, *parsed)


async def lots(backend: IBackend, prefix: str = "") -> AsyncIterator[tuple[list[StoredObject], list[str]]]:
    """
    All that lies there under a directory, a lot at a time: objects of ours, and the keys of others.

    :raises BackendError: the walk broke off; what came was there.
    """
    ours: list[StoredObject] = []
    foreign: list[str] = []
    async for stored in backend.keys(prefix):
        found = of_key(stored.key, stored.size)
        if found is None:
            foreign.append(stored.key)
        else:
            ours.append(found)
        if len(ours) + len(foreign) >= LOT:
            yield ours, foreign
            ours, foreign = [], []
    if ours or foreign:
        yield ours, foreign


def is_forgotten(record: Record, backend: str, found: StoredObject, since: float) -> bool:
    """
    Whether the store may have known of it and lost that: it may have forgotten what happened from ``since`` on.

    A version made before then that no record knows was a stray already, and one made before the path was
    deleted ended then.  A copy is placed with a generation above those that were removed, so one below them is
    what is left of a removal.
    """
    version = record.version(found.version)
    if version is None:
        return created(found.version) >= since and created(found.version) > deleted(record)
    return version.replica(backend) is None and found.generation >= version.removals


def deleted(record: Record) -> int:
    """
    When the path was deleted last, as far as its record still tells, unix s; 0: it was not.

    A file that expired was not: that ends what was accepted before it, and nothing that came after.
    """
    expiries = {v.since for v in record.versions if has_expired(v)}
    return max((v.since for v in record.versions if was_deleted(v) and v.since not in expiries), default=0)


def has_expired(version: Version) -> bool:
    expires = version.asked.expires
    return version.state is VersionState.DELETED and expires is not None and expires <= version.since


def was_deleted(version: Version) -> bool:
    if version.state is VersionState.ABANDONED:
        return version.upload is not None and version.upload.reason == DELETED
    return version.state is VersionState.DELETED


def is_foreign(record: Record, found: StoredObject, born: float) -> bool:
    """Whether it is another store's: there before ours was (``born``, unix s), and in no record."""
    return record.version(found.version) is None and created(found.version) < born


def is_orphan(record: Record, backend: str, found: StoredObject, before: float) -> bool:
    """
    Whether nobody will ever ask for it: its version is forgotten, and was made ``before`` (unix s; later ones
    may be in the hands of a store that we do not see); or it is known, and this copy of it was removed.

    One with a generation that was not given yet is none: a copy could be placed there.  Of a file without a
    good copy every byte is kept.
    """
    version = record.version(found.version)
    if version is None:
        return created(found.version) < before
    if record.damaged:
        return False
    replica = version.replica(backend)
    known = replica is not None and replica.generation == found.generation
    return not known and found.generation < version.removals
