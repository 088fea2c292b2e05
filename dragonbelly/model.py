"""
The values of the system: paths, records, versions, replicas.

All are immutable; they are stored as msgpack arrays, so a field may be appended (with a default) but
never moved.  What is read back is checked, types and ranges both.  Times are whole unix seconds, sizes are
bytes, digests raw bytes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, NamedTuple

import msgspec

#: What the layout of a record is called in ``db:meta``; a daemon refuses a store of another number.
FORMAT = 1

#: A number of bytes: where one is read from elsewhere, anything else is refused.
Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

#: Unix s, within the years that can be shown.
Moment = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]

#: A whole number that is counted up from 0.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

Sha256 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Md5 = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]

#: Versions of one path that are not live, at most.
SPARE_VERSIONS = 16


class Path(NamedTuple):
    """A file's name in its domain: ``name`` is checked, decoded, without a leading slash."""

    domain: str
    name: str

    @property
    def member(self) -> str:
        """``<domain>/<name>``: how the path is written in Redis.  A domain has no slash."""
        return f"{self.domain}/{self.name}"

    @classmethod
    def of_member(cls, member: str) -> Path:
        domain, _, name = member.partition("/")
        return cls(domain, name)


class VersionState(IntEnum):
    UPLOADING = 0
    LIVE = 1
    SUPERSEDED = 2
    ABANDONED = 3
    DELETED = 4


class ReplicaState(IntEnum):
    """
    ``MISSING`` an object may be there soon; ``GOOD`` verified; ``SUSPECT`` there, but its bytes are doubted;
    ``LOST`` known not to be there; ``LEAVING`` good, and to be removed after the grace unless it is needed
    again; ``CONDEMNED`` its removal may be under way: there is no way back from here.
    """

    MISSING = 0
    GOOD = 1
    SUSPECT = 2
    LOST = 3
    LEAVING = 4
    CONDEMNED = 5


class Replica(msgspec.Struct, frozen=True, array_like=True):
    """
    One stored object of a version on one backend.

    ``generation`` tells objects of one version apart that lay on the same backend one after the other, so
    that a storage key is never used twice; ``key`` is set when the object lies elsewhere than where we
    would have put it (an adopted file).
    """

    backend: str
    state: ReplicaState
    since: Moment = 0
    generation: Count = 0
    key: str | None = None


class Upload(msgspec.Struct, frozen=True, array_like=True):
    """What was announced of an upload, and until when it may arrive.  Dropped when the version is live."""

    deadline: Moment
    size: Bytes | None = None
    sha256: Sha256 | None = None
    md5: Md5 | None = None
    #: ``If-None-Match: *``: only if nothing is live.
    create_only: bool = False
    #: ``If-Match``: only if this version is live.
    if_match: str | None = None
    #: Why it was abandoned.
    reason: str | None = None


class Terms(msgspec.Struct, frozen=True, array_like=True):
    """What a file asks for itself, above the rules of its domain."""

    attributes: dict[str, str] = {}
    copies: int | None = None
    policy: str | None = None
    #: unix s; the file is deleted then.
    expires: Moment | None = None


NO_TERMS = Terms()


class Version(msgspec.Struct, frozen=True, array_like=True):
    """
    One immutable upload of a path.

    ``since`` is when it entered its state.  ``removals`` counts replicas that were ever taken away: the
    generation of the next one.
    """

    id: str
    state: VersionState
    since: Moment
    size: Bytes | None = None
    sha256: Sha256 | None = None
    replicas: tuple[Replica, ...] = ()
    content_type: str | None = None
    terms: Terms | None = None
    upload: Upload | None = None
    removals: Count = 0

    def replica(self, backend: str) -> Replica | None:
        for replica in self.replicas:
            if replica.backend == backend:
                return replica
        return None

    def in_state(self, *states: ReplicaState) -> tuple[Replica, ...]:
        return tuple([r for r in self.replicas if r.state in states])

    @property
    def asked(self) -> Terms:
        return self.terms or NO_TERMS


