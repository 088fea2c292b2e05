"""
Looking at all records at once: after something changed that no single record knows of.

A sweep makes a plan for every record and makes those due that have something to do.  That one is wanted is a
number in the store, which grows; so is the last one done.  A daemon that dies in the middle of a sweep leaves
them unequal, and the next one begins again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from dragonbelly.interfaces import IClock
from dragonbelly.ledger import Ledger
from dragonbelly.model import Path, Record
from dragonbelly.replication.turn import Turn
from dragonbelly.ticking import TickingService

#: Records that are looked at together, and seconds between two lots: a sweep leaves room for the real work.
LOT, PAUSE = 200, 0.01

WANTED, DONE, HOLDER, FINGERPRINT = "sweep.wanted", "sweep.done", "sweep.holder", "fingerprint"


class Sweeper(TickingService):
    """``name`` tells this daemon from others."""

    def __init__(self, ledger: Ledger, clock: IClock, name: str, fingerprint: str, every: float) -> None:
        super().__init__(clock, every)
        self._ledger = ledger
        self._store = ledger.store
        self._turn = Turn(self._store, clock, HOLDER, name)
        self._fingerprint = fingerprint
        #: The run of the store in which our fingerprint was compared: another may have forgotten it.
        self._compared = ""
        self._requests = 0
        self._wakes = 0
        #: The last one that was done, in which run of the store: an older one may want the same number again.
        self._done: tuple[str, str | None] | None = None

    def request(self) -> None:
        """Have all records looked at; remembered until the store knows it."""
        self._requests += 1

    def wake(self) -> None:
        """Have the paths that wait for something looked at, soon: a backend came back."""
        self._wakes += 1
        if self.running:
            self.tick()

    async def work(self) -> None:
        if self._compared != self._store.run:
            await self._compare()
        if wakes := self._wakes:
            await self.sweep(self._store.waiting)
            self._wakes -= wakes
        if requests := self._requests:
            await self._want()
            self._requests -= requests
        run, wanted = self._store.run, await self._store.meta(WANTED)
        if (run, wanted) == self._done:
            return
        if wanted == await self._store.meta(DONE):
            self._done = (run, wanted)
            return
        if not await self._may_sweep():
            return
        if await self._turn.take():
            self._log.info("looking at all files: what is asked of them, or the backends, changed")
            hastened = await self.sweep(self._store.walk, self._turn.take)
            if hastened is None:
                return
            done = await self._store.meta(DONE)
            await self._store.set_meta(DONE, done, wanted or "0")
            await self._turn.give_back()
            self._log.info("looked at all files; {n} have something to do", n=hastened)

    async def _compare(self) -> None:
        """Whether the configuration places files as it did when a daemon last said so."""
        run, before = self._store.run, await self._store.meta(FINGERPRINT)
        if before != self._fingerprint:
            if before is not None:
                await self._want()
            if not await self._store.set_meta(FINGERPRINT, before, self._fingerprint):
                return  # another daemon starts at the same time: compare with what it says
        self._compared = run

    async def _may_sweep(self) -> bool:
        """Not by an older configuration than the one that the sweep was asked for."""
        return await self._store.meta(FINGERPRINT) == self._fingerprint

    async def _want(self) -> None:
        wanted = await self._store.meta(WANTED)
        # Who loses to another daemon's request need not ask again: that one was made later than the change.
        await self._store.set_meta(WANTED, wanted, str(int(wanted or "0") + 1))

    def _is_busy(self, path: Path, record: Record) -> bool:
        try:
            made = self._ledger.plan(path, record)
        except Exception:
            # The others have to be looked at all the same; what is wrong with this one its own visit will say.
            self._log.failure("a plan for {path}", path=path.member)
            return True
        return bool(made.moves or made.steps)

    async def sweep(
        self, pages: Callable[[str | None, int], Deferred[Any]], hold: Callable[[], Any] | None = None
    ) -> int | None:
        """Make those of the paths due that have something to do; how many, None if ``hold`` was lost."""
        cursor: str | None = None
        hastened = 0
        while True:
            paths, cursor = await pages(cursor, LOT)
            busy = []
            for path, snapshot in zip(paths, await self._store.get_many(paths), strict=True):
                if snapshot is None:
                    self._ledger.unreadable.met(path)
                record = snapshot.record if snapshot is not None else None
                if record is not None and self._is_busy(path, record):
                    busy.append(path)
            if busy:
                await self._store.hasten(busy)
                hastened += len(busy)
            if cursor is None:
                return hastened
            if hold is not None and not await hold():
                return None
            await deferLater(self._clock, PAUSE)
