"""A dict that never stops to make room."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

#: So many dicts; with 200,000 keys in all, one is moved within a millisecond.
PARTS = 64


class Parts(Generic[K, V]):
    """
    One of many dicts for each key.  A dict moves all of its keys when it is full, also of those that are gone;
    with 350,000 that took 55 ms, in which no reader was answered.
    """

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: tuple[dict[K, V], ...] = tuple({} for _ in range(PARTS))

    def of(self, key: K) -> dict[K, V]:
        """The dict that has this key, or is to have it."""
        return self._parts[hash(key) % PARTS]

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def items(self) -> Iterator[tuple[K, V]]:
        for part in self._parts:
            yield from part.items()

    def values(self) -> Iterator[V]:
        return (value for _, value in self.items())

    def clear(self) -> None:
        for part in self._parts:
            part.clear()
