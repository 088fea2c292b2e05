"""The WSGI middleware, with the standard library's validator on both sides of it."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.handlers import SimpleHandler
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest

from dragonbelly.contrib.redirects import Redirects, header_value
from dragonbelly.contrib.wsgi import RedirectMiddleware

BASE = "https://media.example.com"
HEADER = "X-Dragonbelly-Redirect"
TEXT = [("Content-Type", "text/plain")]
REDIRECT = [("Content-Type", "application/pdf"), ("Set-Cookie", "a=1"), (HEADER, "a/b.pdf")]

redirects = Redirects(BASE, prefix="/media/")


class Reply:
    """What a server sends, as text."""

    def __init__(self, sent: bytes, errors: str) -> None:
        head, _, self.body = sent.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        self.status = int(line.split()[1])
        self.headers = [(name.lower(), value) for name, value in (field.split(": ", 1) for field in fields)]
        self.errors = errors

    def __getitem__(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name.lower()), None)


def environment(path: str, method: str, **more: str) -> dict[str, Any]:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
    }
    environ |= more
    setup_testing_defaults(environ)
    return environ


def serve(app: Any, path: str = "/", method: str = "GET", **more: str) -> Reply:
    """One request by the standard library's handler, which keeps PEP 3333 to the letter."""
    out, errors = io.BytesIO(), io.StringIO()
    handler = SimpleHandler(io.BytesIO(), out, errors, environment(path, method, **more))
    handler.run(app)
    return Reply(out.getvalue(), errors.getvalue())


def wrapped(app: Any, allow: Any = None, rules: Redirects = redirects) -> Any:
    return validator(RedirectMiddleware(validator(app), rules, allow))


