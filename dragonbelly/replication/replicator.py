"""
The replicator: takes the paths whose time has come, does what their plans say, and says when to look again.

The queue says only *look at this path*; everything else is in the record.  So a path that comes twice, late,
or to two daemons at once does no harm: each commit is a compare-and-swap, and each removal was committed to
before it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    DeferredSemaphore,
    succeed,
)
from twisted.python.failure import Failure

from dragonbelly.cluster.health import Health
from dragonbelly.config.values import Config
from dragonbelly.errors import (
    BackendError,
    BackendRefused,
    BadRecord,
    DigestMismatch,
    NoSuchObject,
    StateUnavailable,
)
from dragonbelly.events import Copied, Doubted, Event, Found, Lost, Refused, Removed, Tried
from dragonbelly.interfaces import Claim, IClock, Snapshot
from dragonbelly.keys import key_of
from dragonbelly.ledger import Ledger
from dragonbelly.metrics import Metrics
from dragonbelly.model import Path, Record, Replica, ReplicaState, Version
from dragonbelly.replication import backoff
from dragonbelly.replication.copy import SMALL, SourceFailed, copy, read_digest
from dragonbelly.replication.hashing import threads_of
from dragonbelly.replication.haste import Haste
from dragonbelly.replication.lease import Lease
from dragonbelly.replication.pace import Bandwidth
from dragonbelly.replication.plan import Check, Copy, Plan, Remove, Step, Verify
from dragonbelly.replication.verify import Verifier
from dragonbelly.ticking import TickingService
from dragonbelly.waiting import together

#: Rounds of one visit: a plan is made anew after each, and ends by itself long before.
ROUNDS = 50


class Visit:
    """
    What one visit remembers: the steps that it took without getting on, the backends that failed, and which
    ``run`` of the store it read from.
    """

    def __init__(self, path: Path, run: str) -> None:
        self.path = path
        self.run = run
        self.futile: set[Step] = set()
        self.copying: set[tuple[Path, str, str, int]] = set()
        self.avoid: frozenset[str] = frozenset()

    def fail(self, step: Step, backend: str | None = None) -> None:
        self.futile.add(step)
        if backend is not None:
            self.avoid |= {backend}


class Replicator(TickingService):
    """``LoopingCall``-driven: every ``[replication] every`` it claims as many paths as it has hands free."""

    def __init__(
        self,
        ledger: Ledger,
        verifier: Verifier,
        health: Health,
        config: Config,
        clock: IClock,
        random: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        super().__init__(clock, config.replication.every)
        self._ledger = ledger
        self._store = ledger.store
        self._cluster = ledger.cluster
        self._verifier = verifier
        self._health = health
        self._settings = config.replication
        self._threads = threads_of(clock)
        #: Bytes of an object that is copied as a whole; a simulation has smaller ones, and wants both ways.
        self.small = SMALL
        self._bandwidth = Bandwidth(
            clock, self._settings.bandwidth, self._settings.bandwidth_per_backend, self._cluster.names
        )
        self._random = random
        self._metrics = metrics
        self._hands = {name: DeferredSemaphore(self._settings.per_backend) for name in self._cluster.names}
        self._haste = Haste(self._settings.uploads_first)
        # No set: they are ended in the order in which they began, whatever addresses they have in memory.
        self._visits: dict[Deferred[None], None] = {}
        self._copying: set[tuple[Path, str, str, int]] = set()
        self._store_away = False

    # --- the loop

    def stopService(self) -> Deferred[Any]:
        """Ends what is under way: the next daemon to look at those paths goes on from their records."""
        under_way = [super().stopService(), *self._visits]
        for visit in list(self._visits):
            visit.cancel()
        if self._threads is not None:
            self._threads.stop()
        return DeferredList(under_way, consumeErrors=True)

    def tick(self) -> None:
        """Take what is due.  Called by the loop, and again whenever hands are free and there is more."""
        if len(self._visits) <= self._settings.concurrency // 2:
            super().tick()

    def upload_began(self) -> None:
        """With ``[replication] uploads_first`` copies give way to it."""
        self._haste.upload_began(self._clock.seconds())

    def store_away(self, reason: str) -> None:
        if not self._store_away:
            self._log.warn("the state store is away: {reason}", reason=reason)
        self._store_away = True

    async def work(self) -> None:
        # Several at a time: one question to the store for each path would cost as much as its work.
        hands = self._settings.concurrency - len(self._visits)
        claims = await self._store.claim(hands, self._settings.lease)
        if self._store_away:
            self._store_away = False
            self._log.info("the state store is back")
        more = len(claims) == hands
        self._haste.claimed(self._clock.seconds(), more)
        if not claims:
            return
        snapshots = await self._store.get_many([claim.path for claim in claims])
        for claim, snapshot in zip(claims, snapshots, strict=True):
            self._begin(claim, snapshot, more)

    def _begin(self, claim: Claim, snapshot: Snapshot | None, more: bool) -> None:
        visit = Deferred.fromCoroutine(self._visit(claim, snapshot))
        self._visits[visit] = None
        self._metrics.busy.set(len(self._visits))

        def done(result: Any) -> None:
            self._visits.pop(visit, None)
            self._metrics.busy.set(len(self._visits))
            if more and self.running and self._haste.at(self._clock.seconds()):
                self.tick()

        visit.addBoth(done)

    async def _visit(self, claim: Claim, snapshot: Snapshot | None) -> None:
        lease = Lease(self._store, claim, self._settings.lease, self._clock)
        try:
            if snapshot is None:
                # Read alone it says why, and the ledger tells.
                snapshot = await self._ledger.read(claim.path)
            await lease.settle(await self.reconcile(claim.path, snapshot))
        except CancelledError:
            raise
        except StateUnavailable:
            # The lease ends by itself, and the path is due again.
            self._metrics.visits.labels("store_away").inc()
        except BadRecord:
            self._metrics.visits.labels("bad_record").inc()
            await lease.settle(backoff.HOUR)
        except Exception:
            self._log.failure("looking at {path}", path=claim.path.member)
            self._metrics.visits.labels("error").inc()
            await lease.settle(backoff.HOUR)
        finally:
            lease.drop()

    # --- one path

    async def reconcile(self, path: Path, snapshot: Snapshot) -> float | None:
        """Do what the plan says until nothing more can be done now; when to look again, in s (None: never)."""
        visit = Visit(path, self._store.run)
        try:
            return await self._go_on(visit, snapshot)
        finally:
            self._copying -= visit.copying

    async def _go_on(self, visit: Visit, snapshot: Snapshot) -> float | None:
        path, events = visit.path, list[Event]()
        for _ in range(ROUNDS):
            if self._store.run != visit.run:
                # What was seen and done may be of a record that another server never had.
                raise StateUnavailable("another server answers than when the visit began")
            snapshot, plan = await self._ledger.happened(path, snapshot, events, avoid=visit.avoid)
            self._copying -= visit.copying
            visit.copying.clear()
            steps = [step for step in plan.steps if step not in visit.futile]
            if not steps:
                return await self._leave(visit, snapshot, plan)
            record = snapshot.record
            assert record is not None
            results = await together(
                [self._perform(visit, record, step).addErrback(self._stumbled, visit, step) for step in steps]
            )
            events = [event for result in results for event in result]
        raise AssertionError(f"the plan of {path.member} does not end")

    async def _leave(self, visit: Visit, snapshot: Snapshot, plan: Plan) -> float | None:
        undone = plan.waits or any(not isinstance(s, Verify) or s.final for s in plan.steps)
        if not undone:
            self._metrics.visits.labels("done").inc()
            return plan.due
        self._metrics.visits.labels("waits").inc()
        tried = [Tried(self._ledger.now)]
        snapshot, plan = await self._ledger.happened(visit.path, snapshot, tried, avoid=visit.avoid)
        tries = snapshot.record.tries if snapshot.record is not None else 1
        again = backoff.spread(backoff.delay(tries), self._random)
        return again if plan.due is None else min(again, plan.due)

    def _perform(self, visit: Visit, record: Record, step: Step) -> Deferred[Sequence[Event]]:
        version = record.version(step.id)
        assert version is not None
        match step:
            case Verify():
                return Deferred.fromCoroutine(self._verify(visit, version, step))
            case Copy():
                return self._copy_once(visit, version, step)
            case Check():
                return self._at(step.backend, lambda: self._check(visit, version, step))
            case Remove():
                return self._at(step.backend, lambda: self._remove(visit, version, step))
        raise AssertionError(f"no such step: {step}")

    def _at(self, backend: str, work: Callable[[], Any]) -> Deferred[Sequence[Event]]:
        """Work at a backend, with no more hands there at once than ``[replication] per_backend``."""

        def begin() -> Deferred[Sequence[Event]]:
            return Deferred.fromCoroutine(work())

        return self._hands[backend].run(begin)

    def _copy_once(self, visit: Visit, version: Version, step: Copy) -> Deferred[Sequence[Event]]:
        """
        A path may come again while a long copy is made: that visit leaves the copy to this one, until the
        record says what came of it.  Else one that was seen to be good could be written over before it is
        called so.
        """
        copying = (visit.path, step.id, step.backend, step.generation)
        if copying in self._copying:
            visit.fail(step)
            return succeed(())
        self._copying.add(copying)
        visit.copying.add(copying)
        return self._at(step.backend, lambda: self._copy(visit, version, step))

    def _stumbled(self, failure: Failure, visit: Visit, step: Step) -> Sequence[Event]:
        """What nobody expected, a plugin's bug for one, ends that step alone: the others may have got on."""
        failure.trap(Exception)
        if failure.check(CancelledError):
            failure.raiseException()
        if not failure.check(StateUnavailable):  # nothing strange: what the other steps came to is said next
            self._log.failure("{step} for {path}", failure, step=step, path=visit.path.member)
        visit.fail(step, step.backend if isinstance(step, Copy) else None)
        return ()

    # --- the steps: all I/O with storage servers

    async def _verify(self, visit: Visit, version: Version, step: Verify) -> Sequence[Event]:
        seen = await self._verifier.look(visit.path, version, final=step.final)
        if seen.event is None:
            visit.fail(step)
            return ()
        return (seen.event,)

    async def _copy(self, visit: Visit, version: Version, step: Copy) -> Sequence[Event]:
        path, now = visit.path, self._ledger.now
        target = version.replica(step.backend)
        assert target is not None and version.size is not None
        doubted: list[Event] = []
        failing: str | None = None
        for name in step.sources:
            source = version.replica(name)
            assert source is not None
            try:
                sha256 = await copy(
                    self._cluster.backend(name),
                    key_of(path, version, source),
                    self._cluster.backend(step.backend),
                    key_of(path, version, target),
                    size=version.size,
                    sha256=version.sha256,
                    content_type=version.content_type,
                    in_thread=self._threads,
                    allowance=self._bandwidth.between(name, step.backend),
                    small=self.small,
                )
            except SourceFailed as failed:
                doubted += self._source_failed(path, version, source, failed.error)
                continue
            except BackendRefused as error:
                # It will say the same again: something else lies there, or it takes no such object.
                self._doubt(step.backend, error)
                self._health.wrote(step.backend, went_well=False)
                visit.fail(step, step.backend)
                if not self._ledger.epoch.agreed:
                    return doubted  # what lies there may be the very copy, which the record has forgotten
                return [*doubted, Refused(now, version.id, step.backend, step.generation)]
            except BackendError as error:
                self._doubt(step.backend, error)
                self._health.wrote(step.backend, went_well=False)
                failing = step.backend
                break
            self._health.wrote(step.backend, went_well=True)
            self._metrics.copies.labels(step.backend).inc()
            self._metrics.copied_bytes.labels(step.backend).inc(version.size)
            return [*doubted, Copied(now, version.id, step.backend, step.generation, sha256)]
        visit.fail(step, failing)
        return doubted

    def _source_failed(self, path: Path, version: Version, source: Replica, error: Exception) -> list[Event]:
        name, generation = source.backend, source.generation
        if isinstance(error, BackendError):
            self._doubt(name, error)
        counted = source.state in (ReplicaState.GOOD, ReplicaState.LEAVING)
        if counted and isinstance(error, DigestMismatch | NoSuchObject):
            # Doubted in both cases: a check of its own decides, and asks a server that answers properly.
            self._log.error(
                "the copy of {path} on {backend} is not good: {error}",
                path=path.member,
                backend=name,
                error=str(error),
            )
            return [Doubted(self._ledger.now, version.id, name, generation)]
        return []

    async def _check(self, visit: Visit, version: Version, step: Check) -> Sequence[Event]:
        replica = version.replica(step.backend)
        assert replica is not None
        now, missing = self._ledger.now, replica.state is ReplicaState.MISSING
        visit.fail(step)  # once a visit, whatever it says
        try:
            digest = await read_digest(
                self._cluster.backend(step.backend), key_of(visit.path, version, replica), version.size
            )
        except NoSuchObject:
            if missing or not await self._health.believed(step.backend):
                return ()
            return [Lost(now, version.id, step.backend, replica.generation)]
        except BackendError as error:
            self._doubt(step.backend, error)
            return ()
        sha256 = digest.sha256.digest()
        if digest.size == version.size and version.sha256 in (None, sha256):
            if missing:
                return [Copied(now, version.id, step.backend, replica.generation, sha256)]
            return [Found(now, version.id, step.backend, replica.generation)]
        if missing:
            return ()
        why = "has another size" if digest.size != version.size else "has other bytes"
        return [Lost(now, version.id, step.backend, replica.generation, why)]

    async def _remove(self, visit: Visit, version: Version, step: Remove) -> Sequence[Event]:
        replica = version.replica(step.backend)
        assert replica is not None
        try:
            deleted = await self._delete(visit, step.backend, key_of(visit.path, version, replica))
        except BackendError as error:
            self._doubt(step.backend, error)
            deleted = False
        if not deleted:
            visit.fail(step)
            return ()
        self._metrics.removals.labels(step.backend).inc()
        return [Removed(self._ledger.now, version.id, step.backend, step.generation)]

    async def _delete(self, visit: Visit, backend: str, key: str) -> bool:
        """
        Delete an object, unless the record that says so may not be true any more.

        :raises StateUnavailable: somebody else may have written that record, and it is not safe yet.
        """
        await self._store.confirm()
        # Looked at in the same moment in which the request goes out.
        if not self._ledger.epoch.agreed or self._store.run != visit.run:
            return False
        await self._cluster.backend(backend).delete(key)
        return True

    def _doubt(self, backend: str, error: BackendError) -> None:
        self._log.debug("{backend}: {error}", backend=backend, error=str(error))
        self._health.doubt(backend, error)
