from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from dragonbelly.model import Path
from dragonbelly.state.memory import MemoryStore
from dragonbelly.testing.state import StateStoreContract


class TestMemoryStore(StateStoreContract):
    def make_store(self) -> MemoryStore:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        return MemoryStore(self.clock)

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        fired: list[object] = []
        Deferred.fromCoroutine(work()).addBoth(fired.append)
        [outcome] = fired  # every answer of this store is there at once
        if outcome is not None:
            outcome.raiseException()

    async def plant(self, store: MemoryStore, path: Path, value: bytes) -> None:
        store.records[path.member] = value

    async def elapse(self, store: MemoryStore, seconds: float) -> None:
        self.clock.advance(seconds)
