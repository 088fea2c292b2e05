"""Pages of other origins on the public listener; never on the admin one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.web.test_uploads_api import is_problem
from tests.web.wire import Said
from tests.web.world import World

pytestmark = pytest.mark.lanes

MakeWorld = Callable[..., World]

APP = "https://app.example.com"
SETTINGS = f'[http]\norigins = ["{APP}", "http://localhost:8000"]\n'
EXPOSED = "ETag, Location, Dragonbelly-Upload, Repr-Digest, Link, Retry-After"


@pytest.fixture
def shared(make_world: MakeWorld) -> World:
    return make_world(SETTINGS)


def shares(said: Said, origin: str = APP) -> bool:
    """Whether a page of ``origin`` may see the answer; the headers are exactly so."""
    headers = said.headers
    given = {name: value for name, value in headers.items() if name.startswith("access-control-")}
    assert headers.get("vary") == "Origin"
    if not given:
        return False
    assert given == {"access-control-allow-origin": origin, "access-control-expose-headers": EXPOSED}
    return True


def ask_first(world: World, target: str, headers: dict[str, str] | None = None, admin: bool = False) -> Said:
    asked = {"Origin": APP, "Access-Control-Request-Method": "PUT"} | (headers or {})
    return world.ask("OPTIONS", target, asked, admin=admin)


@pytest.mark.parametrize("target", ["/a", "/a/b.txt", "/-/api/v1/uploads", "/-/api/v1/files/a"])
def test_a_preflight(shared: World, target: str) -> None:
    said = ask_first(shared, target, {"Access-Control-Request-Headers": "content-type,dragonbelly-attr-title"})
    assert (said.status, said.body) == (204, b"")
    headers = {name: value for name, value in said.headers.items() if name not in ("date", "server")}
    assert headers == {
        "access-control-allow-origin": APP,
        "access-control-expose-headers": EXPOSED,
        "vary": "Origin",
        "access-control-allow-methods": "GET, HEAD, PUT, POST, PATCH, DELETE",
        "access-control-allow-headers": "authorization, content-type, if-match, if-none-match, repr-digest, "
        "content-digest, content-md5, dragonbelly-copies, dragonbelly-expires, dragonbelly-policy, "
        "dragonbelly-attr-title",
        "access-control-max-age": "7200",
    }


def test_what_is_no_preflight_of_ours(shared: World) -> None:
    said = ask_first(shared, "/a", {"Origin": "https://evil.test"})
    assert is_problem(said, 405)
    assert not shares(said)
    assert is_problem(ask_first(shared, "/-/health"), 404)
    assert is_problem(shared.ask("OPTIONS", "/a", {"Origin": APP}), 405)


def test_one_before_the_service_is_open(make_world: MakeWorld) -> None:
    world = make_world(SETTINGS, opened=False)
    assert ask_first(world, "/a").status == 204
    said = world.ask("GET", "/a", {"Origin": APP})
    assert is_problem(said, 503)
    assert shares(said)


def test_every_answer_says_it(shared: World) -> None:
    shared.put("a", b"hello")
    origin = {"Origin": APP}
    for method, target, headers, body, status in [
        ("GET", "/a", {}, b"", 302),
        ("HEAD", "/a", {}, b"", 302),
        ("GET", "/nothing", {}, b"", 404),
        ("GET", "//", {}, b"", 400),
        ("PUT", "/b", {"Content-Length": "2", "Expect": "100-continue"}, b"", 307),
        ("PUT", "/a", {"If-None-Match": "*", "Content-Length": "2"}, b"hi", 412),
        ("DELETE", "/nothing", {}, b"", 404),
        ("GET", "/-/api/v1/files/a", {}, b"", 200),
        ("GET", "/-/api/v1/files", {}, b"", 200),
        ("PATCH", "/-/api/v1/files/a", {}, {"copies": 1}, 200),
        ("POST", "/-/api/v1/uploads", {}, {"path": "c"}, 201),
        ("POST", "/-/api/v1/uploads", {}, b"{", 400),
        ("POST", "/-/api/v1/uploads", {}, b"x" * 300_000, 413),
        ("GET", "/-/api/v1/nothing", {}, b"", 404),
        ("DELETE", "/a", {}, b"", 204),
    ]:
        said = shared.ask(method, target, origin | headers, body)
        assert said.status == status, (method, target, said)
        assert shares(said), (method, target)
    shared.store.away = True
    said = shared.ask("GET", "/other", origin)
    assert (said.status, shares(said)) == (503, True)


def test_another_origin_and_none_get_the_answer_and_no_leave(shared: World) -> None:
    shared.put("a", b"hello")
    for headers in ({}, {"Origin": "https://evil.test"}, {"Origin": "null"}):
        said = shared.ask("GET", "/a", headers)
        assert said.status == 302
        assert not shares(said)
    assert shares(shared.ask("GET", "/a", {"Origin": "http://localhost:8000"}), "http://localhost:8000")


def test_any_origin(make_world: MakeWorld) -> None:
    world = make_world('[http]\norigins = ["*"]\n')
    said = world.ask("GET", "/nothing", {"Origin": "null"})
    assert said.headers["access-control-allow-origin"] == "*"
    assert "vary" not in said.headers
    assert ask_first(world, "/a", {"Origin": "https://any.test"}).status == 204


def test_nothing_is_said_unless_it_is_configured(world: World) -> None:
    for said in (world.ask("GET", "/nothing", {"Origin": APP}), ask_first(world, "/a")):
        assert not [name for name in said.headers if name.startswith("access-control-") or name == "vary"]
    assert is_problem(ask_first(world, "/a"), 405)


def test_never_on_the_admin_listener(make_world: MakeWorld) -> None:
    world = make_world('[http]\norigins = ["*"]\n')
    for said in (
        world.ask("GET", "/-/api/v1/status", {"Origin": APP}, admin=True),
        world.ask("GET", "/-/api/v1/files", {"Origin": APP}, admin=True),
        world.ask("GET", "/nothing", {"Origin": APP}, admin=True),
        ask_first(world, "/-/api/v1/files/a", admin=True),
        ask_first(world, "/a", admin=True),
    ):
        assert said.status in (200, 404, 405)
        assert not [name for name in said.headers if name.startswith("access-control-") or name == "vary"]
