"""Doing something so often a second and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater

from dragonbelly.interfaces import IClock

#: Shorter waits than this are left out, and made up for by later ones, in s.
GRAIN = 0.05

#: What copies did not take of their bandwidth they can have so much later, in s: else each late timer would be
#: a loss.
CREDIT = 0.05


class Pace:
    """
    ``rate`` is so many (of whatever is spent) a second, in the long run; what is not spent is saved up for
    ``credit`` seconds.
    """

    def __init__(self, clock: IClock, rate: float, credit: float = 0.0) -> None:
        self._clock = clock
        self._rate = rate
        self._credit = credit
        self._now = 0.0
        self._free = 0.0

    def owe(self, amount: float) -> float:
        """Seconds to wait after so many; 0 if they are not worth it."""
        now = self._clock.seconds()
        if now < self._now:
            self._free = now  # the clock was set back
        self._now = now
        self._free = max(self._free, now - self._credit) + amount / self._rate
        wait = self._free - now
        return wait if wait >= GRAIN else 0.0

    async def spend(self, amount: float) -> None:
        """Have so many, and wait as long as they take."""
        if wait := self.owe(amount):
            await deferLater(self._clock, wait)


class Allowance:
    """Several paces at once: the slowest counts."""

    def __init__(self, clock: IClock, paces: tuple[Pace, ...]) -> None:
        self._clock = clock
        self._paces = paces

    def owe(self, amount: float) -> float:
        """Seconds to wait after so many; 0 if they are not worth it."""
        return max([pace.owe(amount) for pace in self._paces], default=0.0)

    async def spend(self, amount: float) -> None:
        """Wait until so many may be had."""
        if wait := self.owe(amount):
            await deferLater(self._clock, wait)

    def later(self, seconds: float, call: Callable[[], None]) -> IDelayedCall:
        return self._clock.callLater(seconds, call)


class Bandwidth:
    """Bytes a second that copies may take in all, and from or to ``each`` backend; 0: as many as there are."""

    def __init__(self, clock: IClock, total: int, each: int, backends: Iterable[str]) -> None:
        self._clock = clock
        self._total = (Pace(clock, total, CREDIT),) if total else ()
        self._each = {name: (Pace(clock, each, CREDIT),) if each else () for name in backends}

    def between(self, source: str, target: str) -> Allowance | None:
        """That of one copy; None if it is not limited."""
        paces = (*self._total, *self._each[source], *self._each[target])
        return Allowance(self._clock, paces) if paces else None
