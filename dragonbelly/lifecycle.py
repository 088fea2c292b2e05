"""
What happens to a file, as a pure function: ``record + event -> record``.

An event (``dragonbelly.events``) says what was seen or asked; ``apply`` gives the record after it.  Which
state may follow which is in two tables; a move that is not in them raises ``IllegalMove``.  An event about
something that is no longer there (a version gone, a replica removed meanwhile) changes nothing: events arrive
late and twice.  Nothing here asks a clock: ``now`` is in the event, in unix s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from dragonbelly.errors import IllegalMove, PreconditionFailed, TooManyVersions
from dragonbelly.events import (
    DELETED,
    PRECONDITION,
    Abandoned,
    Accepted,
    Adopted,
    Changed,
    Condemned,
    Copied,
    Deleted,
    Doubted,
    Event,
    Expired,
    Found,
    Hashed,
    Leaving,
    Lost,
    Placed,
    Refused,
    Removed,
    ReplicaEvent,
    Thin,
    Tried,
    Verified,
)
from dragonbelly.model import SPARE_VERSIONS, Record, Replica, ReplicaState, Upload, Version, VersionState

V, R = VersionState, ReplicaState

#: From a version's state to those that may follow.  Every state but UPLOADING and LIVE ends in its removal
#: from the record, once none of its objects is left.
VERSION_MOVES: dict[VersionState, frozenset[VersionState]] = {
    V.UPLOADING: frozenset({V.LIVE, V.SUPERSEDED, V.ABANDONED}),
    V.LIVE: frozenset({V.SUPERSEDED, V.DELETED}),
    V.SUPERSEDED: frozenset(),
    V.ABANDONED: frozenset(),
    V.DELETED: frozenset(),
}

#: The same for replicas.  CONDEMNED is the point of no return: whoever removes an object has committed this
#: first, so that a removal that began long ago can only hit an object that nobody counts on.
REPLICA_MOVES: dict[ReplicaState, frozenset[ReplicaState]] = {
    R.MISSING: frozenset({R.GOOD, R.CONDEMNED}),
    R.GOOD: frozenset({R.SUSPECT, R.LOST, R.LEAVING, R.CONDEMNED}),
    R.SUSPECT: frozenset({R.GOOD, R.LOST, R.CONDEMNED}),
    R.LOST: frozenset({R.GOOD, R.SUSPECT, R.CONDEMNED}),
    R.LEAVING: frozenset({R.GOOD, R.SUSPECT, R.LOST, R.CONDEMNED}),
    R.CONDEMNED: frozenset(),
}


def apply(record: Record, event: Event) -> Record:
    """
    The record after the event.

    :raises PreconditionFailed: an upload's condition does not hold (at ``Accepted``).
    :raises TooManyVersions: there are too many versions that are not live (at ``Accepted``).
    :raises IllegalMove: the event makes no sense in this state; a bug in the caller.
    """
    record = _MOVES[type(event)](record, event)
    if any(_spent(version) for version in record.versions):
        record = replace(record, versions=tuple(v for v in record.versions if not _spent(v)))
    return record


def _spent(version: Version) -> bool:
    """Whether nothing is left of a version that will not be asked for again."""
    return not version.replicas and version.state not in (V.UPLOADING, V.LIVE)


# --- versions --------------------------------------------------------------------------------------------


def holds(upload: Upload, live: Version | None) -> bool:
    """Whether the upload's conditions are met when ``live`` is the live version."""
    if upload.create_only and live is not None:
        return False
    return upload.if_match is None or (live is not None and live.id == upload.if_match)


def _move(version: Version, state: VersionState, now: int, **changes: Any) -> Version:
    if state not in VERSION_MOVES[version.state]:
        raise IllegalMove(f"version {version.id} cannot go from {version.state.name} to {state.name}")
    return replace(version, state=state, since=now, **changes)


def _put(record: Record, version: Version) -> Record:
    """The record with ``version`` in the place of the one of the same id."""
    return replace(record, versions=tuple(version if v.id == version.id else v for v in record.versions))


