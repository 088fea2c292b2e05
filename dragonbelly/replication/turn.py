"""What one daemon at a time does for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from dragonbelly.errors import StateUnavailable
from dragonbelly.interfaces import IClock, IStateStore

#: Seconds for which the daemon whose turn it is is left alone.
LEASE = 15


class Turn:
    """
    A lease in the store's meta: ``field`` says whose turn it is, and until when.  ``name`` tells this daemon
    from others.  It saves work and keeps nothing safe: who sleeps through its end may still be at it.
    """

    _log = Logger()

    def __init__(self, store: IStateStore, clock: IClock, field: str, name: str) -> None:
        self._store = store
        self._clock = clock
        self._field = field
        self._name = name
        self._until = 0

    @property
    def ours(self) -> bool:
        """Whether it still is, as far as we know."""
        return self._clock.seconds() < self._until

    async def take(self) -> bool:
        """Whether it is ours, for another ``LEASE`` from now on."""
        now = int(self._clock.seconds())
        holder = await self._store.meta(self._field)
        name, _, until = (holder or "").rpartition(" ")
        # One that ends later than any can was taken by a clock that was wrong.
        taken = name not in ("", self._name) and now < float(until) <= now + LEASE + 1
        taken = taken or not await self._store.set_meta(self._field, holder, f"{self._name} {now + LEASE}")
        self._until = 0 if taken else now + LEASE
        return not taken

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Goes on being ours meanwhile, unless somebody else takes it or the store is away for too long."""
        asking: list[Deferred[None]] = []

        async def ask() -> None:
            try:
                await self.take()
            except StateUnavailable:
                return  # it lapses by itself

        def renew() -> Deferred[None]:
            asking[:] = [Deferred.fromCoroutine(ask())]
            return asking[0]

        loop = LoopingCall(renew)
        loop.clock = self._clock
        # It may be cancelled in the middle of a question.
        loop.start(LEASE / 3, now=False).addErrback(self._ended)
        try:
            yield
        finally:
            if loop.running:
                loop.stop()
            for one in asking:
                one.cancel()

    def _ended(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("whose turn it is", failure)

    async def give_back(self) -> None:
        """So that the next one need not wait for the lease to end."""
        self._until = 0
        holder = await self._store.meta(self._field)
        if holder is not None and holder.rpartition(" ")[0] == self._name:
            await self._store.set_meta(self._field, holder, "")
