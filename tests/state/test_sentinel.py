"""Who is the master, by sentinels that agree, disagree, are away or lie behind."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import hiredis
import pytest
from twisted.internet.task import deferLater

from dragonbelly.errors import StateUnavailable
from dragonbelly.model import Path
from dragonbelly.state.redis import RedisStore
from dragonbelly.testing import reactor
from dragonbelly.testing.state import put, record
from tests.servers.ports import free_port
from tests.servers.redis import RedisServer
from tests.servers.sentinel import Sentinel, WatchedRedis
from tests.waiting import until

pytestmark = pytest.mark.servers

PATH = Path("media", "a")

#: A master does not wait for more replicas before it sends its data to the first.
AT_ONCE = "repl-diskless-sync-delay 0"

MakeStore = Callable[..., RedisStore]


class Said(socketserver.ThreadingTCPServer):
    """A sentinel that says what it is told to say: ``port`` of the master and ``epoch``; None: not a word."""

    daemon_threads = True

    def __init__(self, port: int | None, epoch: int = 0) -> None:
        self.says: tuple[int, int] | None = None if port is None else (port, epoch)
        self.talking = 0
        self.asked = 0
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Conversation(socketserver.BaseRequestHandler):
    server: Said

    def handle(self) -> None:
        reader = hiredis.Reader()
        self.server.talking += 1
        try:
            while data := self.request.recv(65536):
                reader.feed(data)
                while (command := reader.gets()) is not False:
                    self.server.asked += 1
                    if self.server.says is not None:
                        self.request.sendall(self.reply(command[1], *self.server.says))
        except ConnectionError:
            return
        finally:
            self.server.talking -= 1

    def reply(self, question: bytes, port: int, epoch: int) -> bytes:
        words = [b"127.0.0.1", b"%d" % port]
        if question == b"MASTER":
            words = [b"name", b"main", b"flags", b"master", b"config-epoch", b"%d" % epoch]
        return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


@pytest.fixture
def sentinels() -> Iterator[Callable[..., Said]]:
    made: list[Said] = []

    def make(port: int | None, epoch: int = 0) -> Said:
        made.append(Said(port, epoch))
        return made[-1]

    yield make
    for sentinel in made:
        sentinel.close()


@pytest.fixture
def make_store() -> Iterator[MakeStore]:
    stores: list[RedisStore] = []

    def make(*ports: int, query: str = "", **options: Any) -> RedisStore:
        places = ",".join(f"127.0.0.1:{port}" for port in ports)
        url = f"sentinel://{places}/main{query}"
        stores.append(RedisStore(reactor.start(), url, **{"reply_timeout": 4.0, **options}))
        return stores[-1]

    yield make
    for store in stores:
        reactor.run(store.close)


@pytest.fixture
def pair() -> Iterator[tuple[RedisServer, RedisServer]]:
    """A server, and another that had its data and then went its own way."""
    with RedisServer(AT_ONCE, port=True) as one, RedisServer(AT_ONCE, port=True) as other:
        yield one, other


def split(one: RedisServer, other: RedisServer) -> None:
    """Have ``other`` take all that ``one`` has, and be a master of its own."""
    other.command("REPLICAOF", "127.0.0.1", str(one.port))
    until(lambda: b"master_link_status:up" in other.command("INFO", "replication"))
    other.command("REPLICAOF", "NO", "ONE")


def port_of(store: RedisStore) -> bytes:
    """The port of the server that the store talks to."""
    reply = reactor.run(lambda: store._redis.execute("INFO", "server"))
    return bytes(next(line for line in reply.split(b"\r\n") if line.startswith(b"tcp_port:")))


def is_on(store: RedisStore, server: RedisServer) -> bool:
    try:
        return port_of(store) == b"tcp_port:%d" % server.port
    except StateUnavailable:
        return False


def why_not(store: RedisStore) -> str:
    with pytest.raises(StateUnavailable) as caught:
        reactor.run(store.ready)
    return str(caught.value)


def test_why_nobody_names_one_does_not_depend_on_who_is_first(
    make_store: MakeStore, sentinels: Callable[..., Said]
) -> None:
    """The log says a reason again when it changes: it was said every second, for its order changed."""
    one, other, silent = free_port(), free_port(), sentinels(None).port
    places = f"127.0.0.1:{one}, 127.0.0.1:{other}"
    refused = f"Connection was refused by other side: 111: Connection refused ({places})"
    late = f"no answer within 0.5 s (127.0.0.1:{silent})"
    for ports, reasons in (
        ((one, silent, other), f"{refused}; {late}"),
        ((silent, one, other), f"{late}; {refused}"),
    ):
        store = make_store(*ports, reply_timeout=1.0)
        for _ in range(2):
            assert why_not(store).endswith(f"no sentinel knows the master: {reasons}")


def test_the_master_that_they_name(
    make_store: MakeStore, sentinels: Callable[..., Said], pair: tuple[RedisServer, RedisServer]
) -> None:
    three = [sentinels(pair[1].port) for _ in range(3)]
    store = make_store(*(one.port for one in three), query="?db=2")
    reactor.run(store.ready)
    assert is_on(store, pair[1])
    assert b"db2:" in pair[1].command("INFO", "keyspace")
    reactor.run(lambda: deferLater(reactor.start(), 0.1))
    assert [one.talking for one in three] == [0, 0, 0], "questions are asked and done with"


def test_sentinels_that_are_away_or_do_not_answer(
    make_store: MakeStore, sentinels: Callable[..., Said], pair: tuple[RedisServer, RedisServer]
) -> None:
    silent, good = sentinels(None), sentinels(pair[0].port)
    store = make_store(free_port(), silent.port, good.port)
    reactor.run(store.ready)
    assert is_on(store, pair[0])


def test_two_that_answer_are_enough(
    make_store: MakeStore, sentinels: Callable[..., Said], pair: tuple[RedisServer, RedisServer]
) -> None:
    """Nobody waits for the third."""
    two, silent = [sentinels(pair[0].port) for _ in range(2)], sentinels(None)
    store = make_store(silent.port, *(one.port for one in two), reply_timeout=20)
    began = time.monotonic()
    reactor.run(store.ready)
    assert time.monotonic() - began < 5, "half of the reply timeout was waited for"


@pytest.mark.parametrize("behind", [0, 1, 2])
def test_what_is_newer_counts(
    make_store: MakeStore,
    sentinels: Callable[..., Said],
    pair: tuple[RedisServer, RedisServer],
    behind: int,
) -> None:
    old, new = pair
    made = [sentinels(old.port, 3) if n == behind else sentinels(new.port, 4) for n in range(3)]
    store = make_store(*(one.port for one in made))
    reactor.run(store.ready)
    assert is_on(store, new)


def test_nobody_knows(make_store: MakeStore, sentinels: Callable[..., Said]) -> None:
    silent, away = sentinels(None), free_port()
    message = why_not(make_store(silent.port, away, reply_timeout=1.0))
    assert f"no answer within 0.5 s (127.0.0.1:{silent.port})" in message
    assert f"(127.0.0.1:{away})" in message
    assert "refused" in message
    assert "\n" not in message


def test_an_unknown_name_and_a_password_of_the_sentinels(
    make_store: MakeStore, pair: tuple[RedisServer, RedisServer]
) -> None:
    with (
        Sentinel("other", pair[0].port) as without,
        Sentinel("main", pair[0].port, "requirepass hush") as closed,
    ):
        assert "it knows no master main" in why_not(make_store(without.port))
        assert "NOAUTH" in why_not(make_store(closed.port))
        wrong = why_not(make_store(closed.port, query="?sentinel_password=shush"))
        assert "WRONGPASS" in wrong
        assert "shush" not in wrong
        store = make_store(closed.port, query="?sentinel_password=hush")
        reactor.run(store.ready)
        assert is_on(store, pair[0])


def test_a_master_that_is_cut_off_is_left_though_nothing_is_wrong_with_it(
    make_store: MakeStore, sentinels: Callable[..., Said], pair: tuple[RedisServer, RedisServer]
) -> None:
    """It knows of no failover, and would go on taking writes that are thrown away when it is found again."""
    old, new = pair
    made = [sentinels(old.port, 1) for _ in range(3)]
    before, store = [make_store(*(one.port for one in made)) for _ in range(2)]
    reactor.run(before.ready)
    first = reactor.run(lambda: put(before, PATH, record(size=1)))
    split(old, new)
    reactor.run(store.ready)
    run = store.run
    for sentinel in made[:2]:
        sentinel.says = (new.port, 2)
    until(lambda: is_on(store, new))
    assert store.run not in ("", run)
    assert reactor.run(lambda: store.get(PATH)) == first


def test_old_news_are_not_believed(
    make_store: MakeStore, sentinels: Callable[..., Said], pair: tuple[RedisServer, RedisServer]
) -> None:
    """The sentinels that knew of the last failover are away, and the one that is back was not there."""
    old, new = pair
    made = [sentinels(new.port, 2) for _ in range(3)]
    store = make_store(*(one.port for one in made))
    reactor.run(store.ready)
    run = store.run
    for sentinel in made:
        sentinel.says = (old.port, 1) if sentinel is made[0] else None
    asked = made[0].asked
    until(lambda: made[0].asked >= asked + 4)
    assert store.run == run
    assert is_on(store, new)


def test_without_sentinels_the_connection_stays(
    make_store: MakeStore, sentinels: Callable[..., Said], pair: tuple[RedisServer, RedisServer]
) -> None:
    sentinel = sentinels(pair[0].port)
    store = make_store(sentinel.port)
    reactor.run(store.ready)
    run = store.run
    sentinel.says = None
    asked = sentinel.asked
    until(lambda: sentinel.asked >= asked + 4)
    assert store.run == run
    reactor.run(lambda: store.get(PATH))


def test_a_master_with_other_data_is_not_used(
    make_store: MakeStore, sentinels: Callable[..., Said], pair: tuple[RedisServer, RedisServer]
) -> None:
    sentinel = sentinels(pair[0].port, 1)
    store = make_store(sentinel.port)
    reactor.run(store.ready)
    sentinel.says = (pair[1].port, 2)
    until(lambda: store.run == "")
    until(lambda: "another store" in _failure(store))


def _failure(store: RedisStore) -> str:
    try:
        reactor.run(lambda: store.get(PATH))
    except StateUnavailable as error:
        return str(error)
    raise AssertionError("it was answered from another store")


@pytest.mark.parametrize("how", ["killed", "frozen", "demoted"])
def test_a_failover(make_store: MakeStore, how: str) -> None:
    with WatchedRedis(replicas=1) as redis:
        store = make_store(*(sentinel.port for sentinel in redis.sentinels), ack_replicas=0)
        reactor.run(store.ready)
        committed = reactor.run(lambda: put(store, PATH, record(size=1)))
        run, old = store.run, redis.first
        if how == "killed":
            old.kill()
        elif how == "frozen":
            old.pause()
        else:
            redis.sentinels[0].command("SENTINEL", "FAILOVER", redis.name)
        new = redis.failed_over(old)
        until(lambda: is_on(store, new))
        assert store.run not in ("", run)
        assert reactor.run(lambda: store.get(PATH)) == committed
