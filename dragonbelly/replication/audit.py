"""
The audit: all that is stored is looked at from time to time, at a set rate.

Each copy that a record counts on: whether it is there and of the right size, and now and then its bytes; what
is wrong is doubted, and the file's visit decides and repairs.  Then each object on each server: whether a
record knows it.  One daemon does it for all; how far it is lies in the store, so another goes on where it
stops.
"""

from __future__ import annotations

from collections.abc import Callable

from dragonbelly.cluster.health import Health
from dragonbelly.config.values import Config
from dragonbelly.errors import NotYet
from dragonbelly.interfaces import IClock, Snapshot
from dragonbelly.ledger import Ledger
from dragonbelly.metrics import Metrics
from dragonbelly.model import Path, Replica, Version
from dragonbelly.replication.audit_round import RECORD, Finding, Round, decode, encode, following
from dragonbelly.replication.pace import Pace
from dragonbelly.replication.replicas import COUNTED, Look, Replicas
from dragonbelly.replication.strays import Strays
from dragonbelly.replication.turn import Turn
from dragonbelly.ticking import TickingService
from dragonbelly.waiting import each

#: Records that are read together; replicas that are looked at, or read, at a time.
LOT, AT_ONCE = 100, 4

#: Seconds between two notes of how far it is: as much is done again after a crash.
NOTE = 2.0


class _Ended(Exception):
    """Somebody else goes on with it, or it was called off, or nothing may be decided now."""


class Audit(TickingService):
    """
    The rounds that come by themselves.  ``name`` tells this daemon from others; ``kind`` this service from
    others of it.  ``waits()`` says until when no round begins or goes on, None if it may.
    """

    kind = "regular"

    def __init__(
        self,
        ledger: Ledger,
        health: Health,
        config: Config,
        clock: IClock,
        name: str,
        metrics: Metrics,
        waits: Callable[[], str | None],
        every: float,
    ) -> None:
        super().__init__(clock, every)
        self._ledger = ledger
        self._store = ledger.store
        self._cluster = ledger.cluster
        self._config = config
        self._settings = config.audit
        self._metrics = metrics
        self.waits = waits
        self._waited = False
        self._replicas = Replicas(ledger, health)
        self._field = f"audit.{self.kind}"
        self._turn = Turn(self._store, clock, f"{self._field}.holder", name)
        self._pace = Pace(clock, self._settings.rate)
        self._bandwidth = Pace(clock, self._settings.bandwidth)
        self._strays = Strays(
            ledger,
            health,
            config,
            clock,
            self._pace,
            on_removed=lambda backend: metrics.orphans.labels(backend).inc(),
        )
        self._noted: str | None = None
        self._noting = False
        self._noted_at = 0.0

    async def last(self) -> Round | None:
        """The round that is under way, or was the last."""
        return decode(await self._store.meta(self._field))

    async def work(self) -> None:
        text = await self._store.meta(self._field)
        round = decode(text)
        if round is None or not round.under_way:
            round = self._following(round)
            if round is None:
                return
        elif not self._wanted():
            return
        if (until := self.waits()) is not None:
            if not self._waited:
                self._log.warn("audit {n} waits {until}", n=round.number, until=until)
            self._waited = True
            return
        self._waited = False
        if not await self._turn.take():
            return
        self._noted = text
        with self._turn.kept():
            try:
                await self._go_through(round)
            except _Ended:
                await self._tell_of_the_end(round)
                return
        await self._turn.give_back()

    def _following(self, last: Round | None) -> Round | None:
        return following(last, self._ledger.now, self._settings.every, self._settings.read_every)

    def _wanted(self) -> bool:
        """Whether a round that was begun is to be gone on with."""
        return self._settings.every > 0

    async def _tell_of_the_end(self, round: Round) -> None:
        """Somebody may have called it off, here or at another daemon."""
        last = await self.last()
        if last is not None and last.called_off and last.number == round.number:
            self._log.info("audit {n} ends here: it was called off", n=round.number)

    # --- a round

    async def _go_through(self, round: Round) -> None:
        run = self._store.run

        def go_on() -> None:
            if not self._turn.ours or not self._ledger.epoch.agreed or self._store.run != run:
                raise _Ended

        begun = round.records > 0 or round.compared
        round.go_back()
        round.keep()
        if round.under_way and not round.prefix and round.total is None:
            round.total = (await self._store.counts()).files
        if round.under_way:
            self._log.info(
                "audit {n} of {what}{read} {begins}",
                n=round.number,
                what=round.what,
                read=", all bytes," if round.read else "",
                begins="goes on" if begun else "begins",
            )
        await self._note(round, at_once=True)
        while round.under_way and not round.compared:
            await self._compare_some(round)
            go_on()
            await self._note(round, at_once=round.compared)
        for name in self._cluster.names if round.under_way else ():
            if name in round.walked:
                continue
            there = self._cluster.view[name].reachable
            if not there or not await self._strays.walk(name, round, go_on, lambda: self._note(round)):
                go_on()
                round.skipped.append(name)
            round.walked.append(name)
            round.keep()
            await self._note(round, at_once=True)
        if round.under_way:
            round.ended = self._ledger.now
            await self._note(round, at_once=True)
            self._log.info(
                "audit {n} ended: {replicas} copies of {records} files, {found} findings",
                n=round.number,
                replicas=round.replicas,
                records=round.records,
                found=round.found,
            )

    async def _note(self, round: Round, at_once: bool = False) -> None:
        """Write down how far it is; who cannot is not the one any more whose turn it is."""
        now = self._clock.seconds()
        if not at_once and (self._noting or 0 <= now - self._noted_at < NOTE):
            return
        self._noting, text = True, encode(round)
        try:
            if not await self._store.set_meta(self._field, self._noted, text):
                raise _Ended
        finally:
            self._noting = False
        self._noted, self._noted_at = text, now

    # --- the records

    async def _compare_some(self, round: Round) -> None:
        """Look at the next few records."""
        if round.prefix:
            domain, _, prefix = round.prefix.partition("/")
            names = await self._store.page(domain, prefix, round.cursor or "", LOT)
            paths = [Path(domain, name) for name in names]
            cursor = names[-1] if len(names) == LOT else None
        else:
            paths, cursor = await self._store.walk(round.cursor, LOT)
        snapshots = await self._store.get_many(paths)

        async def look(at: tuple[Path, Snapshot | None]) -> None:
            await self._look_at(round, *at)
            round.records += 1
            await self._note(round)

        await each(zip(paths, snapshots, strict=True), look, AT_ONCE)
        round.cursor, round.compared = cursor, cursor is None
        round.keep()

    async def _look_at(self, round: Round, path: Path, snapshot: Snapshot | None) -> None:
        if snapshot is None:
            self._ledger.unreadable.met(path)
            if round.add(Finding(path.member, RECORD, self._ledger.now)):
                self._metrics.findings.labels(RECORD).inc()
            return
        record = snapshot.record
        if record is None or record.live is None:
            return
        if record.damaged:
            # A person may have brought a copy back: its visit looks for one.
            round.damaged += 1
            await self._store.hasten([path])
        for replica in record.live.in_state(*COUNTED):
            view = self._cluster.view.get(replica.backend)
            if view is None or not view.reachable:
                round.unknown += 1
                continue
            await self._pace.spend(1)
            await self._judge(
                round, path, record.live, replica, await self._see(round, path, record.live, replica)
            )

    async def _see(self, round: Round, path: Path, version: Version, replica: Replica) -> Look:
        if not round.read:
            return await self._replicas.stat(path, version, replica)
        seen = await self._replicas.read(path, version, replica, self._bandwidth, self._clock)
        if seen.sha256 is not None:
            round.bytes += version.size or 0
            self._metrics.audited_bytes.inc(version.size or 0)
        return seen

    async def _judge(self, round: Round, path: Path, version: Version, replica: Replica, seen: Look) -> None:
        if seen.unknown:
            round.unknown += 1
            return
        round.replicas += 1
        self._metrics.audited.inc()
        if seen.wrong is not None:
            # Looked up again: it may have been moved, or removed, while we looked.
            if await self._replicas.doubt(path, version, replica):
                now = self._ledger.now
                self._found(round, Finding(path.member, seen.wrong, now, replica.backend, version.id))
        elif seen.sha256 is not None and version.sha256 is None:
            await self._replicas.hashed(path, version, replica, seen.sha256)

    def _found(self, round: Round, finding: Finding) -> None:
        if round.add(finding):
            self._metrics.findings.labels(finding.what).inc()
            self._log.warn(
                "audit: {path} on {backend}: {what}",
                path=finding.path,
                backend=finding.backend,
                what=finding.what,
            )


