"""Files by HTTP: the whole daemon in memory, asked by bytes on a connection."""

from __future__ import annotations

import base64
from collections.abc import Callable
from hashlib import md5, sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragonbelly.errors import BadPath
from dragonbelly.ids import is_ulid
from dragonbelly.keys import parse_key
from dragonbelly.model import BackendState, Path, VersionState
from dragonbelly.names import check_name
from dragonbelly.replication.verify import GLANCE, READ_AT_ONCE
from dragonbelly.web.paths import quote_name
from tests.web.wire import Connection
from tests.web.world import World

pytestmark = pytest.mark.lanes

MakeWorld = Callable[..., World]

TWO_DOMAINS = """
[domain.media]
hosts = ["media.example.com", "Static.Example.com.", "[::1]"]
anonymous = ["read", "list", "write"]
allow_anonymous_write = true
[domain.rest]
hosts = ["*"]
anonymous = ["read", "list", "write"]
allow_anonymous_write = true
"""


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def states(world: World, name: str) -> dict[str, VersionState]:
    return {version.id: version.state for version in world.record(name).versions}


# --- writing ---------------------------------------------------------------------------------------------


class TestPut:
    def test_it_is_a_redirect_to_a_storage_server(self, world: World) -> None:
        said = world.ask("PUT", "/a/b%20c.txt", {"Content-Type": "text/plain"}, b"hello")
        assert said.status == 307
        assert b"add -L" in said.body, "whoever does not follow it should see why nothing happened"
        assert said.headers["cache-control"] == "no-store"
        version = said.headers["dragonbelly-upload"]
        assert is_ulid(version)
        storage = world.storage_of(said.location)
        assert parse_key(storage._key_of(said.location)) == (Path("default", "a/b c.txt"), version, 0)
        (uploading,) = world.record("a/b c.txt").versions
        assert uploading.state is VersionState.UPLOADING
        assert uploading.size == 5
        assert uploading.content_type == "text/plain"

    @pytest.mark.parametrize(
        ("setting", "headers", "status"),
        [
            ("auto", {"User-Agent": "curl/7.88.1"}, 302),
            ("auto", {"User-Agent": "curl/7.88.1", "Content-Type": "application/x-www-form-urlencoded"}, 307),
            ("auto", {"User-Agent": "Mozilla/5.0 (X11)"}, 302),
            ("auto", {"User-Agent": "Mozilla/5.0 (X11)", "Content-Type": "image/png"}, 302),
            ("auto", {"User-Agent": "python-requests/2.31"}, 307),
            ("auto", {"User-Agent": "libcurl-agent/1.0"}, 307),
            ("auto", {}, 307),
            ("302", {"User-Agent": "python-requests/2.31"}, 302),
            ("302", {}, 302),
            ("307", {"User-Agent": "curl/7.88.1"}, 307),
            ("307", {"User-Agent": "Mozilla/5.0"}, 307),
        ],
    )
    def test_its_status_is_for_the_client(
        self, make_world: MakeWorld, setting: str, headers: dict[str, str], status: int
    ) -> None:
        world = make_world(f'[http]\nupload_redirect = "{setting}"')
        assert world.ask("PUT", "/a", headers, b"x").status == status

    def test_what_was_announced_is_kept(self, world: World) -> None:
        headers = {
            "Content-Type": "image/jpeg",
            "Repr-Digest": f"sha-256=:{b64(sha256(b'x').digest())}:",
            "Content-MD5": b64(md5(b"x").digest()),
            "Dragonbelly-Attr-Owner": "me",
            "DRAGONBELLY-ATTR-album": "été",
            "Dragonbelly-Copies": "3",
            "Dragonbelly-Policy": "default",
            "Dragonbelly-Expires": "2030-01-01T00:00:00Z",
        }
        world.ask("PUT", "/a", headers, b"x")
        (version,) = world.record("a").versions
        assert version.upload is not None
        assert (version.upload.size, version.upload.sha256) == (1, sha256(b"x").digest())
        assert version.upload.md5 == md5(b"x").digest()
        assert version.content_type == "image/jpeg"
        assert version.asked.attributes == {"album": "été", "owner": "me"}
        assert (version.asked.copies, version.asked.policy) == (3, "default")
        assert version.asked.expires == 1893456000

    @pytest.mark.parametrize(
        ("headers", "status", "field"),
        [
            ({"Content-Length": ""}, 411, None),
            ({"Content-Length": "", "Transfer-Encoding": "chunked"}, 411, None),
            ({"Content-Length": str(101 << 20)}, 413, None),
            ({"Content-Range": "bytes 5-9/10"}, 400, None),
            ({"Dragonbelly-Copies": "0"}, 422, "copies"),
            ({"Dragonbelly-Policy": "none"}, 422, "policy"),
            ({"Dragonbelly-Expires": "soon"}, 422, "expires"),
            ({"Dragonbelly-Attr-A": "\x7f"}, 422, "attributes.a"),
            ({"Content-Type": "jpeg"}, 422, "content_type"),
            ({"Repr-Digest": "sha-256=:AAAA:"}, 422, "sha256"),
            ({"Content-MD5": "é"}, 422, "md5"),
            ({"If-None-Match": '"x"'}, 400, None),
            ({"If-Match": "*"}, 400, None),
            ({"If-Match": '"01J9ZQ4Y7H8V5N3K2M1R0TXWCE"'}, 412, None),
        ],
    )
    def test_what_it_refuses(
        self, make_world: MakeWorld, headers: dict[str, str], status: int, field: str | None
    ) -> None:
        world = make_world('[upload]\nmax_size = "100MiB"')
        connection = Connection(world.public)
        said = connection.ask("PUT", "/a", headers)
        assert said.status == status
        assert said.headers["content-type"] == "application/problem+json"
        assert said.json["status"] == status
        assert said.json["detail"]
        assert said.json.get("field") == field
        assert world.store.memory.records == {}
        connection.leave()

    def test_the_largest_that_is_taken(self, make_world: MakeWorld) -> None:
        world = make_world('[upload]\nmax_size = "100MiB"')
        assert world.ask("PUT", "/a", {"Content-Length": str(100 << 20)}).status == 307

    def test_no_server_can_take_it(self, world: World) -> None:
        for storage in world.stores:
            storage.away = True
        world.probe()
        said = world.ask("PUT", "/a", None, b"x")
        assert said.status == 503
        assert int(said.headers["retry-after"]) > 0
        assert world.store.memory.records == {}

    def test_no_server_can_take_it_any_more(self, world: World) -> None:
        """All are called dead before the commit."""
        confirm = world.store.memory.confirm

        def confirming() -> object:
            world.daemon.cluster.say(dict.fromkeys(world.daemon.cluster.names, BackendState.DEAD))
            return confirm()

        world.store.memory.confirm = confirming  # type: ignore[method-assign, assignment]
        said = world.ask("PUT", "/a", None, b"x")
        assert (said.status, said.json["title"]) == (503, "No storage server available")
        assert int(said.headers["retry-after"]) > 0
        assert world.store.memory.records == {}

    def test_it_goes_where_there_is_a_server(self, world: World) -> None:
        world.storage("s1").away = world.storage("s3").away = True
        world.probe()
        for n in range(10):
            assert world.ask("PUT", f"/{n}", None, b"x").location.startswith("http://s2.test/")

    def test_unfinished_ones_are_not_without_number(self, world: World) -> None:
        for _ in range(16):
            assert world.ask("PUT", "/a", None, b"x").status == 307
        said = world.ask("PUT", "/a", None, b"x")
        assert said.status == 429
        assert int(said.headers["retry-after"]) > 0
        assert world.ask("PUT", "/b", None, b"x").status == 307


