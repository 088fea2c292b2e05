"""The ASGI middleware, message by message."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dragonbelly.contrib.asgi import RedirectMiddleware
from dragonbelly.contrib.redirects import Redirects, header_value

BASE = "https://media.example.com"
HEADER = b"x-dragonbelly-redirect"
EMPTY = {b"content-type": b"text/plain; charset=utf-8", b"content-length": b"0"}
TEXT = (b"content-type", b"text/plain")

redirects = Redirects(BASE, prefix="/media/")


def scope(path: str = "/", method: str = "GET", **more: Any) -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "headers": [], **more}


def messages(app: Any, request: dict[str, Any]) -> list[Any]:
    """What is sent in answer to a request without a body; its client departs once it has the whole answer."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"} if complete(sent) else {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        assert not complete(sent), f"after the end: {message}"
        sent.append(message)

    async def run() -> None:
        async with asyncio.timeout(10):
            await app(request, receive, send)

    asyncio.run(run())
    return sent


def complete(sent: list[Any]) -> bool:
    return bool(sent) and sent[-1]["type"] == "http.response.body" and not sent[-1].get("more_body", False)


class Reply:
    def __init__(self, app: Any, request: dict[str, Any]) -> None:
        start, *rest = messages(app, request)
        assert start["type"] == "http.response.start"
        self.status = start["status"]
        assert all(name == name.lower() for name, _ in start["headers"])
        self.headers = dict(start["headers"])
        self.body = b"".join(message.get("body", b"") for message in rest)
        assert rest and not rest[-1].get("more_body", False)


def view(status: int, headers: Any, *chunks: bytes) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body"})

    return app


async def never(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("the application was asked")


# --- the header


def test_a_header_becomes_a_redirect() -> None:
    headers = [
        TEXT,
        (b"set-cookie", b"a=1"),
        (b"X-Dragonbelly-Redirect", b"a/b.pdf"),
        (b"content-length", b"11"),
    ]
    reply = Reply(RedirectMiddleware(view(200, headers, b"secret ", b"body"), redirects), scope())
    assert reply.status == 302
    assert reply.headers == {
        b"set-cookie": b"a=1",
        b"cache-control": b"private, no-store",
        b"location": BASE.encode() + b"/a/b.pdf",
        **EMPTY,
    }
    assert reply.body == b""


def test_the_view_goes_on_and_nobody_hears_of_it() -> None:
    """Whatever it sends, trailers and files included; and it sees that the client has its answer."""
    done = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": [(HEADER, b"a")], "trailers": True}
        await send(start)
        await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        await send({"type": "http.response.zerocopysend", "file": 1, "more_body": True})
        await send({"type": "http.response.body"})
        await send({"type": "http.response.trailers", "headers": []})
        done.append(await receive())

    start, body = messages(RedirectMiddleware(app, redirects), scope())
    assert (start["status"], body["body"]) == (302, b"")
    assert "trailers" not in start
    assert done == [{"type": "http.disconnect"}]


def test_a_stream_without_an_end_lets_others_run() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(HEADER, b"a")]})
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async def run() -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        serving = asyncio.create_task(RedirectMiddleware(app, redirects)(scope(), never, send))  # type: ignore[arg-type]
        for _ in range(100):
            await asyncio.sleep(0)
        assert not serving.done()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        return len(sent)

    assert asyncio.run(run()) == 2


def test_a_client_that_departed_ends_the_view_as_without_us() -> None:
    """The server says so with an OSError (ASGI, since 2.4)."""

    async def send(message: Any) -> None:
        raise ConnectionResetError

    for headers in ([TEXT], [(HEADER, b"a")]):
        with pytest.raises(ConnectionResetError):
            asyncio.run(RedirectMiddleware(view(200, headers, b"x"), redirects)(scope(), never, send))  # type: ignore[arg-type]


def test_a_view_that_fails_after_its_redirect_is_the_servers_affair() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(HEADER, b"a")]})
        raise LookupError("a view failed")

    with pytest.raises(LookupError):
        messages(RedirectMiddleware(app, redirects), scope())


@pytest.mark.parametrize("status", [403, 404, 206, 500])
def test_a_refusal_stays_one_and_the_header_goes(status: int) -> None:
    reply = Reply(RedirectMiddleware(view(status, [TEXT, (HEADER, b"a")], b"no"), redirects), scope())
    assert (reply.status, reply.headers, reply.body) == (status, dict([TEXT]), b"no")