class Body:
    """The iterable of an application: how often it was closed, how far it was read."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks = iter(chunks)
        self.read = self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.read += 1
        return next(self.chunks)

    def close(self) -> None:
        self.closed += 1


def answering(status: str, headers: list[tuple[str, str]], body: Iterable[bytes] = ()) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        start_response(status, list(headers))
        return body

    return app


# --- the header


def test_a_header_becomes_a_redirect() -> None:
    body = Body([b"secret ", b"body"])
    reply = serve(wrapped(answering("200 OK", [*REDIRECT, ("Content-Length", "11")], body)))
    assert reply.status == 302
    assert reply["Location"] == f"{BASE}/a/b.pdf"
    assert reply["Set-Cookie"] == "a=1"
    assert reply["Content-Length"] == "0"
    assert reply["Content-Type"] == "text/plain; charset=utf-8"
    assert reply[HEADER] is None
    assert reply.body == b""
    assert (body.read, body.closed) == (0, 1)
    assert reply.errors == ""


def test_a_view_that_starts_with_its_first_chunk_is_heard() -> None:
    ended = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        try:
            start_response("200 OK", list(REDIRECT))
            yield b"secret"
            yield b"never asked for"
        finally:
            ended.append(True)

    # Not the validator inside: it wants to hear of the start before it asks for a chunk.
    reply = serve(validator(RedirectMiddleware(app, redirects)))
    assert (reply.status, reply["Location"], reply.body) == (302, f"{BASE}/a/b.pdf", b"")
    assert ended == [True]


def test_a_view_that_starts_late_and_says_nothing_of_a_redirect_is_left_alone() -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(TEXT))
        yield b"one "
        yield b"two"

    reply = serve(validator(RedirectMiddleware(app, redirects)))
    assert (reply.status, reply.body) == (200, b"one two")


def test_what_a_view_writes_is_dropped() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", list(REDIRECT))
        write(b"secret")
        return [b" body"]

    reply = serve(wrapped(app))
    assert (reply.status, reply.body) == (302, b"")


def test_what_a_view_writes_without_the_header_goes_out() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", list(TEXT))(b"written ")
        return [b"returned"]

    assert serve(wrapped(app)).body == b"written returned"


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "206 Partial Content", "500 Oops"])
def test_a_refusal_stays_one_and_the_header_goes(status: str) -> None:
    body = Body([b"no"])
    reply = serve(wrapped(answering(status, REDIRECT, body)))
    assert reply.status == int(status[:3])
    assert reply[HEADER] is reply["Location"] is None
    assert reply["Content-Type"] == "application/pdf"
    assert reply.body == b"no"
    assert body.closed == 1


@pytest.mark.parametrize("value", ["../etc/passwd", "a//b", "", "B\xfccher", "https://evil.example.com/"])
def test_a_mistake_in_the_header_is_a_500_and_stays_here(value: str, caplog: pytest.LogCaptureFixture) -> None:
    body = Body([b"secret"])
    reply = serve(wrapped(answering("200 OK", [*TEXT, (HEADER, value)], body)))
    assert reply.status == 500
    assert reply[HEADER] is reply["Location"] is None
    assert reply.body.startswith(b"The application made a mistake")
    assert reply["Content-Length"] == str(len(reply.body))
    assert (body.read, body.closed) == (0, 1)
    assert "x-dragonbelly-redirect" in caplog.text


def test_a_header_in_utf8_is_read_as_such() -> None:
    header = (HEADER, header_value("Łódź/é.pdf"))
    reply = serve(wrapped(answering("200 OK", [*TEXT, header])))
    assert reply["Location"] == f"{BASE}/%C5%81%C3%B3d%C5%BA/%C3%A9.pdf"


def test_a_form_leads_to_the_file_with_a_get() -> None:
    assert serve(wrapped(answering("200 OK", REDIRECT)), method="POST", CONTENT_LENGTH="0").status == 303


# --- other responses


def test_a_response_without_the_header_is_handed_over_as_it_is() -> None:
    body = FileWrapper(io.BytesIO(b"x" * 10))
    headers = list(TEXT)
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        assert start_response("200 OK", headers) == "write"
        return body

    def start_response(*arguments: Any) -> Any:
        seen.append(arguments)
        return "write"

    # The very object: a server may send the file in its own way.
    assert RedirectMiddleware(app, redirects)(environment("/", "GET"), start_response) is body
    assert seen == [("200 OK", TEXT)]


def test_a_view_that_fails_is_the_servers_affair() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", list(REDIRECT))
        raise LookupError("a view failed")

    reply = serve(wrapped(app))
    assert reply.status == 500
    assert reply["Location"] is None
    assert "a view failed" in reply.errors


@pytest.mark.parametrize("after", [0, 1])
def test_a_body_that_fails_is_closed_once(after: int) -> None:
    def chunks() -> Iterator[bytes]:
        yield from [b"one"] * after
        raise LookupError("a body failed")

    body = Body(chunks())
    reply = serve(wrapped(answering("200 OK", TEXT, body)))
    assert "a body failed" in reply.errors
    assert body.closed == 1


def failing_late(first: list[tuple[str, str]], status: str, second: list[tuple[str, str]]) -> Any:
    """It starts a response, then fails and starts another, as frameworks do."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", list(first))
        try:
            raise LookupError("a view failed")
        except LookupError:
            start_response(status, list(second), sys.exc_info())
        return [b"body"]

    return app


def test_an_error_after_a_redirect_replaces_it() -> None:
    reply = serve(wrapped(failing_late(REDIRECT, "500 Oops", TEXT)))
    assert (reply.status, reply.body, reply["Location"]) == (500, b"body", None)


def test_a_redirect_after_an_error_replaces_what_was_begun() -> None:
    reply = serve(wrapped(failing_late(TEXT, "200 OK", REDIRECT)))
    assert (reply.status, reply.body, reply["Location"]) == (302, b"", f"{BASE}/a/b.pdf")