# --- reading ---------------------------------------------------------------------------------------------


class TestGet:
    def test_it_is_a_redirect_to_a_storage_server(self, world: World) -> None:
        version = world.put("a/b.txt", b"hello")
        said = world.ask("GET", "/a/b.txt")
        assert (said.status, said.body) == (302, b"")
        assert said.headers["etag"] == f'"{version}"'
        assert said.headers["cache-control"] == "no-store"
        assert "repr-digest" not in said.headers
        assert "link" not in said.headers
        assert world.storage_of(said.location).client_get(said.location) == b"hello"

    def test_once_there_are_copies_they_are_told(self, world: World) -> None:
        version = world.put("a/b.txt", b"hello")
        assert world.download("a/b.txt") == b"hello"
        world.replicate()
        said = world.ask("GET", "/a/b.txt")
        assert said.headers["etag"] == f'"{version}"'
        assert said.headers["repr-digest"] == f"sha-256=:{b64(sha256(b'hello').digest())}:"
        link = said.headers["link"]
        assert link.endswith(">; rel=duplicate")
        other = link[1:].partition(">")[0]
        assert other != said.location
        for url in (said.location, other):
            assert world.storage_of(url).client_get(url) == b"hello"

    def test_three_copies(self, make_world: MakeWorld) -> None:
        world = make_world("[policy.default]\ncopies = 3")
        world.put("a", b"hello")
        world.download("a")
        world.replicate()
        links = world.ask("GET", "/a").headers["link"].split(", ")
        assert len(links) == 2
        assert all(link.endswith(">; rel=duplicate") for link in links)

    def test_readers_are_spread(self, world: World) -> None:
        world.put("a", b"hello")
        world.download("a")
        world.replicate()
        found = {world.ask("GET", "/a").location for _ in range(60)}
        assert len(found) == 2
        total = sum(world.metric("redirects_total", backend=storage.name) for storage in world.stores)
        assert total == 61

    def test_a_head_is_a_get_without_a_body(self, world: World) -> None:
        world.put("a", b"hello")
        assert world.ask("HEAD", "/a") == world.ask("GET", "/a")
        missing = world.ask("HEAD", "/b")
        assert (missing.status, missing.body) == (404, b"")
        assert missing.headers["content-length"] == world.ask("GET", "/b").headers["content-length"]

    def test_the_operator_says_how_long_it_may_be_kept(self, make_world: MakeWorld) -> None:
        world = make_world('[http]\ncache_control = "max-age=5"')
        world.put("a", b"x")
        assert world.ask("GET", "/a").headers["cache-control"] == "max-age=5"
        assert world.ask("GET", "/b").headers["cache-control"] == "no-store"

    def test_nothing_there(self, world: World) -> None:
        said = world.ask("GET", "/a")
        assert said.status == 404
        assert said.headers["content-type"] == "application/problem+json"
        assert said.json["title"] == "Not found"

    def test_a_query_makes_no_difference(self, world: World) -> None:
        world.put("a", b"x")
        location = world.ask("GET", "/a?b=c").location
        assert "?" not in location
        assert world.ask("GET", "/a%3Fb=c").status == 404

    def test_only_servers_that_look_up(self, world: World) -> None:
        self.two_copies(world)
        held, other = (replica.backend for replica in world.record("a").versions[0].replicas)
        world.storage(held).away = True
        world.probe()
        for _ in range(20):
            said = world.ask("GET", "/a")
            assert said.location.startswith(f"http://{other}.test/")
            # The only other place there is, should this one fail: it may be back before we know.
            assert said.headers["link"].startswith(f"<http://{held}.test/")
        assert world.metric("last_resorts_total") == 0

    def test_none_looks_up_so_the_least_bad_is_told(self, world: World) -> None:
        self.two_copies(world)
        for storage in world.stores:
            storage.away = True
        world.probe()
        said = world.ask("GET", "/a")
        assert said.status == 302
        places = {part.partition(".")[0] for part in (said.location, said.headers["link"].removeprefix("<"))}
        assert len(places) == 2, "one of the two may answer, and who was sent to the other must know of it"
        assert world.metric("last_resorts_total") == 1

    def test_one_taken_down_is_the_last_of_all(self, world: World) -> None:
        self.two_copies(world)
        held, other = (replica.backend for replica in world.record("a").versions[0].replicas)
        self.say(world, held, "down")
        world.storage(other).away = True
        world.probe()
        assert {world.ask("GET", "/a").location.partition(".")[0] for _ in range(20)} == {f"http://{other}"}
        assert world.metric("last_resorts_total") == 20

    def test_there_is_nothing_to_point_at(self, world: World) -> None:
        self.two_copies(world)
        for storage in world.stores:
            self.say(world, storage.name, "dead")
        said = world.ask("GET", "/a")
        assert said.status == 503
        assert int(said.headers["retry-after"]) > 0

    def test_a_server_that_left_the_configuration_is_not_told(self, make_world: MakeWorld) -> None:
        world = make_world()
        self.two_copies(world)
        smaller = make_world(stores=1)
        smaller.store.memory.records = dict(world.store.memory.records)
        held = {replica.backend for replica in world.record("a").versions[0].replicas}
        said = smaller.ask("GET", "/a")
        if "s1" in held:
            assert said.location.startswith("http://s1.test/")
            assert "link" not in said.headers
        else:
            assert said.status == 503

    def test_a_damaged_record(self, world: World) -> None:
        world.store.memory.records["default/a"] = b"nonsense"
        said = world.ask("GET", "/a")
        assert (said.status, said.json["title"]) == (500, "Damaged record")
        assert world.ask("PUT", "/a", None, b"x").status == 500
        assert world.store.memory.records["default/a"] == b"nonsense"

    @staticmethod
    def two_copies(world: World) -> None:
        world.put("a", b"hello")
        world.download("a")
        world.replicate()
        assert len(world.record("a").versions[0].replicas) == 2

    @staticmethod
    def say(world: World, backend: str, state: str) -> None:
        said = world.api("PATCH", f"backends/{backend}", {"state": state}, admin=True)
        assert said.status == 200, said


names = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=40)


def test_every_location_is_of_a_registered_server_and_of_the_path_alone() -> None:
    world = World()

    @given(names, st.booleans())
    def check(name: str, all_escaped: bool) -> None:
        try:
            check_name(name)
        except BadPath:
            return
        quoted = "".join(f"%{byte:02x}" for byte in name.encode()) if all_escaped else quote_name(name)
        if "%2f" in quoted:
            quoted = quoted.replace("%2f", "/")
        for _ in range(2):
            said = world.ask("PUT", f"/{quoted}", {"Host": "evil.example.com"}, b"x")
            if said.status == 429:
                return
            key = world.storage_of(said.location)._key_of(said.location)
            assert parse_key(key) == (Path("default", name), said.headers["dragonbelly-upload"], 0)
            world.upload(said.location, b"x")
            assert world.ask("GET", f"/{quoted}").location == said.location

    check()
    world.close()


# --- deleting --------------------------------------------------------------------------------------------


class TestDelete:
    def test_it_is_gone(self, world: World) -> None:
        world.put("a", b"x")
        world.download("a")
        said = world.ask("DELETE", "/a")
        assert (said.status, said.body) == (204, b"")
        assert "content-length" not in said.headers
        assert world.ask("GET", "/a").status == 404
        assert world.ask("DELETE", "/a").status == 404

    def test_nothing_there(self, world: World) -> None:
        assert world.ask("DELETE", "/a").status == 404
        assert world.store.memory.records == {}

    def test_it_ends_uploads_that_were_accepted_before(self, world: World) -> None:
        world.put("a", b"x")
        world.download("a")
        late = world.ask("PUT", "/a", None, b"y")
        assert world.ask("DELETE", "/a").status == 204
        world.upload(late.location, b"y")
        assert world.ask("GET", "/a").status == 404
        world.replicate(60)
        assert world.ask("GET", "/a").status == 404

    def test_what_comes_after_it_is_new(self, world: World) -> None:
        world.put("a", b"x")
        world.download("a")
        world.ask("DELETE", "/a")
        world.put("a", b"y")
        assert world.download("a") == b"y"

    def test_what_has_just_been_written(self, world: World) -> None:
        world.put("a", b"x")
        assert world.ask("DELETE", "/a").status == 204
        assert world.ask("GET", "/a").status == 404


