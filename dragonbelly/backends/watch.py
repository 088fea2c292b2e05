"""Whether something moves that should."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Watch:
    """
    Calls ``expire`` when fewer than ``least`` bytes passed in a window of ``limit`` seconds.

    Costs one timer a window, and nothing for each chunk of bytes but an addition.  Time on ``hold`` (it is not
    the server's turn) does not count, so a stall is noticed after one to two windows.
    """

    def __init__(
        self, reactor: IReactorTime, limit: float, expire: Callable[[], object], least: int = 1
    ) -> None:
        self._reactor = reactor
        self._expire = expire
        self._least = least
        self._passed = 0
        self._held = False
        self._call: IDelayedCall | None = None
        self.restart(limit)

    def restart(self, limit: float) -> None:
        """A new window, of another length from now on."""
        self.stop()
        self._limit = limit
        self._passed = 0
        self._held = False
        self._call = self._reactor.callLater(limit, self._look)

    def passed(self, size: int) -> None:
        self._passed += size

    def hold(self) -> None:
        self._held = True

    def release(self) -> None:
        self._held = False
        self._passed = self._least  # what is left of this window says nothing about the server

    def stop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _look(self) -> None:
        self._call = None
        if not self._held and self._passed < self._least:
            self._expire()
            return
        self._passed = 0
        self._call = self._reactor.callLater(self._limit, self._look)
