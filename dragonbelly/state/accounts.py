"""
What follows from a record: how it is written, and what is kept beside it.

Pure rules, for both stores.  The index, the thin entry and the usage counters are exact functions of the
records; a store is handed ready-made differences and adds them in the same step as the record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

import msgspec

from dragonbelly.errors import BadRecord
from dragonbelly.ids import is_ulid
from dragonbelly.interfaces import Snapshot
from dragonbelly.model import Path, Record, ReplicaState, Use, VersionState

#: The token of a path that has no record; no encoded record is empty.
ABSENT = b""

#: What is read of it.
NOTHING = Snapshot(None, ABSENT)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)

#: What comes of an upload that is not live has been announced.
_ANNOUNCED = (VersionState.UPLOADING, VersionState.ABANDONED)


def encode(record: Record | None) -> bytes:
    """The stored value; ``ABSENT`` for None and for a record without versions, which nobody would miss."""
    if record is None or not record.versions:
        return ABSENT
    return _encoder.encode(record)


def _decode(value: bytes) -> Record:
    """:raises ValueError, RecursionError, msgspec.DecodeError: it is no record, or one that cannot be."""
    record = _decoder.decode(value)
    versions = record.versions
    if len(versions) > 1:
        if len({version.id for version in versions}) < len(versions):
            raise ValueError("a version is there twice")
        if sum(version.state is VersionState.LIVE for version in versions) > 1:
            raise ValueError("two versions are live")
    for version in versions:
        if not is_ulid(version.id):
            raise ValueError(f"{version.id!r} is no id of a version")
        if version.upload is None and version.state in _ANNOUNCED:
            raise ValueError(f"of the upload {version.id} nothing was announced")
    return record


#: For records that were read lately: whoever changes one asks for what was read of it, and for what is written.
_lately = lru_cache(maxsize=1024)(_decode)


def decode(path: Path, value: bytes, read: Callable[[bytes], Record] = _lately) -> Record | None:
    """:raises BadRecord: the value is no record."""
    if not value:
        return None
    try:
        return read(value)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadRecord(f"the record of {path.member!r} cannot be decoded: {error}") from error


def snapshot(path: Path, value: bytes) -> Snapshot:
    """:raises BadRecord: the value is no record."""
    return Snapshot(decode(path, value), value)


def snapshot_once(path: Path, value: bytes) -> Snapshot:
    """The same, for whoever keeps what he makes of it, and does not ask again."""
    return Snapshot(decode(path, value, _decode), value)


def footprint(record: Record | None) -> dict[str, Use]:
    """
    What one record says lies on each backend.

    Every replica that is not lost is an object there; its bytes count unless it is missing yet.  Of an upload
    that came to nothing, nothing counts: what may be left of it is nobody's file.
    """
    use: dict[str, Use] = {}
    for version in record.versions if record else ():
        if version.state is VersionState.ABANDONED:
            continue
        for replica in version.replicas:
            if replica.state is ReplicaState.LOST:
                continue
            size = 0 if replica.state is ReplicaState.MISSING else version.size or 0
            had = use.get(replica.backend, Use())
            use[replica.backend] = Use(had.bytes + size, had.objects + 1)
    return use


def add(use: Mapping[str, Use], other: Mapping[str, Use], sign: int = 1) -> dict[str, Use]:
    """The sum (or difference) by backend, without those that come to nothing."""
    total = dict(use)
    for backend, more in other.items():
        was = total.get(backend, Use())
        total[backend] = Use(was.bytes + sign * more.bytes, was.objects + sign * more.objects)
    return {backend: each for backend, each in total.items() if each.bytes or each.objects}


class Entry(NamedTuple):
    """A record as it is to be written, with all that goes with it; ``use`` is what changes."""

    value: bytes
    listed: bool
    thin_since: int | None
    damaged: bool
    use: dict[str, Use]


def entry(path: Path, old: bytes, new: Record | None) -> Entry:
    """
    What a commit of ``new`` over the stored value ``old`` writes.

    The old footprint comes from the stored value and not from what the caller makes of it, so that the
    counters stay true whoever calls.

    :raises BadRecord: ``old`` is no record.
    """
    value = encode(new)
    kept = new if value else None
    return Entry(
        value=value,
        listed=kept is not None and kept.live is not None,
        thin_since=kept.thin_since if kept else None,
        damaged=kept is not None and kept.damaged,
        use=add(footprint(kept), footprint(decode(path, old)), sign=-1),
    )