# --- reading what one has just written -------------------------------------------------------------------


class TestOwnWrite:
    def test_a_get_sees_it_at_once(self, world: World) -> None:
        version = world.put("a", b"x")
        assert states(world, "a") == {version: VersionState.UPLOADING}
        assert world.download("a") == b"x"
        assert states(world, "a") == {version: VersionState.LIVE}

    def test_and_an_overwrite_too(self, world: World) -> None:
        first = world.put("a", b"x")
        assert world.download("a") == b"x"
        second = world.put("a", b"yy")
        assert world.download("a") == b"yy"
        assert states(world, "a") == {second: VersionState.LIVE, first: VersionState.SUPERSEDED}

    def test_what_has_not_come_yet_is_not_there(self, world: World) -> None:
        said = world.ask("PUT", "/a", None, b"x")
        assert world.ask("GET", "/a").status == 404
        world.clock.advance(1)
        world.upload(said.location, b"x")
        assert world.download("a") == b"x"

    def test_a_live_file_is_served_while_another_is_on_its_way(self, world: World) -> None:
        world.put("a", b"x")
        world.download("a")
        said = world.ask("PUT", "/a", None, b"yy")
        assert world.download("a") == b"x"
        world.clock.advance(10)
        world.upload(said.location, b"yy")
        assert world.download("a") == b"yy"

    def test_an_answer_serves_for_a_tenth_of_the_age(self, world: World) -> None:
        def asked() -> int:
            world.ask("GET", "/a")
            count = sum(len(storage.asked) for storage in world.stores)
            for storage in world.stores:
                storage.asked.clear()
            return count

        world.ask("PUT", "/a", None, b"x")
        each = asked()
        assert each > 0
        assert asked() == each  # no time has passed: it may have come meanwhile
        world.clock.advance(5)
        assert asked() == each
        world.clock.advance(0.4)
        assert asked() == 0
        world.clock.advance(0.2)
        assert asked() == each
        world.clock.advance(100)
        assert asked() == each
        world.clock.advance(0.9)
        assert asked() == 0
        world.clock.advance(0.2)
        assert asked() == each

    def test_one_question_at_a_time(self, world: World) -> None:
        put = world.ask("PUT", "/a", None, b"x")
        for storage in world.stores:
            storage.slow = True
        readers = [Connection(world.public) for _ in range(5)]
        for reader in readers:
            reader.send("GET", "/a")
        # The one who asked leaves; the others get the answer all the same.
        readers[0].leave()
        readers[3].leave()
        world.upload(put.location, b"x")
        for storage in world.stores:
            storage.answer()
        for reader in (readers[1], readers[2], readers[4]):
            (said,) = reader.heard()
            assert said.location == put.location
            reader.leave()
        assert readers[0].heard() == readers[3].heard() == []
        assert [storage.name for storage in world.stores if storage.asked] == [
            world.storage_of(put.location).name
        ]
        assert sum(len(storage.asked) for storage in world.stores) == 1

    def test_the_newest_comes_first(self, world: World) -> None:
        older = world.put("a", b"x")
        newer = world.put("a", b"yy")
        assert world.download("a") == b"yy"
        world.replicate()
        assert states(world, "a")[older] is VersionState.SUPERSEDED
        assert states(world, "a")[newer] is VersionState.LIVE
        assert world.download("a") == b"yy"

    def test_an_older_one_is_there_until_a_newer_one_comes(self, world: World) -> None:
        older = world.put("a", b"x")
        newer = world.ask("PUT", "/a", None, b"yy")
        assert world.download("a") == b"x"
        world.clock.advance(10)
        world.upload(newer.location, b"yy")
        assert world.download("a") == b"yy"
        assert states(world, "a")[older] is VersionState.SUPERSEDED

    @pytest.mark.parametrize("data", [b"", b"x", b"xxx"])
    def test_of_another_size_it_is_none(self, world: World, data: bytes) -> None:
        world.put("a", b"old")
        assert world.download("a") == b"old"
        said = world.ask("PUT", "/a", None, b"xx")
        world.upload(said.location, data)
        assert world.download("a") == b"old"
        upload = world.record("a").versions[0].upload
        assert upload is not None
        assert upload.reason == "size"

    @pytest.mark.parametrize("digests", ["digests = true", "digests = false"])
    @pytest.mark.parametrize("header", ["Repr-Digest", "Content-MD5"])
    def test_of_another_digest_it_is_none(self, make_world: MakeWorld, header: str, digests: str) -> None:
        world = make_world(options=digests)
        world.put("a", b"old")
        assert world.download("a") == b"old"

        def announced(data: bytes) -> dict[str, str]:
            if header == "Content-MD5":
                return {header: b64(md5(data).digest())}
            return {header: f"sha-256=:{b64(sha256(data).digest())}:"}

        world.put("a", b"new", announced(b"wen"))
        assert world.download("a") == b"old"
        upload = world.record("a").versions[0].upload
        assert upload is not None
        assert upload.reason == "digest"
        world.put("a", b"new", announced(b"new"))
        assert world.download("a") == b"new"
        assert world.record("a").versions[0].sha256 == sha256(b"new").digest()

    def test_a_large_one_is_left_to_the_replicator(self, world: World) -> None:
        world.put("a", b"old")
        assert world.download("a") == b"old"
        large = b"x" * (READ_AT_ONCE + 1)
        world.put("a", large, {"Repr-Digest": f"sha-256=:{b64(sha256(large).digest())}:"})
        assert world.download("a") == b"old"
        world.daemon.replicator.tick()  # at once: a reader has shown interest
        assert world.download("a") == large

    def test_a_server_that_does_not_answer_leaves_it_open(self, world: World) -> None:
        world.put("a", b"old")
        world.download("a")
        said = world.ask("PUT", "/a", None, b"new")
        world.upload(said.location, b"new")
        storage = world.storage_of(said.location)
        storage.away = True
        old = world.ask("GET", "/a")
        assert old.headers["etag"] != f'"{said.headers["dragonbelly-upload"]}"'
        storage.away = False
        world.probe()
        world.probe()
        world.clock.advance(2)
        assert world.download("a") == b"new"

    def test_a_server_that_is_frozen_holds_nobody_up_for_long(self, world: World) -> None:
        live = world.put("a", b"old")
        world.download("a")
        put = world.ask("PUT", "/a", None, b"new")
        frozen = world.storage_of(put.location)
        frozen.slow = True
        readers = [Connection(world.public) for _ in range(2)]
        readers[0].send("GET", "/a")
        world.clock.advance(GLANCE - 0.5)
        readers[1].send("GET", "/a")
        assert [reader.heard() for reader in readers] == [[], []]
        world.clock.advance(0.5)
        for reader in readers:
            (said,) = reader.heard()
            assert (said.status, said.headers["etag"]) == (302, f'"{live}"')
            reader.leave()
        # One question is enough, and who comes while it goes on does not wait at all.
        assert world.ask("GET", "/a").headers["etag"] == f'"{live}"'
        assert len(frozen.waiting) == 1
        world.upload(put.location, b"new")
        frozen.slow = False
        frozen.answer()
        assert world.download("a") == b"new"