def _accepted(record: Record, event: Accepted) -> Record:
    if record.version(event.id) is not None:
        return record
    live = record.live
    if not holds(event.upload, live):
        raise PreconditionFailed(
            "the file exists" if event.upload.create_only else "the file is not the version named",
            live=live and live.id,
        )
    if sum(v.state is not V.LIVE for v in record.versions) >= SPARE_VERSIONS:
        raise TooManyVersions(
            f"{SPARE_VERSIONS} former or unfinished versions of this path are still kept", retry_after=60
        )
    version = Version(
        event.id,
        V.UPLOADING,
        event.now,
        size=event.upload.size,
        sha256=event.upload.sha256,
        replicas=tuple(Replica(backend, R.MISSING) for backend in event.targets),
        content_type=event.content_type,
        terms=event.terms,
        upload=event.upload,
    )
    return replace(record, versions=(version, *record.versions), tries=0)


def _verified(record: Record, event: Verified) -> Record:
    version = record.version(event.id)
    if version is None or version.state is not V.UPLOADING:
        return record
    assert version.upload is not None
    replica = version.replica(event.backend)
    if replica is None or replica.state is not R.MISSING:
        return record  # its backend was called dead meanwhile
    if not holds(version.upload, record.live):
        return replace(_put(record, _abandon(version, PRECONDITION, event.now)), tries=0)
    at = [v.id for v in record.versions].index(version.id)
    if any(v.state is V.LIVE for v in record.versions[:at]):
        # A newer upload was verified first.
        return _put(record, _move(_good(version, event), V.SUPERSEDED, event.now, upload=None))
    live = _move(_good(version, event), V.LIVE, event.now, upload=None)
    versions = [*record.versions[:at], live]
    for older in record.versions[at + 1 :]:
        # An older upload that is still under way stays: when it arrives it is superseded at once, and its
        # ``complete`` says so.
        versions.append(_move(older, V.SUPERSEDED, event.now) if older.state is V.LIVE else older)
    return replace(record, versions=tuple(versions), tries=0)


def _good(version: Version, event: Verified) -> Version:
    replica = version.replica(event.backend)
    assert replica is not None
    return replace(
        _put_replica(version, _turn(replica, R.GOOD, 0)),
        size=event.size,
        sha256=event.sha256 or version.sha256,
    )


def _abandon(version: Version, reason: str, now: int) -> Version:
    assert version.upload is not None
    return _move(version, V.ABANDONED, now, upload=replace(version.upload, reason=reason))


def _abandoned(record: Record, event: Abandoned) -> Record:
    version = record.version(event.id)
    if version is None or version.state is not V.UPLOADING:
        return record
    return replace(_put(record, _abandon(version, event.reason, event.now)), tries=0)


def _deleted(record: Record, event: Deleted) -> Record:
    return _end(record, record.versions, event.now)


def _expired(record: Record, event: Expired) -> Record:
    live = record.live
    if live is None or live.id != event.id:
        return record
    return _end(record, record.versions[record.versions.index(live) :], event.now)


def _end(record: Record, versions: tuple[Version, ...], now: int) -> Record:
    for version in versions:
        if version.state is V.LIVE:
            record = _put(record, _move(version, V.DELETED, now))
        elif version.state is V.UPLOADING:
            record = _put(record, _abandon(version, DELETED, now))
    return replace(record, thin_since=None, tries=0)


def _changed(record: Record, event: Changed) -> Record:
    live = record.live
    if live is None or live.id != event.id:
        return record
    return replace(_put(record, replace(live, terms=event.terms)), tries=0)


def _adopted(record: Record, event: Adopted) -> Record:
    version = record.version(event.id)
    if version is None:
        if any(v.id > event.id and v.state in (V.LIVE, V.SUPERSEDED, V.DELETED) for v in record.versions):
            return record  # whatever it was, a later one came after it
        version = Version(
            event.id,
            V.UPLOADING,
            event.now,
            size=event.size,
            replicas=(Replica(event.backend, R.MISSING, generation=event.generation),),
            upload=Upload(event.deadline, event.size),
            removals=event.generation,
        )
        # The order in which it was accepted is lost: that of the ids is as near as we can come.
        at = next((n for n, v in enumerate(record.versions) if v.id < event.id), len(record.versions))
        return replace(record, versions=(*record.versions[:at], version, *record.versions[at:]), tries=0)
    if version.replica(event.backend) is not None or event.generation < version.removals:
        return record  # known, or what is left of one that is known to be removed
    state = R.MISSING if version.state is V.UPLOADING else R.SUSPECT
    found = Replica(event.backend, state, generation=event.generation)
    version = replace(version, replicas=(*version.replicas, found), removals=event.generation)
    return replace(_put(record, version), tries=0)


# --- replicas --------------------------------------------------------------------------------------------


