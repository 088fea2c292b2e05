"""
The books: every change of a record goes through here.

Read the record, apply events, let the moves that follow from it happen in the same commit, compare and swap;
on a conflict the same events are applied to what the record has become.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from dragonbelly.cluster.members import Cluster
from dragonbelly.config.values import Config
from dragonbelly.errors import (
    BadField,
    BadPath,
    BadRecord,
    Conflict,
    NoBackend,
    NotFound,
    StateUnavailable,
    TooLarge,
)
from dragonbelly.events import Accepted, Changed, Deleted, Event
from dragonbelly.interfaces import IClock, IReplicationPolicy, IStateStore, MakeId, Snapshot
from dragonbelly.keys import key_of
from dragonbelly.lifecycle import apply
from dragonbelly.model import Demand, Path, Record, Terms, Upload, Version
from dragonbelly.policies.rules import Rules, Ruling
from dragonbelly.replication.epoch import Epoch
from dragonbelly.replication.plan import Plan, advance, plan
from dragonbelly.state.accounts import NOTHING
from dragonbelly.state.cache import RecentRecords
from dragonbelly.state.promise import Promise
from dragonbelly.unreadable import Unreadable

#: Commits of one change that may lose to others before it is given up.
ATTEMPTS = 20

#: Records that are remembered, for uploads that are completed a moment after they began.
RECENT = 10_000

#: Seconds after which the replicator first looks for an upload by itself.
FIRST_LOOK = 1.0


class Announced(msgspec.Struct, frozen=True):
    """What a client said of an upload before it came; None where it said nothing."""

    size: int | None = None
    sha256: bytes | None = None
    md5: bytes | None = None
    content_type: str | None = None
    terms: Terms | None = None
    create_only: bool = False
    if_match: str | None = None


class Ledger:
    """
    See the module.  ``rules`` tells the policy of a version from its domain's rules, ``epoch`` whether anything
    may be removed.
    """

    def __init__(
        self,
        store: IStateStore,
        epoch: Epoch,
        cluster: Cluster,
        rules: Rules,
        config: Config,
        clock: IClock,
        make_id: MakeId,
    ) -> None:
        self.store = store
        self.epoch = epoch
        self.cluster = cluster
        self._rules = rules
        self._config = config
        self._clock = clock
        self._make_id = make_id
        self._recent = RecentRecords(RECENT, config.state.stale)
        self.unreadable = Unreadable()
        #: Told of each event that was committed, with the record after it.
        self.on_event: Callable[[Path, Event, Record | None], None] = lambda path, event, record: None
        #: Told that a record is another now, or may be, before anybody else is.
        self.on_change: Callable[[Path], None] = lambda path: None
        #: Told of a file of which a copy is good again, after none was.
        self.on_repaired: Callable[[Path], None] = lambda path: None

    @property
    def seconds(self) -> float:
        return self._clock.seconds()

    @property
    def now(self) -> int:
        return int(self._clock.seconds())

    # --- reading

    async def read(self, path: Path) -> Snapshot:
        """:raises StateUnavailable: the store does not answer."""
        # From when it was asked for: the answer may have waited for a process that slept.
        asked = self._clock.seconds()
        try:
            snapshot = await self.store.get(path)
        except BadRecord as error:
            self.unreadable.met(path, error)
            raise
        self.unreadable.mended(path)
        self._recent.put(path, snapshot, asked)
        return snapshot

    def remembered(self, path: Path) -> Snapshot | None:
        """The record as we saw it last, not long ago: good enough for a commit, which finds out."""
        return self._recent.get(path, self._clock.seconds())

    async def recall(self, path: Path) -> tuple[Snapshot, bool]:
        """
        The record, and whether it is true now: while the store is away it is what was true at most
        ``[state] stale`` ago.

        :raises StateUnavailable: the store does not answer, and we have not read the record lately.
        """
        try:
            return await self.read(path), True
        except StateUnavailable:
            if (snapshot := self.remembered(path)) is not None:
                return snapshot, False
            raise

    def policy(self, path: Path, version: Version) -> IReplicationPolicy:
        return self._rules.policy_for(path, version.content_type, version.size, version.asked.policy)

    def ruling(self, path: Path, version: Version) -> Ruling:
        """What decides on the policy of a version."""
        return self._rules.ruling(path, version.content_type, version.size, version.asked.policy)

    def plan(self, path: Path, record: Record, avoid: frozenset[str] = frozenset()) -> Plan:
        """What is to be done about the file now."""
        return plan(
            record,
            self.cluster.view,
            lambda version: self.policy(path, version),
            self.now,
            int(self._config.delete.grace),
            avoid,
            keep=not self.epoch.agreed,
        )

    # --- changing

    async def commit(
        self,
        path: Path,
        snapshot: Snapshot,
        events: Callable[[Record], Sequence[Event]],
        due: float | None = 0.0,
        avoid: frozenset[str] = frozenset(),
    ) -> tuple[Snapshot, Plan]:
        """
        Apply ``events(record)`` and what follows from them; the record then, and the plan for it.  When
        somebody else was faster, events are asked for again, of the record as it is now.  ``due`` as in
        ``IStateStore.commit``; what changes nothing is not written.

        :raises ClientError: raised by ``events`` or by the lifecycle, or because what is there is no record
            (``BadRecord``): nothing was changed.
        :raises StateUnavailable: unknown whether it happened; the replicator will see to the file either way.
        """
        for _ in range(ATTEMPTS):
            old = snapshot.record or Record()
            new = old
            happened = tuple(events(old))
            for event in happened:
                new = apply(new, event)
            new, left = advance(new, lambda record: self.plan(path, record, avoid))
            if new == old:
                return snapshot, left
            asked = self._clock.seconds()
            try:
                try:
                    snapshot = await self._swap(path, snapshot, new, due)
                finally:
                    self.on_change(path)
            except Conflict as conflict:
                snapshot = conflict.current
                continue
            except BadRecord as error:
                self.unreadable.met(path, error)
                raise
            self._recent.put(path, snapshot, asked)
            for event in happened:
                self.on_event(path, event, snapshot.record)
            if _is_repaired(old, new):
                self.on_repaired(path)
            return snapshot, left
        raise StateUnavailable(f"too many others change {path.name} at the same time", retry_after=1)

    async def happened(
        self,
        path: Path,
        snapshot: Snapshot,
        events: Sequence[Event],
        avoid: frozenset[str] = frozenset(),
    ) -> tuple[Snapshot, Plan]:
        """Commit what was seen or done; the path's due time stays.  Of a record that is gone nothing comes."""
        return await self.commit(
            path, snapshot, lambda record: events if record.versions else (), due=None, avoid=avoid
        )

    async def _swap(self, path: Path, old: Snapshot, new: Record, due: float | None) -> Snapshot:
        try:
            return await self.store.commit(path, old, new if new.versions else None, due)
        except StateUnavailable:
            # A lost reply is not a failure: see what is there.  Whether that is safe is another question, which
            # ``Promise`` asks for those who have to know.
            current = await self.store.get(path)
            if (current.record or Record()) == new:
                return current
            raise

    async def accept(self, path: Path, announced: Announced) -> tuple[Version, list[tuple[str, str]]]:
        """
        Begin an upload: the new version, and the backends and keys it may be uploaded to, best first.

        :raises PreconditionFailed, TooManyVersions, TooLarge, BadField, NoBackend:
        """
        maximum = int(self._config.upload.max_size)
        if announced.size is not None and announced.size > maximum:
            raise TooLarge(
                f"{announced.size} bytes announced, at most {maximum} are taken",
                limit="max_size",
                maximum=maximum,
            )
        longest = self._config.limits.path_length
        if len(path.name.encode()) > longest:
            # Here and not where paths are read: what is stored already stays within reach.
            raise BadPath(f"the path is longer than {longest} bytes", limit="path_length")
        self._check(announced.terms)
        self._check_attributes(announced.terms)
        id = self._make_id(self._clock.seconds())
        deadline = int(self.now + self._config.upload.longest(announced.size or 0)) + 1

        def events(_: Record) -> list[Event]:
            # Where to is asked anew at each attempt: a backend may have been called dead meanwhile.
            return [
                Accepted(
                    self.now,
                    id,
                    self._targets(path, id, announced),
                    Upload(
                        deadline,
                        announced.size,
                        announced.sha256,
                        announced.md5,
                        announced.create_only,
                        announced.if_match,
                    ),
                    announced.content_type,
                    announced.terms,
                )
            ]

        async with Promise(self.store):
            # Asked first as well: a client that comes again and again while nothing can be confirmed would fill
            # the path with uploads.
            await self.store.confirm()
            # Most uploads are of new paths; where one is not, the commit says what is there.  But a guess could
            # refuse a condition.
            guess = NOTHING if announced.if_match is None else await self.read(path)
            snapshot, _ = await self.commit(path, guess, events, due=FIRST_LOOK)
        version = snapshot.record and snapshot.record.version(id)
        if not version:  # it lapsed within the same commit: a clock that jumped
            raise StateUnavailable("the upload was over before it began", retry_after=1)
        return version, [(r.backend, key_of(path, version, r)) for r in version.replicas]

    def _check(self, terms: Terms | None) -> None:
        if terms is not None and terms.policy is not None and terms.policy not in self._config.policies:
            known = ", ".join(sorted(self._config.policies))
            raise BadField(f"there is no policy {terms.policy!r}, only {known}", field="policy")
        if terms is not None and terms.expires is not None and terms.expires <= self.now:
            raise BadField("the file would be over before it began: that time has passed", field="expires")

    def _check_attributes(self, terms: Terms | None) -> None:
        attributes = terms.attributes if terms is not None else {}
        most, size = self._config.limits.attributes, int(self._config.limits.attribute_size)
        if len(attributes) > most > 0:
            raise BadField(
                f"at most {most} attributes, not {len(attributes)}", field="attributes", limit="attributes"
            )
        for name, value in attributes.items():
            if len(value.encode()) > size:
                raise BadField(
                    f"a value of an attribute has at most {size} bytes",
                    field=f"attributes.{name}",
                    limit="attribute_size",
                )

    def _targets(self, path: Path, id: str, announced: Announced) -> tuple[str, ...]:
        terms = announced.terms or Terms()
        policy = self._rules.policy_for(path, announced.content_type, announced.size, terms.policy)
        demand = Demand(id, announced.size, announced.content_type, terms.copies)
        targets = policy.place(demand, self.cluster.view).add
        if not targets:
            raise NoBackend("no storage server can take this file now", retry_after=5)
        return targets

    async def delete(self, path: Path) -> None:
        """
        End the file, and every upload that was accepted before: one may have arrived that nobody has seen yet.

        :raises NotFound: there is neither.
        """

        def events(record: Record) -> list[Event]:
            if record.live is None and not record.pending:
                raise NotFound(f"there is no file {path.name}")
            return [Deleted(self.now)]

        async with Promise(self.store):
            await self.commit(path, await self.read(path), events)

    async def change(self, path: Path, change: Callable[[Version], Terms]) -> Snapshot:
        """
        Give the live version other terms.

        :raises NotFound: nothing is live.
        :raises BadField: there is no such policy.
        """

        def events(record: Record) -> list[Event]:
            if record.live is None:
                raise NotFound(f"there is no file {path.name}")
            terms = change(record.live)
            self._check(terms)
            if terms.attributes != record.live.asked.attributes:  # else they were there before the limit was
                self._check_attributes(terms)
            return [Changed(self.now, record.live.id, terms if terms != Terms() else None)]

        async with Promise(self.store):
            snapshot, _ = await self.commit(path, await self.read(path), events)
        return snapshot


def _is_repaired(old: Record, new: Record) -> bool:
    """The same version is live, and no more without a good copy."""
    return (
        old.live is not None
        and new.live is not None
        and old.live.id == new.live.id
        and old.damaged
        and not new.damaged
    )