# --- conditions ------------------------------------------------------------------------------------------


class TestConditions:
    ONLY_NEW = {"If-None-Match": "*"}

    def test_a_file_that_is_there_is_not_overwritten(self, world: World) -> None:
        world.put("a", b"x")
        version = world.ask("GET", "/a").headers["etag"].strip('"')
        said = world.ask("PUT", "/a", self.ONLY_NEW, b"y")
        assert said.status == 412
        assert said.headers["content-type"] == "application/problem+json"
        assert said.json["live"] == version
        assert "location" not in said.headers

    def test_one_that_is_not_there_is_written(self, world: World) -> None:
        world.put("a", b"x", self.ONLY_NEW)
        assert world.download("a") == b"x"
        world.ask("DELETE", "/a")
        world.put("a", b"y", self.ONLY_NEW)
        assert world.download("a") == b"y"

    def test_of_two_that_want_to_be_new_one_wins(self, world: World) -> None:
        first = world.put("a", b"x", self.ONLY_NEW)
        second = world.put("a", b"yy", self.ONLY_NEW)
        completed = [
            world.api("POST", f"uploads/{id}/complete", {"path": "a"}).status for id in (first, second, first)
        ]
        assert completed == [200, 412, 200]
        assert world.download("a") == b"x"
        world.replicate()
        assert world.download("a") == b"x"

    def test_whichever_is_seen_first(self, world: World) -> None:
        first = world.put("a", b"x", self.ONLY_NEW)
        world.put("a", b"yy", self.ONLY_NEW)
        assert world.download("a") == b"yy"
        said = world.api("POST", f"uploads/{first}/complete", {"path": "a"})
        assert said.status == 412
        assert world.download("a") == b"yy"

    def test_only_the_version_that_one_has_seen(self, world: World) -> None:
        first = world.put("a", b"x")
        world.download("a")
        other = "01J9ZQ4Y7H8V5N3K2M1R0TXWCE"
        assert world.ask("PUT", "/a", {"If-Match": f'"{other}"'}, b"y").status == 412
        second = world.put("a", b"y", {"If-Match": f'"{first}"'})
        third = world.put("a", b"zz", {"If-Match": f'"{first}"'})
        assert world.api("POST", f"uploads/{second}/complete", {"path": "a"}).status == 200
        assert world.api("POST", f"uploads/{third}/complete", {"path": "a"}).status == 412
        assert world.download("a") == b"y"

    def test_one_that_loses_does_not_hide_what_came_before_it(self, world: World) -> None:
        first = world.put("a", b"x")
        world.put("a", b"own write")
        world.put("a", b"lost", self.ONLY_NEW)
        assert world.api("POST", f"uploads/{first}/complete", {"path": "a"}).status == 200
        assert world.download("a") == b"own write"


