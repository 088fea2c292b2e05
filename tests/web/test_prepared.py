"""Prepared redirects as clients see them: what is answered from memory, for how long, and what never is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail
from twisted.logger import capturedLogs

from dragonbelly.errors import StateUnavailable
from dragonbelly.interfaces import Snapshot, Told
from dragonbelly.model import BackendState, Path, ReplicaState
from dragonbelly.web.prepared import SPELLINGS, Prepared
from dragonbelly.web.redirects import Redirect
from tests.web.wire import Connection, Said
from tests.web.world import World

MakeWorld = Callable[..., World]


class Reader:
    """A client that keeps its connection; ``asked`` are the records that the daemon asked for meanwhile."""

    def __init__(self, world: World) -> None:
        self._public = world.public
        self.connection = Connection(self._public)
        self.asked: list[str] = []
        self.prepared: Prepared = world.public.prepared
        tracked: Any = self.prepared.tracked
        ask = tracked.ask

        def counted(path: Path, told: Told) -> None:
            self.asked.append(path.name)
            ask(path, told)

        tracked.ask = counted

    def get(self, name: str, method: str = "GET") -> Said:
        if self.connection.closed:  # it was idle for too long
            self.connection.leave()
            self.connection = Connection(self._public)
        return self.connection.ask(method, f"/{name}")

    def is_asked(self, name: str) -> bool:
        """Whether the store has to be asked for a GET."""
        self.asked.clear()
        self.get(name)
        return self.asked != []

    def find(self, name: str) -> bool:
        return self.prepared.find(Path("default", name)) is not None


@pytest.fixture
def reader(world: World) -> Iterator[Reader]:
    reader = Reader(world)
    yield reader
    reader.connection.leave()


def store(world: World, *names: str) -> None:
    for name in names:
        world.put(name, name.encode())
        assert world.download(name) == name.encode()


def deaf(world: World) -> None:
    """No news come any more; what is kept is believed all the same."""
    world.public.prepared.tracked.changed = lambda member: None


def recover(world: World) -> None:
    """A server has to answer for a while before it is trusted again."""
    for _ in range(5):
        world.clock.advance(10)
        world.probe()


# --- what is kept --------------------------------------------------------------------------------------------


def test_the_store_is_asked_once(world: World, reader: Reader) -> None:
    store(world, "a")
    reader.get("a")
    reader.asked.clear()
    first = reader.get("a")
    for method in ("GET", "HEAD", "GET", "HEAD"):
        said = reader.get("a", method)
        assert (said.status, said.headers) == (302, {**first.headers, "location": said.location})
    assert world.ask("GET", "/%61").status == 302, "another spelling, and another connection"
    assert reader.asked == []


@pytest.mark.parametrize("most", [1, 5, 20, 100])
def test_so_many_are_kept_and_no_more(make_world: MakeWorld, most: int) -> None:
    world = make_world(f"[http]\ncache = {most}")
    reader = Reader(world)
    names = [f"f{n}" for n in range(130)]
    store(world, *names)
    for name in names:
        reader.get(name)
        reader.get(name)
        assert len(reader.prepared) <= most
    assert len(reader.prepared) == most
    assert len(reader.prepared._order) == most
    lines = reader.prepared.lines["default"]
    assert len(lines) <= SPELLINGS * most
    kept = {redirect.member for redirect in reader.prepared._kept.values()}
    assert {redirect.member for redirect in lines.values()} <= kept
    reader.connection.leave()


def test_the_newest_is_kept_though_all_others_are_used(make_world: MakeWorld) -> None:
    world = make_world("[http]\ncache = 2")
    reader = Reader(world)
    store(world, "a", "b", "c")
    for name in "aabbc":
        reader.get(name)
    assert not reader.is_asked("c")
    reader.connection.leave()


def test_what_has_to_make_room_at_once_is_answered_from_what_was_read(make_world: MakeWorld) -> None:
    """As when Redis answers more questions at a time than redirects are kept."""
    world = make_world("[http]\ncache = 1")
    store(world, "a", "b")
    prepared = world.public.prepared
    kept: list[Redirect | None] = []
    for name in "ab":
        prepared.ask(Path("default", name), lambda _, redirect: kept.append(redirect))
    a, b = kept
    assert a is not None
    assert b is not None
    assert prepared.find(Path("default", "a")) is None
    assert prepared.find(Path("default", "b")) is b
    assert a.until > world.clock.seconds()


def test_what_is_used_stays(make_world: MakeWorld) -> None:
    world = make_world("[http]\ncache = 50")
    reader = Reader(world)
    names = [f"f{n}" for n in range(200)]
    store(world, "used", "unused", *names)
    for name in ("used", "unused"):
        reader.get(name)
    for name in names:
        reader.get(name)
        assert not reader.is_asked("used")
    assert reader.is_asked("unused")
    reader.connection.leave()


def test_a_file_that_changes_all_the_time_pushes_no_other_out_that_is_used(make_world: MakeWorld) -> None:
    world = make_world("[http]\ncache = 20")
    reader = Reader(world)
    store(world, "busy", *(f"f{n}" for n in range(10)))
    for n in range(10):
        reader.get(f"f{n}")
    path, memory = Path("default", "busy"), world.store.memory
    for n in range(100):
        snapshot = memory._snapshot(path)
        assert snapshot.record is not None
        memory.commit(path, snapshot, replace(snapshot.record, tries=n + 1), None)
        assert reader.is_asked("busy")
        assert not any(reader.is_asked(f"f{n}") for n in range(10))
    reader.connection.leave()


def test_many_spellings_of_one_path(world: World, reader: Reader) -> None:
    store(world, "abc")
    spellings = [f"/{a}{b}{c}" for a in ("a", "%61") for b in ("b", "%62") for c in ("c", "%63")]
    for _ in range(2):
        for target in spellings:
            assert reader.connection.ask("GET", target).status == 302
    assert len(reader.prepared) == 1
    assert len(reader.prepared.lines["default"]) == SPELLINGS
    assert world.ask("DELETE", "/abc").status == 204
    assert len(reader.prepared.lines["default"]) == 0
    assert {reader.connection.ask("GET", target).status for target in spellings} == {404}


def test_nothing_is_kept_if_the_operator_says_so(make_world: MakeWorld) -> None:
    world = make_world("[http]\ncache = 0")
    reader = Reader(world)
    store(world, "a")
    for _ in range(3):
        assert reader.get("a").status == 302
    assert reader.asked == [], "nobody has to tell what changes"
    assert (len(reader.prepared), len(reader.prepared.lines["default"])) == (0, 0)
    world.store.away = True
    world.clock.advance(59)
    assert reader.get("a").status == 302, "what was read lately is known for as long as ever"
    reader.connection.leave()


# --- for how long --------------------------------------------------------------------------------------------


def test_not_longer_than_the_operator_says(make_world: MakeWorld) -> None:
    world = make_world('[http]\ncache_age = "60s"')
    reader = Reader(world)
    store(world, "a")
    reader.get("a")
    assert not reader.is_asked("a")
    world.clock.advance(59.5)
    assert not reader.is_asked("a")
    world.clock.advance(0.5)
    assert reader.is_asked("a")
    assert not reader.is_asked("a")
    reader.connection.leave()


def test_links_that_are_signed_are_good_for_as_long_as_promised(world: World, reader: Reader) -> None:
    for storage in world.stores:
        backend: Any = storage
        backend.link_expires = 100.0
        plain = backend.download_url
        backend.download_url = lambda key, expires=None, plain=plain: (
            f"{plain(key)}?expires={expires}" if expires else plain(key)
        )
    world.put("a", b"a")
    world.clock.advance(0.5)
    reader.get("a")
    reader.asked.clear()
    seen = set()
    for _ in range(200):
        said = reader.get("a")
        expires = [int(url.partition(">")[0]) for url in said.location.split("expires=")[1:]]
        assert all(each >= world.clock.seconds() + 100 for each in expires)
        seen.update(expires)
        world.clock.advance(1)
    assert len(seen) >= 8, "they change every 25 s"
    assert len(reader.asked) <= 10, "and not more often"


def test_while_nobody_tells_the_store_is_asked(world: World, reader: Reader) -> None:
    store(world, "a")
    reader.get("a")
    world.store.failing = {"get"}
    assert reader.get("a").status == 302, "what is kept is true still"
    world.store.away = True
    reader.get("a")
    assert reader.is_asked("a")


def test_a_redirect_is_told_while_the_store_is_away_for_so_long(make_world: MakeWorld) -> None:
    world = make_world('[state]\nstale = "30s"')
    reader = Reader(world)
    store(world, "a", "b")
    for name in ("a", "b"):
        reader.get(name)
    world.ask("DELETE", "/b")
    world.store.away = True
    world.clock.advance(29.5)
    assert reader.get("a").status == 302
    assert world.metric("stale_answers_total") == 1
    assert reader.get("b").status != 302
    world.clock.advance(0.5)
    assert reader.get("a").status == 503
    world.store.away = False
    assert reader.get("a").status == 302
    reader.connection.leave()


def test_and_not_longer_than_it_is_good_for(make_world: MakeWorld) -> None:
    world = make_world('[http]\ncache_age = "10s"')
    reader = Reader(world)
    store(world, "a")
    world.clock.advance(61)  # by now nobody else remembers
    reader.get("a")
    world.store.away = True
    world.clock.advance(9)
    assert reader.get("a").status == 302
    world.clock.advance(1)
    assert reader.get("a").status == 503
    reader.connection.leave()


# --- what takes effect at once -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["down", "dead"])
def test_what_an_operator_says(world: World, reader: Reader, state: str) -> None:
    store(world, "a")
    world.replicate()
    reader.get("a")
    first = world.storage_of(reader.get("a").location).name
    assert world.api("PATCH", f"backends/{first}", {"state": state}, admin=True).status == 200
    for _ in range(20):
        assert world.storage_of(reader.get("a").location).name != first
    assert world.api("PATCH", f"backends/{first}", {"state": "alive"}, admin=True).status in (200, 409)


def test_how_a_server_feels(world: World, reader: Reader) -> None:
    store(world, "a")
    world.replicate()
    reader.get("a")
    first = world.storage_of(reader.get("a").location)
    reader.asked.clear()
    first.away = True
    world.probe()
    for _ in range(20):
        assert world.storage_of(reader.get("a").location) is not first
    first.away = False
    recover(world)
    assert {world.storage_of(reader.get("a").location) for _ in range(60)} > {first}
    assert reader.asked == [], "nobody was asked for that"


def test_what_this_daemon_writes(world: World, reader: Reader) -> None:
    """Whether the store tells it or not."""
    store(world, "a", "b")
    for name in ("a", "b"):
        reader.get(name)
        assert not reader.is_asked(name)
    deaf(world)
    before = reader.get("a").headers["etag"]
    store(world, "a")
    assert reader.get("a").headers["etag"] != before
    assert world.ask("DELETE", "/b").status == 204
    assert reader.get("b").status == 404


@pytest.mark.parametrize("told", ["it was lost", "and nobody can be asked"])
def test_what_this_daemon_writes_and_is_not_told_of(world: World, reader: Reader, told: str) -> None:
    """The commit is done, and its reply is lost; the store is asked what became of it, or cannot be."""
    store(world, "a")
    reader.get("a")
    assert not reader.is_asked("a")
    deaf(world)
    memory: Any = world.store.memory
    commit = memory.commit

    def lost(*what: Any) -> Deferred[Snapshot]:
        commit(*what)
        if told == "and nobody can be asked":
            world.store.failing = {"get"}
        return fail(StateUnavailable("the reply is lost"))

    memory.commit = lost
    said = world.ask("DELETE", "/a")
    assert said.status == (204 if told == "it was lost" else 503)
    world.store.failing = set()
    assert reader.get("a").status == 404


def test_what_another_daemon_writes_as_soon_as_it_is_told(world: World, reader: Reader) -> None:
    store(world, "a")
    reader.get("a")
    path = Path("default", "a")
    told = world.public.prepared.tracked.changed
    waiting: list[str | None] = []
    world.public.prepared.tracked.changed = waiting.append
    gone = world.store.memory.commit(path, world.store.memory._snapshot(path), None, None)
    assert gone.called
    assert reader.get("a").status == 302, "nobody knows yet"
    for member in waiting:
        told(member)
    assert reader.get("a").status == 404


# --- what is never answered from memory ----------------------------------------------------------------------


def test_a_file_that_is_being_uploaded_again(world: World, reader: Reader) -> None:
    """Its readers ask for the upload: who has written it reads it."""
    store(world, "a")
    reader.get("a")
    upload = world.ask("PUT", "/a", None, b"new")
    for _ in range(2):
        assert reader.is_asked("a")
        assert not reader.find("a")
    world.upload(upload.location, b"new")
    world.clock.advance(1)
    assert world.storage_of(location := reader.get("a").location).client_get(location) == b"new"
    reader.get("a")
    assert reader.find("a")


def test_a_file_that_is_damaged(world: World, reader: Reader) -> None:
    store(world, "a")
    reader.get("a")
    path = Path("default", "a")
    snapshot = world.store.memory._snapshot(path)
    lost = _with_replicas(snapshot, ReplicaState.LOST)
    world.store.memory.commit(path, snapshot, lost, None)
    for _ in range(3):
        assert reader.get("a").status == 503
        assert not reader.find("a")
    world.store.memory.commit(path, world.store.memory._snapshot(path), snapshot.record, None)
    assert reader.get("a").status == 302


def _with_replicas(snapshot: Snapshot, state: ReplicaState) -> Any:
    assert snapshot.record is not None
    [version] = snapshot.record.versions
    replicas = tuple(replace(each, state=state) for each in version.replicas)
    return replace(snapshot.record, versions=(replace(version, replicas=replicas),))


def test_a_last_resort_is_counted_each_time(world: World, reader: Reader) -> None:
    """And the way that leads to it is remembered once: it was taken twice from where it stood once."""
    store(world, "a")
    world.replicate()
    reader.get("a")
    for storage in world.stores:
        world.api("PATCH", f"backends/{storage.name}", {"state": BackendState.DOWN.name.lower()}, admin=True)
    for n in range(1, 2 * SPELLINGS):
        assert reader.get("a").status == 302
        assert world.metric("last_resorts_total") == n
    assert world.ask("DELETE", "/a").status == 204
    assert reader.get("a").status == 404
    assert len(reader.prepared.lines["default"]) == 0


def test_a_file_that_nobody_serves(world: World, reader: Reader) -> None:
    store(world, "a")
    world.replicate()
    reader.get("a")
    for storage in world.stores:
        storage.away = True
    world.probe()
    statuses = {reader.get("a").status for _ in range(2 * SPELLINGS)}
    assert statuses <= {302, 503}
    for storage in world.stores:
        storage.away = False
    recover(world)
    store(world, "a")
    assert reader.get("a").status == 302


def test_a_file_that_is_not_there(world: World, reader: Reader) -> None:
    for n in range(50):
        assert reader.get(f"none{n}").status == 404
    assert (len(reader.prepared), reader.prepared._marks) == (0, {})


def test_a_backend_that_gives_no_url_is_a_mistake_and_no_silence(world: World, reader: Reader) -> None:
    """Whoever waits is answered, and nobody else waits for him."""
    store(world, "a", "b")
    for storage in world.stores:
        backend: Any = storage
        backend.download_base, backend.download_url = None, lambda key, expires=None: "no URL\r\n"
    with capturedLogs() as logs:
        for method in ("GET", "HEAD"):
            assert reader.get("a", method).status == 500
    assert {event["log_failure"].type for event in logs if "log_failure" in event} == {ValueError}
    assert reader.prepared._marks == {}
    assert not reader.find("a")
    assert reader.get("nothing").status == 404
