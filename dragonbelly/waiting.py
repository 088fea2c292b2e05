"""Waiting for several Deferreds at once, from a coroutine."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

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


async def each(items: Iterable[T], work: Callable[[T], Coroutine[Any, Any, None]], at_once: int) -> None:
    """Do the work for every item, ``at_once`` at a time; the first failure ends the others."""
    left = iter(items)

    async def one_after_the_other() -> None:
        for item in left:
            await work(item)

    hands = [Deferred.fromCoroutine(one_after_the_other()) for _ in range(at_once)]
    try:
        await together(hands)
    finally:
        for hand in hands:
            hand.cancel()