# --- domains ---------------------------------------------------------------------------------------------


class TestDomains:
    @pytest.mark.parametrize(
        ("target", "host", "domain"),
        [
            ("/a", "media.example.com", "media"),
            ("/a", "MEDIA.example.com", "media"),
            ("/a", "media.example.com:8080", "media"),
            ("/a", "media.example.com.", "media"),
            ("/a", "static.example.com", "media"),
            ("/a", "[::1]:80", "media"),
            ("/a", "other.example.com", "rest"),
            ("/a", "media.example.com.evil.com", "rest"),
            ("http://media.example.com/a", "other.example.com", "media"),
            ("http://other.example.com/a", "media.example.com", "rest"),
            ("HTTP://MEDIA.example.com:80/a", "other.example.com", "media"),
        ],
    )
    def test_the_host_decides(self, make_world: MakeWorld, target: str, host: str, domain: str) -> None:
        world = make_world(TWO_DOMAINS)
        assert world.ask("PUT", target, {"Host": host}, b"x").status == 307
        assert list(world.store.memory.records) == [f"{domain}/a"]

    @pytest.mark.parametrize("host", ["[::1", "x@media.example.com", "media.example.com x", "*"])
    def test_what_is_no_host_is_nobody_s(self, make_world: MakeWorld, host: str) -> None:
        world = make_world(TWO_DOMAINS)
        assert world.ask("PUT", "/a", {"Host": host}, b"x").status == 400
        assert world.store.memory.records == {}

    def test_domains_share_nothing(self, make_world: MakeWorld) -> None:
        world = make_world(TWO_DOMAINS)
        world.put("a", b"media", {"Host": "media.example.com"})
        assert world.ask("GET", "/a").status == 404
        assert world.ask("GET", "/a", {"Host": "media.example.com"}).status == 302
        assert world.api("GET", "files").json["files"] == []
        assert len(world.ask("GET", "/-/api/v1/files", {"Host": "media.example.com"}).json["files"]) == 1
        assert world.ask("DELETE", "/a").status == 404

    def test_nobody_has_the_host(self, make_world: MakeWorld) -> None:
        world = make_world('[domain.media]\nhosts = ["media.example.com"]')
        for method in ("GET", "PUT", "DELETE"):
            said = world.ask(method, "/a", {"Host": "other.example.com"}, b"")
            assert (said.status, said.json["title"]) == (404, "Unknown domain")
        assert world.ask("GET", "http://other.example.com/a", {"Host": "media.example.com"}).status == 404
        assert world.store.memory.records == {}

    def test_http_1_0_needs_no_host(self, make_world: MakeWorld) -> None:
        for settings, status in (("", 404), ('[domain.media]\nhosts = ["media.example.com"]', 404)):
            world = make_world(settings)
            connection = Connection(world.public)
            connection._methods.append("GET")
            connection.feed(b"GET /a HTTP/1.0\r\n\r\n")
            (said,) = connection.heard()
            assert said.status == status
            assert said.json["title"] == ("Unknown domain" if settings else "Not found")

    @pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: b\r\n", b"Host: a\r\nHost: a\r\n"])
    def test_http_1_1_needs_exactly_one(self, world: World, hosts: bytes) -> None:
        connection = Connection(world.public)
        connection._methods.append("GET")
        connection.feed(b"GET /a HTTP/1.1\r\n" + hosts + b"\r\n")
        assert [said.status for said in connection.heard()] == [400]
        connection.leave()


