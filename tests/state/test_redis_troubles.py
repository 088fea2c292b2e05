"""A Redis that is away, dies, hangs, refuses or is set up wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from dragonbelly.errors import StartError, StateUnavailable
from dragonbelly.ids import is_ulid
from dragonbelly.interfaces import Snapshot
from dragonbelly.model import Path, Record, Replica, ReplicaState, Use, VersionState
from dragonbelly.state.address import Login
from dragonbelly.state.protocol import info_fields
from dragonbelly.state.redis import RedisStore, unfitness
from dragonbelly.testing import reactor
from dragonbelly.testing.state import put, record, walked
from tests.servers.redis import RedisServer, free_port

PATH = Path("media", "a")
NOTHING = Snapshot(None, b"")

pytestmark = pytest.mark.servers

MakeStore = Callable[..., RedisStore]


@pytest.fixture
def make_store() -> Iterator[MakeStore]:
    stores: list[RedisStore] = []

    def make(url: str, **options: Any) -> RedisStore:
        stores.append(RedisStore(reactor.start(), url, **{"reply_timeout": 0.5, **options}))
        return stores[-1]

    yield make
    for store in stores:
        reactor.run(store.close)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer("appendonly yes", "appendfsync always") as running:
        yield running


def failure_of(call: Callable[[], Any], kind: type[Exception] = StateUnavailable) -> str:
    """What the error of a call says."""
    with pytest.raises(kind) as caught:
        reactor.run(call)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def recovered(store: RedisStore) -> Snapshot:
    """What the store says as soon as it says something."""

    async def until() -> Snapshot:
        while True:
            try:
                return await store.get(PATH)
            except StateUnavailable:
                await deferLater(reactor.start(), 0.02)

    return reactor.run(until, timeout=10)


def refusal(store: RedisStore) -> str:
    """Why the store does not answer, as soon as it does not."""

    async def until() -> str:
        while True:
            try:
                await store.get(PATH)
            except StateUnavailable as error:
                return str(error)
            await deferLater(reactor.start(), 0.02)

    return reactor.run(until, timeout=10)


def commit(store: RedisStore, new: Record | None, old: Snapshot | None = None) -> Snapshot:
    async def work() -> Snapshot:
        return await store.commit(PATH, old or await store.get(PATH), new, None)

    return reactor.run(work)


# --- away, dying, hanging ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [False, True])
def test_an_answer_that_came_while_the_process_slept_is_an_answer(
    server: RedisServer, make_store: MakeStore, sent: bool
) -> None:
    """Else a daemon that was stopped for a moment takes Redis for away, and answers with what it remembers."""
    store = make_store(server.url)
    reactor.run(store.ready)

    def work() -> Deferred[Snapshot]:
        asked = store.get(PATH)
        if sent:
            # What comes from another thread is called in the next turn, right before timers are.
            reactor.start().callFromThread(time.sleep, 0.7)
        else:
            time.sleep(0.7)
        return asked

    assert reactor.run(work) == NOTHING


@pytest.mark.parametrize("port", [False, True])
def test_away_at_first_and_there_later(make_store: MakeStore, port: bool) -> None:
    server = RedisServer(port=port)
    try:
        store = make_store(server.url)
        message = failure_of(store.ready)
        assert server.url in message
        assert "efused" in message or "No such file" in message
        assert "not connected" in failure_of(lambda: store.get(PATH))
        server.start()
        assert recovered(store) == NOTHING
        reactor.run(store.ready)
    finally:
        server.close()


def test_nothing_is_asked_before_the_first_call_and_that_fails_at_once(
    make_store: MakeStore, server: RedisServer
) -> None:
    store = make_store(server.url)
    assert b"connected_clients:1\r" in server.command("INFO", "clients")
    assert "not connected yet" in failure_of(lambda: store.get(PATH))
    assert recovered(store) == NOTHING


@pytest.mark.parametrize("end", [RedisServer.stop, RedisServer.kill])
def test_dies_and_comes_back(
    make_store: MakeStore, server: RedisServer, end: Callable[[RedisServer], None]
) -> None:
    store = make_store(server.url)
    reactor.run(store.ready)
    committed = commit(store, record())
    end(server)
    failure_of(lambda: store.get(PATH))
    failure_of(lambda: store.commit(PATH, committed, record(size=20), None))
    failure_of(lambda: store.claim(10, 60))
    failure_of(store.counts)
    server.start()
    assert recovered(store) == committed


def test_dies_in_the_middle_of_a_call(make_store: MakeStore, server: RedisServer) -> None:
    store = make_store(server.url, reply_timeout=20)
    reactor.run(store.ready)
    server.pause()

    async def call() -> None:
        answer = store.get(PATH)
        reactor.start().callLater(0.1, server.kill)
        await answer

    assert "GET: connection lost" in failure_of(call)


def test_hangs_and_goes_on(make_store: MakeStore, server: RedisServer) -> None:
    store = make_store(server.url)
    reactor.run(store.ready)
    committed = commit(store, record())
    server.pause()
    assert "GET: no answer within 0.5 s" in failure_of(lambda: store.get(PATH))
    assert "not connected" in failure_of(lambda: store.get(PATH))
    # The new connection is taken by the kernel, and nobody answers on it.
    assert "no answer within 0.5 s" in failure_of(store.ready)
    server.resume()
    assert recovered(store) == committed


def test_the_outcome_of_a_commit_may_be_unknown(make_store: MakeStore, server: RedisServer) -> None:
    store = make_store(server.url)
    reactor.run(store.ready)
    old = commit(store, record())
    server.pause()
    assert "commit: no answer" in failure_of(lambda: store.commit(PATH, old, record(size=20), None))
    server.resume()
    recovered(store)
    now = reactor.run(lambda: store.get(PATH))
    assert now.record in (record(), record(size=20))


def test_is_still_loading(make_store: MakeStore) -> None:
    """With a password and a database, where a client that gives up would do so."""
    server = RedisServer("requirepass pw")
    try:
        server.start()
        store = make_store(f"unix://:pw@{server.socket}?db=1")
        reactor.run(store.ready)
        committed = commit(store, record())

        async def fill() -> None:
            for n in range(500):
                await put(store, Path("media", f"b{n}"), record())

        reactor.run(fill)
        server.command("SAVE", password="pw")
        server.stop()
        server.settings += ("key-load-delay 2000", "loading-process-events-interval-bytes 1024")
        server.start(wait=False)
        seen = set()

        async def watch() -> Snapshot:
            while True:
                try:
                    return await store.get(PATH)
                except StateUnavailable as error:
                    seen.add(str(error).rpartition(": ")[2])
                    await deferLater(reactor.start(), 0.02)

        assert reactor.run(watch, timeout=20) == committed
        assert "it is still loading its data" in seen
    finally:
        server.close()


def test_a_walk_that_meets_a_restart_begins_again(make_store: MakeStore, server: RedisServer) -> None:
    """The cursors of SCAN and ZSCAN mean something else to a server that was started since."""
    store = make_store(server.url)
    reactor.run(store.ready)
    paths = [Path("media", f"f{n}") for n in range(400)]

    async def fill() -> None:
        for path in paths:
            await put(store, path, record(), due=1000.0)

    async def rest(walk: Any, cursor: str | None) -> set[Path]:
        seen: set[Path] = set()
        while True:
            found, cursor = await walk(cursor, 20)
            seen |= set(found)
            if cursor is None:
                return seen

    async def begin() -> tuple[Any, Any]:
        return (await store.walk(None, 20))[1], (await store.waiting(None, 20))[1]

    reactor.run(fill)
    walk, waiting = reactor.run(begin)
    assert walk is not None
    assert waiting is not None
    server.restart()
    recovered(store)
    assert reactor.run(lambda: rest(store.walk, walk)) == set(paths)
    assert reactor.run(lambda: rest(store.waiting, waiting)) == set(paths)


# --- refusals ------------------------------------------------------------------------------------------------


def test_passwords(make_store: MakeStore) -> None:
    with RedisServer("requirepass right", "user me on >mine ~* +@all") as server:
        for credentials in (":right@", "me:mine@"):
            reactor.run(make_store(f"unix://{credentials}{server.socket}").ready)
        for credentials, answer in ((":wrong@", "WRONGPASS"), ("me:wrong@", "WRONGPASS"), ("", "NOAUTH")):
            store = make_store(f"unix://{credentials}{server.socket}")
            message = failure_of(store.ready, StartError)
            assert answer in message
            assert "wrong" not in message.replace("WRONGPASS", "")
            assert answer in failure_of(lambda store=store: store.get(PATH))


def test_a_password_beside_the_url(make_store: MakeStore) -> None:
    with RedisServer("requirepass right", "user me on >mine ~* +@all") as server:
        for user, password in (("", "right"), ("me@", "mine")):
            reactor.run(make_store(f"unix://{user}{server.socket}", login=Login(password)).ready)


def test_a_server_that_does_not_know_auth_repeats_what_it_was_told(make_store: MakeStore) -> None:
    with RedisServer('rename-command AUTH ""') as server:
        assert b"s3cret" in server.command("AUTH", "s3cret")
        message = failure_of(make_store(f"unix://:s3cret@{server.socket}").ready, StateUnavailable)
        assert "unknown command" in message
        assert "s3cret" not in message


def test_a_password_that_is_set_right_later(make_store: MakeStore) -> None:
    with RedisServer("requirepass old") as server:
        store = make_store(f"unix://:new@{server.socket}")
        failure_of(store.ready, StartError)
        server.command("CONFIG", "SET", "requirepass", "new", password="old")
        assert recovered(store) == NOTHING


def test_a_database_that_is_not_there(make_store: MakeStore, server: RedisServer) -> None:
    assert "DB index" in failure_of(make_store(f"{server.url}?db=99").ready, StartError)


def test_databases_and_prefixes_are_kept_apart(make_store: MakeStore, server: RedisServer) -> None:
    stores = [make_store(server.url), make_store(f"{server.url}?db=1"), make_store(server.url, prefix="d[b]*")]
    for size, store in enumerate(stores):
        reactor.run(store.ready)
        commit(store, record(size=size))
    for size, store in enumerate(stores):
        assert recovered(store).record == record(size=size)
        assert reactor.run(lambda store=store: walked(store)) == {PATH}


def test_eviction_is_refused(make_store: MakeStore) -> None:
    with RedisServer("maxmemory-policy allkeys-lru") as server:
        message = failure_of(make_store(server.url).ready, StartError)
        assert "allkeys-lru" in message
        assert "maxmemory-policy noeviction" in message
        reactor.run(make_store(server.url, require_noeviction=False).ready)


def test_config_may_be_forbidden(make_store: MakeStore, server: RedisServer) -> None:
    server.command("ACL", "SETUSER", "me", "on", ">pw", "~*", "+@all", "-config", "-client", "-keys")
    store = make_store(f"unix://me:pw@{server.socket}")
    reactor.run(store.ready)
    commit(store, record())


def test_another_number_of_partitions_is_refused(make_store: MakeStore, server: RedisServer) -> None:
    reactor.run(make_store(server.url, partitions=16).ready)
    message = failure_of(make_store(server.url).ready, StartError)
    assert "partitions '16'" in message
    assert "set to 64" in message
    reactor.run(make_store(server.url, partitions=16).ready)


def test_another_format_is_refused(make_store: MakeStore, server: RedisServer) -> None:
    server.command("HSET", "db:meta", "format", "99")
    assert "format '99'" in failure_of(make_store(server.url).ready, StartError)


def test_a_cluster_is_refused(make_store: MakeStore) -> None:
    with RedisServer("cluster-enabled yes", f"cluster-port {free_port()}", port=True) as server:
        assert "Cluster" in failure_of(make_store(server.url).ready, StartError)


def test_versions() -> None:
    def of(version: str) -> str | None:
        return unfitness({"redis_version": version, "maxmemory_policy": "noeviction"}, True)

    assert [of(version) for version in ("6.2.0", "7.0.15", "8.0", "10.1.1")] == [None] * 4
    assert of("6.0.16") == "version 6.0.16 found, 6.2 or newer needed"
    assert of("") == "version unknown found, 6.2 or newer needed"


def test_a_replica_is_not_used(make_store: MakeStore, server: RedisServer) -> None:
    with RedisServer(port=True) as other:
        other.command("REPLICAOF", "127.0.0.1", "1")
        assert "it is a replica of another Redis" in failure_of(make_store(other.url).ready)


def test_made_a_replica_meanwhile(make_store: MakeStore, server: RedisServer) -> None:
    """It would go on answering reads from what it last heard."""
    store = make_store(server.url)
    reactor.run(store.ready)
    old = commit(store, record())
    server.command("REPLICAOF", "127.0.0.1", "1")
    assert "READONLY" in failure_of(lambda: store.commit(PATH, old, record(size=20), None))
    failure_of(lambda: store.get(PATH))
    assert "it is a replica of another Redis" in failure_of(store.ready)
    server.command("REPLICAOF", "NO", "ONE")
    assert recovered(store) == old


def test_out_of_memory(make_store: MakeStore, server: RedisServer) -> None:
    """Nothing is written by halves, and what makes room still goes."""
    store = make_store(server.url)
    reactor.run(store.ready)
    old = commit(store, record(VersionState.LIVE, Replica("b", ReplicaState.GOOD), thin=5))
    server.command("CONFIG", "SET", "maxmemory", "1")
    assert "OOM" in failure_of(lambda: store.commit(PATH, old, record(size=20), 0.0))
    assert recovered(store) == old
    assert reactor.run(store.use) == {"b": Use(10, 1)}
    assert reactor.run(store.counts) == (1, 0, 0, 1, 5, 0)
    assert commit(store, None) == NOTHING
    assert reactor.run(store.use) == {}
    assert reactor.run(store.counts) == (0, 0, 0, 0, None, 0)


def test_nothing_is_left_of_what_went(make_store: MakeStore, server: RedisServer) -> None:
    """Redis removes a key with its last member: only what the store was set up with remains."""
    store = make_store(server.url)
    reactor.run(store.ready)
    commit(store, record(VersionState.LIVE, Replica("b", ReplicaState.GOOD), thin=5))
    assert server.command("DBSIZE") == b":5\r\n"
    commit(store, None)
    assert server.command("KEYS", "*") == b"*1\r\n$7\r\ndb:meta\r\n"


def test_scripts_are_sent_again(make_store: MakeStore, server: RedisServer) -> None:
    store = make_store(server.url)
    reactor.run(store.ready)

    async def all_of_them() -> None:
        for size in range(3):
            snapshot = await put(store, PATH, record(size=size), due=0.0)
            server.command("SCRIPT", "FLUSH")
            [claim] = await store.claim(10, 60)
            server.command("SCRIPT", "FLUSH")
            assert await store.settle(claim, None)
            server.command("SCRIPT", "FLUSH")
            assert await store.set_meta("epoch", None if size == 0 else str(size - 1), str(size))
            server.command("SCRIPT", "FLUSH")
            assert await store.get(PATH) == snapshot

    reactor.run(all_of_them)


def test_something_else_under_our_key(make_store: MakeStore, server: RedisServer) -> None:
    store = make_store(server.url)
    reactor.run(store.ready)
    server.command("SET", "db:backends", "x")
    assert "WRONGTYPE" in failure_of(store.operator_states)
    server.command("DEL", "db:backends")
    server.command("HSET", "db:backends", "b", "resting")
    assert "unknown state" in failure_of(store.operator_states)


# --- calls ---------------------------------------------------------------------------------------------------


def test_a_cancelled_call_does_not_shift_the_answers(make_store: MakeStore, server: RedisServer) -> None:
    store = make_store(server.url)
    reactor.run(store.ready)
    commit(store, record())

    async def work() -> tuple[Snapshot, str | None]:
        left = store.get(Path("media", "other"))
        many = store.counts()
        left.cancel()
        many.cancel()
        for cancelled in (left, many):
            with pytest.raises(CancelledError):
                await cancelled
        return await store.get(PATH), await store.meta("partitions")

    snapshot, partitions = reactor.run(work)
    assert snapshot.record == record()
    assert partitions == "64"


def test_answers_are_timed(make_store: MakeStore, server: RedisServer) -> None:
    seen: list[tuple[str, float]] = []
    store = make_store(server.url, observe=lambda name, seconds: seen.append((name, seconds)))
    reactor.run(store.ready)
    commit(store, record())
    assert {name for name, _ in seen} == {"INFO", "HSETNX", "HMGET", "GET", "commit"}
    assert all(0 <= seconds < 30 for _, seconds in seen)


def test_a_claim_asks_all_partitions_in_one_call(make_store: MakeStore, server: RedisServer) -> None:
    seen: list[str] = []
    store = make_store(server.url, observe=lambda name, _: seen.append(name))
    reactor.run(store.ready)

    async def work() -> int:
        await store.hasten([Path("media", str(n)) for n in range(300)])
        await store.claim(1, 60)  # the server knows the script from here on
        seen.clear()
        return len(await store.claim(1000, 60))

    assert reactor.run(work) == 299
    assert seen == ["claim"]


def test_closing_leaves_nothing(make_store: MakeStore, server: RedisServer) -> None:
    store = make_store(server.url)
    reactor.run(store.ready)

    async def close() -> None:
        await store.close()
        await deferLater(reactor.start(), 0.05)

    reactor.run(close)
    assert b"connected_clients:1\r" in server.command("INFO", "clients")
    assert "closed" in failure_of(lambda: store.get(PATH))
    assert "closed" in failure_of(store.ready)
    reactor.run(store.close)


def test_closing_while_it_connects(make_store: MakeStore, server: RedisServer) -> None:
    server.pause()
    store = make_store(server.url, reply_timeout=20)

    async def work() -> None:
        waiting = store.ready()
        await deferLater(reactor.start(), 0.05)
        await store.close()
        with pytest.raises(StateUnavailable, match="closed"):
            await waiting

    reactor.run(work)


# --- TLS -----------------------------------------------------------------------------------------------------


def test_tls(make_store: MakeStore, authority: FilePath) -> None:
    server = RedisServer("appendonly yes", "appendfsync always", port=True)
    tls_port, server.port = server.port, 0
    server.settings += (
        f"tls-port {tls_port}",
        f"tls-cert-file {authority}/server.pem",
        f"tls-key-file {authority}/server.key",
        f"tls-ca-cert-file {authority}/ca.pem",
        "tls-auth-clients no",
        "requirepass pw",
    )

    def url(host: str, query: str) -> str:
        return f"rediss://:pw@{host}:{tls_port}/0{query}"

    with server:
        good = make_store(url("localhost", f"?cafile={authority}/ca.pem"))
        reactor.run(good.ready)
        committed = commit(good, record())
        for host, query in (
            ("localhost", f"?cafile={authority}/other.pem"),
            ("localhost", ""),
            ("127.0.0.1", f"?cafile={authority}/ca.pem"),
        ):
            message = failure_of(make_store(url(host, query)).ready)
            assert "verif" in message.lower(), message
        server.kill()
        failure_of(lambda: good.get(PATH))
        server.start()
        assert recovered(good) == committed


def test_a_redis_that_lost_its_data_is_not_used(make_store: MakeStore, server: RedisServer) -> None:
    store = make_store(server.url)
    reactor.run(store.ready)
    commit(store, record())
    server.kill()
    for left in server.directory.glob("appendonlydir/*"):
        left.unlink()
    server.start()

    async def until_it_says_so() -> str:
        while True:
            try:
                await store.get(PATH)
            except StateUnavailable as error:
                if "another store" in str(error):
                    return str(error)
                await deferLater(reactor.start(), 0.02)
            else:
                raise AssertionError("an empty store answered as if it were ours")

    assert "were its data lost" in reactor.run(until_it_says_so, timeout=10)
    assert reactor.run(make_store(server.url).ready) is None, "a new daemon begins a new store"
    assert "another store" in failure_of(lambda: store.get(PATH))


def test_stores_are_told_apart(make_store: MakeStore, server: RedisServer) -> None:
    one, again, other = make_store(server.url), make_store(server.url), make_store(server.url, prefix="x")
    for store in (one, again, other):
        reactor.run(store.ready)
    assert one.identity == again.identity != other.identity
    assert is_ulid(one.identity)


def test_a_redis_that_is_emptied_under_us_is_left(make_store: MakeStore, server: RedisServer) -> None:
    """Every answer from it would be "there is no such file"."""
    store, idle = make_store(server.url), make_store(server.url)
    for one in (store, idle):
        reactor.run(one.ready)
    commit(store, record())
    server.command("FLUSHALL")

    for one in (store, idle):
        assert "another store" in refusal(one)
        assert one.run == ""
        assert "another store" in failure_of(lambda one=one: one.commit(PATH, NOTHING, record(), None))
    assert server.command("DBSIZE") == b":0\r\n", "nothing was written into it"


def test_data_that_is_swapped_under_us_is_left(make_store: MakeStore, server: RedisServer) -> None:
    store, other = make_store(server.url), make_store(f"{server.url}?db=1")
    for one in (store, other):
        reactor.run(one.ready)
    commit(store, record())
    server.command("SWAPDB", "0", "1")

    async def until_both_say_so() -> None:
        while store.run or other.run:
            await deferLater(reactor.start(), 0.02)

    reactor.run(until_both_say_so, timeout=10)
    server.command("SWAPDB", "0", "1")
    assert recovered(store).record == record()
    assert recovered(other) == NOTHING


def test_made_a_replica_and_only_read(make_store: MakeStore, server: RedisServer) -> None:
    """No write tells us; and when it is a master again, it is another run: its last writes may be gone."""
    store = make_store(server.url)
    reactor.run(store.ready)
    old, run = commit(store, record()), store.run
    server.command("REPLICAOF", "127.0.0.1", "1")

    assert "it is a replica" in refusal(store)
    server.command("REPLICAOF", "NO", "ONE")
    assert recovered(store) == old
    assert store.run not in ("", run)


def test_a_replica_for_a_moment(make_store: MakeStore, server: RedisServer) -> None:
    store = make_store(server.url)
    reactor.run(store.ready)
    run = store.run
    server.command("REPLICAOF", "127.0.0.1", "1")
    server.command("REPLICAOF", "NO", "ONE")

    async def until_it_is_noticed() -> None:
        while store.run in ("", run):
            await deferLater(reactor.start(), 0.02)

    reactor.run(until_it_is_noticed, timeout=10)


# --- which run answers ---------------------------------------------------------------------------------------


def test_the_run_is_that_of_the_connection(make_store: MakeStore, server: RedisServer) -> None:
    """
    Whoever takes note of the run, asks, and finds the same run afterwards, was answered by it: at no moment is
    one named while another is asked.
    """
    store = make_store(server.url)
    assert store.run == ""
    reactor.run(store.ready)
    runs: list[str] = []

    async def ask() -> None:
        """Ask all the time; each answer tells the process that gave it."""
        while True:
            run = store.run
            try:
                info = info_fields(await store._redis.execute("INFO"))
            except StateUnavailable:
                # The one that was asked is not named any more.
                assert store.run == "" or store.run != run
                await deferLater(reactor.start(), 0.001)
                continue
            if run != store.run:
                continue
            assert run.startswith(info["run_id"])
            if runs[-1:] != [run]:
                runs.append(run)
            if len(runs) == 4:
                return

    def restart() -> None:
        server.kill()
        server.start()

    async def work() -> None:
        for delay in (0.1, 0.9, 1.7):
            reactor.start().callLater(delay, reactor.start().callInThread, restart)
        await ask()

    reactor.run(work)
    assert len(set(runs)) == 4


def test_the_run_stays_when_only_the_connection_was_lost(make_store: MakeStore, server: RedisServer) -> None:
    store = make_store(server.url)
    reactor.run(store.ready)
    run = store.run
    server.command("CLIENT", "KILL", "TYPE", "normal")
    failure_of(lambda: store.get(PATH))
    assert store.run == ""
    recovered(store)
    assert store.run == run
