"""
What is to be done about a file, as a pure function: ``record + cluster + policy -> moves, steps, due``.

A *move* is an event that follows from what is known; it is applied and committed without asking anybody.  A
*step* needs a storage server; what comes of it is an event in turn.  A plan is made again after each, so it
never has to think two steps ahead: what it says is right for the record as it is, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from dragonbelly.events import Condemned, Event, Expired, Found, Leaving, Lost, Placed, Removed, Thin
from dragonbelly.interfaces import IReplicationPolicy
from dragonbelly.lifecycle import apply
from dragonbelly.model import (
    BackendState,
    ClusterView,
    Demand,
    Placement,
    Record,
    Replica,
    ReplicaState,
    Version,
    VersionState,
)

R, V = ReplicaState, VersionState

#: Seconds between two looks at an upload that has not come: half its age, within these.
LOOK_MIN, LOOK_MAX = 1, 60

#: Seconds between the commit that condemns an object and its removal.  A Redis that comes back older than it
#: was has lost its last one or two seconds (``appendfsync everysec``), so it never has forgotten a removal that
#: began.  Otherwise one still under way could hit an object that is counted on again, or one that was stored
#: under the same key a second time.
SETTLED = 5

#: Why what was decided to go stays.
UNCOMPARED = "nothing is removed or given up before all records and the storage were compared"


class Step(msgspec.Struct, frozen=True):
    """Something to be done at a storage server, for version ``id``."""

    id: str


class Verify(Step, frozen=True):
    """Look whether the upload has come; ``final``: it cannot come any more."""

    final: bool = False


class Copy(Step, frozen=True):
    """Make the copy on ``backend`` from one of ``sources``, in this order."""

    backend: str
    generation: int
    sources: tuple[str, ...]


class Check(Step, frozen=True):
    """Read a doubted replica: good, or lost; or one that may have been made: good, or not there."""

    backend: str


class Remove(Step, frozen=True):
    """Delete the object of a replica."""

    backend: str
    generation: int


class Wait(msgspec.Struct, frozen=True):
    """Something that is owed to version ``id``, and ``why`` no step can do it now; ``backend``: there."""

    id: str
    why: str
    backend: str | None = None


class Plan(msgspec.Struct, frozen=True):
    """
    ``due`` is when time alone will change the plan (seconds from now, None: never); ``waits`` is what is owed
    and no step can do now, because a server is away or there are too few.
    """

    moves: tuple[Event, ...] = ()
    steps: tuple[Step, ...] = ()
    due: float | None = None
    waits: tuple[Wait, ...] = ()


class _Draft:
    """A plan while it is being made."""

    def __init__(self, now: int, keep: bool) -> None:
        self.now = now
        self.keep = keep
        self.moves: list[Event] = []
        self.steps: list[Step] = []
        self.waits: list[Wait] = []
        self.due: float | None = None

    def at(self, moment: float) -> None:
        delay = max(0, moment - self.now)
        self.due = delay if self.due is None else min(self.due, delay)

    def wait(self, version: Version, why: str, backend: str | None = None) -> None:
        self.waits.append(Wait(version.id, why, backend))


def plan(
    record: Record,
    cluster: ClusterView,
    policy: Callable[[Version], IReplicationPolicy],
    now: int,
    grace: int,
    avoid: frozenset[str] = frozenset(),
    keep: bool = False,
) -> Plan:
    """
    What to do.  ``policy`` tells the policy of a version; ``grace`` is how long objects that are not needed
    are kept, in s; nothing new goes to the backends in ``avoid`` (they just failed).  ``keep``: nothing may be
    removed or given up, for nobody knows whether the record is of today; what would be waits.
    """
    draft = _Draft(now, keep)
    grace = max(grace, SETTLED)
    satisfied = True
    live = record.live
    if live is not None:
        satisfied = _plan_live(draft, record, live, cluster, policy(live), grace, avoid)
    elif record.thin_since is not None:
        draft.moves.append(Thin(now, False))
    for version in record.versions:
        match version.state:
            case V.UPLOADING:
                _plan_upload(draft, version, cluster)
            case V.ABANDONED:
                # Bytes may arrive until the deadline, and an upload that began before it ends after it: what is
                # removed earlier comes back when nobody looks any more.
                assert version.upload is not None
                _plan_end(draft, version, cluster, max(version.since, version.upload.deadline) + grace)
            case V.SUPERSEDED if not satisfied:
                # The successor has not the copies it is owed yet: its visits will come here again.
                _plan_end(draft, version, cluster, None)
            case V.SUPERSEDED | V.DELETED:
                _plan_end(draft, version, cluster, version.since + grace)
    return Plan(tuple(draft.moves), tuple(draft.steps), draft.due, tuple(draft.waits))


def advance(record: Record, make: Callable[[Record], Plan]) -> tuple[Record, Plan]:
    """The record after all moves that follow from it, and the plan that is left: steps and times."""
    for _ in range(100):
        made = make(record)
        if not made.moves:
            return record, made
        after = record
        for move in made.moves:
            after = apply(after, move)
        if after == record:
            raise AssertionError(f"moves that lead nowhere: {made.moves}")
        record = after
    raise AssertionError("a plan that never ends")


# --- uploads and ends ------------------------------------------------------------------------------------


def _plan_upload(draft: _Draft, version: Version, cluster: ClusterView) -> None:
    assert version.upload is not None
    draft.moves.extend(_of_dead(draft.now, version, cluster))
    for replica in version.in_state(R.CONDEMNED):
        _plan_removal(draft, version, replica, cluster)
    deadline = version.upload.deadline
    final = draft.now >= deadline
    draft.steps.append(Verify(version.id, final=final and not draft.keep))
    if final and draft.keep:
        draft.wait(version, UNCOMPARED)
    if not final:
        age = draft.now - version.since
        draft.at(min(deadline, draft.now + min(max(age / 2, LOOK_MIN), LOOK_MAX)))


def _plan_end(draft: _Draft, version: Version, cluster: ClusterView, end: int | None) -> None:
    """
    Remove what is left of a version that is over, from ``end`` on (None: that is not known yet); what lay on a
    dead backend is gone already.
    """
    for replica in version.replicas:
        if _is_dead(replica, cluster):
            _plan_removal(draft, version, replica, cluster)
        elif end is not None:
            _plan_removal(draft, version, replica, cluster, end)


def _plan_removal(
    draft: _Draft, version: Version, replica: Replica, cluster: ClusterView, end: int | None = None
) -> None:
    """Remove it from ``end`` on: if nothing else is said, when its condemnation has settled."""
    backend = cluster.get(replica.backend)
    end = replica.since + SETTLED if end is None else end
    if _is_dead(replica, cluster):
        draft.moves.append(Removed(draft.now, version.id, replica.backend, replica.generation))
    elif draft.now < end:
        draft.at(end)
    elif draft.keep:
        draft.wait(version, UNCOMPARED, replica.backend)
    elif backend is not None and backend.reachable:
        draft.steps.append(Remove(version.id, replica.backend, replica.generation))
    else:
        draft.wait(version, "its object is to be removed, and the server is away", replica.backend)


def _is_dead(replica: Replica, cluster: ClusterView) -> bool:
    backend = cluster.get(replica.backend)
    return backend is not None and backend.state is BackendState.DEAD


# --- the live version ------------------------------------------------------------------------------------


def _plan_live(
    draft: _Draft,
    record: Record,
    version: Version,
    cluster: ClusterView,
    policy: IReplicationPolicy,
    grace: int,
    avoid: frozenset[str],
) -> bool:
    """Whether the version has the copies that it can have: its predecessors may go."""
    now = draft.now
    expires = version.asked.expires
    if expires is not None:
        if expires <= now:
            draft.moves.append(Expired(now, version.id))
            return False
        draft.at(expires)

    if dead := list(_of_dead(now, version, cluster)):
        draft.moves.extend(dead)
        return False

    good = version.in_state(R.GOOD)
    placement = policy.place(demand(version, avoid), cluster)
    if (record.thin_since is not None) is placement.enough:
        draft.moves.append(Thin(now, not placement.enough))

    if not placement.enough:
        back = _needed_again(version, cluster)
        if back is not None:
            draft.moves.append(Found(now, version.id, back.backend, back.generation))
            return False
        draft.moves.extend(Placed(now, version.id, name) for name in _free(placement.add, version, cluster))
    drops = tuple(_drops(now, version, placement, cluster, avoid, record.damaged))
    if placement.enough and not drops and len(good) > placement.owed and len(_sure(good, cluster)) < len(good):
        # One too many, and none may go while a server is away: to be looked at when it is back.
        draft.wait(version, "it has a copy too many, and none is removed while a server that holds one is away")
    gone = [*drops, *_bad(now, version)]
    if draft.keep and gone:
        draft.wait(version, UNCOMPARED)
    else:
        draft.moves.extend(gone)

    sources = _sources(version, cluster)
    for replica in version.replicas:
        backend = cluster.get(replica.backend)
        match replica.state:
            case R.MISSING:
                if backend is not None and backend.reachable and record.damaged:
                    # It may have been made, and only the answer did not come.
                    draft.steps.append(Check(version.id, replica.backend))
                if backend is not None and backend.takes and sources:
                    draft.steps.append(Copy(version.id, replica.backend, replica.generation, sources))
                else:
                    lacks = (
                        "no copy can be read to make it from" if not sources else "the server takes no files"
                    )
                    draft.wait(version, f"a copy is to be made, and {lacks} now", replica.backend)
            case R.LEAVING:
                if not placement.enough or not good:
                    continue
                if now < replica.since + grace:
                    draft.at(replica.since + grace)
                elif draft.keep:
                    draft.wait(version, UNCOMPARED, replica.backend)
                elif _counted(_sure(good, cluster), cluster) < placement.owed:
                    # One that is away may never come back: what is left stays until it has.
                    why = "it is to be removed, and a server that holds another copy is away"
                    draft.wait(version, why, replica.backend)
                elif not _served(good, cluster):
                    # Nobody is sent to a server that a person took down, so this one is read from.
                    why = "it is to be removed, and readers can be sent to no other copy"
                    draft.wait(version, why, replica.backend)
                else:
                    draft.moves.append(Condemned(now, version.id, replica.backend, replica.generation))
            case R.SUSPECT | R.LOST:
                if backend is not None and backend.reachable:
                    draft.steps.append(Check(version.id, replica.backend))
                else:
                    why = "it is to be read, to see whether it is good, and the server is away"
                    draft.wait(version, why, replica.backend)
            case R.CONDEMNED if record.damaged and not _is_dead(replica, cluster):
                draft.wait(version, "no good copy is left, so every byte is kept", replica.backend)
            case R.CONDEMNED:
                _plan_removal(draft, version, replica, cluster)
    if not placement.enough and not draft.steps:
        draft.wait(version, "it has fewer good copies than it is owed, and no more can be made now")
    return _counted(good, cluster) >= min(placement.owed, max(placement.possible, 1))


def demand(version: Version, avoid: frozenset[str] = frozenset()) -> Demand:
    """
    What a policy is asked about a version.  Where a replica is doubted or on its way out nothing new goes: it
    has to be gone before another comes.
    """
    held, pending = version.in_state(R.GOOD), version.in_state(R.MISSING)
    others = {r.backend for r in version.replicas if r.state not in (R.GOOD, R.MISSING)}
    return Demand(
        seed=version.id,
        size=version.size,
        content_type=version.content_type,
        copies=version.asked.copies,
        held=tuple(r.backend for r in held),
        pending=tuple(r.backend for r in pending),
        avoid=avoid | others,
    )


def _of_dead(now: int, version: Version, cluster: ClusterView) -> Iterator[Event]:
    """What lay on a backend that was declared dead is lost."""
    for replica in version.replicas:
        if not _is_dead(replica, cluster):
            continue
        if replica.state in (R.GOOD, R.SUSPECT, R.LEAVING):
            yield Lost(now, version.id, replica.backend, replica.generation)
        elif replica.state is R.MISSING:
            yield Condemned(now, version.id, replica.backend, replica.generation)


def _needed_again(version: Version, cluster: ClusterView) -> Replica | None:
    for replica in version.in_state(R.LEAVING):
        backend = cluster.get(replica.backend)
        if backend is not None and backend.counts and backend.serves:
            return replica
    return None


def _free(names: tuple[str, ...], version: Version, cluster: ClusterView) -> list[str]:
    """Whatever a policy says: only where objects are taken, and none of this version has been yet."""
    return [n for n in names if n in cluster and cluster[n].takes and version.replica(n) is None]


def _counted(replicas: tuple[Replica, ...], cluster: ClusterView) -> int:
    """How many copies these are: those on backends that count, on distinct hosts."""
    backends = [cluster.get(r.backend) for r in replicas]
    return len({b.host for b in backends if b is not None and b.counts})


def _sure(replicas: tuple[Replica, ...], cluster: ClusterView) -> tuple[Replica, ...]:
    return tuple(r for r in replicas if r.backend in cluster and cluster[r.backend].sure)


def _served(replicas: tuple[Replica, ...], cluster: ClusterView) -> bool:
    """Whether readers can be sent to one of these."""
    return any(r.backend in cluster and cluster[r.backend].serves for r in replicas)


def _drops(
    now: int,
    version: Version,
    placement: Placement,
    cluster: ClusterView,
    avoid: frozenset[str],
    damaged: bool,
) -> Iterator[Event]:
    """
    What the policy has too much of.  Whatever a policy says, good copies leave only when nothing is missing and
    as many as are owed stay, and the last one never does.  What may have been made stays while no good copy is
    known: it may be the only one.
    """
    stay = tuple(r for r in version.in_state(R.GOOD) if r.backend not in placement.drop)
    for replica in version.replicas:
        if replica.backend not in placement.drop:
            continue
        if replica.state is R.MISSING:
            # One that just failed gives way to another; if there is no other it is tried again later.
            if not damaged and (replica.backend not in avoid or placement.add):
                yield Condemned(now, version.id, replica.backend, replica.generation)
        elif (
            replica.state is R.GOOD and placement.enough and stay and _counted(stay, cluster) >= placement.owed
        ):
            yield Leaving(now, version.id, replica.backend, replica.generation)


def _bad(now: int, version: Version) -> Iterator[Event]:
    """A lost replica makes room for a new one, as long as a good one is left; else every byte is kept."""
    if version.in_state(R.GOOD):
        for replica in version.in_state(R.LOST):
            yield Condemned(now, version.id, replica.backend, replica.generation)


def _sources(version: Version, cluster: ClusterView) -> tuple[str, ...]:
    """
    Where to copy from: good replicas before leaving ones.  With none of them left whatever has the right digest
    will do, and one that was about to be removed may have.
    """
    salvage = (R.CONDEMNED,) if version.sha256 is not None else ()
    for states in ((R.GOOD, R.LEAVING), salvage):
        found = tuple(
            replica.backend
            for state in states
            for replica in version.in_state(state)
            if replica.backend in cluster and cluster[replica.backend].reachable
        )
        if found or version.in_state(*states):
            return found
    return ()
