"""What one request may bring, and how many may come from one client, and that the metrics count them."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address

from dragonbelly.events import Abandoned
from dragonbelly.model import Path, VersionState
from dragonbelly.web import open_uploads
from tests.web.test_uploads_api import is_problem
from tests.web.wire import Connection, Said, Wire
from tests.web.world import World

pytestmark = pytest.mark.lanes

MakeWorld = Callable[..., World]

TOKENS = "".join(
    f'[[token]]\nname = "{name}"\nsha256 = "{sha256(name.encode()).hexdigest()}"\nscopes = ["write"]\n'
    for name in ("shop", "press")
)


def limited(world: World, limit: str) -> float:
    return world.metric("limited_total", limit=limit)


def ask_from(world: World, host: str, method: str, target: str, **headers: str) -> Said:
    address = (IPv6Address if ":" in host else IPv4Address)("TCP", host, 1)
    connection = Connection(world.public, Wire(peerAddress=address))
    try:
        return connection.ask(method, target, headers)
    finally:
        connection.leave()


# --- one request -----------------------------------------------------------------------------------------


class TestJson:
    def test_its_size(self, make_world: MakeWorld) -> None:
        world = make_world("[limits]\njson_size = 1000")
        body = b'{"path": "a", "size": 1}'
        assert world.api("POST", "uploads", body + b" " * (1000 - len(body))).status == 201
        said = world.api("POST", "uploads", body + b" " * (1001 - len(body)))
        is_problem(said, 413)
        assert said.json["maximum"] == 1000
        assert limited(world, "json_size") == 1

    @pytest.mark.parametrize("resource", ["uploads", "sign", "uploads/01HF7YAT00H5HRAD7MAWWD0J7C/complete"])
    @pytest.mark.parametrize("field", ["path", "attributes", "size", "unknown"])
    @pytest.mark.parametrize("open_", ["[", '{"a":'])
    def test_its_depth(self, world: World, resource: str, field: str, open_: str) -> None:
        """No option: every body has a type, and what is deeper than that is refused where it begins."""
        body = f'{{"{field}": {open_ * 40_000}'.encode()
        assert world.api("POST", resource, body).status in (400, 422)

    def test_the_depth_of_a_change(self, world: World) -> None:
        world.put("a", b"x")
        assert world.api("PATCH", "files/a", b'{"attributes": {"a": ' + b"[" * 100_000).status == 422
        assert world.api("PATCH", "files/a", b"[" * 200_000).status == 422


class TestPaths:
    @pytest.fixture
    def world(self, make_world: MakeWorld) -> World:
        return make_world("[limits]\npath_length = 20")

    @pytest.mark.parametrize("name", ["a" * 20, "é" * 10])
    def test_of_new_files(self, world: World, name: str) -> None:
        assert world.api("POST", "uploads", {"path": name}).status == 201
        is_problem(world.api("POST", "uploads", {"path": name + "b"}), 400)
        is_problem(world.ask("PUT", f"/{'a' * 21}", None, b"x"), 400)
        assert limited(world, "path_length") == 2

    def test_what_is_stored_already_is_read_and_deleted(self, make_world: MakeWorld, world: World) -> None:
        before = make_world()
        name = "a" * 30
        before.put(name, b"x")
        before.replicate()
        world.store.memory = before.store.memory
        assert world.ask("GET", f"/{name}").status == 302
        assert world.ask("DELETE", f"/{name}").status == 204


class TestAttributes:
    @pytest.fixture
    def world(self, make_world: MakeWorld) -> World:
        return make_world("[limits]\nattributes = 2\nattribute_size = 4")

    @pytest.mark.parametrize(
        ("attributes", "field", "limit"),
        [
            ({"a": "x", "b": "x", "c": "x"}, "attributes", "attributes"),
            ({"a": "ééx"}, "attributes.a", "attribute_size"),
        ],
    )
    def test_too_many_or_too_large(self, world: World, attributes: Any, field: str, limit: str) -> None:
        headers = {f"Dragonbelly-Attr-{name}": value for name, value in attributes.items()}
        world.put("a", b"x")
        for said in (
            world.ask("PUT", "/a", headers, b"x"),
            world.api("POST", "uploads", {"path": "a", "attributes": attributes}),
            world.api("PATCH", "files/a", {"attributes": attributes}),
        ):
            is_problem(said, 422, field)
        assert limited(world, limit) == 3

    def test_just_so(self, world: World) -> None:
        said = world.api("POST", "uploads", {"path": "a", "attributes": {"a": "éé", "b": "xxxx"}})
        assert said.status == 201

    def test_a_file_that_has_more_from_before_can_be_changed_otherwise(
        self, make_world: MakeWorld, world: World
    ) -> None:
        before = make_world()
        before.put("a", b"x", {f"Dragonbelly-Attr-A{n}": "x" for n in range(5)})
        before.replicate()
        world.store.memory = before.store.memory
        assert world.api("PATCH", "files/a", {"copies": 1}).status == 200
        assert world.api("PATCH", "files/a", {"attributes": {"new": "x"}}).status == 422
        assert world.api("PATCH", "files/a", {"attributes": {f"a{n}": None for n in range(3)}}).status == 200


class TestSizes:
    @pytest.fixture
    def world(self, make_world: MakeWorld) -> World:
        return make_world("[upload]\nmax_size = 10")

    def test_announced(self, world: World) -> None:
        is_problem(world.ask("PUT", "/a", None, b"x" * 11), 413)
        is_problem(world.api("POST", "uploads", {"path": "a", "size": 11}), 413)
        assert limited(world, "max_size") == 2

    @pytest.mark.parametrize("size", [10, 11])
    @pytest.mark.parametrize("told", ["complete", "read", "nothing"])
    def test_found(self, world: World, size: int, told: str) -> None:
        """One that was begun without a size is weighed when it is there, whoever looks first."""
        begun = world.api("POST", "uploads", {"path": "a"})
        world.upload(begun.json["targets"][0]["url"], b"x" * size)
        if told == "complete":
            said = world.api("POST", f"uploads/{begun.json['upload']}/complete", {"path": "a"})
            assert said.status == (200 if size == 10 else 409)
        elif told == "read":
            assert world.ask("GET", "/a").status == (302 if size == 10 else 404)
        else:
            world.replicate()
        version = world.record("a").version(begun.json["upload"])
        assert version is not None
        assert version.state is (VersionState.LIVE if size == 10 else VersionState.ABANDONED)


# --- open uploads ----------------------------------------------------------------------------------------


class TestOpenUploads:
    LIMITS = "[limits]\nopen_uploads = 3\nopen_uploads_per_address = 2\n"

    @pytest.fixture
    def world(self, make_world: MakeWorld) -> World:
        return make_world(self.LIMITS + TOKENS)

    def begin(self, world: World, name: str, token: str | None = None) -> Said:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        return world.ask("POST", "/-/api/v1/uploads", headers, {"path": name})

    def is_full(self, world: World, token: str | None = None) -> bool:
        said = self.begin(world, "another", token)
        if said.status == 429:
            is_problem(said, 429)
            assert int(said.headers["retry-after"]) > 0
            return True
        assert said.status == 201
        assert world.api("DELETE", f"uploads/{said.json['upload']}?path=another").status == 204
        return False

    def test_of_a_token_and_of_an_address(self, world: World) -> None:
        for n in range(3):
            assert self.begin(world, f"shop{n}", "shop").status == 201
        assert self.is_full(world, "shop")
        assert not self.is_full(world, "press")
        for n in range(2):
            assert world.ask("PUT", f"/a{n}", None, b"x").status == 307
        is_problem(world.ask("PUT", "/a3", None, b"x"), 429)
        assert ask_from(world, "192.0.2.1", "PUT", "/other").status == 307
        assert limited(world, "open_uploads") == 1
        assert limited(world, "open_uploads_per_address") == 1

    def test_the_addresses_of_one_ipv6_network_count_together(self, world: World) -> None:
        said = [ask_from(world, f"2001:db8::{n}", "PUT", f"/{n}").status for n in (1, 2, 3)]
        assert said == [307, 307, 429]
        assert ask_from(world, "2001:db8:0:1::1", "PUT", "/4").status == 307

    def test_operators_and_exempt_ones_are_not_counted(self, world: World) -> None:
        for n in range(5):
            assert world.api("POST", "uploads", {"path": f"o{n}"}, admin=True).status == 201
            assert ask_from(world, "127.0.0.1", "PUT", f"/l{n}").status == 307
        assert len(world.daemon.uploads) == 0

    @pytest.mark.parametrize(
        "end",
        [
            "complete",
            "abort",
            "lapse",
            "delete",
            "seen",
            "mismatch",
            "overtaken",
            "elsewhere",
            "lapsed elsewhere",
        ],
    )
    def test_one_that_ends_makes_room(self, world: World, end: str) -> None:
        begun = self.begin(world, "a")
        assert self.begin(world, "b").status == 201
        assert self.is_full(world)
        id, url = begun.json["upload"], begun.json["targets"][0]["url"]
        if end == "complete":
            world.upload(url, b"x")
            assert world.api("POST", f"uploads/{id}/complete", {"path": "a"}).status == 200
        elif end == "abort":
            assert world.api("DELETE", f"uploads/{id}?path=a").status == 204
        elif end == "lapse":
            world.clock.advance(3602)
            world.daemon.replicator.tick()
        elif end == "delete":
            assert world.api("DELETE", "files/a").status == 204
        elif end == "seen":
            world.upload(url, b"x")
            world.replicate()
        elif end == "mismatch":
            world.upload(url, b"x")
            assert world.api("POST", f"uploads/{id}/complete", {"path": "a", "size": 2}).status == 409
        elif end == "overtaken":
            # A later upload of the same path is verified first, and this one after it.
            later = world.api("POST", "uploads", {"path": "a"}, admin=True).json
            world.upload(url, b"x")
            world.upload(later["targets"][0]["url"], b"y")
            assert world.api("POST", f"uploads/{later['upload']}/complete", {"path": "a"}).status == 200
            world.replicate()
        else:
            # Another daemon ends it, and nobody tells this one.
            world.daemon.ledger.on_event = lambda path, event, record: None
            if end == "elsewhere":
                assert world.api("DELETE", f"uploads/{id}?path=a").status == 204
            world.clock.advance(2 if end == "elsewhere" else 3602)
        # What other daemons end is found out when it is asked for, all else at once.
        assert (id in world.daemon.uploads._owner_of) == end.endswith("elsewhere")
        assert not self.is_full(world)
        assert id not in world.daemon.uploads._owner_of

    def test_at_the_limit_the_records_are_read_once_a_second(self, world: World) -> None:
        for name in "ab":
            self.begin(world, name)
        reads: list[int] = []
        memory, get_many = world.store.memory, world.store.memory.get_many
        memory.get_many = lambda paths: (reads.append(len(paths)), get_many(paths))[1]  # type: ignore[method-assign]
        for _ in range(10):
            assert self.begin(world, "c").status == 429
        assert reads == [2]
        world.clock.advance(1.0)
        assert self.begin(world, "c").status == 429
        assert reads == [2, 2]

    def test_while_the_store_is_away_nobody_is_let_in(self, world: World) -> None:
        for name in "ab":
            self.begin(world, name)
        world.store.away = True
        assert self.begin(world, "c").status == 429

    def test_who_leaves_meanwhile_is_counted(self, world: World) -> None:
        """Else leaving at once would be the way around it."""
        waiting: list[Any] = []
        accept = world.daemon.ledger.accept

        async def slow(path: Path, announced: Any) -> Any:
            from twisted.internet.defer import Deferred

            waiting.append(Deferred())
            await waiting[-1]
            return await accept(path, announced)

        world.daemon.ledger.accept = slow  # type: ignore[method-assign]
        for name in "ab":
            connection = Connection(world.public)
            connection.send("PUT", f"/{name}", None, b"x")
            connection.leave()
        assert self.begin(world, "c").status == 429
        for each in waiting:
            each.callback(None)
        assert len(world.daemon.uploads) == 2
        assert self.begin(world, "c").status == 429

    def test_what_could_not_begin_is_not_counted(self, world: World) -> None:
        for _ in range(5):
            assert world.api("POST", "uploads", {"path": "a", "policy": "none"}).status == 422
        assert world.daemon.uploads._owners == {}

    def test_it_is_bounded(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(open_uploads, "REMEMBERED", 4)
        for n in range(10):
            assert ask_from(world, f"192.0.2.{n}", "PUT", f"/{n}").status == 307
        assert len(world.daemon.uploads) == len(world.daemon.uploads._owners) == 4
        world.daemon.uploads.happened(Abandoned(0, "unknown", "lapsed"), None)

    def test_no_limit(self, make_world: MakeWorld) -> None:
        world = make_world("[limits]\nopen_uploads_per_address = 0")
        for n in range(1100):
            assert self.begin(world, f"a{n}").status == 201
        assert len(world.daemon.uploads) == 0

    def test_nothing_is_left_of_those_that_are_over(self, world: World) -> None:
        for n in range(20):
            world.put(f"a{n}", b"x")
            world.replicate()
        assert world.daemon.uploads._owners == {}
        assert len(world.daemon.uploads) == 0


# --- writes a second -------------------------------------------------------------------------------------


class TestAnonymousWrites:
    @pytest.fixture
    def world(self, make_world: MakeWorld) -> World:
        return make_world("[limits]\nanonymous_writes = 2\nanonymous_burst = 3\n" + TOKENS)

    def test_after_a_burst_at_the_rate(self, world: World) -> None:
        for name in "abc":
            assert world.ask("DELETE", f"/{name}").status == 404
        for method, target, body in (
            ("DELETE", "/d", b""),
            ("PUT", "/d", b"x"),
            ("POST", "/-/api/v1/uploads", b'{"path": "d"}'),
            ("PATCH", "/-/api/v1/files/d", b"{}"),
        ):
            said = world.ask(method, target, None, body)
            is_problem(said, 429)
            assert said.headers["retry-after"] == "1"
        assert limited(world, "anonymous_writes") == 4
        world.clock.advance(0.5)
        assert world.ask("DELETE", "/d").status == 404
        assert world.ask("DELETE", "/d").status == 429

    def test_reading_costs_nothing(self, world: World) -> None:
        for _ in range(20):
            assert world.ask("GET", "/a").status == 404
        assert world.ask("DELETE", "/a").status == 404

    def test_whom_it_does_not_concern(self, world: World) -> None:
        for _ in range(10):
            assert world.ask("DELETE", "/a", {"Authorization": "Bearer shop"}).status == 404
            assert world.ask("DELETE", "/a", admin=True).status == 404
            assert ask_from(world, "127.0.0.1", "DELETE", "/a").status == 404
        assert [ask_from(world, "192.0.2.1", "DELETE", "/a").status for _ in range(4)] == [404] * 3 + [429]
        assert [ask_from(world, f"2001:db8::{n}", "DELETE", "/a").status for n in range(4)] == [404] * 3 + [429]

    def test_the_default_lets_5000_files_in_at_once(self, make_world: MakeWorld) -> None:
        """Begun and completed, in no time."""
        throttle = make_world().daemon.guard._writes
        assert all(throttle.take("a", 0.0) == 0 for _ in range(10_000))
        assert throttle.take("a", 0.0) > 0


def test_the_metrics_name_every_limit(world: World) -> None:
    text = world.ask("GET", "/-/metrics", admin=True).body.decode()
    for limit in ("connections", "header_time", "open_uploads", "anonymous_writes"):
        assert f'dragonbelly_limited_total{{limit="{limit}"}} 0.0' in text
