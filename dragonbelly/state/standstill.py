"""Whether anything can be changed at all, with ``[state] ack_replicas``."""

from __future__ import annotations

from dragonbelly.errors import StateUnavailable
from dragonbelly.interfaces import IClock, IStateStore
from dragonbelly.ticking import TickingService


class Standstill(TickingService):
    """``reason`` is why no write is confirmed, and so each is answered with 503; None while they are."""

    def __init__(self, store: IStateStore, clock: IClock, every: float) -> None:
        super().__init__(clock, every)
        self._store = store
        self.reason: str | None = None

    async def work(self) -> None:
        try:
            await self._store.confirm()
        except StateUnavailable as error:
            if self._store.run == "":
                return  # nothing answers at all, and others say so
            if self.reason is None:
                self._log.warn(
                    "writes are answered with 503, files can be read: {reason} ([state] ack_replicas)",
                    reason=error.detail,
                )
            self.reason = error.detail
        else:
            if self.reason is not None:
                self._log.info("writes are confirmed by the replicas again")
            self.reason = None
