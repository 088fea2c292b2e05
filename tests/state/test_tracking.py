"""A real Redis tells what changes; and what is believed when it does not."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from random import Random
from typing import Any
from unittest.mock import Mock

import pytest
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, capturedLogs, formatEvent

from dragonbelly.errors import BadRecord, StateUnavailable
from dragonbelly.interfaces import ITracked, Snapshot
from dragonbelly.model import Path
from dragonbelly.state.keys import Keys
from dragonbelly.state.protocol import RedisProtocol
from dragonbelly.state.redis import RedisStore
from dragonbelly.state.tracking import BELIEVED, News, TrackedRecords
from dragonbelly.testing import reactor
from dragonbelly.testing.state import put, record
from dragonbelly.tuning import come_first
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer, system_binary, wheel_binary
from tests.servers.sentinel import WatchedRedis
from tests.state.test_sentinel import split
from tests.waiting import until

pytestmark = pytest.mark.servers

PATH, OTHER = Path("media", "a"), Path("media", "b")
NOTHING = Snapshot(None, b"")

MakeStore = Callable[..., RedisStore]


@pytest.fixture
def make_store() -> Iterator[MakeStore]:
    stores: list[RedisStore] = []

    def make(url: str, **options: Any) -> RedisStore:
        stores.append(RedisStore(reactor.start(), url, **{"reply_timeout": 20.0, **options}))
        return stores[-1]

    yield make
    for store in stores:
        reactor.run(store.close)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer("appendonly yes", "appendfsync always", port=True) as running:
        yield running


class Kept:
    """What was read of a store, kept as ``ITracked`` says: marked before it is asked for."""

    def __init__(self, store: RedisStore) -> None:
        self.tracked: ITracked = store.track()
        self.tracked.changed = self._changed
        self.records: dict[str, Snapshot] = {}
        self.told: list[str | None] = []
        self._marks: dict[str, object] = {}

    def _changed(self, member: str | None) -> None:
        self.told.append(member)
        for each in [member] if member is not None else {*self.records, *self._marks}:
            self.records.pop(each, None)
            self._marks.pop(each, None)

    async def get(self, path: Path) -> Snapshot:
        mark = self._marks[path.member] = object()
        snapshot = await self.tracked.get(path)
        if self._marks.get(path.member) is mark:
            self.records[path.member] = snapshot
        return snapshot

    def read(self, path: Path = PATH) -> Snapshot:
        return reactor.run(lambda: self.get(path))

    def reads(self) -> bool:
        try:
            self.read(Path("media", "nothing"))
        except StateUnavailable:
            return False
        return self.tracked.until > now()

    def begin(self) -> Kept:
        """Wait until it is told what changes."""
        until(self.reads)
        self.told.clear()
        return self

    def has(self, path: Path = PATH) -> bool:
        return path.member in self.records


def now() -> float:
    return float(reactor.start().seconds())


def connected() -> list[RedisProtocol]:
    """All there are in this process."""
    protocols = [getattr(each, "protocol", None) for each in reactor.start().getReaders()]
    unwrapped = [getattr(each, "_wrappedProtocol", None) for each in protocols]  # of an endpoint's
    return [each for each in unwrapped if isinstance(each, RedisProtocol)]


def write(store: RedisStore, size: int, path: Path = PATH) -> Snapshot:
    return reactor.run(lambda: put(store, path, record(size=size)))


def clients(server: RedisServer) -> dict[str, dict[str, str]]:
    """``CLIENT LIST`` of the connection that reads, and of the one that hears."""
    found = {}
    for line in server.command("CLIENT", "LIST").decode().splitlines():
        fields = dict(re.findall(r"(\S+?)=(\S*)", line))
        for name, flag in (("reads", "t"), ("hears", "P")):
            if flag in fields.get("flags", ""):
                found[name] = fields
    return found


def is_sound(kept: Kept, store: RedisStore, size: int = 77) -> None:
    """It keeps what it reads, and hears of what changes."""
    until(kept.reads)
    written = write(store, size)

    def kept_it() -> bool:
        kept.read()
        return kept.has()

    until(kept_it)
    assert kept.records[PATH.member] == written
    write(store, size + 1)
    until(lambda: not kept.has())


def texts(events: list[LogEvent]) -> list[str]:
    return [formatEvent(event) for event in events if event["log_namespace"].startswith("dragonbelly")]


# --- connections that are lost -------------------------------------------------------------------------------


def kill_all(server: RedisServer) -> None:
    for kind in ("normal", "pubsub"):
        server.command("CLIENT", "KILL", "TYPE", kind)


KILLS: dict[str, Callable[[RedisServer], object]] = {
    "the one that reads": lambda server: server.command("CLIENT", "KILL", "ID", clients(server)["reads"]["id"]),
    "the one that hears": lambda server: server.command("CLIENT", "KILL", "ID", clients(server)["hears"]["id"]),
    "subscribers": lambda server: server.command("CLIENT", "KILL", "TYPE", "pubsub"),
    "all": kill_all,
}


@pytest.mark.parametrize("binary", [system_binary, wheel_binary])
@pytest.mark.parametrize("kill", KILLS)
def test_a_connection_is_killed(make_store: MakeStore, kill: str, binary: Callable[[], str]) -> None:
    with RedisServer(binary=binary()) as server:
        store, writer = make_store(server.url), make_store(server.url)
        for each in (store, writer):
            reactor.run(each.ready)
        write(writer, 1)
        kept = Kept(store).begin()
        kept.read()
        assert clients(server).keys() == {"reads", "hears"}
        assert kept.has()
        KILLS[kill](server)
        # Whatever was kept is forgotten before anything is believed again.
        until(lambda: kept.told[:1] == [None])
        assert not kept.has()
        until(lambda: recovered(writer))
        is_sound(kept, writer)
        assert clients(server).keys() == {"reads", "hears"}


def recovered(store: RedisStore) -> bool:
    try:
        reactor.run(lambda: store.get(PATH))
    except StateUnavailable:
        return False
    return True


def test_nothing_is_believed_from_the_moment_a_connection_is_lost(
    make_store: MakeStore, server: RedisServer
) -> None:
    store = make_store(server.url)
    reactor.run(store.ready)
    kept = Kept(store).begin()
    server.kill()
    until(lambda: kept.tracked.until == 0)
    proven = kept.tracked.proven
    assert 0 < proven <= now(), "for those who answer with what was true a while ago"
    with pytest.raises(StateUnavailable):
        kept.read()
    server.start()
    is_sound(kept, store)
    assert kept.tracked.proven > proven


@pytest.mark.parametrize("which", ["reads", "hears"])
def test_that_moment_is_when_the_first_of_them_is_lost(
    make_store: MakeStore, server: RedisServer, which: str
) -> None:
    """And not the next beat."""
    store = make_store(server.url)
    reactor.run(store.ready)
    kept = Kept(store).begin()

    async def lose() -> tuple[bool, float]:
        [hears] = [each for each in connected() if isinstance(each, News)]
        protocol = hears if which == "hears" else kept.tracked._protocol
        beat = kept.tracked.proven
        protocol.transport.abortConnection()
        while not protocol.lost.called:
            await deferLater(reactor.start(), 0)
        await deferLater(reactor.start(), 0)
        return kept.tracked.proven == beat, kept.tracked.until

    while True:
        until(kept.reads)
        no_beat_meanwhile, believed = reactor.run(lose)
        if no_beat_meanwhile:
            assert believed == 0
            break


def test_a_restart_with_its_data(make_store: MakeStore, server: RedisServer) -> None:
    store = make_store(server.url)
    reactor.run(store.ready)
    written = write(store, 1)
    kept = Kept(store).begin()
    for end in (server.stop, server.kill):
        kept.read()
        assert kept.records[PATH.member] == written
        kept.told.clear()
        end()
        server.start()
        until(lambda: None in kept.told)
        assert not kept.has()
        until(kept.reads)
        assert kept.read() == written
    until(lambda: recovered(store))
    is_sound(kept, store)


def test_a_restart_without_its_data(make_store: MakeStore, server: RedisServer) -> None:
    store = make_store(server.url)
    reactor.run(store.ready)
    write(store, 1)
    kept = Kept(store).begin()
    kept.read()
    server.kill()
    for left in server.directory.glob("appendonlydir/*"):
        left.unlink()
    server.start()

    def why() -> str:
        with pytest.raises(StateUnavailable) as caught:
            reactor.run(lambda: store.get(PATH))
        return str(caught.value)

    until(lambda: "another store" in why())
    for _ in range(5):
        assert kept.tracked.until == 0
        with pytest.raises(StateUnavailable):
            kept.read()


@pytest.mark.parametrize("binary", [system_binary, wheel_binary])
@pytest.mark.parametrize("command", ["FLUSHDB", "FLUSHALL"])
def test_it_is_emptied(make_store: MakeStore, command: str, binary: Callable[[], str]) -> None:
    with RedisServer(binary=binary()) as server:
        store = make_store(server.url)
        reactor.run(store.ready)
        write(store, 1)
        kept = Kept(store).begin()
        kept.read()
        server.command(command)
        # The news says so: a new connection would find that this is another store, and not be used.
        until(lambda: None in kept.told)
        assert not kept.has()
        until(lambda: kept.tracked.until == 0)


@pytest.mark.parametrize("held", ["hears", "reads", "both"])
def test_a_connection_that_dies_without_a_word(make_store: MakeStore, server: RedisServer, held: str) -> None:
    """Nobody is told; so what is kept is believed for a while only, and then others are connected."""
    with Proxy(server.port) as proxy:
        store = make_store(f"redis://127.0.0.1:{proxy.port}/0", reply_timeout=1.0)
        writer = make_store(server.url)
        for each in (store, writer):
            reactor.run(each.ready)
        write(writer, 1)
        kept = Kept(store).begin()
        kept.read()
        found = clients(server)
        for name in ("reads", "hears") if held == "both" else (held,):
            proxy.hold(port_of(found[name]))
        at = now()
        write(writer, 2)
        latest = 0.0

        def over() -> bool:
            nonlocal latest
            if kept.has():
                latest = max(latest, kept.tracked.until)
            return None in kept.told

        until(over)
        assert not kept.has()
        if held != "reads":
            assert latest <= at + BELIEVED
        is_sound(kept, writer)


def port_of(client: dict[str, str]) -> int:
    return int(client["addr"].rpartition(":")[2])


def test_a_server_that_is_frozen(make_store: MakeStore, server: RedisServer) -> None:
    store = make_store(server.url, reply_timeout=0.5)
    reactor.run(store.ready)
    write(store, 1)
    kept = Kept(store).begin()
    kept.read()
    server.pause()
    at, latest = now(), 0.0

    def over() -> bool:
        nonlocal latest
        latest = max(latest, kept.tracked.until)
        return kept.tracked.until <= now()

    until(over)
    assert latest <= at + BELIEVED
    with pytest.raises(StateUnavailable):
        kept.read()
    server.resume()
    until(lambda: recovered(store))
    is_sound(kept, store)


@pytest.mark.parametrize("how", ["killed", "frozen", "demoted"])
def test_a_failover(make_store: MakeStore, how: str) -> None:
    with WatchedRedis(replicas=1) as redis:
        store = make_store(redis.url, reply_timeout=4.0)
        reactor.run(store.ready)
        write(store, 1)
        kept = Kept(store).begin()
        kept.read()
        run, old = store.run, redis.first
        if how == "killed":
            old.kill()
        elif how == "frozen":
            old.pause()
        else:
            redis.sentinels[0].command("SENTINEL", "FAILOVER", redis.name)
        new = redis.failed_over(old)
        until(lambda: store.run not in ("", run), within=30)
        until(lambda: None in kept.told, within=30)
        assert not kept.has()
        is_sound(kept, store)
        assert clients(new).keys() == {"reads", "hears"}


# --- replies and news that overtake each other ---------------------------------------------------------------


def test_news_that_overtakes_the_reply(make_store: MakeStore, server: RedisServer) -> None:
    with Proxy(server.port) as proxy:
        store, writer = make_store(f"redis://127.0.0.1:{proxy.port}/0"), make_store(server.url)
        for each in (store, writer):
            reactor.run(each.ready)
        old = write(writer, 1)
        kept = Kept(store).begin()
        reading = clients(server)["reads"]
        proxy.hold(port_of(reading))
        replies: list[Snapshot] = []

        def ask() -> None:
            kept.told.clear()
            asked = kept.get(PATH)
            from twisted.internet.defer import Deferred

            Deferred.fromCoroutine(asked).addBoth(replies.append)

        reactor.run(ask)
        until(lambda: clients(server)["reads"]["cmd"] == "get")
        new = write(writer, 2)
        until(lambda: kept.told == [PATH.member])
        assert replies == []
        proxy.thaw()
        until(lambda: replies == [old])
        assert not kept.has()
        assert kept.read() == new
        assert kept.records[PATH.member] == new


def test_a_reply_that_overtakes_the_news(make_store: MakeStore, server: RedisServer) -> None:
    with Proxy(server.port) as proxy:
        store, writer = make_store(f"redis://127.0.0.1:{proxy.port}/0"), make_store(server.url)
        for each in (store, writer):
            reactor.run(each.ready)
        old = write(writer, 1)
        kept = Kept(store).begin()
        proxy.hold(port_of(clients(server)["hears"]))
        at = now()
        assert kept.read() == old
        write(writer, 2)
        assert kept.records[PATH.member] == old
        assert kept.tracked.until <= at + BELIEVED
        until(lambda: kept.tracked.until <= now())
        assert kept.told == []
        proxy.thaw()
        until(lambda: kept.told == [PATH.member])
        assert not kept.has()


@pytest.mark.parametrize("seed", range(3))
def test_nothing_old_is_kept_in_whatever_order_they_come(
    make_store: MakeStore, server: RedisServer, seed: int
) -> None:
    """
    Writes, reads, and connections that are held back at random: whatever was overwritten before ``proven`` is
    kept no more.
    """
    random = Random(seed)
    paths = [Path("media", name) for name in "abc"]
    with Proxy(server.port) as proxy:
        store, writer = make_store(f"redis://127.0.0.1:{proxy.port}/0"), make_store(server.url)
        for each in (store, writer):
            reactor.run(each.ready)
        kept = Kept(store).begin()
        ports = [port_of(client) for client in clients(server).values()]
        #: What each record was, and until when.
        past: dict[str, dict[Snapshot, float]] = {path.member: {} for path in paths}
        truth: dict[str, Snapshot] = {}
        kept_at_all = 0

        def check() -> None:
            nonlocal kept_at_all
            for member, snapshot in kept.records.items():
                kept_at_all += 1
                over = past[member].get(snapshot) if member in past else None
                assert over is None or over >= kept.tracked.proven, member

        async def change(n: int) -> None:
            path = random.choice(paths)
            before = truth.get(path.member, NOTHING)
            truth[path.member] = await put(writer, path, record(size=n))
            past[path.member][before] = now()

        async def work() -> None:
            from twisted.internet.defer import Deferred

            for n in range(400):
                act = random.random()
                if act < 0.3:
                    await change(n)
                elif act < 0.7:
                    reading = Deferred.fromCoroutine(kept.get(random.choice(paths)))
                    reading.addErrback(lambda failure: failure.trap(StateUnavailable))
                elif act < 0.8:
                    proxy._hold(frozen=False, deaf=False)
                    proxy._hold_one(random.choice(ports))
                elif act < 0.9:
                    proxy._hold(frozen=False, deaf=False)
                else:
                    await deferLater(reactor.start(), random.random() * 0.02)
                check()
            proxy._hold(frozen=False, deaf=False)
            last = now()
            while kept.tracked.proven <= last:
                await deferLater(reactor.start(), 0.02)
                check()

        reactor.run(work, timeout=60)
        assert kept_at_all > 100
        assert None not in kept.told, "no connection was lost on the way"
        for member, snapshot in kept.records.items():
            assert snapshot == truth.get(member, NOTHING)


# --- other servers -------------------------------------------------------------------------------------------


class Address(Proxy):
    """One address behind which several servers stand: each connection comes to the next of ``targets``."""

    targets: Iterator[int]

    @property
    def target(self) -> int:
        return next(self.targets)

    @target.setter
    def target(self, port: int) -> None:
        self.targets = itertools.repeat(port)


@pytest.fixture
def pair() -> Iterator[tuple[RedisServer, RedisServer]]:
    """Two masters with the same data, which go their own ways from then on."""
    at_once = "repl-diskless-sync-delay 0"
    with RedisServer(at_once, port=True) as one, RedisServer(at_once, port=True) as other:
        yield one, other


@pytest.mark.parametrize("leads", ["to two servers", "to another than is written to"])
def test_an_address_leads(make_store: MakeStore, pair: tuple[RedisServer, RedisServer], leads: str) -> None:
    one, other = pair
    with Address(one.port) as address, capturedLogs() as logs:
        store = make_store(f"redis://127.0.0.1:{address.port}/0")
        reactor.run(store.ready)
        written = write(store, 1)
        split(one, other)
        asked = 0

        def turns() -> Iterator[int]:
            nonlocal asked
            for port in itertools.cycle(
                [one.port, other.port] if leads == "to two servers" else [other.port] * 2
            ):
                asked += 1
                yield port

        address.targets = turns()
        kept = Kept(store)
        until(lambda: kept.reads() or asked >= 6)
        assert kept.tracked.until == 0
        assert reactor.run(lambda: store.get(PATH)) == written, "everything goes on without"
        said = [text for text in texts(logs) if "every GET asks it" in text]
        [once] = said
        assert ("two servers" if leads == "to two servers" else "another server") in once
        # And when all is well again it goes on, and says so.
        address.target = one.port
        is_sound(kept, store)
        assert [text for text in texts(logs) if "tells what changes" in text]


def test_what_is_written_goes_to_another_server_now(
    make_store: MakeStore, pair: tuple[RedisServer, RedisServer]
) -> None:
    """
    The connection that writes was lost and led elsewhere, the others were not: what this daemon has just
    written would be read as it was before.
    """
    one, other = pair
    with Address(one.port) as address:
        store = make_store(f"redis://127.0.0.1:{address.port}/0")
        reactor.run(store.ready)
        write(store, 1)
        split(one, other)
        kept = Kept(store).begin()
        run = store.run
        address.target = other.port
        # A kind of connection of which there is but the one that writes.
        ids = {fields["id"] for fields in clients(one).values()}
        for line in one.command("CLIENT", "LIST").decode().splitlines():
            id = line.split("id=")[1].split(" ")[0] if "id=" in line else ""
            if id and id not in ids and "cmd=client" not in line:
                one.command("CLIENT", "KILL", "ID", id)
        until(lambda: store.run not in ("", run))

        async def write_and_read() -> tuple[Snapshot, Snapshot | None]:
            written = await put(store, PATH, record(size=2))
            try:
                return written, await kept.get(PATH)
            except StateUnavailable:
                return written, None

        written, read = reactor.run(write_and_read)
        assert read in (written, None)
        is_sound(kept, store)
        assert clients(other).keys() == {"reads", "hears"}


# --- a Redis that does not tell ------------------------------------------------------------------------------


@pytest.mark.parametrize("forbidden", ["-client|tracking", "-client", "-subscribe", "resetchannels"])
def test_it_is_forbidden(make_store: MakeStore, server: RedisServer, forbidden: str) -> None:
    server.command("ACL", "SETUSER", "me", "on", ">pw", "~*", "&*", "+@all", forbidden)
    with capturedLogs() as logs:
        store = make_store(f"unix://me:pw@{server.socket}")
        reactor.run(store.ready)
        kept = Kept(store)
        for n in range(3):  # it is asked for again all the time
            refused = stat(server, "total_connections_received") + 4
            until(lambda refused=refused: kept.reads() or stat(server, "total_connections_received") > refused)
            assert kept.tracked.until == 0
            written = write(store, n)
            assert reactor.run(lambda: store.get(PATH)) == written
        [said] = [text for text in texts(logs) if "every GET asks it" in text]
        assert "NOPERM" in said
        assert len([text for text in texts(logs) if "connected" in text]) == 1
        server.command("ACL", "SETUSER", "me", "&*", "+@all")
        is_sound(kept, store)
        assert len([text for text in texts(logs) if text.endswith("it tells what changes")]) == 1


def test_what_an_acl_has_to_allow(make_store: MakeStore, server: RedisServer) -> None:
    """As the documentation says."""
    allowed = ["+client|id", "+client|tracking", "+subscribe", "&__redis__:invalidate"]
    server.command(
        "ACL",
        "SETUSER",
        "me",
        "on",
        ">pw",
        "~db:*",
        "resetchannels",
        "+@all",
        "-client",
        "-subscribe",
        *allowed,
    )
    store = make_store(f"unix://me:pw@{server.socket}")
    reactor.run(store.ready)
    is_sound(Kept(store), store)
    documented = (FilePath(__file__).parents[2] / "docs" / "durability.rst").read_text()
    assert all(f"``{each}``" in documented for each in allowed)


def stat(server: RedisServer, name: str) -> int:
    found = re.search(rb"%s:(\d+)" % name.encode(), server.command("INFO", "stats"))
    assert found
    return int(found[1])


def test_a_server_that_is_away_is_said_once(make_store: MakeStore, server: RedisServer) -> None:
    """Three connections are lost, and come back: nobody wants to read all that."""
    store = make_store(server.url)
    reactor.run(store.ready)
    with capturedLogs() as logs:
        kept = Kept(store).begin()
        server.kill()
        until(lambda: kept.tracked.until == 0)
        until(lambda: not recovered(store))
        server.start()
        is_sound(kept, store)
    said = texts(logs)
    assert len([text for text in said if text.endswith(": connected")]) == 1
    lost = [text for text in said if "trying again" in text]
    assert len(lost) == len(set(lost)) <= 2, said
    assert len(said) == 1 + len(lost), said
    assert not [event for event in logs if event.get("log_failure")]


def test_an_unknown_message_may_mean_anything(make_store: MakeStore, server: RedisServer) -> None:
    """Whoever may write to Redis may send one."""
    store = make_store(server.url)
    reactor.run(store.ready)
    kept = Kept(store).begin()
    kept.read()
    with capturedLogs() as logs:
        server.command("PUBLISH", "__redis__:invalidate", "hello")
        until(lambda: kept.told == [None])
    assert not kept.has()
    assert texts(logs) == []
    assert kept.reads(), "it is the same connection"


def test_keys_of_others_are_nobodys_business(make_store: MakeStore, server: RedisServer) -> None:
    """Redis tells of a key by its name, whatever database it is in."""
    store, other = make_store(server.url), make_store(server.url, prefix="x")
    for each in (store, other):
        reactor.run(each.ready)
    one, another = Kept(store).begin(), Kept(other).begin()
    for each in (one, another):
        each.read()
    write(store, 1)
    until(lambda: one.told == [PATH.member])
    write(other, 1)
    until(lambda: another.told == [PATH.member])
    assert one.told == [PATH.member]


def test_redis_remembers_nothing_of_what_was_read(make_store: MakeStore, server: RedisServer) -> None:
    """Or it would have to tell us to forget some of it, sooner or later, for each that is read."""
    server.command("CONFIG", "SET", "tracking-table-max-keys", "50")
    store = make_store(server.url)
    reactor.run(store.ready)
    kept = Kept(store).begin()

    async def read_many() -> None:
        for n in range(400):
            await kept.get(Path("media", str(n)))

    reactor.run(read_many)
    assert b"tracking_total_keys:0\r" in server.command("INFO", "stats")
    assert kept.told == []
    is_sound(kept, store)


def test_news_come_before_all_else(make_store: MakeStore, server: RedisServer) -> None:
    store = make_store(server.url)
    reactor.run(store.ready)
    first = come_first(reactor.start())
    before = set(first)
    kept = Kept(store).begin()
    [descriptor] = first - before
    [hears] = [each.transport for each in connected() if isinstance(each, News)]
    assert hears.fileno() == descriptor
    server.command("CLIENT", "KILL", "TYPE", "pubsub")
    until(lambda: kept.tracked.until == 0)
    is_sound(kept, store)
    reactor.run(store.close)
    until(lambda: first == before)


def test_only_records_are_told_of(make_store: MakeStore, server: RedisServer) -> None:
    """With each of them some indices are written, which nobody keeps."""
    store = make_store(server.url)
    reactor.run(store.ready)
    kept = Kept(store).begin()
    keys, heard = store._keys, []
    member_of = keys.member_of
    keys.member_of = lambda key: heard.append(key) or member_of(key)  # type: ignore[method-assign,func-returns-value]
    write(store, 1)
    until(lambda: kept.told == [PATH.member])
    assert heard == [keys.record(PATH).encode()]


def test_something_else_where_a_record_should_be(make_store: MakeStore, server: RedisServer) -> None:
    store = make_store(server.url)
    reactor.run(store.ready)
    kept = Kept(store).begin()
    key = store._keys.record(PATH)
    server.command("RPUSH", key, "x")
    with pytest.raises(StateUnavailable, match="WRONGTYPE"):
        kept.read()
    server.command("DEL", key)
    server.command("SET", key, "x")
    with pytest.raises(BadRecord):
        kept.read()
    server.command("DEL", key)
    is_sound(kept, store)


def test_all_is_told_that_came_together_before_more_is_done() -> None:
    tracked = TrackedRecords(Clock(), Keys(64), 1.0, lambda *_: Mock(), lambda: "")
    protocol, done = RedisProtocol(Clock(), 1.0), list[str]()
    protocol.makeConnection(StringTransport())
    tracked._protocol = protocol

    def ask(name: str) -> None:
        def told(_: object) -> None:
            done.append(name)
            tracked.after(lambda: done.append(name.upper()))

        tracked.ask(PATH, told)

    for name in "abc":
        ask(name)
    protocol.dataReceived(b"$-1\r\n$-1\r\n$-")
    assert done == ["a", "b", "A", "B"]
    protocol.dataReceived(b"1\r\n")
    assert done == ["a", "b", "A", "B", "c", "C"]
    tracked.after(lambda: done.append("now"))
    assert done[-1] == "now"


def test_calls_that_are_given_up_do_not_shift_the_replies(make_store: MakeStore, server: RedisServer) -> None:
    store = make_store(server.url)
    reactor.run(store.ready)
    written = {path: write(store, size, path) for size, path in ((1, PATH), (2, OTHER))}
    kept = Kept(store).begin()

    async def work() -> None:
        asked = [kept.tracked.get(path) for path in (PATH, OTHER) * 50]
        for each in asked[::3]:
            each.cancel()
            each.addErrback(lambda _: None)
        assert await kept.tracked.get(OTHER) == written[OTHER]
        for n, each in enumerate(asked):
            if n % 3:
                assert await each == written[PATH if n % 2 == 0 else OTHER]

    reactor.run(work)


# --- other ways to the server --------------------------------------------------------------------------------


def test_tls(make_store: MakeStore, authority: FilePath) -> None:
    server = RedisServer(port=True)
    tls_port, server.port = server.port, 0
    server.settings += (
        f"tls-port {tls_port}",
        f"tls-cert-file {authority}/server.pem",
        f"tls-key-file {authority}/server.key",
        f"tls-ca-cert-file {authority}/ca.pem",
        "tls-auth-clients no",
    )
    with server:
        store = make_store(f"rediss://localhost:{tls_port}/0?cafile={authority}/ca.pem")
        reactor.run(store.ready)
        kept = Kept(store)
        is_sound(kept, store)
        for kill in KILLS.values():
            kept.told.clear()
            kill(server)
            until(lambda: None in kept.told)
            until(lambda: recovered(store))
            is_sound(kept, store)


def test_a_database_of_its_own(make_store: MakeStore, server: RedisServer) -> None:
    store = make_store(f"unix://{server.socket}?db=3")
    reactor.run(store.ready)
    is_sound(Kept(store), store)


# --- the end -------------------------------------------------------------------------------------------------


def nothing_is_left(before: set[Any]) -> None:
    assert connected() == []
    assert {call for call in reactor.start().getDelayedCalls() if call.active()} == before


def test_closing_leaves_nothing(make_store: MakeStore, server: RedisServer) -> None:
    store = make_store(server.url)
    reactor.run(store.ready)
    kept = Kept(store).begin()

    async def close() -> None:
        await deferLater(reactor.start(), 0)
        # What runs this has a timeout of its own.
        before = {call for call in reactor.start().getDelayedCalls() if "timeItOut" in str(call)}
        asked = kept.tracked.get(PATH)
        asked.addErrback(lambda failure: failure.trap(StateUnavailable))
        await store.close()
        nothing_is_left(before)

    reactor.run(close)
    until(lambda: b"connected_clients:1\r" in server.command("INFO", "clients"))
    assert kept.tracked.until == 0
    with pytest.raises(StateUnavailable):
        kept.read()


@pytest.mark.parametrize("moment", range(6))
def test_closing_while_it_connects(make_store: MakeStore, server: RedisServer, moment: int) -> None:
    """After the first, the second, … answer of the server."""
    with Proxy(server.port) as proxy:
        store = make_store(f"redis://127.0.0.1:{proxy.port}/0")
        before = reactor.run(lambda: set(reactor.start().getDelayedCalls()))
        reactor.run(store.ready)
        kept = Kept(store)

        async def work() -> None:
            with pytest.raises(StateUnavailable):
                await kept.tracked.get(PATH)
            await deferLater(reactor.start(), moment * 0.003)
            await store.close()
            await deferLater(reactor.start(), 0)

        with capturedLogs() as logs:
            reactor.run(work)
        assert not [event for event in logs if event.get("log_failure")]

        def gone() -> bool:
            try:
                reactor.run(lambda: nothing_is_left(before))
            except AssertionError:
                return False
            return True

        until(gone)
        until(lambda: b"connected_clients:1\r" in server.command("INFO", "clients"))


def test_a_frozen_server_does_not_hold_up_the_end(make_store: MakeStore, server: RedisServer) -> None:
    store = make_store(server.url)
    reactor.run(store.ready)
    kept = Kept(store).begin()
    server.pause()

    async def close() -> None:
        kept.tracked.get(PATH).addErrback(lambda failure: failure.trap(StateUnavailable))
        await store.close()

    reactor.run(close, timeout=15)  # less than the reply timeout
