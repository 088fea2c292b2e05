from urllib.parse import quote

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from dragonbelly.errors import BadPath, BadRequest, ClientError
from dragonbelly.node.target import MAX_KEY, MAX_SEGMENT, MAX_TARGET, parse_target

segment = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="/\\\x7f", min_codepoint=0x20),
    min_size=1,
    max_size=60,
).filter(lambda s: s not in (".", ".."))
keys = st.lists(segment, min_size=1, max_size=4).map("/".join)


@given(keys)
def test_every_key_comes_back(key: str) -> None:
    assert parse_target(b"/" + quote(key).encode()) == (key, {})
    assert parse_target(b"/" + quote(key, safe="/").lower().encode() + b"?a=b%20c").query == {"a": "b c"}


@given(st.binary(max_size=80).map(lambda rest: b"/" + rest) | st.binary(max_size=80))
@example(b"/a/%2e%2e/b")
@example(b"/a/.%2e")
@example(b"/%")
def test_whatever_comes_is_a_safe_key_or_refused(raw: bytes) -> None:
    try:
        key = parse_target(raw).key
    except ClientError as error:
        assert error.status == 400
        return
    segments = key.split("/")
    assert not {"", ".", ".."} & set(segments)
    assert not any(c < " " or c in "\x7f\\" for c in key)
    assert len(key.encode()) <= MAX_KEY
    assert all(len(s.encode()) <= MAX_SEGMENT for s in segments)
    assert parse_target(b"/" + quote(key).encode()).key == key


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"*",
        b"a",
        b"/",
        b"//",
        b"//etc/passwd",
        b"/a//b",
        b"/a/",
        b"/./a",
        b"/a/../b",
        b"/a/..",
        b"/..",
        b"/%2e%2e/a",
        b"/%2E./a",
        b"/a%2fb",
        b"/a%2Fb",
        b"/a%5cb",
        b"/a\\b",
        b"/a%00",
        b"/a%0a",
        b"/a\x01",
        b"/a%7f",
        b"/a%",
        b"/a%4",
        b"/a%zz",
        b"/%ff",
        b"/\xff",
        b"/%c0%af",
        b"/%ed%a0%80",
        b"/a#b",
        b"/a?b#c",
        b"http:/a",
        b"ftp://h/a",
        b"http://h",
        b"/" + b"a" * (MAX_SEGMENT + 1),
        b"/" + b"a/" * (MAX_KEY // 2) + b"aa",
        b"/a?" + b"x" * MAX_TARGET,
    ],
)
def test_refused(raw: bytes) -> None:
    with pytest.raises(BadPath):
        parse_target(raw)


def test_decoded_once() -> None:
    assert parse_target(b"/a%252e%252e%252f").key == "a%2e%2e%2f"


def test_as_proxies_ask() -> None:
    assert parse_target(b"http://other.example:80/a/b?c=d") == ("a/b", {"c": "d"})


def test_clients_that_do_not_escape() -> None:
    assert parse_target("/ä/🐉".encode()).key == "ä/🐉"


def test_longest() -> None:
    key = "/".join(["ä" * 127] * 4 + ["b" * (MAX_KEY - 4 * 255)][:1])
    key = key[: key.rindex("/") + 1] + "b" * 179
    assert len(key.encode()) <= MAX_KEY
    assert parse_target(b"/" + quote(key).encode()).key == key


@pytest.mark.parametrize(
    "query", [b"a=1&a=2", b"a=%ff", b"a=\xff", b"&".join([b"a%d=1" % n for n in range(99)])]
)
def test_unreadable_queries(query: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_target(b"/a?" + query)