@pytest.mark.parametrize(
    "value", [b"../a", b"", b"a\r\nb: c", b"a\x00", b"\xff", b"B\xfccher", b"//evil.example.com"]
)
def test_a_mistake_in_the_header_is_a_500_and_stays_here(
    value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reply = Reply(RedirectMiddleware(view(200, [TEXT, (HEADER, value)], b"secret"), redirects), scope())
    assert reply.status == 500
    assert not {HEADER, b"location"} & set(reply.headers)
    assert reply.body.startswith(b"The application made a mistake")
    assert "x-dragonbelly-redirect" in caplog.text


def test_a_header_in_utf8_is_read_as_such() -> None:
    for value in ("Łódź".encode(), header_value("Łódź").encode("latin-1")):
        reply = Reply(RedirectMiddleware(view(200, [(HEADER, value)]), redirects), scope())
        assert reply.headers[b"location"] == f"{BASE}/%C5%81%C3%B3d%C5%BA".encode()


# --- what is none of our business


def test_a_response_without_the_header_is_sent_as_it_comes() -> None:
    """Each message, when it comes: the headers with the first, the last one's end."""
    plain = view(200, [(b"X-Odd", b"\xff"), TEXT], b"one", b"two")
    early = {"type": "http.response.early_hint", "links": []}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(early)
        await plain(scope, receive, send)

    assert messages(RedirectMiddleware(app, redirects), scope()) == messages(app, scope())


def test_headers_may_be_any_iterable_or_missing() -> None:
    pairs = [TEXT, (HEADER, b"a")]
    assert Reply(RedirectMiddleware(view(200, iter(pairs)), redirects), scope()).status == 302
    assert Reply(RedirectMiddleware(view(403, iter(pairs)), redirects), scope()).headers == dict([TEXT])

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    assert Reply(RedirectMiddleware(bare, redirects), scope()).status == 200


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
def test_only_http_is_looked_at(kind: str) -> None:
    request = {"type": kind, "path": "/media/a"}
    seen: list[Any] = []

    async def app(*arguments: Any) -> None:
        seen.extend(arguments)

    async def receive() -> Any: ...

    async def send(message: Any) -> None: ...

    asyncio.run(RedirectMiddleware(app, redirects)(request, receive, send))
    assert seen == [request, receive, send]
    assert seen[0] is request


# --- the prefix


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("raw", [None, b"/media/caf%C3%A9/a%20b.jpg"])
def test_a_request_under_the_prefix_never_reaches_the_application(method: str, raw: bytes | None) -> None:
    request = scope("/media/café/a b.jpg", method, raw_path=raw, query_string=b"x=1")
    reply = Reply(RedirectMiddleware(never, redirects), request)
    assert reply.status == 302
    assert reply.headers == {b"location": f"{BASE}/caf%C3%A9/a%20b.jpg".encode(), **EMPTY}
    assert reply.body == b""


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/shop/media/a", "/shop/"),
        ("/shop/media/a", "/shop"),
        ("/media/a", "/shop"),
        ("/media/a", ""),
        ("/media/media/a", "/media"),
    ],
)
def test_the_prefix_is_below_where_the_application_is_mounted(path: str, root: str) -> None:
    request = scope(path, root_path=root, raw_path=path.encode())
    assert Reply(RedirectMiddleware(never, redirects), request).headers[b"location"] == f"{BASE}/a".encode()


def test_the_place_where_it_is_mounted_is_no_prefix() -> None:
    app = RedirectMiddleware(view(204, []), redirects)
    assert Reply(app, scope("/media/a", root_path="/media")).status == 204
    assert Reply(app, scope("/shopmedia/a", root_path="/shop")).status == 204


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        ("/media/", b"/media/"),
        ("/media/../a", b"/media/%2e%2e/a"),
        ("/media/\ufffd", b"/media/%ff"),
        ("/media/a/b", b"/media/a%2Fb"),
        ("/media/\udcff", None),
        ("/media/a\nb", None),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_no_file_is_not_found(path: str, raw: bytes | None, method: str) -> None:
    reply = Reply(RedirectMiddleware(never, redirects, never), scope(path, method, raw_path=raw))  # type: ignore[arg-type]
    assert reply.status == 404
    assert b"location" not in reply.headers
    assert bool(reply.body) == (method == "GET")


def test_files_are_only_read() -> None:
    reply = Reply(RedirectMiddleware(never, redirects), scope("/media/a", "POST"))
    assert (reply.status, reply.headers[b"allow"]) == (405, b"GET, HEAD")


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_permission_is_asked_for_the_very_name(kind: str) -> None:
    asked = []

    def allow(scope: Any, name: str) -> bool:
        asked.append((scope["user"], name))
        return name.startswith("mine/")

    async def waiting(scope: Any, name: str) -> bool:
        await asyncio.sleep(0)
        return allow(scope, name)

    app = RedirectMiddleware(never, redirects, allow if kind == "plain" else waiting)
    reply = Reply(app, scope("/media/mine/é", user="ann"))
    assert (reply.status, reply.headers[b"location"]) == (302, f"{BASE}/mine/%C3%A9".encode())
    assert reply.headers[b"cache-control"] == b"private, no-store"
    reply = Reply(app, scope("/media/yours/a", user="ann"))
    assert reply.status == 403
    assert b"location" not in reply.headers
    assert asked == [("ann", "mine/é"), ("ann", "yours/a")]


def test_a_permission_may_answer_itself_or_lead_to_another_file() -> None:
    async def allow(scope: Any, name: str) -> Any:
        return view(303, [(b"location", b"/login")]) if name == "a" else view(200, [(HEADER, b"preview")])

    app = RedirectMiddleware(never, redirects, allow)
    assert Reply(app, scope("/media/a")).headers == {b"location": b"/login"}
    reply = Reply(app, scope("/media/b"))
    assert (reply.status, reply.headers[b"location"]) == (302, f"{BASE}/preview".encode())


@pytest.mark.parametrize("verdict", [None, 1, "yes", ()])
def test_anything_else_of_a_permission_is_an_error_and_no_yes(verdict: Any) -> None:
    with pytest.raises(TypeError, match="allow: expected True, False or an ASGI application"):
        messages(RedirectMiddleware(never, redirects, lambda scope, name: verdict), scope("/media/a"))


def test_an_error_of_a_permission_comes_through() -> None:
    async def allow(scope: Any, name: str) -> bool:
        raise LookupError("no database")

    with pytest.raises(LookupError, match="no database"):
        messages(RedirectMiddleware(never, redirects, allow), scope("/media/a"))