def test_an_error_after_the_first_chunk_ends_the_response() -> None:
    """``exc_info`` comes through: the server sees that it is too late, and raises it."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(TEXT))
        yield b"one "
        try:
            raise LookupError("a view failed")
        except LookupError:
            start_response("500 Oops", list(TEXT), sys.exc_info())
        yield b"never sent"

    reply = serve(validator(RedirectMiddleware(app, redirects)))
    assert reply.body == b"one "
    assert "LookupError: a view failed" in reply.errors


def test_a_redirect_comes_too_late_once_the_body_was_handed_over() -> None:
    def app(environ: Any, start_response: Any) -> Body:
        start_response("200 OK", list(TEXT))

        def chunks() -> Iterator[bytes]:
            try:
                raise LookupError("a view failed")
            except LookupError:
                start_response("200 OK", list(REDIRECT), sys.exc_info())
            yield b"secret"

        return Body(chunks())

    reply = serve(validator(RedirectMiddleware(app, redirects)))
    assert reply[HEADER] is None
    assert b"secret" not in reply.body
    assert "LookupError: a view failed" in reply.errors


# --- the prefix


def never(environ: Any, start_response: Any) -> Any:
    raise AssertionError("the application was asked")


def test_a_request_under_the_prefix_never_reaches_the_application() -> None:
    for method in ("GET", "HEAD"):
        reply = serve(wrapped(never), "/media/caf\xc3\xa9/a b.jpg", method, QUERY_STRING="x=1")
        assert reply.status == 302
        assert reply["Location"] == f"{BASE}/caf%C3%A9/a%20b.jpg"
        assert reply["Cache-Control"] is None
        assert reply.body == b""


def test_the_prefix_is_below_where_the_application_is_mounted() -> None:
    assert serve(wrapped(never), "/media/a", SCRIPT_NAME="/shop")["Location"] == f"{BASE}/a"
    assert serve(wrapped(answering("200 OK", TEXT)), "/a", SCRIPT_NAME="/media").status == 200


@pytest.mark.parametrize(
    "path", ["/media/", "/media/../a", "/media/\xff", "/media/a\r\nb", "/media/" + "a" * 10_000]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_no_file_is_not_found(path: str, method: str) -> None:
    reply = serve(wrapped(never, allow=never), path, method)
    assert reply.status == 404
    assert reply["Location"] is None
    assert bool(reply.body) == (method == "GET")


def test_files_are_only_read() -> None:
    reply = serve(wrapped(never, allow=never), "/media/a", "DELETE")
    assert (reply.status, reply["Allow"]) == (405, "GET, HEAD")


def test_a_permission_is_asked_for_the_very_name() -> None:
    asked = []

    def allow(environ: Any, name: str) -> bool:
        asked.append((environ["REMOTE_USER"], name))
        return name.startswith("mine/")

    app = wrapped(never, allow)
    reply = serve(app, "/media/mine/\xc3\xa9", REMOTE_USER="ann")
    assert (reply.status, reply["Location"]) == (302, f"{BASE}/mine/%C3%A9")
    assert reply["Cache-Control"] == "private, no-store"
    reply = serve(app, "/media/yours/a", REMOTE_USER="ann")
    assert (reply.status, reply["Location"]) == (403, None)
    assert asked == [("ann", "mine/é"), ("ann", "yours/a")]


def test_a_permission_may_answer_itself() -> None:
    login = answering("303 See Other", [*TEXT, ("Location", "/login"), ("Content-Length", "0")])
    reply = serve(wrapped(never, lambda environ, name: login), "/media/a")
    assert (reply.status, reply["Location"]) == (303, "/login")


def test_a_permission_may_lead_to_another_file() -> None:
    reply = serve(wrapped(never, lambda environ, name: answering("200 OK", REDIRECT)), "/media/a")
    assert (reply.status, reply["Location"], reply[HEADER]) == (302, f"{BASE}/a/b.pdf", None)


@pytest.mark.parametrize("verdict", [None, 1, "yes", (), object()])
def test_anything_else_of_a_permission_is_an_error_and_no_yes(verdict: object) -> None:
    reply = serve(RedirectMiddleware(never, redirects, lambda environ, name: verdict), "/media/a")  # type: ignore[arg-type,return-value]
    assert (reply.status, reply["Location"]) == (500, None)
    assert "TypeError: allow: expected True, False or a WSGI application" in reply.errors


def test_an_error_of_a_permission_comes_through() -> None:
    def allow(environ: Any, name: str) -> bool:
        raise LookupError("no database")

    with pytest.raises(LookupError, match="no database"):
        RedirectMiddleware(never, redirects, allow)(environment("/media/a", "GET"), lambda *_: print)


def test_a_view_that_answers_twice_is_told() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", list(TEXT))
        return Late(start_response)  # type: ignore[return-value]

    class Late(list[bytes]):
        def __init__(self, start_response: Any) -> None:
            self.start_response = start_response

        def __iter__(self) -> Any:
            self.start_response("200 OK", list(REDIRECT))
            yield b""

    with pytest.raises(RuntimeError, match="called twice"):
        list(RedirectMiddleware(app, redirects)(environment("/", "GET"), lambda *arguments: None))
