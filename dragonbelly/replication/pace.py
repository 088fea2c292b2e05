"""Doing something so often a second and no more."""

from __future__ import annotations

from twisted.internet.task import deferLater

from dragonbelly.interfaces import IClock

#: Shorter waits than this are left out, and made up for by later ones, in s.
GRAIN = 0.05


class Pace:
    """``rate`` is so many (of whatever is spent) a second, in the long run; nothing is saved up."""

    def __init__(self, clock: IClock, rate: float) -> None:
        self._clock = clock
        self._rate = rate
        self._now = 0.0
        self._free = 0.0

    def owe(self, amount: float) -> float:
        """Seconds to wait after so many; 0 if they are not worth it."""
        now = self._clock.seconds()
        if now < self._now:
            self._free = now  # the clock was set back
        self._now = now
        self._free = max(self._free, now) + amount / self._rate
        wait = self._free - now
        return wait if wait >= GRAIN else 0.0

    async def spend(self, amount: float) -> None:
        """Have so many, and wait as long as they take."""
        if wait := self.owe(amount):
            await deferLater(self._clock, wait)
