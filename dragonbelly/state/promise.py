"""Answers that a failover of the state store must not undo."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dragonbelly.errors import ClientError, StateUnavailable, Unconfirmed
from dragonbelly.interfaces import IStateStore


@asynccontextmanager
async def promise(store: IStateStore) -> AsyncIterator[None]:
    """
    What comes of the block is told to somebody who wants something changed.  So all that it rests on is
    confirmed: what was committed in it, and what was read just as well.  That may be the very change that was
    answered with 503 the first time; now the answer is 200, or 404 for a DELETE.

    :raises Unconfirmed: it is not safe.
    """
    run = store.run
    try:
        yield
    except StateUnavailable:
        raise
    except ClientError:
        await _confirm(store, run)
        raise
    await _confirm(store, run)


async def _confirm(store: IStateStore, run: str) -> None:
    await store.confirm()
    if store.run != run:
        raise Unconfirmed("another Redis answers than at first, and nobody knows whether it has the change")