class Record(msgspec.Struct, frozen=True, array_like=True):
    """
    All that is known of one path.  ``versions`` are in the order in which they were accepted, newest first.

    ``thin_since`` is since when the live version has had fewer good copies than it is owed; ``tries`` counts
    the visits of the replicator since it last got on.
    """

    versions: tuple[Version, ...] = ()
    thin_since: Moment | None = None
    tries: Count = 0

    @property
    def live(self) -> Version | None:
        for version in self.versions:
            if version.state is VersionState.LIVE:
                return version
        return None

    @property
    def damaged(self) -> bool:
        """Whether something is live and no copy of it is known to be good: every byte is kept then."""
        live = self.live
        if live is None:
            return False
        for replica in live.replicas:
            if replica.state is ReplicaState.GOOD or replica.state is ReplicaState.LEAVING:
                return False
        return True

    @property
    def pending(self) -> tuple[Version, ...]:
        """The uploads that were accepted after the live version and may replace it, newest first."""
        newer: list[Version] = []
        for version in self.versions:
            if version.state is VersionState.LIVE:
                break
            if version.state is VersionState.UPLOADING:
                newer.append(version)
        return tuple(newer)

    def version(self, id: str) -> Version | None:
        for version in self.versions:
            if version.id == id:
                return version
        return None


class BackendState(IntEnum):
    """What a person said of a backend."""

    ALIVE = 0
    READONLY = 1
    DRAIN = 2
    DOWN = 3
    DEAD = 4


class Observed(IntEnum):
    """What this daemon sees of a backend."""

    UP = 0
    FULL = 1
    UNREACHABLE = 2


class BackendView(msgspec.Struct, frozen=True):
    """
    One backend as the pure rules see it.

    ``free`` and ``total`` are bytes, None when the server cannot tell.  ``patient`` is true while an
    unreachable backend is still expected back soon, so that its copies count as held.
    """

    name: str
    host: str
    zone: str
    weight: float = 1.0
    state: BackendState = BackendState.ALIVE
    observed: Observed = Observed.UP
    free: int | None = None
    total: int | None = None
    patient: bool = False

    @property
    def serves(self) -> bool:
        """Whether a reader may be sent there."""
        return self.observed is not Observed.UNREACHABLE and self.state < BackendState.DOWN

    @property
    def reachable(self) -> bool:
        """Whether the daemon may talk to it: everything but what is down, dead or unreachable."""
        return self.serves

    @property
    def takes(self) -> bool:
        """Whether new objects may go there."""
        return self.observed is Observed.UP and self.state is BackendState.ALIVE

    @property
    def sure(self) -> bool:
        """Whether what is held there is held without the hope that an unreachable server comes back."""
        return self.state is BackendState.DOWN or self.observed is not Observed.UNREACHABLE

    @property
    def counts(self) -> bool:
        """
        Whether a good replica there is one of the copies owed.

        A backend that a person took down for a while (``down``) keeps counting, one that is to be emptied
        does not; one that is unreachable counts for as long as it is expected back.
        """
        if self.state in (BackendState.DRAIN, BackendState.DEAD):
            return False
        return self.sure or self.patient


#: The backends by name.
ClusterView = dict[str, BackendView]


class Demand(msgspec.Struct, frozen=True):
    """
    What a policy is asked to place: one version.

    ``held`` are the backends with a good replica, ``pending`` those where one is being made.  ``copies`` is
    what the file itself asks for.  ``avoid`` are backends that just failed: nothing new goes there.  ``seed``
    is the version's id: the same choice every time.
    """

    seed: str
    size: int | None = None
    content_type: str | None = None
    copies: int | None = None
    held: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    avoid: frozenset[str] = frozenset()


class Placement(msgspec.Struct, frozen=True):
    """
    A policy's answer.  ``keep`` (of held and pending), ``add`` (new ones, best first) and ``drop`` are names
    of backends; every held or pending one is in ``keep`` or in ``drop``.

    ``owed`` is how many good copies the version should have; ``possible`` how many it can have with the
    backends there are (unreachable ones included: they come back); ``enough`` whether what is held now
    satisfies the policy.
    """

    keep: tuple[str, ...]
    add: tuple[str, ...]
    drop: tuple[str, ...]
    owed: int
    possible: int
    enough: bool


class ObjectStat(msgspec.Struct, frozen=True):
    """What a backend holds under a key; ``sha256`` only if it knows one."""

    size: int
    sha256: bytes | None = None


class StoredKey(msgspec.Struct, frozen=True):
    """One object of a walk."""

    key: str
    size: Bytes


class Space(msgspec.Struct, frozen=True):
    """Bytes of a backend's storage, None where it cannot tell."""

    free: Bytes | None = None
    total: Bytes | None = None


class Target(msgspec.Struct, frozen=True):
    """Where and how a client uploads: an HTTP request without its body."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()


class Use(msgspec.Struct, frozen=True):
    """What the records say lies on a backend: bytes, and objects that are or may be there."""

    bytes: int = 0
    objects: int = 0
