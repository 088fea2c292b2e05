"""Origins, and what pages of other ones are told."""

from __future__ import annotations

import pytest

from dragonbelly.cors import Cors, Sharing, parse_origin

APP, OTHER = "https://app.example.com", "http://localhost:8000"
SHARING = Sharing(("GET", "PUT"), ("content-type", "x-one"), ("ETag", "Link"), prefixes=("x-attr-",))


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        (APP, APP),
        ("https://App.Example.COM", APP),
        ("https://app.example.com:443", APP),
        ("http://app:80", "http://app"),
        ("http://app:443", "http://app:443"),
        (OTHER, OTHER),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("*", "*"),
    ],
)
def test_an_origin(text: str, origin: str) -> None:
    assert parse_origin(text) == origin
    assert parse_origin(origin) == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "app.example.com",
        "https://",
        "https://app.example.com/",
        "https://app.example.com/path",
        "https://app.example.com?x",
        "https://user@app.example.com",
        "https://app.example.com:",
        "https://app.example.com:0",
        "https://app.example.com:65536",
        "https://*.example.com",
        "https://münchen.example",
        "https://app.example.com\n",
        "https://app.example.com, http://b",
        " *",
        "//app",
    ],
)
def test_no_origin(text: str) -> None:
    with pytest.raises(ValueError, match="no path"):
        parse_origin(text)


def test_without_origins_nothing_is_said() -> None:
    cors = Cors((), SHARING)
    assert cors.headers(APP) == cors.headers(None) == ()
    assert cors.preflight("OPTIONS", {"origin": APP, "access-control-request-method": "PUT"}) is None


def test_only_a_known_origin_is_told_back() -> None:
    cors = Cors((APP, OTHER), SHARING)
    for known in (APP, OTHER):
        assert cors.headers(known) == (
            ("Access-Control-Allow-Origin", known),
            ("Access-Control-Expose-Headers", "ETag, Link"),
            ("Vary", "Origin"),
        )
    for unknown in ("https://app.example.com.evil.test", "null", "*", "", APP.upper(), f"{APP}, {APP}", None):
        assert cors.headers(unknown) == (("Vary", "Origin"),)


def test_any_origin() -> None:
    cors = Cors((APP, "*"), SHARING)
    for origin in (APP, "null", None):
        assert cors.headers(origin) == (
            ("Access-Control-Allow-Origin", "*"),
            ("Access-Control-Expose-Headers", "ETag, Link"),
        )


def test_a_preflight() -> None:
    cors = Cors((APP,), SHARING)
    asked = {"origin": APP, "access-control-request-method": "PUT"}
    allowed = (
        ("Access-Control-Allow-Methods", "GET, PUT"),
        ("Access-Control-Allow-Headers", "content-type, x-one"),
        ("Access-Control-Max-Age", "7200"),
    )
    assert cors.preflight("OPTIONS", asked) == allowed
    assert cors.preflight("GET", asked) is None
    assert cors.preflight("OPTIONS", {"origin": APP}) is None
    assert cors.preflight("OPTIONS", asked | {"origin": "https://evil.test"}) is None
    assert cors.preflight("OPTIONS", {"access-control-request-method": "PUT"}) is None


@pytest.mark.parametrize(
    ("asked", "more"),
    [
        ("content-type,x-secret", ""),
        ("X-Attr-Title, x-attr-b", ", x-attr-title, x-attr-b"),
        ("x-attr-a b", ""),
        ("x-attr-a\r\nset-cookie: b", ""),
        ("x-attr-é", ""),
        ("x-attr-" + "a" * 100, ""),
        (",,,", ""),
    ],
)
def test_headers_of_a_family(asked: str, more: str) -> None:
    headers = {
        "origin": APP,
        "access-control-request-method": "PUT",
        "access-control-request-headers": asked,
    }
    allowed = Cors((APP,), SHARING).preflight("OPTIONS", headers)
    assert allowed is not None
    assert dict(allowed)["Access-Control-Allow-Headers"] == "content-type, x-one" + more
