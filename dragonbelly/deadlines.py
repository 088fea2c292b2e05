"""Timeouts of a process that may have slept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime

#: Seconds by which a reactor is late when it did not run for a while.
LATE = 0.05


class Deadlines:
    """
    Calls later, as a clock does, but counts only the time in which something could come.

    A process that was stopped (or a virtual machine that was moved) finds that the time of its calls is over
    before it has looked at the answers that have long been there, or has even sent the questions: a reactor
    runs what is due first.  So a call that comes late is given its time once more, and any other one more turn
    of the reactor.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock

    def callLater(self, delay: float, call: Callable[..., object], *args: Any, **kwargs: Any) -> Deadline:
        return Deadline(self._clock, delay, lambda: call(*args, **kwargs))


class Deadline:
    """One call, which can be cancelled while it is active."""

    def __init__(self, clock: IReactorTime, delay: float, call: Callable[[], object]) -> None:
        self._clock = clock
        self._delay = delay
        self._call = call
        self._due = clock.seconds() + delay
        self._next = clock.callLater(delay, self._over)

    def _over(self) -> None:
        if self._clock.seconds() > self._due + LATE:
            self._next = self._clock.callLater(self._delay, self._call)
        else:
            self._next = self._clock.callLater(0, self._call)

    def active(self) -> bool:
        return bool(self._next.active())

    def cancel(self) -> None:
        self._next.cancel()
