"""Waiting for several Deferreds at once, from a coroutine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults

T = TypeVar("T")


async def together(deferreds: Sequence[Deferred[T]]) -> list[T]:
    """
    All results, in order; at the first failure that failure itself, not wrapped.  Cancelling cancels all.
    """
    try:
        return await gatherResults(deferreds, consumeErrors=True)
    except FirstError as first:
        raise first.subFailure.value or first from None
