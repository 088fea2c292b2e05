"""Pages of other origins, on the nginx of our sample and through a whole site: the headers as they come."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from dragonbelly.backends.secure_link import signed
from tests.integration.asking import Reply, ask
from tests.integration.site import Site
from tests.servers.nginx import NginxServer

pytestmark = pytest.mark.servers

APP = "https://app.example.com"
KEY = "d/@01ARZ3NDEKTSV4RRFFQ69G5FAV/k.txt"
EXPOSED = "ETag, Content-Length, Content-Range, Accept-Ranges"
DAEMON_EXPOSED = "ETag, Location, Dragonbelly-Upload, Repr-Digest, Link, Retry-After"


def shared(answer: Reply) -> dict[str, str]:
    """What an answer says to browsers; nothing of it twice."""
    said = [
        (name.lower(), value)
        for name, value in answer.headers.items()
        if name.lower().startswith("access-control-") or name.lower() == "vary"
    ]
    assert len(dict(said)) == len(said), said
    return dict(said)


def leave(origin: str = APP, exposed: str = EXPOSED) -> dict[str, str]:
    return {
        "access-control-allow-origin": origin,
        "access-control-expose-headers": exposed,
        "vary": "Origin",
    }


PREFLIGHT = {
    **leave(),
    "access-control-allow-methods": "GET, HEAD, PUT",
    "access-control-allow-headers": "content-type, range, if-match, if-none-match, if-modified-since, "
    "if-unmodified-since, if-range",
    "access-control-max-age": "7200",
}


@pytest.fixture(params=[False, True], ids=["open", "private"])
def nginx(request: pytest.FixtureRequest) -> Iterator[NginxServer]:
    # Its own machine is not the daemon's: it is treated as any client.
    with NginxServer(private=request.param, daemon=False, origin=APP) as server:
        yield server


def url(nginx: NginxServer, method: str, key: str = KEY) -> str:
    return f"{nginx.url}/{key}?{signed(nginx.secret, method, f'/{key}', 4_000_000_000)}"


def test_nginx_answers_who_asks_first(nginx: NginxServer) -> None:
    asked = {"Origin": APP, "Access-Control-Request-Method": "PUT"}
    for where in (url(nginx, "PUT"), f"{nginx.url}/{KEY}"):
        answer = ask("OPTIONS", where, None, asked | {"Access-Control-Request-Headers": "content-type"})
        assert (answer.status, answer.body) == (204, b"")
        assert shared(answer) == PREFLIGHT
    for other in (
        asked | {"Origin": "https://evil.test"},
        asked | {"Origin": f"{APP}.evil.test"},
        asked | {"Origin": "null"},
        {"Access-Control-Request-Method": "PUT"},
    ):
        answer = ask("OPTIONS", url(nginx, "OPTIONS"), None, other)
        assert (answer.status, shared(answer)) == (403, {"vary": "Origin"}), answer
    answer = ask("OPTIONS", url(nginx, "OPTIONS"), None, {"Origin": APP})
    assert (answer.status, shared(answer)) == (403, leave())


def test_every_answer_of_nginx_says_it(nginx: NginxServer) -> None:
    origin = {"Origin": APP}
    for method, key, body, headers, status in [
        ("GET", KEY, None, {}, 404),
        ("PUT", KEY, b"hello", {"Content-Type": "text/plain"}, 201),
        ("PUT", KEY, b"other", {}, 409),
        ("GET", KEY, None, {}, 200),
        ("HEAD", KEY, None, {}, 200),
        ("GET", KEY, None, {"Range": "bytes=1-2"}, 206),
        ("GET", KEY, None, {"Range": "bytes=9-"}, 416),
        ("DELETE", KEY, None, {}, 403),
        ("GET", "d/", None, {}, 403),
    ]:
        answer = ask(method, url(nginx, method, key), body, origin | headers)
        assert (answer.status, shared(answer)) == (status, leave()), (method, key, answer)
    stranger = ask("GET", url(nginx, "GET"), None, {"Origin": "https://evil.test"})
    assert (stranger.status, shared(stranger)) == (200, {"vary": "Origin"})
    for method, status in (("PUT", 403), ("GET", 403 if nginx.private else 200)):
        answer = ask(method, f"{nginx.url}/{KEY}", b"unsigned", origin)
        assert (answer.status, shared(answer)) == (status, leave())


def test_nginx_for_any_origin() -> None:
    with NginxServer(origin="*") as nginx:
        for origin in ("null", "https://any.test"):
            asked = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
            answer = ask("OPTIONS", url(nginx, "PUT"), None, asked)
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")
            answer = ask("PUT", url(nginx, "PUT", KEY + origin[:4]), b"x", {"Origin": origin})
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (201, "*")


def test_nginx_as_it_is_shipped_says_nothing() -> None:
    with NginxServer() as nginx:
        asked = {"Origin": APP, "Access-Control-Request-Method": "PUT"}
        answer = ask("OPTIONS", url(nginx, "PUT"), None, asked)
        assert (answer.status, shared(answer)) == (403, {})
        answer = ask("PUT", url(nginx, "PUT"), b"x", {"Origin": APP})
        assert (answer.status, shared(answer)) == (201, {})


def test_a_page_uploads_and_reads() -> None:
    stores = {name: NginxServer(origin=APP) for name in ("one", "two")}
    with Site(stores=stores, http=f'origins = ["{APP}"]') as site:
        api, page = f"{site.daemon.url}/-/api/v1", {"Origin": APP}
        for method, where in (
            ("POST", f"{api}/uploads"),
            ("PATCH", f"{api}/files/a.txt"),
            ("GET", site.url("a")),
        ):
            first = ask("OPTIONS", where, None, page | {"Access-Control-Request-Method": method})
            assert first.status == 204
            assert shared(first) == {
                **leave(exposed=DAEMON_EXPOSED),
                "access-control-allow-methods": "GET, HEAD, PUT, POST, PATCH, DELETE",
                "access-control-allow-headers": "authorization, content-type, if-match, if-none-match, "
                "repr-digest, content-digest, content-md5, dragonbelly-copies, dragonbelly-expires, "
                "dragonbelly-policy",
                "access-control-max-age": "7200",
            }
        begun = ask("POST", f"{api}/uploads", json.dumps({"path": "a.txt", "size": 5}).encode(), page)
        assert (begun.status, shared(begun)) == (201, leave(exposed=DAEMON_EXPOSED))
        upload = json.loads(begun.body)
        target = upload["targets"][0]
        first = ask("OPTIONS", target["url"], None, page | {"Access-Control-Request-Method": target["method"]})
        assert (first.status, shared(first)) == (204, PREFLIGHT)
        stored = ask(target["method"], target["url"], b"hello", page | target["headers"])
        assert (stored.status, shared(stored)) == (201, leave())
        done = ask("POST", f"{api}/uploads/{upload['upload']}/complete", b'{"path": "a.txt"}', page)
        assert (done.status, shared(done)) == (200, leave(exposed=DAEMON_EXPOSED))
        found = ask("GET", site.url("a.txt"), None, page)
        assert (found.status, shared(found)) == (302, leave(exposed=DAEMON_EXPOSED))
        read = ask("GET", found.headers["Location"], None, page)
        assert (read.status, read.body, shared(read)) == (200, b"hello", leave())
        missing = ask("GET", site.url("nothing"), None, page)
        assert (missing.status, shared(missing)) == (404, leave(exposed=DAEMON_EXPOSED))
        for method in ("GET", "OPTIONS"):
            asked = page | {"Access-Control-Request-Method": "GET"}
            answer = ask(method, f"{site.daemon.admin}/-/api/v1/files/a.txt", None, asked)
            assert shared(answer) == {}