def _turn(replica: Replica, state: ReplicaState, now: int) -> Replica:
    if replica.state is state:
        return replica
    if state not in REPLICA_MOVES[replica.state]:
        raise IllegalMove(f"a replica on {replica.backend} cannot go from {replica.state.name} to {state.name}")
    return replace(replica, state=state, since=now)


def _put_replica(version: Version, replica: Replica) -> Version:
    return replace(
        version, replicas=tuple(replica if r.backend == replica.backend else r for r in version.replicas)
    )


def _placed(record: Record, event: Placed) -> Record:
    version = record.version(event.id)
    if version is None or version.replica(event.backend) is not None:
        return record
    replica = Replica(event.backend, R.MISSING, generation=version.removals)
    return _put(record, replace(version, replicas=(*version.replicas, replica)))


def _of_replica(move: Callable[[Record, Version, Replica, Any], Record]) -> Callable[[Record, Any], Record]:
    """The move for a ``ReplicaEvent``: none, unless the replica is there in the generation that is meant."""

    def meant(record: Record, event: ReplicaEvent) -> Record:
        version = record.version(event.id)
        replica = version.replica(event.backend) if version else None
        if version is None or replica is None or replica.generation != event.generation:
            return record
        return move(record, version, replica, event)

    return meant


@_of_replica
def _copied(record: Record, version: Version, replica: Replica, event: Copied) -> Record:
    if replica.state is not R.MISSING:
        return record
    if version.sha256 is not None and event.sha256 != version.sha256:
        # Another copy was faster to say what the digest is: this one is to be made again.
        return record
    version = replace(_put_replica(version, _turn(replica, R.GOOD, 0)), sha256=event.sha256)
    return replace(_put(record, version), tries=0)


@_of_replica
def _hashed(record: Record, version: Version, replica: Replica, event: Hashed) -> Record:
    if version.sha256 is not None or replica.state not in (R.GOOD, R.LEAVING):
        return record
    return _put(record, replace(version, sha256=event.sha256))


def _replica_move(
    state: ReplicaState, *of: ReplicaState, dated: bool = False, progress: bool = False
) -> Callable[[Record, Any], Record]:
    """A move of one replica to ``state``, from the states ``of``; from any other the event comes too late."""

    @_of_replica
    def move(record: Record, version: Version, replica: Replica, event: Any) -> Record:
        if replica.state not in of:
            return record
        record = _put(record, _put_replica(version, _turn(replica, state, event.now if dated else 0)))
        return replace(record, tries=0) if progress else record

    return move


@_of_replica
def _removed(record: Record, version: Version, replica: Replica, event: Removed) -> Record:
    over = version.state not in (V.UPLOADING, V.LIVE)
    if not over and replica.state not in (R.CONDEMNED, R.LOST):
        return record
    left = tuple(r for r in version.replicas if r.backend != event.backend)
    record = _put(record, replace(version, replicas=left, removals=version.removals + 1))
    # That a copy which could not be made is out of the way is no progress: the next may fail as well.
    return replace(record, tries=0) if over else record


# --- the visit -------------------------------------------------------------------------------------------


def _tried(record: Record, event: Tried) -> Record:
    return replace(record, tries=min(record.tries + 1, 100))


def _thin(record: Record, event: Thin) -> Record:
    if event.thin is (record.thin_since is not None):
        return record
    return replace(record, thin_since=event.now if event.thin else None, tries=0)


_MOVES: dict[type[Event], Callable[[Record, Any], Record]] = {
    Accepted: _accepted,
    Verified: _verified,
    Abandoned: _abandoned,
    Deleted: _deleted,
    Expired: _expired,
    Changed: _changed,
    Adopted: _adopted,
    Placed: _placed,
    Copied: _copied,
    Hashed: _hashed,
    Found: _replica_move(R.GOOD, R.SUSPECT, R.LEAVING, R.LOST, progress=True),
    Doubted: _replica_move(R.SUSPECT, R.GOOD, R.LEAVING, R.LOST),
    Lost: _replica_move(R.LOST, R.GOOD, R.LEAVING, R.SUSPECT, dated=True),
    Leaving: _replica_move(R.LEAVING, R.GOOD, dated=True, progress=True),
    Refused: _replica_move(R.CONDEMNED, R.MISSING, dated=True),
    Condemned: _replica_move(R.CONDEMNED, R.MISSING, R.GOOD, R.SUSPECT, R.LOST, R.LEAVING, dated=True),
    Removed: _removed,
    Tried: _tried,
    Thin: _thin,
}
