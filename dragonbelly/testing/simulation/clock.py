"""What one daemon knows of time, and what becomes of it when its process is stopped or killed."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock
from zope.interface import implementer


class Timeline(Clock):
    """``task.Clock``, whose calls are kept in order as they come: sorting them at each takes longer."""

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> DelayedCall:
        call = DelayedCall(
            self.rightNow + delay,
            callable,
            args,
            kw,
            self.calls.remove,
            lambda _: super(Timeline, self)._sortCalls(),
        )
        call.seconds = self.seconds
        insort(self.calls, call, key=DelayedCall.getTime)
        return call

    def _sortCalls(self) -> None:
        """They are in order."""

    def step(self) -> None:
        """Let the next thing happen."""
        call = self.calls.pop(0)
        self.rightNow = max(self.rightNow, call.getTime())
        call.called = 1
        call.func(*call.args, **call.kw)


@implementer(IDelayedCall)
class Alarm:
    """A call that a process asked for: it comes late if the process is stopped, and never once it is dead."""

    __slots__ = ("_call", "_state", "_timer")

    def __init__(self, timer: Any, call: Callable[[], object]) -> None:
        self._timer = timer
        self._call = call
        self._state = ""

    def ring(self) -> None:
        """Its time has come, and the process runs."""
        if not self._state:
            self._state = "called"
            self._call()

    def cancel(self) -> None:
        if self._state == "called":
            raise AlreadyCalled
        if self._state:
            raise AlreadyCancelled
        self._state = "cancelled"
        if self._timer.active():
            self._timer.cancel()

    def active(self) -> bool:
        return not self._state

    def getTime(self) -> float:
        return float(self._timer.getTime())

    def reset(self, secondsFromNow: float) -> None:
        self._timer.reset(secondsFromNow)

    def delay(self, secondsLater: float) -> None:
        self._timer.delay(secondsLater)


@implementer(IReactorTime)
class ProcessClock:
    """
    The clock of one process: the world's, set wrong by ``skew`` seconds.  While ``frozen`` (SIGSTOP) whatever
    comes is kept for later; when ``dead`` nothing comes any more: ``never`` is what it waits for.
    """

    def __init__(self, clock: Clock, skew: float = 0.0) -> None:
        self._clock = clock
        self.skew = skew
        self.dead = False
        self.frozen = False
        self._kept: list[Callable[[], object]] = []

    def seconds(self) -> float:
        return float(self._clock.rightNow) + self.skew

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> Alarm:
        alarm = Alarm(None, lambda: callable(*args, **kw))
        alarm._timer = self._clock.callLater(max(0.0, delay), self.deliver, alarm.ring)
        return alarm

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
