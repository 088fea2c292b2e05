"""``/-/api/v1/uploads``: begin, complete, abort."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from dragonbelly.backends.memory import MemoryBackend
from dragonbelly.ids import is_ulid
from dragonbelly.keys import parse_key
from dragonbelly.model import Path
from tests.web.wire import Connection, Said
from tests.web.world import World

pytestmark = pytest.mark.lanes

MakeWorld = Callable[..., World]
UNKNOWN = "01J9ZQ4Y7H8V5N3K2M1R0TXWCE"


def begin(world: World, path: str = "a", **fields: Any) -> Said:
    return world.api("POST", "uploads", {"path": path, **fields})


def begun(world: World, path: str = "a", data: bytes | None = b"hello", **fields: Any) -> str:
    """An upload, with its bytes in place unless they are None."""
    said = begin(world, path, **fields)
    assert said.status == 201, said
    if data is not None:
        world.upload(said.json["targets"][0]["url"], data)
    upload: str = said.json["upload"]
    return upload


def complete(world: World, upload: str, path: str = "a", query: str = "", **fields: Any) -> Said:
    return world.api("POST", f"uploads/{upload}/complete{query}", {"path": path, **fields})


def is_problem(said: Said, status: int, field: str | None = None) -> bool:
    """RFC 9457, with the field named where one is to blame."""
    assert said.status == status, said
    assert said.headers["content-type"] == "application/problem+json"
    assert said.headers["cache-control"] == "no-store"
    details = said.json
    assert details["status"] == status
    assert details["type"] == "about:blank"
    assert details["title"]
    assert details["detail"]
    assert details.get("field") == field, said
    return True


class TestBegin:
    def test_it_says_where_to_upload(self, world: World) -> None:
        said = begin(world, "a/b.txt", size=5)
        assert said.status == 201
        assert said.headers["content-type"] == "application/json"
        assert said.headers["location"] == f"/-/api/v1/uploads/{said.json['upload']}"
        assert set(said.json) == {"upload", "targets", "expires"}
        assert is_ulid(said.json["upload"])
        assert len(said.json["targets"]) == 2
        for target in said.json["targets"]:
            assert target["method"] == "PUT"
            assert target["headers"] == {}
            key = world.storage_of(target["url"])._key_of(target["url"])
            assert parse_key(key) == (Path("default", "a/b.txt"), said.json["upload"], 0)
        assert len({world.storage_of(target["url"]).name for target in said.json["targets"]}) == 2
        assert said.json["expires"] == "2026-09-21T15:13:21Z"

    def test_it_may_go_to_any_of_the_targets(self, world: World) -> None:
        said = begin(world)
        world.upload(said.json["targets"][1]["url"], b"hello")
        assert complete(world, said.json["upload"]).status == 200
        assert world.download("a") == b"hello"

    def test_all_that_can_be_announced(self, world: World) -> None:
        begin(
            world,
            size=5,
            sha256=sha256(b"hello").hexdigest().upper(),
            content_type="text/plain",
            attributes={"owner": "me", "title": "été 🌞"},
            copies=3,
            policy="default",
            expires="2030-01-01T00:00:00+00:00",
            create_only=True,
        )
        (version,) = world.record("a").versions
        assert version.upload is not None
        assert version.upload.create_only
        assert (version.size, version.sha256) == (5, sha256(b"hello").digest())
        assert version.content_type == "text/plain"
        assert version.asked.attributes == {"owner": "me", "title": "été 🌞"}
        assert (version.asked.copies, version.asked.policy, version.asked.expires) == (3, "default", 1893456000)

    def test_a_path_may_begin_with_a_slash_and_is_not_decoded(self, world: World) -> None:
        begin(world, "/a%20b/é")
        assert list(world.store.memory.records) == ["default/a%20b/é"]

    @pytest.mark.parametrize(
        ("fields", "status", "field"),
        [
            ({"path": None}, 422, "path"),
            ({"path": 1}, 422, "path"),
            ({"path": ""}, 422, "path"),
            ({"path": "../a"}, 422, "path"),
            ({"path": "//a"}, 422, "path"),
            ({"path": "a/"}, 422, "path"),
            ({"path": "-/a"}, 422, "path"),
            ({"path": "a\x00"}, 422, "path"),
            ({"path": "a\r\nX: y"}, 422, "path"),
            ({"path": f"a/@{UNKNOWN}/b"}, 422, "path"),
            ({"path": "x" * 256}, 422, "path"),
            ({"size": -1}, 422, "size"),
            ({"size": "5"}, 422, "size"),
            ({"size": 5.5}, 422, "size"),
            ({"size": True}, 422, "size"),
            ({"size": 2**80}, 413, None),
            ({"size": 51 * 2**30}, 413, None),
            ({"sha256": "00"}, 422, "sha256"),
            ({"sha256": "g" * 64}, 422, "sha256"),
            ({"sha256": 5}, 422, "sha256"),
            ({"content_type": "jpeg"}, 422, "content_type"),
            ({"content_type": "a/b\r\nX: y"}, 422, "content_type"),
            ({"content_type": "a/b\x00"}, 422, "content_type"),
            ({"attributes": {"Owner": "me"}}, 422, "attributes.Owner"),
            ({"attributes": {"a\r\nb": "me"}}, 422, "attributes.a\r\nb"),
            ({"attributes": {"owner": "a\r\nb"}}, 422, "attributes.owner"),
            ({"attributes": {"owner": "a\x00b"}}, 422, "attributes.owner"),
            ({"attributes": {"owner": 5}}, 422, "attributes[...]"),
            ({"attributes": []}, 422, "attributes"),
            ({"copies": 0}, 422, "copies"),
            ({"copies": 101}, 422, "copies"),
            ({"copies": "two"}, 422, "copies"),
            ({"policy": "none"}, 422, "policy"),
            ({"policy": "a\r\nX: y"}, 422, "policy"),
            ({"expires": "soon"}, 422, "expires"),
            ({"expires": 1893456000}, 422, "expires"),
            ({"expires": "9999-12-31T23:59:59-23:59"}, 422, "expires"),
            ({"create_only": 1}, 422, "create_only"),
            ({"if_match": UNKNOWN}, 412, None),
            ({"colour": "red"}, 422, "colour"),
        ],
    )
    def test_what_it_refuses(
        self, world: World, fields: dict[str, Any], status: int, field: str | None
    ) -> None:
        body = {key: value for key, value in {"path": "a", **fields}.items() if value is not None}
        assert is_problem(world.api("POST", "uploads", body), status, field)
        assert world.store.memory.records == {}

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"nonsense",
            b'{"path": "a"',
            b'{"path": "\xff"}',
            b'{"path": "\\ud800"}',
            b'{"path": "a"} x',
            b"[" * 10_000,
            b'{"path": ' + b"[" * 10_000,
            b"\x00",
        ],
    )
    def test_what_is_no_json(self, world: World, body: bytes) -> None:
        said = world.api("POST", "uploads", body)
        assert said.status in (400, 422)
        assert is_problem(said, said.status, said.json.get("field"))
        assert world.store.memory.records == {}

    @pytest.mark.parametrize("body", [b"", b"{}"])
    def test_what_says_nothing(self, world: World, body: bytes) -> None:
        assert is_problem(world.api("POST", "uploads", body), 422, "path")

    def test_a_body_that_is_no_object(self, world: World) -> None:
        assert is_problem(world.api("POST", "uploads", b"[]"), 422)

    @pytest.mark.parametrize("chunked", [False, True])
    def test_a_body_that_is_too_large(self, world: World, chunked: bool) -> None:
        body = b'{"path": "' + b"x" * (256 * 1024) + b'"}'
        headers = None
        if chunked:
            headers = {"Content-Length": "", "Transfer-Encoding": "chunked"}
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        said = world.ask("POST", "/-/api/v1/uploads", headers, body)
        assert is_problem(said, 413)
        assert said.json["maximum"] == 256 * 1024

    def test_a_chunked_body(self, world: World) -> None:
        headers = {"Content-Length": "", "Transfer-Encoding": "chunked"}
        body = b'5\r\n{"pat\r\n7\r\nh":"a"}\r\n0\r\n\r\n'
        assert world.ask("POST", "/-/api/v1/uploads", headers, body).status == 201

    def test_no_server_can_take_it(self, world: World) -> None:
        for storage in world.stores:
            storage.away = True
        world.probe()
        said = begin(world)
        assert is_problem(said, 503)
        assert int(said.headers["retry-after"]) > 0

    def test_the_store_is_away(self, world: World) -> None:
        world.store.away = True
        said = begin(world)
        assert is_problem(said, 503)
        assert int(said.headers["retry-after"]) > 0


class TestComplete:
    def test_the_file(self, world: World) -> None:
        upload = begun(world, "a/b", size=5)
        said = complete(world, upload, "a/b")
        assert said.status == 200
        assert said.json == world.api("GET", "files/a/b").json
        assert said.json["version"] == upload
        assert said.json["state"] == "live"
        assert said.json["copies"]["held"] == 1

    def test_twice(self, world: World) -> None:
        upload = begun(world)
        assert complete(world, upload).json == complete(world, upload).json

    def test_not_there_yet(self, world: World) -> None:
        upload = begun(world, data=None)
        said = complete(world, upload)
        assert said.status == 202
        assert said.json == {"upload": upload, "state": "uploading", "detail": "not there yet"}

    def test_nobody_knows(self, world: World) -> None:
        upload = begun(world, data=None)
        for storage in world.stores:
            storage.away = True
        said = complete(world, upload)
        assert said.status == 202
        assert "does not answer" in said.json["detail"]
        for storage in world.stores:
            storage.away = False
        assert complete(world, upload).status == 202

    @pytest.mark.parametrize(
        ("announced", "claimed", "reason"),
        [
            ({"size": 5}, {"size": 6}, "size"),
            ({"size": 6}, {}, "size"),
            ({}, {"size": 6}, "size"),
            ({"sha256": sha256(b"hello").hexdigest()}, {"sha256": "00" * 32}, "digest"),
            ({"sha256": "00" * 32}, {}, "digest"),
            ({}, {"sha256": "00" * 32}, "digest"),
        ],
    )
    def test_not_what_was_announced(
        self, world: World, announced: dict[str, Any], claimed: dict[str, Any], reason: str
    ) -> None:
        world.put("a", b"old")
        world.download("a")
        upload = begun(world, **announced)
        said = complete(world, upload, **claimed)
        assert is_problem(said, 409)
        assert said.json["reason"] == reason
        if announced and claimed:
            # A slip of the tongue does not undo the upload.
            assert complete(world, upload).status == 200
            assert world.download("a") == b"hello"
        else:
            assert complete(world, upload, **claimed).status == 409
            assert world.download("a") == b"old"

    @pytest.mark.parametrize("claimed", [{"size": 6}, {"sha256": "00" * 32}])
    def test_not_what_somebody_else_saw_first(self, world: World, claimed: dict[str, Any]) -> None:
        upload = begun(world)
        world.replicate()
        assert world.record("a").live is not None
        assert is_problem(complete(world, upload, **claimed), 409)
        assert complete(world, upload, size=5, sha256=sha256(b"hello").hexdigest()).status == 200

    def test_a_claim_is_checked_and_kept(self, world: World) -> None:
        upload = begun(world)
        said = complete(world, upload, size=5, sha256=sha256(b"hello").hexdigest())
        assert said.json["sha256"] == sha256(b"hello").hexdigest()

    def test_an_older_one_is_superseded_at_once(self, world: World) -> None:
        older, newer = begun(world, data=b"x"), begun(world, data=b"yy")
        assert complete(world, newer).json["state"] == "live"
        said = complete(world, older)
        assert (said.status, said.json["state"], said.json["version"]) == (200, "superseded", older)
        assert world.download("a") == b"yy"

    @pytest.mark.parametrize("claimed", [{}, {"size": 5}, {"sha256": sha256(b"hello").hexdigest()}])
    @pytest.mark.parametrize("query", ["", "?copies=0", "?copies=1&timeout=0"])
    def test_one_whose_server_is_called_dead_in_the_same_moment(
        self, make_world: MakeWorld, query: str, claimed: dict[str, Any]
    ) -> None:
        """It was seen there, and is not there any more: the client may still send it to another."""
        world = make_world(options="digests = true")
        said = begin(world)
        upload, (first, second) = said.json["upload"], (target["url"] for target in said.json["targets"])
        world.upload(first, b"hello")
        server = world.storage_of(first)
        stat = MemoryBackend.stat

        def written_off(key: str) -> Any:
            answer = stat(server, key)
            world.api("PATCH", f"backends/{server.name}", {"state": "dead"}, admin=True)
            world.replicate()
            return answer

        server.stat = written_off  # type: ignore[method-assign]
        said = complete(world, upload, query=query, **claimed)
        assert (said.status, said.json["state"]) == (202, "uploading")
        assert said.json == {"upload": upload, "state": "uploading", "detail": "not there yet"}
        (version,) = world.record("a").versions
        assert [replica.backend for replica in version.replicas] == [world.storage_of(second).name]
        assert world.ask("GET", "/a").status == 404
        world.upload(second, b"hello")
        assert complete(world, upload, **claimed).status == 200
        assert world.download("a") == b"hello"

    def test_one_that_was_never_begun(self, world: World) -> None:
        assert is_problem(complete(world, UNKNOWN), 410)
        begun(world)
        assert is_problem(complete(world, UNKNOWN), 410)

    def test_one_of_another_path(self, world: World) -> None:
        assert is_problem(complete(world, begun(world), "b"), 410)

    def test_one_that_was_aborted(self, world: World) -> None:
        upload = begun(world)
        assert world.api("DELETE", f"uploads/{upload}?path=a").status == 204
        assert is_problem(complete(world, upload), 410)
        assert world.ask("GET", "/a").status == 404

    def test_one_whose_path_was_deleted(self, world: World) -> None:
        world.put("a", b"old")
        world.download("a")
        upload = begun(world)
        world.ask("DELETE", "/a")
        said = complete(world, upload)
        assert is_problem(said, 410)
        assert said.json["reason"] == "deleted"

    def test_one_whose_file_was_deleted(self, world: World) -> None:
        upload = begun(world)
        complete(world, upload)
        world.ask("DELETE", "/a")
        assert is_problem(complete(world, upload), 410)

    def test_one_that_lapsed(self, world: World) -> None:
        upload = begun(world, data=None)
        world.replicate(3700)
        said = complete(world, upload)
        assert is_problem(said, 410)

    def test_one_that_came_too_late(self, world: World) -> None:
        said = begin(world)
        world.replicate(3700)
        world.upload(said.json["targets"][0]["url"], b"hello")
        assert is_problem(complete(world, said.json["upload"]), 410)
        assert world.ask("GET", "/a").status == 404

    @pytest.mark.parametrize(
        ("query", "body", "status", "field"),
        [
            ("", {}, 422, "path"),
            ("", {"path": "../a"}, 422, "path"),
            ("", {"path": "a", "size": "5"}, 422, "size"),
            ("", {"path": "a", "sha256": "x"}, 422, "sha256"),
            ("", {"path": "a", "copies": 2}, 422, "copies"),
            ("?copies=x", {"path": "a"}, 422, "copies"),
            ("?copies=101", {"path": "a"}, 422, "copies"),
            ("?copies=-1", {"path": "a"}, 422, "copies"),
            ("?copies=1&copies=2", {"path": "a"}, 422, "copies"),
            ("?timeout=301", {"path": "a"}, 422, "timeout"),
            ("?timeout=1m", {"path": "a"}, 422, "timeout"),
            ("?wait=1", {"path": "a"}, 422, "wait"),
            ("?domain=default", {"path": "a"}, 422, "domain"),
            ("?%ff=1", {"path": "a"}, 400, None),
            ("?copies", {"path": "a"}, 400, None),
        ],
    )
    def test_what_it_refuses(
        self, world: World, query: str, body: dict[str, Any], status: int, field: str | None
    ) -> None:
        upload = begun(world)
        assert is_problem(world.api("POST", f"uploads/{upload}/complete{query}", body), status, field)

    def test_the_store_is_away(self, world: World) -> None:
        upload = begun(world)
        world.store.away = True
        assert is_problem(complete(world, upload), 503)
        world.store.away = False
        assert complete(world, upload).status == 200


class TestWaitingForCopies:
    def ask(self, world: World, upload: str, query: str) -> Connection:
        connection = Connection(world.public)
        connection.send("POST", f"/-/api/v1/uploads/{upload}/complete?{query}", None, b'{"path": "a"}')
        return connection

    def test_until_they_are_there(self, world: World) -> None:
        """They are made now, and not when the replicator looks for work the next time: in an hour, here."""
        connection = self.ask(world, begun(world), "copies=2")
        assert connection.heard() == []
        world.clock.advance(0.1)
        (said,) = connection.heard()
        assert said.status == 200
        assert said.json["copies"]["held"] == 2
        assert [replica["state"] for replica in said.json["replicas"]] == ["good", "good"]
        connection.leave()

    def test_not_for_ever(self, world: World) -> None:
        connection = self.ask(world, begun(world), "copies=3&timeout=7.5s")
        world.replicate(7.4)
        assert connection.heard() == []
        world.clock.advance(0.2)
        (said,) = connection.heard()
        assert said.status == 202
        assert said.json["copies"]["held"] == 2
        connection.leave()

    @pytest.mark.parametrize("query", ["copies=0", "copies=1", "copies=3&timeout=0"])
    def test_not_at_all(self, world: World, query: str) -> None:
        connection = self.ask(world, begun(world), query)
        assert len(connection.heard()) == 1
        connection.leave()

    def test_not_for_a_file_that_is_none_any_more(self, world: World) -> None:
        connection = self.ask(world, begun(world), "copies=2")
        world.ask("DELETE", "/a")
        world.clock.advance(0.1)
        assert [said.status for said in connection.heard()] == [410]
        connection.leave()

    def test_not_for_what_was_overwritten(self, world: World) -> None:
        connection = self.ask(world, begun(world), "copies=4&timeout=300")
        newer = begun(world, data=b"yy")
        complete(world, newer)
        world.clock.advance(0.1)
        (said,) = connection.heard()
        assert (said.status, said.json["state"]) == (202, "superseded")
        connection.leave()

    def test_who_leaves_does_not_wait(self, world: World) -> None:
        before = len(world.clock.getDelayedCalls())
        connection = self.ask(world, begun(world), "copies=2")
        assert len(world.clock.getDelayedCalls()) > before
        connection.leave()
        assert len(world.clock.getDelayedCalls()) == before

    def test_the_store_goes_away_meanwhile(self, world: World) -> None:
        connection = self.ask(world, begun(world), "copies=2")
        world.store.away = True
        world.clock.advance(0.1)
        assert [said.status for said in connection.heard()] == [503]
        connection.leave()


class TestAbort:
    def test_it_is_over(self, world: World) -> None:
        upload = begun(world)
        said = world.api("DELETE", f"uploads/{upload}?path=a")
        assert (said.status, said.body) == (204, b"")
        assert world.ask("GET", "/a").status == 404
        assert world.api("DELETE", f"uploads/{upload}?path=a").status in (204, 410)

    def test_the_former_file_stays(self, world: World) -> None:
        world.put("a", b"old")
        world.download("a")
        assert world.api("DELETE", f"uploads/{begun(world)}?path=a").status == 204
        assert world.download("a") == b"old"

    def test_a_file_is_not_aborted(self, world: World) -> None:
        upload = begun(world)
        complete(world, upload)
        assert is_problem(world.api("DELETE", f"uploads/{upload}?path=a"), 409)
        assert world.download("a") == b"hello"

    def test_nor_one_that_was_seen_in_the_same_moment(self, world: World) -> None:
        """Somebody commits between the reading and the commit of an abort."""
        upload = begun(world)
        store = world.store
        commit = store.memory.commit
        raced: list[int] = []

        def first(path: Path, old: Any, new: Any, due: Any) -> Any:
            if not raced:
                raced.append(1)
                assert complete(world, upload).status == 200
            return commit(path, old, new, due)

        store.memory.commit = first  # type: ignore[method-assign]
        assert is_problem(world.api("DELETE", f"uploads/{upload}?path=a"), 409)
        assert world.download("a") == b"hello"

    @pytest.mark.parametrize(
        ("resource", "status", "field"),
        [
            (f"uploads/{UNKNOWN}?path=a", 410, None),
            (f"uploads/{UNKNOWN}", 422, "path"),
            (f"uploads/{UNKNOWN}?path=", 422, "path"),
            (f"uploads/{UNKNOWN}?path=..", 422, "path"),
            (f"uploads/{UNKNOWN}?path=a&path=b", 422, "path"),
            (f"uploads/{UNKNOWN}?path=a&x=y", 422, "x"),
            ("uploads/x?path=a", 404, None),
            (f"uploads/{UNKNOWN.lower()}?path=a", 404, None),
            (f"uploads/{UNKNOWN}/x?path=a", 404, None),
            (f"uploads/%30{UNKNOWN[1:]}?path=a", 404, None),
        ],
    )
    def test_what_it_refuses(self, world: World, resource: str, status: int, field: str | None) -> None:
        begun(world)
        assert is_problem(world.api("DELETE", resource), status, field)


@pytest.mark.parametrize(
    ("method", "resource", "allow"),
    [
        ("GET", "uploads", "POST"),
        ("PUT", "uploads", "POST"),
        ("GET", f"uploads/{UNKNOWN}", "DELETE"),
        ("GET", f"uploads/{UNKNOWN}/complete", "POST"),
        ("DELETE", f"uploads/{UNKNOWN}/complete", "POST"),
    ],
)
def test_methods(world: World, method: str, resource: str, allow: str) -> None:
    said = world.api(method, resource)
    assert is_problem(said, 405)
    assert said.headers["allow"] == allow
