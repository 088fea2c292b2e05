"""Timeouts of a process that may have slept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime


class Deadlines:
    """
    Calls later, as a clock does, but not before what came in time was read.

    A process that was stopped for a while (or a virtual machine that was moved) finds that the time of its
    calls is over before it has looked at the answers that have long been there: a reactor runs what is due
    first, and reads then.  So whoever is late gets one more of its turns.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock

    def callLater(self, delay: float, call: Callable[..., object], *args: Any, **kwargs: Any) -> Deadline:
        return Deadline(self._clock, delay, lambda: call(*args, **kwargs))


class Deadline:
    """One call, which can be cancelled while it is active."""

    def __init__(self, clock: IReactorTime, delay: float, call: Callable[[], object]) -> None:
        self._clock = clock
        self._call = call
        self._next = clock.callLater(delay, self._once_more)

    def _once_more(self) -> None:
        self._next = self._clock.callLater(0, self._call)

    def active(self) -> bool:
        return bool(self._next.active())

    def cancel(self) -> None:
        self._next.cancel()
