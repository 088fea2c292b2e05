"""The lease on a path that is being looked at: a large copy may take longer than one."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from dragonbelly.errors import StateUnavailable
from dragonbelly.interfaces import Claim, IClock, IStateStore


class Lease:
    """
    Renews a claim every third of ``seconds`` until it is settled.  When somebody moved the path meanwhile it is
    theirs to look at too, and there is nothing left to renew or to settle; that does no harm, it is only work.
    """

    def __init__(self, store: IStateStore, claim: Claim, seconds: float, clock: IClock) -> None:
        self._store = store
        self._claim: Claim | None = claim
        self._seconds = seconds
        self._clock = clock
        self._renewing: Deferred[None] | None = None
        self._next: IDelayedCall | None = clock.callLater(seconds / 3, self._renew)

    def _renew(self) -> None:
        self._next = None
        self._renewing = Deferred.fromCoroutine(self._ask())
        self._renewing.addBoth(self._renewed)

    async def _ask(self) -> None:
        if self._claim is not None:
            self._claim = await self._store.settle(self._claim, self._seconds)

    def _renewed(self, result: object) -> None:
        # A store that did not answer may have renewed it or not: then the token is unknown, and it lapses.
        if result is not None:
            self._claim = None
        self._renewing = None
        if self._claim is not None:
            self._next = self._clock.callLater(self._seconds / 3, self._renew)

    def drop(self) -> None:
        """No more renewals; it lapses by itself."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._renewing is not None:
            self._renewing.cancel()
        self._claim = None

    async def settle(self, due: float | None) -> None:
        """End it; look at the path next in ``due`` seconds.  If the store is away it lapses instead."""
        if self._renewing is not None:
            await self._renewing
        claim = self._claim
        self.drop()
        if claim is not None:
            try:
                await self._store.settle(claim, due)
            except StateUnavailable:
                return
