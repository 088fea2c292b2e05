"""What replicas acknowledge: on a real master with a real replica."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater

from dragonbelly.errors import NotFound, StateUnavailable, Unconfirmed
from dragonbelly.model import Path
from dragonbelly.state.keys import Keys
from dragonbelly.state.promise import Promise
from dragonbelly.state.redis import RedisStore
from dragonbelly.testing import reactor
from dragonbelly.testing.state import put, record
from tests.servers.redis import RedisServer
from tests.servers.sentinel import acknowledging
from tests.waiting import until

pytestmark = pytest.mark.servers

PATH = Path("media", "a")
KEY = Keys(64).record(PATH)

MakeStore = Callable[..., RedisStore]


@pytest.fixture
def master() -> Iterator[RedisServer]:
    with RedisServer("repl-diskless-sync-delay 0", port=True) as running:
        yield running


@pytest.fixture
def replica(master: RedisServer) -> Iterator[RedisServer]:
    with RedisServer(f"replicaof 127.0.0.1 {master.port}", port=True) as running:
        until(lambda: acknowledging(master) == 1 and b"master_link_status:up" in running.command("INFO"))
        yield running


@pytest.fixture
def make_store(master: RedisServer) -> Iterator[MakeStore]:
    stores: list[RedisStore] = []

    def make(**options: Any) -> RedisStore:
        defaults: dict[str, Any] = {"ack_replicas": 1, "ack_timeout": 10.0}
        stores.append(RedisStore(reactor.start(), master.url, **defaults | options))
        reactor.run(stores[-1].ready)
        return stores[-1]

    yield make
    for store in stores:
        reactor.run(store.close)


def failure_of(call: Callable[[], Any]) -> str:
    with pytest.raises(Unconfirmed) as caught:
        reactor.run(call)
    assert caught.value.status == 503
    assert caught.value.retry_after
    return str(caught.value)


def commit(store: RedisStore, size: int = 10) -> None:
    reactor.run(lambda: put(store, PATH, record(size=size)))


def test_confirmed_is_at_the_replica(make_store: MakeStore, master: RedisServer, replica: RedisServer) -> None:
    store = make_store()
    for size in range(20):

        async def work(size: int = size) -> None:
            await store.commit(PATH, await store.get(PATH), record(size=size), None)
            await store.confirm()

        reactor.run(work)
        assert replica.command("GET", KEY) == master.command("GET", KEY)
    assert master.command("GET", KEY) != b"$-1\r\n"


def test_what_others_wrote_is_confirmed_as_well(
    make_store: MakeStore, master: RedisServer, replica: RedisServer
) -> None:
    """A daemon that reads what another committed, and was not told to be safe, says so to its own client."""
    reader, writer = make_store(), make_store(ack_replicas=0)
    replica.pause()
    commit(writer)
    reactor.run(writer.confirm)  # it asks for nothing

    async def work() -> bytes:
        confirmed = reader.confirm()
        reactor.start().callLater(0.1, replica.resume)
        await confirmed
        return replica.command("GET", KEY)

    assert reactor.run(work) == master.command("GET", KEY) != b"$-1\r\n"


def test_no_replica(make_store: MakeStore, master: RedisServer) -> None:
    store = make_store(ack_timeout=0.3)
    commit(store)
    assert "0 of 1 replicas had it within 0.3 s" in failure_of(store.confirm)


def test_fewer_than_wanted(make_store: MakeStore, replica: RedisServer) -> None:
    assert "1 of 2 replicas" in failure_of(make_store(ack_replicas=2, ack_timeout=1.5).confirm)


def test_nobody_else_waits_for_a_replica_that_is_frozen(make_store: MakeStore, replica: RedisServer) -> None:
    store = make_store(ack_timeout=20, reply_timeout=2)
    commit(store)
    replica.pause()

    async def work() -> None:
        confirmed = store.confirm()
        for size in range(50):
            assert (await store.get(PATH)).record is not None
            await store.commit(PATH, await store.get(PATH), record(size=size), None)
        assert not confirmed.called, "the replica is frozen"
        replica.resume()
        await confirmed

    reactor.run(work)


def test_many_share_a_question(make_store: MakeStore, replica: RedisServer) -> None:
    seen: list[str] = []
    store = make_store(observe=lambda name, _: seen.append(name))
    reactor.run(lambda: gatherResults([store.confirm() for _ in range(500)]))
    assert seen.count("confirm") == 2, "one that was under way, and one for all who came later"


def test_a_question_under_way_is_too_old(make_store: MakeStore, replica: RedisServer) -> None:
    """It was asked before what is to be confirmed was written."""
    store = make_store(ack_timeout=1)
    replica.pause()

    async def work() -> None:
        early = store.confirm()
        await deferLater(reactor.start(), 0.1)
        await put(store, PATH, record())
        late = store.confirm()
        with pytest.raises(Unconfirmed):
            await early
        assert not late.called
        replica.resume()
        await late

    reactor.run(work)
    assert replica.command("GET", KEY) != b"$-1\r\n"


def test_one_who_gives_up_leaves_the_others_alone(make_store: MakeStore, replica: RedisServer) -> None:
    store = make_store()
    replica.pause()

    async def work() -> None:
        one, other, late = store.confirm(), store.confirm(), None
        for waiting in (one, other):
            assert not waiting.called
        other.cancel()
        with pytest.raises(CancelledError):
            await other
        late = store.confirm()
        replica.resume()
        await one
        await late

    reactor.run(work)


def test_the_master_dies_while_it_is_asked(
    make_store: MakeStore, master: RedisServer, replica: RedisServer
) -> None:
    store = make_store(ack_timeout=20)
    replica.pause()

    async def work() -> None:
        confirmed = store.confirm()
        reactor.start().callLater(0.1, master.kill)
        await confirmed

    assert "connection lost" in failure_of(work)
    assert "not connected" in failure_of(store.confirm)


def test_the_master_is_made_a_replica_while_it_is_asked(
    make_store: MakeStore, master: RedisServer, replica: RedisServer
) -> None:
    """The replica that is missing is its master now, and has not what is asked for."""
    store = make_store(ack_timeout=20)
    replica.pause()

    async def work() -> None:
        confirmed = store.confirm()
        await deferLater(reactor.start(), 0.1)
        master.command("REPLICAOF", "127.0.0.1", "1")
        await confirmed

    assert failure_of(work)


def test_a_reign_that_ended_and_began_anew_confirms_nothing_of_the_old_one(
    make_store: MakeStore, master: RedisServer, replica: RedisServer
) -> None:
    """The same process, the same connections; but it was a replica meanwhile, and lost what only it had."""
    store = make_store()
    reactor.run(store.confirm)
    run = store.run

    async def work() -> None:
        async with Promise(store):
            replica.pause()
            await put(store, PATH, record())
            master.command("REPLICAOF", "127.0.0.1", "1")
            master.command("REPLICAOF", "NO", "ONE")
            replica.resume()

    assert failure_of(work)
    until(lambda: store.run not in ("", run))
    until(lambda: acknowledging(master) == 1)

    async def until_confirmed() -> None:
        while True:
            try:
                return await store.confirm()
            except Unconfirmed:
                await deferLater(reactor.start(), 0.02)

    reactor.run(until_confirmed)


def test_a_promise_is_of_the_run_that_it_began_with() -> None:
    class Answers:
        """A store whose server is replaced."""

        run = "one"
        confirmed = 0

        def confirm(self) -> Deferred[None]:
            self.confirmed += 1
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done

    async def within(store: Any, error: Exception | None = None, run: str = "one") -> None:
        async with Promise(store):
            store.run = run
            if error is not None:
                raise error

    def outcome(*how: Any) -> tuple[str, int]:
        store = Answers()
        try:
            reactor.run(lambda: within(store, *how))
        except Exception as error:
            return type(error).__name__, store.confirmed
        return "", store.confirmed

    assert outcome() == ("", 1)
    assert outcome(None, "two") == ("Unconfirmed", 1)
    assert outcome(None, "") == ("Unconfirmed", 1)
    # What a client is told of a record is as much a promise: "it is deleted".
    assert outcome(NotFound("gone")) == ("NotFound", 1)
    assert outcome(NotFound("gone"), "two") == ("Unconfirmed", 1)
    assert outcome(StateUnavailable("away")) == ("StateUnavailable", 0)
    assert outcome(ValueError("a bug")) == ("ValueError", 0)


def test_closing_leaves_nothing(make_store: MakeStore, master: RedisServer, replica: RedisServer) -> None:
    store = make_store()
    reactor.run(store.confirm)

    async def close() -> None:
        await store.close()
        await deferLater(reactor.start(), 0.05)

    reactor.run(close)
    assert b"connected_clients:1\r" in master.command("INFO", "clients")
    assert "closed" in failure_of(store.confirm)