class AskedAudit(Audit):
    """The rounds that somebody asked for, of everything or of a part; one at a time."""

    kind = "asked"

    def _following(self, last: Round | None) -> Round | None:
        return None

    def _wanted(self) -> bool:
        return True

    async def ask(self, prefix: str, read: bool) -> Round:
        """
        Begin one.

        :raises NotYet: another is under way.
        :raises StateUnavailable: unknown whether it was begun.
        """
        text = await self._store.meta(self._field)
        last = decode(text)
        if last is None or not last.under_way:
            round = Round((last.number if last else 0) + 1, self._ledger.now, prefix, read)
            if await self._store.set_meta(self._field, text, encode(round)):
                if self.running:
                    self.tick()
                return round
            last = await self.last()
        of = f" of {last.prefix}" if last is not None and last.prefix else ""
        raise NotYet(
            f"another audit{of} is under way: wait for its end, or call it off (dragonbelly audit --cancel)",
            retry_after=10,
        )

    async def call_off(self) -> None:
        """End the one that is under way, if any."""
        while True:
            text = await self._store.meta(self._field)
            last = decode(text)
            if last is None or not last.under_way:
                return
            last.ended, last.called_off = self._ledger.now, True
            # Whoever is at it may have noted meanwhile how far it is.
            if await self._store.set_meta(self._field, text, encode(last)):
                break
        self._log.info(
            "audit {n} of {what} was called off: {replicas} copies of {records} files, {found} findings",
            n=last.number,
            what=last.what,
            replicas=last.replicas,
            records=last.records,
            found=last.found,
        )
