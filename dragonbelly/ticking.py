"""Services that do something every so often."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from dragonbelly.errors import StateUnavailable
from dragonbelly.interfaces import IClock


class TickingService(Service):
    """
    Runs ``work`` every so many seconds, never twice at once.  A tick may fail, the loop may not: an error is
    logged and the next tick comes; that the state store is away is no error, only nothing to do.
    """

    _log = Logger()

    def __init__(self, clock: IClock, every: float) -> None:
        self._clock = clock
        self._every = every
        self._loop: LoopingCall | None = None
        self._working: Deferred[None] | None = None

    async def work(self) -> None:
        raise NotImplementedError

    def startService(self) -> None:
        super().startService()
        self._loop = LoopingCall(self.tick)
        self._loop.clock = self._clock
        self._loop.start(self._every).addErrback(lambda f: self._log.failure("the loop ended", f))

    def stopService(self) -> Deferred[Any]:
        """Ends the tick under way."""
        super().stopService()
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        working = self._working
        if working is None:
            return succeed(None)
        working.cancel()
        return working

    def tick(self) -> None:
        """Work now, unless that is what we do."""
        if self._working is not None:
            return
        working = self._working = Deferred.fromCoroutine(self.work())
        working.addErrback(self._failed)
        working.addCallback(self._worked)

    def _worked(self, result: None) -> None:
        self._working = None

    def _failed(self, failure: Any) -> None:
        if failure.check(StateUnavailable):
            self.store_away(failure.getErrorMessage())
        elif not failure.check(CancelledError):
            self._log.failure("{name}", failure, name=type(self).__name__)

    def store_away(self, reason: str) -> None:
        """The state store did not answer; one of the services says so, for all."""
