"""The rules of redirects to files: what becomes a Location, and what never does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dragonbelly.contrib.redirects import Answer, BadRedirect, Redirects, header_value
from dragonbelly.errors import BadPath, ConfigError
from dragonbelly.web.paths import parse_name

BASE = "https://media.example.com"
EMPTY = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "0")]
ULID = "01J9ZQ4Y7H8V5N3K2M1R0TXWCE"

redirects = Redirects(BASE, prefix="/media/")


def request(raw: bytes, method: str = "GET", rules: Redirects = redirects) -> str | Answer | None:
    """As a server hands it on that replaces what is not UTF-8 and tells the raw path."""
    return rules.for_request(method, unquote_to_bytes(raw).decode(errors="replace"), raw)


def wsgi(raw: bytes, method: str = "GET", rules: Redirects = redirects) -> str | Answer | None:
    """As a WSGI server does: the decoded path is all there is."""
    return rules.for_request(method, unquote_to_bytes(raw).decode(errors="surrogateescape"))


def status(found: str | Answer | None) -> int | None:
    return found.status if isinstance(found, Answer) else None


def header(answer: Answer, name: str) -> list[str]:
    return [value for key, value in answer.headers if key.lower() == name.lower()]


# --- where the files are


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://media.example.com", "https://media.example.com/a"),
        ("https://media.example.com/", "https://media.example.com/a"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/a"),
        ("http://[::1]:8080", "http://[::1]:8080/a"),
        ("http://example.com/files", "http://example.com/files/a"),
        (
            "http://example.com/some/%C3%A9 files/".replace(" ", "%20"),
            "http://example.com/some/%C3%A9%20files/a",
        ),
    ],
)
def test_the_url_is_where_locations_begin(url: str, location: str) -> None:
    assert Redirects(url).location("a") == location


@pytest.mark.parametrize(
    "url",
    [
        "",
        "media.example.com",
        "//media.example.com",
        "ftp://media.example.com",
        "https://",
        "https:///media",
        "https://media.example.com?x=1",
        "https://media.example.com/?",
        "https://media.example.com/#top",
        "https://media.example.com:port",
        "https://media.example.com:99999",
        "https://media.example.com/a b",
        "https://média.example.com",
        "https://media.example.com/a\r\nSet-Cookie: x=1",
        "https://media.example.com/\n",
        "https://media.example.com\n",
        "https://media.example.com/..",
        "https://media.example.com/%2e%2e/x",
        "https://media.example.com/a//b",
        "https://media.example.com//",
        "https://media.example.com/a%2Fb",
        "https://media.example.com/%",
        "https://media.example.com/-/api",
        "https://media.example.com\\evil.example.com",
        b"https://media.example.com",
        None,
    ],
)
def test_a_wrong_url_is_named(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^url: expected .* found ") as caught:
        Redirects(url)
    assert repr(url) in str(caught.value)


@pytest.mark.parametrize(
    "host", ["ann:geheim@media.example.com", "geheim@media.example.com?x", "geheim@", "a\\geheim@b"]
)
def test_a_password_is_not_taken_and_not_shown(host: str) -> None:
    with pytest.raises(ConfigError, match=r"^url: it has a user or a password") as caught:
        Redirects(f"https://{host}")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "prefix",
    ["", "/", "//", "media/", "/media", "media", "/a//b/", "/../", "/a\n/", "/m%C3%A9dia/", "/a\\b/", 1],
)
def test_a_wrong_prefix_is_named(prefix: str) -> None:
    with pytest.raises(ConfigError, match=r"^prefix: expected .* found ") as caught:
        Redirects(BASE, prefix=prefix)
    assert repr(prefix) in str(caught.value)


@pytest.mark.parametrize("name", ["", "X Redirect", "X-Redirect:", "X\r\n", "É"])
def test_a_wrong_header_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^header: expected "):
        Redirects(BASE, header=name)


@pytest.mark.parametrize("code", [200, 301, 303, 308, "302"])
def test_redirects_that_are_kept_are_not_taken(code: int) -> None:
    with pytest.raises(ConfigError, match=r"^status: expected 302 or 307"):
        Redirects(BASE, status=code)


# --- requests under the prefix


@pytest.mark.parametrize(
    ("raw", "location"),
    [
        (b"/media/a.jpg", "a.jpg"),
        (b"/media/a/b/c.jpg", "a/b/c.jpg"),
        (b"/media/%C3%A9.jpg", "%C3%A9.jpg"),
        (b"/media/%c3%a9.jpg", "%C3%A9.jpg"),
        (b"/media/a%20b+c.jpg", "a%20b%2Bc.jpg"),
        (b"/media/%61", "a"),
        (b"/%6Dedia/a", "a"),
        (b"/media/100%25", "100%25"),
        (b"/media/%252e%252e/x", "%252e%252e/x"),
        (b"/media/a%3Fb%23c", "a%3Fb%23c"),
        (b"/media/a;b=c&d", "a%3Bb%3Dc%26d"),
        (b"/media/http:%C3%A9", "http%3A%C3%A9"),
        (b"/media/media/a", "media/a"),
        (b"/media/...", "..."),
        (b"/media/a/-/b", "a/-/b"),
    ],
)
def test_a_request_under_the_prefix_is_for_a_file(raw: bytes, location: str) -> None:
    for found in (request(raw), wsgi(raw), request(raw, "HEAD")):
        assert isinstance(found, str)
        answer = redirects.redirect("GET", found, guarded=False)
        assert answer == (302, [("Location", f"{BASE}/{location}"), *EMPTY], b"")


@pytest.mark.parametrize(
    "raw", [b"/", b"/media", b"/mediax/a", b"/MEDIA/a", b"//media/a", b"/x/media/a", b"/x"]
)
def test_other_requests_are_the_applications(raw: bytes) -> None:
    assert request(raw) is None
    assert wsgi(raw, "POST") is None


def test_without_a_prefix_all_requests_are_the_applications() -> None:
    assert request(b"/media/a", rules=Redirects(BASE)) is None


#: What no file is called, in the encodings that servers decode.
REFUSED = [
    b"/media/",
    b"/media/.",
    b"/media/..",
    b"/media/../etc/passwd",
    b"/media/a/../../b",
    b"/media/%2e%2e/a",
    b"/media/.%2E/a",
    b"/media/%2e",
    b"/media/a/%2e%2e",
    b"/media//a",
    b"/media/a//b",
    b"/media/a/",
    b"/media//evil.example.com/x",
    b"/media/%5c%5cevil.example.com",
    b"/media/a\\..\\b",
    b"/media/a%0d%0aSet-Cookie:%20x=1",
    b"/media/a%0A",
    b"/media/a%00.jpg",
    b"/media/a%7f",
    b"/media/a%c2%85b",
    b"/media/%ff",
    b"/media/%c0%ae%c0%ae/a",
    b"/media/%e0%80%af",
    b"/media/%ed%a0%80",
    b"/media/%f5%80%80%80",
    b"/media/%c3",
    b"/media/-/api/v1/backends",
    b"/media/%2d/api/v1/backends",
    b"/media/@" + ULID.encode() + b"/a",
    b"/media/" + b"a" * 256,
    b"/media/" + b"a/" * 512 + b"a",
    b"/media/" + b"%C3%A9/" * 400 + b"a",
    b"/media/" + b"a" * 100_000,
    b"/media/" + b"%61" * 100_000,
]


@pytest.mark.parametrize("raw", REFUSED)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("server", [request, wsgi])
def test_what_is_no_name_of_a_file_is_not_found(
    raw: bytes, method: str, server: Callable[[bytes, str], str | Answer | None]
) -> None:
    answer = server(raw, method)
    assert isinstance(answer, Answer)
    assert answer.status == 404
    assert not header(answer, "Location")
    assert bool(answer.body) == (method != "HEAD")


@pytest.mark.parametrize(
    "raw", [b"/media/a%2fb", b"/media/a%2Fb", b"/media%2fa", b"/media/..%2fa", b"/media/100%", b"/media/%zz"]
)
def test_what_the_server_decodes_too_kindly_is_not_found(raw: bytes) -> None:
    assert status(request(raw)) == 404


def test_a_raw_path_that_tells_something_else_is_not_believed() -> None:
    assert status(redirects.for_request("GET", "/media/a", b"/media/b")) == 404
    assert redirects.for_request("GET", "/media/a", b"/below/media/a?x=1") == "a"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get"])
def test_files_are_only_read(method: str) -> None:
    answer = request(b"/media/a", method)
    assert isinstance(answer, Answer)
    assert answer.status == 405
    assert header(answer, "Allow") == ["GET, HEAD"]


def test_a_guarded_redirect_is_nobody_elses() -> None:
    assert header(redirects.redirect("GET", "a", guarded=True), "Cache-Control") == ["private, no-store"]
    assert redirects.forbidden("GET").status == 403
    assert header(redirects.forbidden("GET"), "Cache-Control") == ["no-store"]
    assert redirects.forbidden("HEAD").body == b""


@given(st.binary(max_size=60))
@example(b"..%2f")
@example(b"%0d%0aX:y")
def test_any_request_is_a_file_of_ours_or_refused(raw: bytes) -> None:
    for found in (request(b"/media/" + raw), wsgi(b"/media/" + raw)):
        assert found is not None
        if isinstance(found, Answer):
            assert found.status == 404
            continue
        [location] = header(redirects.redirect("GET", found, guarded=True), "Location")
        assert location.startswith(BASE + "/")
        assert location.isascii()
        assert not set(location) & set(" \\\r\n\x00?#")
        # Dragonbelly reads the very name that a permission was asked for.
        assert parse_name(location.removeprefix(BASE).encode()) == found


# --- the header


def view(value: str, code: int = 200, method: str = "GET", rules: Redirects = redirects) -> Answer | None:
    return rules.for_response(method, code, [("X-Dragonbelly-Redirect", value)])


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("a.jpg", "a.jpg"),
        ("/a.jpg", "a.jpg"),
        ("a b/c+d?e#f.jpg", "a%20b/c%2Bd%3Fe%23f.jpg"),
        ("100%.jpg", "100%25.jpg"),
        ("a%2fb", "a%252fb"),
        ("%2e%2e/x", "%252e%252e/x"),
        ("Bücher/Łódź/本.pdf", "B%C3%BCcher/%C5%81%C3%B3d%C5%BA/%E6%9C%AC.pdf"),
        ("\U0001f409", "%F0%9F%90%89"),
        ("Ã¼", "%C3%83%C2%BC"),
    ],
)
def test_a_header_becomes_a_redirect(path: str, location: str) -> None:
    answer = view(header_value(path))
    assert answer is not None
    assert (answer.status, answer.body) == (302, b"")
    assert header(answer, "Location") == [f"{BASE}/{location}"]
    assert header(answer, "X-Dragonbelly-Redirect") == []


@given(st.text(max_size=40))
def test_any_path_goes_through_a_header_unchanged_or_is_refused(path: str) -> None:
    try:
        value = header_value(path)
    except BadPath:
        return
    assert redirects.name_in(value) == path.removeprefix("/")


#: Paths that are none, as an application may write them.
MISTAKES = [
    "",
    "/",
    "//a",
    "//evil.example.com/a",
    "https://evil.example.com/a",
    "a/",
    "a//b",
    "..",
    "../a",
    "/../a",
    "a/../b",
    "./a",
    "a\\b",
    "a\r\nSet-Cookie: x=1",
    "a\n",
    "a\x00",
    "a\x7f",
    "-/api/v1/files/a",
    f"@{ULID}/a",
    "a" * 256,
    "a/" * 600 + "a",
    "a" * 1_000_000,
    "B\xfccher",  # latin-1
    "Łódź",  # no bytes at all
    "\xc0\xae\xc0\xae/a",
    "\xed\xa0\x80",
    "=?utf-8?b?xYHDs2TFug==?=",  # what Django makes of such a str
    "=?utf-8?q?a?=",
]


@pytest.mark.parametrize("value", MISTAKES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_header_that_is_no_path_is_a_mistake_of_the_application(
    value: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = view(value, method=method)
    assert answer is not None
    assert answer.status == 500
    assert {name for name, _ in answer.headers} == {"Content-Type", "Content-Length", "Cache-Control"}
    assert bool(answer.body) == (method == "GET")
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.name == "dragonbelly.contrib.redirects"
    assert record.getMessage().startswith("x-dragonbelly-redirect: ")
    assert len(record.getMessage()) < 1000
    assert record.getMessage().isprintable()


def test_what_a_mistake_says_helps() -> None:
    with pytest.raises(BadRedirect, match=r"header_value\(path\)"):
        redirects.name_in("B\xfccher")
    with pytest.raises(BadRedirect, match=r"found 'a/\.\./b': the path has a \. or \.\. segment"):
        redirects.name_in("a/../b")


def test_two_headers_are_a_mistake(caplog: pytest.LogCaptureFixture) -> None:
    answer = redirects.for_response(
        "GET", 200, [("x-dragonbelly-redirect", "a"), ("X-Dragonbelly-Redirect", "b")]
    )
    assert status(answer) == 500
    assert "2 headers" in caplog.text


@pytest.mark.parametrize("code", [201, 204, 206, 301, 302, 304, 400, 401, 403, 404, 500])
def test_only_a_200_becomes_a_redirect(code: int) -> None:
    assert view("a", code) is None
    assert view("../a", code) is None
    headers = [("Content-Type", "text/plain"), ("x-DragonBelly-redirect", "a"), ("Set-Cookie", "a=1")]
    assert redirects.kept(headers) == [("Content-Type", "text/plain"), ("Set-Cookie", "a=1")]


def test_what_described_the_body_goes_and_the_rest_stays() -> None:
    stays = [
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("X-Frame-Options", "DENY"),
        ("vary", "Cookie"),
        ("Content-Typed", "x"),
    ]
    goes = {
        "Content-Type": "text/html",
        "content-length": "5",
        "CONTENT-ENCODING": "gzip",
        "Content-Range": "bytes 0-4/5",
        "Content-Disposition": "attachment",
        "ETag": '"x"',
        "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT",
        "Accept-Ranges": "bytes",
        "Transfer-Encoding": "chunked",
        "Location": "https://evil.example.com/",
        "X-Dragonbelly-Redirect": "a",
    }
    answer = redirects.for_response("GET", 200, [*stays, *goes.items()])
    assert answer is not None
    assert answer.headers == [
        *stays,
        ("Cache-Control", "private, no-store"),
        ("Location", f"{BASE}/a"),
        *EMPTY,
    ]


def test_a_policy_of_content_is_not_of_the_body() -> None:
    policy = ("Content-Security-Policy", "default-src 'none'")
    answer = redirects.for_response("GET", 200, [policy, ("X-Dragonbelly-Redirect", "a")])
    assert answer is not None
    assert policy in answer.headers


def test_a_view_may_say_how_long_its_redirect_is_kept() -> None:
    answer = redirects.for_response(
        "GET", 200, [("cache-control", "max-age=9"), ("X-Dragonbelly-Redirect", "a")]
    )
    assert answer is not None
    assert header(answer, "Cache-Control") == ["max-age=9"]


@pytest.mark.parametrize(
    ("method", "code"), [("GET", 307), ("HEAD", 307), ("POST", 303), ("PUT", 303), ("DELETE", 303)]
)
def test_a_form_is_not_posted_to_the_file(method: str, code: int) -> None:
    assert status(view("a", method=method, rules=Redirects(BASE, status=307))) == code


def test_the_header_may_have_another_name() -> None:
    rules = Redirects(BASE, header="X-Accel")
    assert status(rules.for_response("GET", 200, [("x-accel", "a")])) == 302
    assert view("a", rules=rules) is None


# --- another place, or a signature


def test_every_location_comes_from_locate() -> None:
    rules = Redirects(BASE, locate=lambda name: f"https://other.example.com/?signature={name.encode().hex()}")
    for name, answer in {
        "é": rules.redirect("GET", "é", guarded=False),
        "b/é": view(header_value("/b/é"), rules=rules),
    }.items():
        assert answer is not None
        assert header(answer, "Location") == [f"https://other.example.com/?signature={name.encode().hex()}"]
        assert header(answer, "Cache-Control") == ["private, no-store"]


@pytest.mark.parametrize(
    "url",
    ["", "/a", "//a", "ftp://a/b", "javascript:alert(1)", "http://a/b\r\nX: y", "http://a/é", "http://", None],
)
def test_what_locate_gives_must_be_a_url(url: str, caplog: pytest.LogCaptureFixture) -> None:
    rules = Redirects(BASE, locate=lambda name: url)
    assert status(rules.redirect("GET", "a", guarded=False)) == 500
    assert status(view("a", rules=rules)) == 500
    assert caplog.text.count("locate: expected an http or https URL") == 2


def test_an_error_of_locate_is_the_applications() -> None:
    def locate(name: str) -> str:
        raise KeyError(name)

    with pytest.raises(KeyError):
        view("a", rules=Redirects(BASE, locate=locate))
