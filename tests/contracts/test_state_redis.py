"""The contract on a real Redis: the system's, and the oldest that must do."""

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from twisted.internet.task import deferLater

from dragonbelly.model import Path
from dragonbelly.state.keys import Keys
from dragonbelly.state.redis import RedisStore
from dragonbelly.testing import reactor
from dragonbelly.testing.state import StateStoreContract
from tests.servers.redis import RedisServer, system_binary, wheel_binary


@pytest.fixture(scope="module", params=[system_binary, wheel_binary])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with RedisServer(binary=request.param()) as running:
        yield running


@pytest.mark.servers
class TestRedisStore(StateStoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, server: RedisServer) -> None:
        server.command("FLUSHALL")
        self.server = server

    def make_store(self) -> RedisStore:
        return RedisStore(reactor.start(), self.server.url)

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        reactor.run(work)

    async def plant(self, store: RedisStore, path: Path, value: bytes) -> None:
        self.server.command("SET", Keys(64).record(path), value)

    async def elapse(self, store: RedisStore, seconds: float) -> None:
        await deferLater(reactor.start(), seconds)
