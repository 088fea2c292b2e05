"""Errors and departures, as a client sees them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.web.test_uploads_api import is_problem
from tests.web.wire import Connection
from tests.web.world import World

pytestmark = pytest.mark.lanes

MakeWorld = Callable[..., World]

COMPLETE = "/-/api/v1/uploads/01J9ZQ4Y7H8V5N3K2M1R0TXWCE/complete"


class TestDeparture:
    @pytest.mark.parametrize(
        ("method", "target", "body", "call"),
        [
            ("GET", "/a", b"", "get"),
            ("DELETE", "/a", b"", "get"),
            ("GET", "/-/api/v1/files", b"", "page"),
            ("GET", "/-/api/v1/files/a", b"", "get"),
            ("DELETE", "/-/api/v1/files/a", b"", "get"),
            ("POST", COMPLETE, b'{"path": "a"}', "get"),
        ],
    )
    def test_who_leaves_takes_the_work_along(
        self, world: World, method: str, target: str, body: bytes, call: str
    ) -> None:
        world.store.stuck = {call}
        connection = Connection(world.public)
        connection.send(method, target, None, body)
        assert world.store.cancelled == 0
        connection.leave()
        assert world.store.cancelled == 1
        assert connection.said == b""

    @pytest.mark.parametrize(
        ("method", "target", "body"), [("PUT", "/a", b"x"), ("POST", "/-/api/v1/uploads", b'{"path": "a"}')]
    )
    def test_but_not_the_beginning_of_an_upload(
        self, world: World, method: str, target: str, body: bytes
    ) -> None:
        """It may have begun, and has to be counted then: see test_limits_of_requests."""
        world.store.stuck = {"commit"}
        connection = Connection(world.public)
        connection.send(method, target, None, body)
        connection.leave()
        assert world.store.cancelled == 0
        assert connection.said == b""

    def test_those_of_the_admin_listener_too(self, world: World) -> None:
        world.store.stuck = {"counts"}
        for target in ("/-/metrics", "/-/api/v1/status"):
            connection = Connection(world.admin)
            connection.send("GET", target)
            connection.leave()
        assert world.store.cancelled == 2

    def test_the_next_one_on_a_connection_waits_and_is_never_begun(self, world: World) -> None:
        world.store.stuck = {"get"}
        connection = Connection(world.public)
        connection.send("GET", "/a")
        connection.send("DELETE", "/a")
        connection.leave()
        assert world.store.cancelled == 1

    def test_an_upload_under_way_does_not_hold_up_an_answer(self, world: World) -> None:
        """The body of a large PUT keeps coming while the store is slow, and is not kept."""
        world.store.stuck = {"commit"}
        connection = Connection(world.public)
        connection.feed(b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n")
        for _ in range(20):
            connection.feed(b"x" * 100_000)
        assert connection.wire.producerState == "producing"
        assert getattr(connection.channel, "channel", connection.channel)._dataBuffer == []
        connection.leave()


class TestInternalError:
    @pytest.mark.parametrize("target", ["/a", "/-/api/v1/files", "/-/api/v1/files/a"])
    def test_it_tells_nothing_of_what_is_within(self, world: World, target: str) -> None:
        world.store.broken = RuntimeError("the password is hush")
        said = world.ask("GET", target)
        assert is_problem(said, 500)
        assert b"hush" not in said.body
        assert "RuntimeError" not in said.body.decode()
        assert world.metric("requests_total", kind="file_get", status="500") == (target == "/a")

    def test_the_connection_lives_on(self, world: World) -> None:
        connection = Connection(world.public)
        world.store.broken = RuntimeError("hush")
        assert connection.ask("GET", "/a").status == 500
        world.store.broken = None
        assert connection.ask("GET", "/a").status == 404
        connection.leave()

    def test_a_head_of_it(self, world: World) -> None:
        world.store.broken = RuntimeError("hush")
        said = world.ask("HEAD", "/a")
        assert (said.status, said.body) == (500, b"")


class TestNotOpenYet:
    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
    def test_files(self, make_world: MakeWorld, method: str) -> None:
        world = make_world(opened=False)
        for admin in (False, True):
            said = world.ask(method, "/a", None, b"x" if method == "PUT" else b"", admin=admin)
            assert said.status == 503
            assert int(said.headers["retry-after"]) > 0

    @pytest.mark.parametrize("resource", ["files", "files/a", "status", "backends", "none"])
    def test_the_api(self, make_world: MakeWorld, resource: str) -> None:
        said = make_world(opened=False).api("GET", resource, admin=True)
        assert is_problem(said, 503)
        assert int(said.headers["retry-after"]) > 0

    def test_metrics_are_there(self, make_world: MakeWorld) -> None:
        world = make_world(opened=False)
        assert world.ask("GET", "/-/metrics", admin=True).status == 200
        assert is_problem(world.ask("GET", "/-/metrics"), 404)

    def test_the_store_comes_later(self, make_world: MakeWorld) -> None:
        world = make_world(opened=False)
        world.store.away = True
        world.daemon.startService()
        world.clock.advance(10)
        assert world.ask("GET", "/a").status == 503
        world.store.away = False
        world.clock.advance(1)
        assert world.ask("GET", "/a").status == 404


class TestHeaders:
    def test_every_answer_has_these(self, world: World) -> None:
        for method, target in (("GET", "/a"), ("GET", "/-/api/v1/files"), ("PUT", "/a"), ("BREW", "/a")):
            said = world.ask(method, target)
            assert said.headers["date"] == "Mon, 21 Sep 2026 14:13:20 GMT"
            assert said.headers["server"].startswith("dragonbelly/")

    @pytest.mark.parametrize(
        "line",
        [
            b"Content-Type: a/b\rSet-Cookie: x=y",
            b"Content-Type: a/b\x00",
            b"Dragonbelly-Attr-A: b\rSet-Cookie: x=y",
            b"Dragonbelly-Attr-A: b\x00c",
            b"Dragonbelly-Policy: b\rSet-Cookie: x=y",
            b"Dragonbelly-Policy: b\nSet-Cookie: x=y",
            b'If-Match: "a\rSet-Cookie: x=y"',
        ],
    )
    def test_nothing_can_be_slipped_in(self, world: World, line: bytes) -> None:
        connection = Connection(world.public)
        connection._methods.append("PUT")
        connection.feed(b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n" + line + b"\r\n\r\n")
        said = connection.heard()[0]
        assert said.status in (400, 422)
        assert b"et-cookie" not in connection.said.partition(b"\r\n\r\n")[0].lower()
        assert world.store.memory.records == {}
        connection.leave()

    def test_nor_by_what_is_kept(self, world: World) -> None:
        fields = {
            "path": "a b\u2028c\u0085"[:-1],
            "content_type": "a/b; c=d",
            "attributes": {"a": "Set-Cookie: x=y", "b": "é"},
        }
        said = world.api("POST", "uploads", fields)
        assert said.status == 201
        world.upload(said.json["targets"][0]["url"], b"x")
        for target in ("/a%20b%E2%80%A8c", "/-/api/v1/files/a%20b%E2%80%A8c"):
            said = world.ask("GET", target)
            assert said.status in (200, 302)
            assert all(value.isascii() and value.isprintable() for value in said.headers.values())

    def test_a_refusal_repeats_nothing_outside_of_its_json(self, world: World) -> None:
        said = world.ask("GET", "/none%E2%80%A8%22%3Cscript%3E")
        assert said.status == 404
        assert said.headers["content-type"] == "application/problem+json"
        assert said.json["detail"] == 'there is no file none\u2028"<script>'


@pytest.mark.parametrize("target", ["/-/x", "/-/", "/-/api/v2/files", "/-/api/v1", "/-/health/x", "/-/../a"])
def test_what_is_reserved_is_no_file(world: World, target: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert is_problem(world.ask(method, target), 404)
    assert world.store.memory.records == {}


def test_the_body_of_what_takes_none_is_not_collected(world: World) -> None:
    """Only the API reads bodies; everything else answers early, or reads a small one away."""
    connection = Connection(world.public)
    connection.feed(b"POST /-/x HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
    assert b"404" in connection.said.partition(b"\r\n")[0]
    assert connection.wire.half_closed
    connection.leave()