# --- targets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "target",
    [
        "/..",
        "/a/../b",
        "/%2e%2e/a",
        "/a%2Fb",
        "/a%5Cb",
        "/a%00",
        "/a%0d%0aSet-Cookie:x",
        "/%c0%ae",
        "//a",
        "/a/",
        "/",
        "/-",
        "/@01J9ZQ4Y7H8V5N3K2M1R0TXWCE/a",
        "*",
        "a:80",
        "/a#b",
        "/" + "x" * 256,
    ],
)
def test_a_target_that_names_no_file(world: World, method: str, target: str) -> None:
    said = world.ask(method, target)
    assert said.status == 400
    assert said.headers["content-type"] == "application/problem+json"
    assert world.store.memory.records == {}


@pytest.mark.parametrize("method", ["POST", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "CONNECT"])
def test_a_method_that_is_not_for_files(world: World, method: str) -> None:
    said = world.ask(method, "/a")
    assert said.status == 405
    assert said.headers["allow"] == "GET, HEAD, PUT, DELETE"


# --- while the store is away -----------------------------------------------------------------------------


class TestStoreAway:
    def test_what_was_read_lately_is_still_told(self, world: World) -> None:
        world.put("a", b"x")
        there = world.ask("GET", "/a")
        world.store.away = True
        world.clock.advance(59)
        assert world.ask("GET", "/a").location == there.location
        assert world.metric("stale_answers_total") == 1
        assert world.ask("HEAD", "/a").location == there.location

    def test_but_not_for_long(self, world: World) -> None:
        world.put("a", b"x")
        world.ask("GET", "/a")
        world.store.away = True
        world.clock.advance(60)
        said = world.ask("GET", "/a")
        assert (said.status, said.json["title"]) == (503, "State store unavailable")
        assert int(said.headers["retry-after"]) > 0
        assert said.headers["cache-control"] == "no-store"

    def test_the_bound_is_the_operator_s(self, make_world: MakeWorld) -> None:
        world = make_world('[state]\nstale = "5s"')
        world.put("a", b"x")
        world.ask("GET", "/a")
        world.store.away = True
        world.clock.advance(4)
        assert world.ask("GET", "/a").status == 302
        world.clock.advance(1)
        assert world.ask("GET", "/a").status == 503

    def test_an_answer_from_memory_does_not_make_it_younger(self, world: World) -> None:
        world.put("a", b"x")
        world.ask("GET", "/a")
        world.store.away = True
        for _ in range(5):
            world.clock.advance(11)
            assert world.ask("GET", "/a").status == 302
        world.clock.advance(11)
        assert world.ask("GET", "/a").status == 503

    def test_what_nobody_knows_is_not_missing(self, world: World) -> None:
        world.store.away = True
        assert world.ask("GET", "/a").status == 503

    def test_what_was_deleted_here_is_not_told(self, world: World) -> None:
        world.put("a", b"x")
        world.ask("GET", "/a")
        world.ask("DELETE", "/a")
        world.store.away = True
        assert world.ask("GET", "/a").status == 404

    def test_nothing_can_be_written(self, world: World) -> None:
        world.put("a", b"x")
        world.ask("GET", "/a")
        world.store.away = True
        for method in ("PUT", "DELETE"):
            said = world.ask(method, "/a", None, b"x")
            assert said.status == 503
            assert int(said.headers["retry-after"]) > 0

    def test_storage_servers_are_not_asked_what_cannot_be_kept(self, world: World) -> None:
        world.put("a", b"x")
        there = world.ask("GET", "/a")
        world.put("a", b"y")
        world.store.away = True
        for storage in world.stores:
            storage.asked.clear()
        assert world.ask("GET", "/a").location == there.location
        assert all(storage.asked == [] for storage in world.stores)

    @pytest.mark.parametrize("size", [3, READ_AT_ONCE + 1])
    def test_it_goes_away_in_the_middle_of_a_get(self, world: World, size: int) -> None:
        world.put("a", b"old")
        world.download("a")
        new = b"n" * size
        world.put("a", new, {"Repr-Digest": f"sha-256=:{b64(sha256(new).digest())}:"})
        world.store.failing = {"commit", "hasten"}
        assert world.download("a") == b"old"

    def test_it_comes_back(self, world: World) -> None:
        world.put("a", b"x")
        world.store.away = True
        assert world.ask("GET", "/a").status in (302, 404, 503)
        world.store.away = False
        assert world.download("a") == b"x"
        assert world.ask("DELETE", "/a").status == 204
        assert world.ask("GET", "/a").status == 404

    def test_states_of_backends_stay_what_they_were(self, world: World) -> None:
        world.put("a", b"x")
        world.ask("GET", "/a")
        view = world.daemon.cluster.view
        world.store.away = True
        world.clock.advance(10)
        assert world.daemon.cluster.view == view
        assert all(backend.state is BackendState.ALIVE for backend in view.values())


def test_a_refused_upload_says_why(world: World) -> None:
    said = world.ask("PUT", "/a", None, b"hello")
    world.upload(said.location, b"hell")
    refused = world.ask("GET", "/a")
    assert refused.status == 404
    [upload] = refused.json["uploads"]
    assert (upload["upload"], upload["state"]) == (said.headers["dragonbelly-upload"], "abandoned")
    assert upload["reason"] == "size"
    assert world.metric("uploads_total", outcome="size") == 1
    world.put("a", b"hello")
    assert world.download("a") == b"hello"
    assert world.metric("uploads_total", outcome="verified") == 1


def test_a_time_that_has_passed_is_no_expiry(world: World) -> None:
    said = world.ask("PUT", "/a", {"Dragonbelly-Expires": "2001-01-01T00:00:00Z"}, b"hello")
    assert (said.status, said.json["field"]) == (422, "expires")
