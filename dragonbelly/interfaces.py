"""
The interfaces of the system.  ``IBackend``, ``IReplicationPolicy`` and their factories are for plugins.

Deferreds are of the results named.  Whoever implements one of these runs the contract suite for it, in
``dragonbelly.testing``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.web.iweb import IBodyProducer
from zope.interface import Attribute, Interface

from dragonbelly.model import (
    BackendState,
    ClusterView,
    Demand,
    ObjectStat,
    Path,
    Placement,
    Record,
    Space,
    StoredKey,
    Target,
    Use,
)


class IObjectBody(Interface):
    """The bytes of one object, not yet read."""

    size: int = Attribute("Bytes to come.")

    def deliver(protocol: IProtocol) -> None:
        """
        Send the bytes to ``protocol``, whose ``transport`` is a push producer that can be paused, resumed and
        stopped; ``connectionLost`` follows with ``ResponseDone`` after the last byte and with anything else if
        not all came.  Call it once, or ``abandon``.
        """

    def abandon() -> None:
        """Give the body up without reading it."""


class IBackend(Interface):
    """
    One storage server.

    Keys are ``<domain>/<directories>/@<version>/<name>``: ``str``, at most 1,200 bytes of UTF-8, without
    control characters, empty, ``.`` or ``..`` segments; anything else may occur and is the backend's to encode.
    A key is written once, and never reused after it was deleted.

    Every method that asks the server fires within a bounded time, and fails with one of

    * ``NoSuchObject``: it answered, and there is nothing.  Final.
    * ``BackendUnavailable``: it did not answer, or not properly.  Says nothing about the object; try again.
    * ``BackendFull``: it has no room.  Try elsewhere.
    * ``BackendRefused``: it will not do it.  The same call gives the same answer.

    Cancelling a Deferred ends the call to the server.
    """

    name: str = Attribute("The name in the configuration.")
    download_base: str | None = Attribute(
        "If not None, every ``download_url`` is this with the key behind it, as ``keys.quoted`` writes it."
    )
    link_expires: float | None = Attribute(
        "How long, in s, a URL to read is good at least if nothing else is asked for; None: for ever."
    )

    def download_url(key: str, expires: int | None = None) -> str:
        """
        The URL at which a client reads the object; no I/O.  ``expires`` (unix s) limits a signed one.  The same
        question has the same answer: redirects are prepared, and used again.
        """

    def upload_target(
        key: str, *, size: int | None = None, content_type: str | None = None, expires: int | None = None
    ) -> Target:
        """How a client uploads the object; no I/O.  The object must appear whole or not at all."""

    def stat(key: str) -> Deferred[ObjectStat]:
        """What lies under ``key``: its size, and its digest if the server knows one without reading."""

    def read(key: str) -> Deferred[IObjectBody]:
        """The object's bytes as they were stored (never decoded), to be delivered or abandoned."""

    def write(key: str, body: IBodyProducer, content_type: str | None = None) -> Deferred[None]:
        """
        Store ``body`` (``body.length`` is its exact size in bytes) under ``key``, whole or not at all.
        Writing the same bytes to the same key again succeeds.
        """

    def delete(key: str) -> Deferred[None]:
        """Remove the object, and its ``@<version>`` directory.  Absent is done."""

    def probe() -> Deferred[Space]:
        """Ask whether the server answers, and for its room."""

    def keys(prefix: str = "") -> AsyncIterator[StoredKey]:
        """Every object whose key is under the directory ``prefix``, in any order; bounded memory."""

    def close() -> Deferred[None]:
        """Let connections go.  The backend is not used afterwards."""


class IBackendFactory(Interface):
    """
    How a kind of backend is made; found with ``twisted.plugin`` in ``twisted.plugins``.
    """

    kind: str = Attribute("The word in ``[backend.X] kind = ...``.")
    options: type = Attribute("A frozen ``msgspec.Struct`` type of the backend's own options, with defaults.")

    def make(name: str, options: object, reactor: object) -> IBackend:
        """The backend.  :raises ConfigError: the options contradict each other."""


class IReplicationPolicy(Interface):
    """What a version is owed, and where.  Pure: no I/O, no clock, the same answer to the same question."""

    name: str = Attribute("The name in the configuration.")

    def place(demand: Demand, cluster: ClusterView) -> Placement:
        """
        Which of the held and pending replicas to keep, where to add some, which to drop.

        A drop never leaves fewer held copies that count than are owed.  Once everything in ``add`` is held,
        the same question is answered with nothing to add (stable).
        """


class IReplicationPolicyFactory(Interface):
    """How a kind of policy is made; found with ``twisted.plugin`` in ``twisted.plugins``."""

    kind: str = Attribute("The word in ``[policy.X] kind = ...``.")
    options: type = Attribute("A frozen ``msgspec.Struct`` type of the policy's own options, with defaults.")

    def make(name: str, options: object) -> IReplicationPolicy:
        """The policy.  :raises ConfigError: the options contradict each other."""


class Snapshot(NamedTuple):
    """A record as it was read, and the value that a commit is compared with."""

    record: Record | None
    token: bytes


class Claim(NamedTuple):
    """A path that is ours to look at until the lease ends.  ``token`` is its due time as we set it."""

    path: Path
    token: bytes


class Counts(NamedTuple):
    """
    ``thin_since`` is the oldest thin file's time, unix s; ``overdue`` the paths due now, of ``queued``;
    ``damaged`` the files of which no good copy is known any more.
    """

    files: int
    queued: int
    overdue: int
    thin: int
    thin_since: int | None
    damaged: int = 0


