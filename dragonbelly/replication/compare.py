"""
Comparing all records with the storage, after which a Redis that may have come back older is trusted again.

Both ways.  Each copy that a record counts on is looked at; what is not there any more is checked by its visit.
Each object on each server is looked up; what no record knows, and was written so late that its record may have
been lost, is taken into the records again.  See ``replication.epoch`` for why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dragonbelly.cluster.health import Health
from dragonbelly.config.values import Config
from dragonbelly.errors import BackendError
from dragonbelly.interfaces import IClock, Snapshot
from dragonbelly.ledger import Ledger
from dragonbelly.model import BackendState, Path
from dragonbelly.replication.adoption import Adoption
from dragonbelly.replication.epoch import RUN, SKIPPED, parse_skipped
from dragonbelly.replication.objects import lots
from dragonbelly.replication.replicas import COUNTED, Replicas
from dragonbelly.replication.turn import Turn
from dragonbelly.ticking import TickingService
from dragonbelly.waiting import each

#: Records that are read together, and replicas or records that are asked for at a time.
LOT, AT_ONCE = 200, 8

HOLDER = "compare.holder"


#: Backends, with from when on versions there were taken in (unix s); None: none was.
_Edges = dict[str, int | None]


class _Ended(Exception):
    """Another server answers, or another daemon goes on with it."""


class Comparison(TickingService):
    """
    Keeps the gate: says that all is well while it is, and compares when it may not be.  A backend that does
    not answer is waited for, unless a person said that it is down or dead; what is down (or not in the
    configuration) is compared when it is back.

    ``on_agreed`` is called when the gate opened again; ``name`` tells this daemon from others.
    """

    def __init__(
        self,
        ledger: Ledger,
        health: Health,
        config: Config,
        clock: IClock,
        name: str,
        on_agreed: Callable[[], None],
        every: float,
    ) -> None:
        super().__init__(clock, every)
        self._ledger = ledger
        self._store = ledger.store
        self._epoch = ledger.epoch
        self._cluster = ledger.cluster
        self._health = health
        self._domains = config.domains
        self._adoption = Adoption(ledger, config)
        self._on_agreed = on_agreed
        self._replicas = Replicas(ledger, health)
        self._turn = Turn(self._store, clock, HOLDER, name)
        self._was_agreed = False
        self._run = ""
        self._compared: _Edges = {}
        self._said: list[str] = []
        self._skipped: dict[str, int] | None = None
        self._counts = dict.fromkeys(("records", "objects", "doubted", "adopted"), 0)

    @property
    def agreed(self) -> bool:
        return self._epoch.agreed

    def waits(self) -> str | None:
        """Until when whatever removes something waits, in words; None while the gate is open."""
        if self._epoch.agreed:
            return None
        silent = [name for name in self._left() if not self._is_reachable(name)]
        why = f" ({', '.join(silent)} {'does' if len(silent) == 1 else 'do'} not answer)" if silent else ""
        return f"until records and storage were compared{why}"

    def show(self) -> dict[str, Any]:
        """How far it is, for operators."""
        agreed = self._epoch.agreed
        return {
            "agreed": agreed,
            **self._counts,
            "waits_for": [] if agreed else self._left(),
            "skipped": sorted(self._skipped or ()),
        }

    async def work(self) -> None:
        if not self._epoch.agreed and not await self._epoch.look():
            await self._compare()
        if self._epoch.agreed:
            await self._epoch.beat()
            await self._agreed()

    async def _agreed(self) -> None:
        if not self._was_agreed:
            self._was_agreed = True
            self._skipped = None
            if self._run:
                self._log.info("records and storage agree: what is not needed is removed again")
                self._on_agreed()
        if self._skipped is None:
            self._skipped = parse_skipped(await self._store.meta(SKIPPED))
        if any(self._is_reachable(name) for name in self._skipped):
            await self._catch_up()

    # --- all of it

    async def _compare(self) -> None:
        run = self._store.run
        if run == "":
            return
        if run != self._run:
            self._run, self._was_agreed, self._compared, self._said = run, False, {}, []
            self._counts = dict.fromkeys(self._counts, 0)
            self._log.warn(
                "this is another run of Redis, which may have lost the last writes: nothing is removed until "
                "all records and the storage were compared"
            )
        if not await self._turn.take():
            return
        with self._turn.kept():
            try:
                await self._go_on(run)
            except _Ended:
                return
        if self._epoch.agreed:
            await self._turn.give_back()

    async def _go_on(self, run: str) -> None:
        """Compare the backends that are left and answer; when none is left, agree."""
        old = await self._store.meta(RUN)
        since = await self._epoch.since()
        skipped = parse_skipped(await self._store.meta(SKIPPED))
        ready = [name for name in self._left() if self._is_reachable(name)]
        if ready:
            self._compared |= await self._look_at({n: _earlier(since, skipped.get(n)) for n in ready}, run)
        if left := self._left():
            if left != self._said:
                self._said = left
                self._log.warn(
                    "nothing is removed until these backends answer, too: {left}", left=", ".join(left)
                )
            return
        absent = dict.fromkeys(await self._absent(), since) if since is not None else {}
        await self._change_skipped(
            lambda now: _left_of(now, self._compared) | {n: min(now.get(n, at), at) for n, at in absent.items()}
        )
        self._check(run)
        if await self._epoch.agree(run, old):
            self._log.info(
                "compared {records} records and {objects} objects: {doubted} copies are doubted, {adopted} "
                "objects were forgotten and are known again",
                **self._counts,
            )
            await self._epoch.look()

    def _left(self) -> list[str]:
        """The backends that the comparison cannot end without."""
        out = (BackendState.DOWN, BackendState.DEAD)
        return [
            n for n in self._cluster.names if n not in self._compared and self._cluster.view[n].state not in out
        ]

    async def _absent(self) -> list[str]:
        """Those that may hold something and could not be compared."""
        view = self._cluster.view
        down = [n for n in self._cluster.names if view[n].state is BackendState.DOWN]
        elsewhere = [name for name in sorted(await self._store.use()) if name not in view]
        return [name for name in down + elsewhere if name not in self._compared]

    def _is_reachable(self, name: str) -> bool:
        return name in self._cluster.view and self._cluster.view[name].reachable

    def _check(self, run: str) -> None:
        if self._store.run != run or not self._turn.ours:
            raise _Ended

    # --- what was not there

    async def take_in(self, name: str) -> None:
        """
        Have everything on a backend taken into the records that they do not know of, whenever it was made: what
        a Redis leaves behind that is lost for good.

        :raises StateUnavailable: unknown whether it will be done.
        """
        # Below what may be under way, which began without what was put there since.
        await self._change_skipped(lambda now: now | {name: min(0, now.get(name, 1) - 1)})
        if self.running:
            self.tick()

    async def _catch_up(self) -> None:
        """Compare those that are back, though the gate is open: of their objects none was removed."""
        if not await self._turn.take():
            return
        run = self._store.run
        with self._turn.kept():
            try:
                skipped = parse_skipped(await self._store.meta(SKIPPED))
                looked = await self._look_at({n: at for n, at in skipped.items() if self._is_reachable(n)}, run)
                await self._change_skipped(lambda now: _left_of(now, looked))
            except _Ended:
                self._skipped = None
                return
        await self._turn.give_back()

    async def _change_skipped(self, change: Callable[[dict[str, int]], dict[str, int]]) -> None:
        """What others wrote while we looked is kept: it may be a person's request."""
        while True:
            old = await self._store.meta(SKIPPED)
            skipped = change(parse_skipped(old))
            text = " ".join(f"{name}={at}" for name, at in sorted(skipped.items()))
            if text == (old or "") or await self._store.set_meta(SKIPPED, old, text):
                self._skipped = skipped
                return

    # --- looking

    async def _look_at(self, since: Mapping[str, int | None], run: str) -> _Edges:
        """
        Compare these backends: those of them that answered to the end.  ``since`` is from when on versions on
        each may have been forgotten, None: none was.
        """
        failed: set[str] = set()
        await self._records(frozenset(since), failed, run)
        for name in sorted(since):
            if name not in failed and not await self._objects(name, since[name], run):
                failed.add(name)
        return {name: edge for name, edge in since.items() if name not in failed}

    async def _records(self, names: frozenset[str], failed: set[str], run: str) -> None:
        async def look(at: tuple[Path, Snapshot | None]) -> None:
            path, snapshot = at
            if snapshot is None:
                self._ledger.unreadable.met(path)
            live = snapshot.record.live if snapshot is not None and snapshot.record is not None else None
            if live is None:
                return
            for replica in live.in_state(*COUNTED):
                if replica.backend not in names or replica.backend in failed:
                    continue
                seen = await self._replicas.stat(path, live, replica)
                if seen.unknown:
                    failed.add(replica.backend)
                elif seen.wrong is not None:
                    self._check(run)
                    self._counts["doubted"] += await self._replicas.doubt(path, live, replica)

        cursor: str | None = None
        while True:
            paths, cursor = await self._store.walk(cursor, LOT)
            snapshots = await self._store.get_many(paths)
            await each(zip(paths, snapshots, strict=True), look, AT_ONCE)
            self._check(run)
            self._counts["records"] += len(paths)
            if cursor is None:
                return

    async def _objects(self, name: str, since: int | None, run: str) -> bool:
        """Take in what was forgotten on a backend; whether it was walked to its end."""
        edge = float("inf") if since is None else since
        if not await self._health.believed(name):
            return False
        try:
            async for ours, _ in lots(self._cluster.backend(name)):
                snapshots = await self._store.get_many([found.path for found in ours])
                for found, snapshot in zip(ours, snapshots, strict=True):
                    self._check(run)
                    if snapshot is not None and found.path.domain in self._domains:
                        self._counts["adopted"] += await self._adoption.adopt(name, found, snapshot, edge)
                self._counts["objects"] += len(ours)
        except BackendError as error:
            self._health.doubt(name, error)
            return False
        return True


def _left_of(skipped: dict[str, int], looked: _Edges) -> dict[str, int]:
    """What is still to be looked at, or from earlier on, or again."""

    def is_done(name: str, at: int) -> bool:
        edge = looked.get(name)
        return edge is not None and edge <= at

    return {name: at for name, at in skipped.items() if not is_done(name, at)}


def _earlier(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else min(one, other)
