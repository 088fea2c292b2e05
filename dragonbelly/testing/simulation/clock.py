"""What one daemon knows of time, and what becomes of it when its process is stopped or killed."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock
from zope.interface import implementer


@implementer(IDelayedCall)
class Alarm:
    """
    A call that somebody asked for.  One that a process asked for comes late if that is stopped, and never once
    it is dead.
    """

    __slots__ = ("_args", "_call", "_clock", "_kw", "_state", "process", "time")

    def __init__(
        self,
        clock: Timeline,
        process: ProcessClock | None,
        call: Callable[..., object],
        args: tuple[object, ...],
        kw: dict[str, object],
    ) -> None:
        self._clock = clock
        self.process = process
        self.time = 0.0
        self._call = call
        self._args = args
        self._kw = kw
        self._state = ""

    def ring(self) -> None:
        """Its time has come, and the process runs."""
        if not self._state:
            self._state = "called"
            self._call(*self._args, **self._kw)

    def cancel(self) -> None:
        if self._state == "called":
            raise AlreadyCalled
        if self._state:
            raise AlreadyCancelled
        self._state = "cancelled"

    def active(self) -> bool:
        return not self._state

    def getTime(self) -> float:
        return self.time

    def reset(self, secondsFromNow: float) -> None:
        self._clock.add(self, self._clock.rightNow + secondsFromNow)

    def delay(self, secondsLater: float) -> None:
        self._clock.add(self, self.time + secondsLater)


class Timeline(Clock):
    """``task.Clock``, whose calls are kept in a heap: sorting them at each takes longer."""

    def __init__(self) -> None:
        super().__init__()
        self._heap: list[tuple[float, int, Alarm]] = []
        self._added = 0

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> Alarm:
        return self.call_in(None, delay, callable, args, kw)

    def call_in(
        self,
        process: ProcessClock | None,
        delay: float,
        call: Callable[..., object],
        args: tuple[object, ...],
        kw: dict[str, object],
    ) -> Alarm:
        alarm = Alarm(self, process, call, args, kw)
        self.add(alarm, self.rightNow + delay)
        return alarm

    def add(self, alarm: Alarm, time: float) -> None:
        alarm.time = time
        self._added += 1
        heappush(self._heap, (time, self._added, alarm))

    @property
    def waiting(self) -> int:
        """How many are still to come."""
        return sum(alarm.active() and alarm.time == time for time, _, alarm in self._heap)

    def step(self) -> None:
        """Let the next thing happen."""
        time, _, alarm = heappop(self._heap)
        while alarm._state or alarm.time != time:  # cancelled, or to come at another time
            time, _, alarm = heappop(self._heap)
        if time > self.rightNow:
            self.rightNow = time
        if alarm.process is None:
            alarm.ring()
        else:
            alarm.process.deliver(alarm.ring)


@implementer(IReactorTime)
class ProcessClock:
    """
    The clock of one process: the world's, set wrong by ``skew`` seconds.  While ``frozen`` (SIGSTOP) whatever
    comes is kept for later; when ``dead`` nothing comes any more: ``never`` is what it waits for.
    """

    def __init__(self, clock: Timeline, skew: float = 0.0) -> None:
        self._clock = clock
        self.skew = skew
        self.dead = False
        self.frozen = False
        self._kept: list[Callable[[], object]] = []

    def seconds(self) -> float:
        return float(self._clock.rightNow) + self.skew

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> Alarm:
        return self._clock.call_in(self, max(0.0, delay), callable, args, kw)

    def getDelayedCalls(self) -> list[IDelayedCall]:
        return []

    def deliver(self, call: Callable[[], object]) -> None:
        """Something reaches the process: now, or when it runs again."""
        if self.dead or self.frozen:
            # Kept even if it is dead: a coroutine that was thrown away would tidy up.
            self._kept.append(call)
        else:
            call()

    def never(self) -> Deferred[Any]:
        """An answer that does not come."""
        waiting: Deferred[Any] = Deferred()
        self._kept.append(lambda: waiting)
        return waiting

    def wake(self) -> None:
        """Run again (SIGCONT): all that came meanwhile comes now, in its order."""
        self.frozen = False
        while self._kept and not self.frozen and not self.dead:
            self._kept.pop(0)()