#: Is told what was read, or why it cannot be told.
Told = Callable[[Snapshot | Exception], None]


class ITracked(Interface):
    """
    A reader of records that is told of each that changes: what keeps a cache of them true.

    A reply that is under way may be older than the news of a change that overtook it.  So whoever keeps what he
    read marks it before he asks, and does not keep it if it changed meanwhile.
    """

    changed: Callable[[str | None], None] = Attribute(
        "Called with ``<domain>/<name>`` of what was changed, be it read or not, and with None when that may "
        "be anything.  Set by whoever reads."
    )
    proven: float = Attribute("All changes before then (unix s) were told.")
    until: float = Attribute(
        "Until then (unix s) what was read and did not change may be taken for true: a bound, for nobody is "
        "told that a connection is dead.  0 while nothing is told."
    )

    def ask(path: Path, told: Told) -> None:
        """
        ``told`` is called once, now or later: with the record, ``StateUnavailable`` (nothing is told now) or
        ``BadRecord`` (there is something, and no record).
        """

    def after(act: Callable[[], None]) -> None:
        """
        To be called while something is told: ``act`` is called when all is told that came together with it.
        It must not raise.
        """

    def get(path: Path) -> Deferred[Snapshot]:
        """The same as a Deferred."""


class IStateStore(Interface):
    """
    Where records live.  Every call fires within a bounded time or fails with ``StateUnavailable``.

    Times are those of the store, so that no daemon's clock matters: callers give delays.
    """

    partitions: int = Attribute("How many partitions the paths are spread over.")
    run: str = Attribute(
        "Which run of which server answers: another one may have lost the last writes.  Empty while none does."
        "  Whatever is asked is asked of the one that it names at that moment."
    )
    identity: str = Attribute(
        "Tells this store from any other, one that was emptied included; known once it is ready.  A ULID, "
        "whose time is that at which the store was new, or another text if that is not known.  A store that is "
        "not any more the one it was when it was ready does not answer."
    )

    def ready() -> Deferred[None]:
        """
        Check that the store can be used as configured, once, at start.

        :raises StateUnavailable: it does not answer yet; try again.
        :raises StartError: it is of another format or partition count, or may evict records.
        """

    def get(path: Path) -> Deferred[Snapshot]:
        """:raises BadRecord: there is something, and it is no record."""

    def track() -> ITracked:
        """A reader of its own; it ends with the store."""

    def get_many(paths: Sequence[Path]) -> Deferred[list[Snapshot | None]]:
        """As many snapshots, in order; None where there is something that is no record."""

    def commit(path: Path, old: Snapshot, new: Record | None, due: float | None) -> Deferred[Snapshot]:
        """
        Replace ``old`` by ``new`` (None or one without versions: remove), with index, thin entry, and usage.

        ``due``: look at the path in so many seconds; None: leave its due time as it is (and none when the
        record is removed).  Fires with the new snapshot.

        :raises Conflict: the record is no longer ``old``.
        :raises StateUnavailable: nobody knows whether it happened: read again.
        """

    def claim(limit: int, lease: float) -> Deferred[list[Claim]]:
        """Up to ``limit`` paths whose time has come, in no order; due again when ``lease`` seconds passed."""

    def settle(claim: Claim, due: float | None) -> Deferred[Claim | None]:
        """
        Due next in ``due`` seconds, or no more; only if nobody moved it since it was claimed: else None.  Fires
        with the claim as it is then: settling for another lease renews it.
        """

    def hasten(paths: Sequence[Path]) -> Deferred[None]:
        """Due now."""

    def due(path: Path) -> Deferred[float | None]:
        """
        In how many seconds the path is due, 0 when it is due already; None when it is not queued.  While it is
        claimed that is the end of its lease.
        """

    def walk(cursor: str | None, limit: int) -> Deferred[tuple[list[Path], str | None]]:
        """
        Some paths and where to go on (None at first and at the end); every path that has a record throughout
        the walk comes at least once.
        """

    def waiting(cursor: str | None, limit: int) -> Deferred[tuple[list[Path], str | None]]:
        """The same for the paths that have a due time, or are thin."""

    def damaged(limit: int) -> Deferred[list[Path]]:
        """Up to ``limit`` of the files of which no good copy is known any more, in no order."""

    def page(domain: str, prefix: str, after: str, limit: int) -> Deferred[list[str]]:
        """Up to ``limit`` names of live files that start with ``prefix`` and come after ``after``, sorted."""

    def use() -> Deferred[dict[str, Use]]:
        """What lies on each backend, by the records."""

    def counts() -> Deferred[Counts]:
        """What the store holds in all."""

    def operator_states() -> Deferred[dict[str, BackendState]]:
        """What a person said of backends, by name."""

    def set_operator_state(name: str, state: BackendState) -> Deferred[None]: ...

    def meta(field: str) -> Deferred[str | None]: ...

    def set_meta(field: str, old: str | None, new: str) -> Deferred[bool]:
        """Set if it is still ``old``: whether it was."""

    def confirm() -> Deferred[None]:
        """
        Fires when everything that ``run`` has answered so far is safe, commits included: as many replicas have
        it as the configuration asks for.  For an answer that rests on what an earlier call gave, see that
        ``run`` is still the same afterwards (``state.promise`` does).

        :raises Unconfirmed: it is not, or nobody knows.
        """

    def close() -> Deferred[None]: ...


class IClock(IReactorTime):
    """``seconds()`` is unix time; ``callLater`` as ever."""


#: Makes version ids; injected, so that a simulation repeats itself.
MakeId = Callable[[float], str]
