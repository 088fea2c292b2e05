"""Answers that a failover of the state store must not undo."""

from __future__ import annotations

from types import TracebackType

from dragonbelly.errors import ClientError, StateUnavailable, Unconfirmed
from dragonbelly.interfaces import IStateStore


class Promise:
    """
    What comes of the block is told to somebody who wants something changed.  So all that it rests on is
    confirmed: what was committed in it, and what was read just as well.  That may be the very change that was
    answered with 503 the first time; now the answer is 200, or 404 for a DELETE.

    Use: ``async with Promise(store)``.

    :raises Unconfirmed: it is not safe.
    """

    def __init__(self, store: IStateStore) -> None:
        self._store = store
        self._run = store.run

    async def __aenter__(self) -> None:
        """Nothing is asked yet."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or (isinstance(error, ClientError) and not isinstance(error, StateUnavailable)):
            await self._store.confirm()
            if self._store.run != self._run:
                raise Unconfirmed(
                    "another Redis answers than at first, and nobody knows whether it has the change"
                )
