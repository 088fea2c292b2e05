"""
The same random sequences of calls on the model and on a real Redis: every answer is the same.  On the system's
Redis, and on the oldest that must do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from dragonbelly.errors import BadRecord, Conflict
from dragonbelly.interfaces import Claim, IStateStore, Snapshot
from dragonbelly.model import BackendState, Path
from dragonbelly.state.keys import Keys
from dragonbelly.state.memory import MemoryStore
from dragonbelly.state.redis import RedisStore
from dragonbelly.testing import reactor
from dragonbelly.testing.state import waiting, walked
from tests.servers.redis import RedisServer, system_binary, wheel_binary
from tests.state.strategies import records

PATHS = [Path(domain, name) for domain in ("media", "m") for name in ("a", "a/b", "ab", "日本", "\U0001f409")]

# Either now or long after the test, so that it does not matter how long Redis takes.
delays = st.sampled_from([0.0, 1000.0])
dues = st.none() | delays
paths = st.sampled_from(PATHS)
texts = st.sampled_from(["", "a", "a/", "a/b", "b", "日", "\U0001f409"])
values = st.sampled_from(["1", "0012", "é", ""])

calls = st.one_of(
    # The snapshot that is committed over: the newest known (0), or an older one.
    st.tuples(st.just("commit"), paths, st.sampled_from([0, 0, 0, 1, 2]), st.none() | records, dues),
    st.tuples(st.just("commit"), paths, st.just(0), records, dues),
    st.tuples(st.just("get"), paths),
    st.tuples(st.just("get_many"), st.lists(paths)),
    # Which ones are taken when there are too many is the store's affair.
    st.tuples(st.just("claim"), st.sampled_from([0, 100, 100, 100]), delays),
    st.tuples(st.just("settle"), st.integers(0, 20), dues),
    st.tuples(st.just("hasten"), st.lists(paths, max_size=3)),
    st.tuples(st.just("due"), paths),
    st.tuples(
        st.just("page"), st.sampled_from(["media", "m", "x"]), texts, texts, st.sampled_from([0, 1, 2, 100])
    ),
    st.tuples(st.just("walk"), st.sampled_from([1, 100])),
    st.tuples(st.just("waiting"), st.sampled_from([1, 100])),
    st.sampled_from([("use",), ("counts",), ("operator_states",)]),
    st.tuples(st.just("set_operator_state"), st.sampled_from(["b", "é"]), st.sampled_from(BackendState)),
    st.tuples(st.just("set_meta"), st.just("epoch"), st.none() | values, values),
    st.tuples(st.just("meta"), st.sampled_from(["epoch", "other", "format", "partitions"])),
    # Which ones are told when there are more is the store's affair.
    st.tuples(st.just("damaged"), st.sampled_from([0, 100])),
    st.just(("confirm",)),
    st.tuples(st.just("damage"), paths, st.sampled_from([b"\xc1", b"junk"])),
)


class Player:
    """Plays calls on one store, and remembers the snapshots and claims that later calls refer to."""

    def __init__(self, store: IStateStore, damage: Any) -> None:
        self.store = store
        self.damage = damage
        self.snapshots: dict[Path, list[Snapshot]] = {path: [Snapshot(None, b"")] for path in PATHS}
        self.claims: list[Claim] = []

    async def play(self, call: tuple[Any, ...]) -> object:
        """What a call comes to, in a form that is the same for every store."""
        name, *arguments = call
        special = getattr(self, f"_{name}", None)
        try:
            return await (special or getattr(self.store, name))(*arguments)
        except Conflict as conflict:
            return "conflict", conflict.current
        except BadRecord as error:
            return "damaged", str(error)

    async def _commit(self, path: Path, age: int, new: Any, due: float | None) -> object:
        known = self.snapshots[path]
        old = known[max(0, len(known) - 1 - age)]
        known.append(await self.store.commit(path, old, new, due))
        return known[-1]

    async def _get(self, path: Path) -> object:
        self.snapshots[path].append(await self.store.get(path))
        return self.snapshots[path][-1]

    async def _claim(self, limit: int, lease: float) -> object:
        claims = sorted(await self.store.claim(limit, lease), key=lambda claim: claim.path)
        self.claims += claims
        return [claim.path for claim in claims]

    async def _settle(self, number: int, due: float | None) -> object:
        if not self.claims:
            return False
        return await self.store.settle(self.claims[-1 - number % len(self.claims)], due) is not None

    async def _due(self, path: Path) -> object:
        due = await self.store.due(path)
        return None if due is None else due > 500

    async def _walk(self, limit: int) -> object:
        return await walked(self.store, limit)

    async def _waiting(self, limit: int) -> object:
        return await waiting(self.store, limit)

    async def _damaged(self, limit: int) -> object:
        return sorted(await self.store.damaged(limit))

    async def _damage(self, path: Path, value: bytes) -> object:
        return self.damage(path, value)


#: Leaves what the store was set up with: without it nobody would be answered.
EMPTY = """
for _, key in ipairs(redis.call('KEYS', '*')) do
  if key ~= 'db:meta' then redis.call('DEL', key) end
end
redis.call('HDEL', 'db:meta', 'epoch')
"""


@pytest.fixture(scope="module", params=[system_binary, wheel_binary])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with RedisServer(binary=request.param()) as running:
        yield running


@pytest.fixture(scope="module")
def redis(server: RedisServer) -> Iterator[RedisStore]:
    store = RedisStore(reactor.start(), server.url, partitions=4)
    reactor.run(store.ready)
    yield store
    reactor.run(store.close)


@pytest.mark.servers
@settings(max_examples=250, deadline=None)
@given(sequence=st.lists(calls, max_size=30))
def test_both_stores_answer_alike(
    redis: RedisStore, server: RedisServer, sequence: list[tuple[Any, ...]]
) -> None:
    server.command("EVAL", EMPTY, "0")
    clock = Clock()
    clock.advance(1_700_000_000)
    memory = MemoryStore(clock, partitions=4)

    def in_memory(path: Path, value: bytes) -> None:
        memory.records[path.member] = value

    def in_redis(path: Path, value: bytes) -> None:
        server.command("SET", Keys(4).record(path), value)

    model, real = Player(memory, in_memory), Player(redis, in_redis)

    async def play() -> None:
        for call in [*sequence, ("walk", 100), ("waiting", 100), ("damaged", 100), ("use",), ("counts",)]:
            assert await model.play(call) == await real.play(call), call

    reactor.run(play)
