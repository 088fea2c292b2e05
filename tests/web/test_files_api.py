"""``/-/api/v1/files/<path>``: one file, shown, changed, deleted."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from dragonbelly.model import ReplicaState
from tests.web.test_uploads_api import is_problem
from tests.web.world import EVERYBODY, World

pytestmark = pytest.mark.lanes

MakeWorld = Callable[..., World]

POLICIES = "[policy.default]\ncopies = 2\n[policy.one]\ncopies = 1\n"


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """With a file ``a/é.txt`` of two copies."""
    world = make_world(POLICIES)
    headers = {"Content-Type": "text/plain", "Dragonbelly-Attr-Owner": "me", "Dragonbelly-Attr-Tag": "x"}
    world.put("a/%C3%A9.txt", b"hello", headers)
    world.download("a/%C3%A9.txt")
    world.replicate()
    return world


def show(world: World, target: str = "files/a/%C3%A9.txt") -> Any:
    said = world.api("GET", target)
    assert said.status == 200
    return said.json


def patch(world: World, **change: Any) -> Any:
    said = world.api("PATCH", "files/a/%C3%A9.txt", change)
    assert said.status == 200, said
    assert said.json == show(world)
    return said.json


class TestShow:
    def test_all_that_is_known(self, world: World) -> None:
        (version,) = world.record("a/é.txt").versions
        said = world.api("GET", "files/a/%C3%A9.txt")
        assert said.headers["etag"] == f'"{version.id}"'
        assert said.headers["cache-control"] == "no-store"
        shown = said.json
        replicas = shown.pop("replicas")
        assert shown == {
            "domain": "default",
            "path": "a/é.txt",
            "url": "/a/%C3%A9.txt",
            "state": "live",
            "version": version.id,
            "size": 5,
            "content_type": "text/plain",
            "sha256": sha256(b"hello").hexdigest(),
            "created": "2026-09-21T14:13:20Z",
            "attributes": {"owner": "me", "tag": "x"},
            "expires": None,
            "policy": "default",
            "copies": {"owed": 2, "held": 2, "possible": 2, "enough": True, "asked": None},
            "damaged": False,
            "thin_since": None,
            "uploads": [],
        }
        assert [replica["state"] for replica in replicas] == ["good", "good"]
        for replica in replicas:
            assert replica["host"] == replica["backend"]
            assert world.storage(replica["backend"]).client_get(replica["url"]) == b"hello"

    def test_a_head_has_no_body(self, world: World) -> None:
        said = world.api("HEAD", "files/a/%C3%A9.txt")
        assert (said.status, said.body) == (200, b"")
        assert said.headers == world.api("GET", "files/a/%C3%A9.txt").headers

    def test_what_has_just_been_written(self, world: World) -> None:
        world.put("b", b"x")
        assert show(world, "files/b")["copies"]["held"] == 1

    def test_uploads_on_their_way_and_what_became_of_them(self, world: World) -> None:
        first = world.ask("PUT", "/a/%C3%A9.txt", None, b"xx").headers["dragonbelly-upload"]
        second = world.put("a/%C3%A9.txt", b"yyy", {"If-Match": f'"{show(world)["version"]}"'})
        world.upload(world.ask("PUT", "/a/%C3%A9.txt", None, b"zz").location, b"z")
        uploads = show(world)["uploads"]
        assert show(world)["version"] == second
        assert [(upload["state"], upload["reason"]) for upload in uploads] == [
            ("abandoned", "size"),
            ("uploading", None),
        ]
        assert uploads[1]["upload"] == first
        assert all(upload["expires"].endswith("Z") for upload in uploads)

    def test_a_replica_that_is_not_good_has_no_url(self, world: World) -> None:
        held = world.record("a/é.txt").versions[0].replicas[0].backend
        said = world.api("PATCH", f"backends/{held}", {"state": "dead"}, admin=True)
        assert said.status == 200
        world.replicate(3600)
        shown = show(world)
        assert shown["copies"]["held"] == 2
        for replica in shown["replicas"]:
            assert (replica["url"] is not None) == (replica["state"] == "good")
        good = world.record("a/é.txt").versions[0].in_state(ReplicaState.GOOD)
        assert held not in {replica.backend for replica in good}

    def test_a_server_that_left_the_configuration_has_no_url(self, world: World, make_world: MakeWorld) -> None:
        fewer = make_world(POLICIES, stores=1)
        fewer.store.memory.records = dict(world.store.memory.records)
        known = {replica["backend"]: replica["url"] is not None for replica in show(fewer)["replicas"]}
        assert known == {backend: backend == "s1" for backend in known}

    @pytest.mark.parametrize(
        ("resource", "status", "field"),
        [
            ("files/none", 404, None),
            ("files/..", 400, None),
            ("files/", 400, None),
            ("files/a%2Fb", 400, None),
            ("files/-/x", 400, None),
            ("files/a?x=y", 422, "x"),
            ("files/a?domain=default", 422, "domain"),
            ("filesa", 404, None),
            ("", 404, None),
            ("../v1/files", 404, None),
            ("status", 404, None),
            ("backends", 404, None),
            ("backends/s1", 404, None),
        ],
    )
    def test_what_it_refuses(self, world: World, resource: str, status: int, field: str | None) -> None:
        assert is_problem(world.api("GET", resource), status, field)

    @pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS"])
    def test_methods(self, world: World, method: str) -> None:
        said = world.api(method, "files/a")
        assert is_problem(said, 405)
        assert said.headers["allow"] == "GET, HEAD, PATCH, DELETE"

    def test_while_the_store_is_away(self, world: World) -> None:
        shown = show(world)
        world.store.away = True
        assert show(world) == shown
        assert is_problem(world.api("GET", "files/b"), 503)


class TestChange:
    def test_nothing(self, world: World) -> None:
        before = show(world)
        assert patch(world) == before

    def test_attributes(self, world: World) -> None:
        assert patch(world, attributes={"owner": "you"})["attributes"] == {"owner": "you", "tag": "x"}
        assert patch(world, attributes={"owner": None})["attributes"] == {"tag": "x"}
        assert patch(world, attributes={"owner": None, "b": "é"})["attributes"] == {"b": "é", "tag": "x"}
        assert patch(world, attributes={})["attributes"] == {"b": "é", "tag": "x"}
        assert patch(world, copies=3)["attributes"] == {"b": "é", "tag": "x"}
        assert patch(world, attributes=None)["attributes"] == {}

    def test_copies(self, world: World) -> None:
        copies = patch(world, copies=3)["copies"]
        assert (copies["asked"], copies["owed"], copies["held"], copies["enough"]) == (3, 3, 2, False)
        world.replicate()
        assert show(world)["copies"]["held"] == 3
        assert patch(world, attributes={})["copies"]["asked"] == 3
        copies = patch(world, copies=None)["copies"]
        assert (copies["asked"], copies["owed"]) == (None, 2)
        world.replicate()
        assert show(world)["copies"]["held"] == 2

    def test_policy(self, world: World) -> None:
        assert patch(world, policy="one")["policy"] == "one"
        assert show(world)["copies"]["owed"] == 1
        assert patch(world, attributes={})["policy"] == "one"
        assert patch(world, policy=None)["policy"] == "default"

    def test_expires(self, world: World) -> None:
        assert patch(world, expires="2030-01-01T01:00:00+01:00")["expires"] == "2030-01-01T00:00:00Z"
        assert patch(world, attributes={})["expires"] == "2030-01-01T00:00:00Z"
        assert patch(world, expires=None)["expires"] is None

    def test_a_file_expires(self, world: World) -> None:
        patch(world, expires="2026-09-21T15:00:00Z")
        world.replicate(3600)
        assert world.ask("GET", "/a/%C3%A9.txt").status == 404

    def test_the_version_stays(self, world: World) -> None:
        before = show(world)
        after = patch(world, attributes={"x": "y"}, copies=1, policy="one", expires="2030-01-01T00:00:00Z")
        for name in ("version", "size", "sha256", "created", "content_type"):
            assert before[name] == after[name]

    @pytest.mark.parametrize(
        ("change", "status", "field"),
        [
            ({"attributes": {"Owner": "me"}}, 422, "attributes.Owner"),
            ({"attributes": {"owner": "a\nb"}}, 422, "attributes.owner"),
            ({"attributes": {"owner": 5}}, 422, "attributes[...]"),
            ({"attributes": "x"}, 422, "attributes"),
            ({"attributes": {f"a{n}": "x" for n in range(31)}}, 422, "attributes"),
            ({"copies": 0}, 422, "copies"),
            ({"copies": "2"}, 422, "copies"),
            ({"policy": "none"}, 422, "policy"),
            ({"policy": ""}, 422, "policy"),
            ({"policy": 5}, 422, "policy"),
            ({"expires": "soon"}, 422, "expires"),
            ({"size": 5}, 422, "size"),
            ({"content_type": "a/b"}, 422, "content_type"),
        ],
    )
    def test_what_it_refuses(self, world: World, change: Any, status: int, field: str) -> None:
        before = show(world)
        assert is_problem(world.api("PATCH", "files/a/%C3%A9.txt", change), status, field)
        assert show(world) == before

    def test_what_is_not_there(self, world: World) -> None:
        assert is_problem(world.api("PATCH", "files/b", {}), 404)

    def test_what_is_no_json(self, world: World) -> None:
        assert is_problem(world.api("PATCH", "files/a/%C3%A9.txt", b"{"), 400)

    def test_what_has_just_been_written(self, world: World) -> None:
        world.put("b", b"x")
        said = world.api("PATCH", "files/b", {"copies": 1})
        assert said.status == 200
        assert said.json["copies"]["asked"] == 1

    def test_while_the_store_is_away(self, world: World) -> None:
        show(world)
        world.store.away = True
        assert is_problem(world.api("PATCH", "files/a/%C3%A9.txt", {"copies": 1}), 503)


class TestDelete:
    def test_it_is_gone(self, world: World) -> None:
        said = world.api("DELETE", "files/a/%C3%A9.txt")
        assert (said.status, said.body) == (204, b"")
        assert is_problem(world.api("GET", "files/a/%C3%A9.txt"), 404)
        assert is_problem(world.api("DELETE", "files/a/%C3%A9.txt"), 404)


class TestDomains:
    SETTINGS = "".join(
        f'[domain.{name}]\nhosts = ["{host}"]\n{EVERYBODY}\n'
        for name, host in (("media", "media.example.com"), ("rest", "*"))
    )

    def test_the_admin_listener_takes_any(self, make_world: MakeWorld) -> None:
        world = make_world(self.SETTINGS)
        world.put("a", b"x", {"Host": "media.example.com"})
        said = world.api("GET", "files/a?domain=media", admin=True)
        assert (said.status, said.json["domain"]) == (200, "media")
        assert is_problem(world.api("GET", "files/a", admin=True), 404)
        assert len(world.api("GET", "files?domain=media", admin=True).json["files"]) == 1
        upload = world.api("POST", "uploads?domain=media", {"path": "b"}, admin=True).json["upload"]
        assert (
            world.api("POST", f"uploads/{upload}/complete?domain=media", {"path": "b"}, admin=True).status
            == 202
        )
        assert world.api("DELETE", f"uploads/{upload}?domain=media&path=b", admin=True).status == 204
        assert world.api("PATCH", "files/a?domain=media", {}, admin=True).status == 200
        assert world.api("DELETE", "files/a?domain=media", admin=True).status == 204

    def test_of_those_there_are(self, make_world: MakeWorld) -> None:
        world = make_world(self.SETTINGS)
        said = world.api("GET", "files/a?domain=none", admin=True)
        assert is_problem(said, 422, "domain")
        assert "media, rest" in said.json["detail"]

    def test_the_public_one_goes_by_the_host(self, make_world: MakeWorld) -> None:
        world = make_world(self.SETTINGS)
        assert is_problem(world.api("GET", "files?domain=media"), 422, "domain")
