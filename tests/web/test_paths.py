"""A request target becomes the name of a file, decoded once, or is refused."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dragonbelly.errors import BadPath
from dragonbelly.ids import ALPHABET
from dragonbelly.keys import parse_key, storage_key
from dragonbelly.model import Path
from dragonbelly.names import PATH_MAX, SEGMENT_MAX, check_name
from dragonbelly.web.paths import host_name, is_authority, parse_name, quote_name, split_target

ULID = "01J9ZQ4Y7H8V5N3K2M1R0TXWCE"

#: 1,024 bytes.
LONGEST = "/".join(["x" * 127] * 7 + ["x" * 128])


def obeys(name: str) -> bool:
    """The rules of a name, said once more in other words."""
    segments = name.split("/")
    return (
        len(name.encode()) <= PATH_MAX
        and all(0 < len(segment.encode()) <= SEGMENT_MAX for segment in segments)
        and "." not in segments
        and ".." not in segments
        and "\\" not in name
        and not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in name)
        and segments[0] != "-"
        and not any(is_mark(segment) for segment in segments)
    )


def is_mark(segment: str) -> bool:
    id, _, generation = segment.removeprefix("@").partition(".")
    return (
        segment.startswith("@")
        and len(id) == 26
        and id[0] in "01234567"
        and set(id) <= set(ALPHABET)
        and (
            segment == "@" + id
            or (generation.isascii() and generation.isdigit() and generation[0] != "0" and len(generation) <= 6)
        )
    )


letters = st.characters(blacklist_categories=["Cs"])
pieces = st.one_of(
    st.text(letters, max_size=8),
    st.sampled_from(["", " ", "\u2028", "\ufeff", "\x85", "\U0010ffff", "é", "e\u0301"]),
    st.sampled_from(
        ["a", ".", "..", "...", "-", "--", "%2e", "%252e", "@", "~", "+", "?", "#", "&", ";", ":", "a:b"]
    ),
    st.sampled_from([f"@{ULID}", f"@{ULID}.1", f"@{ULID}.0", f"x@{ULID}"]),
    st.text("abc", min_size=SEGMENT_MAX - 1, max_size=SEGMENT_MAX + 1),
)
names = st.lists(pieces, min_size=1, max_size=6).map("/".join)


@given(names)
def test_a_name_is_taken_when_it_obeys_the_rules_and_only_then(name: str) -> None:
    try:
        assert check_name(name) == name
    except BadPath:
        assert not obeys(name)
    else:
        assert obeys(name)


@given(names.filter(obeys))
def test_a_name_comes_back_from_its_url(name: str) -> None:
    quoted = quote_name(name)
    assert quoted.isascii()
    assert not set(quoted) & set(" ?#\\<>\"'`{}|^\r\n\x00")
    assert parse_name(b"/" + quoted.encode()) == name


@given(names.filter(obeys))
def test_a_name_makes_a_storage_key_that_backends_take(name: str) -> None:
    path = Path("d" * 63, name)
    key = storage_key(path, ULID, 999_999)
    assert len(key.encode()) <= 1200
    assert parse_key(key) == (path, ULID, 999_999)


escaped = st.lists(
    st.one_of(
        st.binary(max_size=5),
        st.binary(max_size=5).map(lambda data: quote_from_bytes(data, safe="/").encode()),
        st.sampled_from([b"/", b"%", b"%2", b"%2f", b"%2F", b"%5c", b"%00", b"%2e", b"%zz", b"..", b"%c0%ae"]),
    ),
    max_size=8,
).map(b"".join)


@given(st.one_of(st.binary(), escaped))
@example(b"%252e%252e/x")
@example(b"%c3%a9")
@example(b"a" * 3073)
def test_any_bytes_are_a_name_or_refused(raw: bytes) -> None:
    try:
        name = parse_name(b"/" + raw)
    except BadPath as error:
        assert error.status == 400
        assert error.detail
    else:
        assert obeys(name)
        assert parse_name(b"/" + quote_name(name).encode()) == name


@given(st.binary())
def test_any_bytes_are_a_target_or_refused(raw: bytes) -> None:
    try:
        target = split_target(raw)
    except BadPath:
        return
    assert target.path.startswith(b"/")
    assert b"?" not in target.path
    assert b"#" not in target.path + (target.query or b"")


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (b"/a", "a"),
        (b"/a/b.txt", "a/b.txt"),
        (b"/%252e%252e", "%2e%2e"),
        (b"/%25", "%"),
        (b"/a%252fb", "a%2fb"),
        (b"/a%20b+c", "a b+c"),
        (b"/%C3%A9", "é"),
        (b"/e%CC%81", "e\u0301"),
        (b"/%61%7E%7e", "a~~"),
        (b"/...", "..."),
        (b"/..a/.b/c.", "..a/.b/c."),
        (b"/a/-/b", "a/-/b"),
        (b"/--", "--"),
        (b"/-a", "-a"),
        (b"/@user", "@user"),
        (b"/a%3Fb%23c", "a?b#c"),
        (b"/http:/x", "http:/x"),
        (b"/@" + ULID.encode()[:-1], "@" + ULID[:-1]),
        (b"/@" + ULID.lower().encode(), "@" + ULID.lower()),
        (b"/@" + ULID.encode() + b".0", f"@{ULID}.0"),
        (b"/" + b"x" * 255 + b"/y", "x" * 255 + "/y"),
        (b"/" + b"%C3%A9" * 127, "é" * 127),
        (b"/" + LONGEST.encode(), LONGEST),
        (b"/" + LONGEST.encode().replace(b"x", b"%78"), LONGEST),
    ],
)
def test_a_name(target: bytes, name: str) -> None:
    assert parse_name(target) == name


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (b"/", "empty"),
        (b"", "begin with a slash"),
        (b"a", "begin with a slash"),
        # up and down
        (b"/..", ". or .. segment"),
        (b"/.", ". or .. segment"),
        (b"/a/../b", ". or .. segment"),
        (b"/a/..", ". or .. segment"),
        (b"/%2e%2e/a", ". or .. segment"),
        (b"/.%2E/a", ". or .. segment"),
        (b"/a/%2e/b", ". or .. segment"),
        (b"/..%2fa", "encoded slash"),
        (b"/..%5ca", "backslash"),
        (b"/..\\a", "backslash"),
        # slashes
        (b"/a%2Fb", "encoded slash"),
        (b"/a%2fb", "encoded slash"),
        (b"//a", "empty segment"),
        (b"/a//b", "empty segment"),
        (b"/a/", "empty segment"),
        (b"/a%5Cb", "backslash"),
        # bytes that are no text
        (b"/a%00b", "control character"),
        (b"/a\x00b", "control character"),
        (b"/a%0d%0aX:y", "control character"),
        (b"/a%7f", "control character"),
        (b"/a%C2%80", "control character"),
        (b"/a%C2%9F", "control character"),
        (b"/a\x1bb", "control character"),
        (b"/%c0%ae%c0%ae/a", "not UTF-8"),
        (b"/%c0%af", "not UTF-8"),
        (b"/%e0%80%af", "not UTF-8"),
        (b"/%ed%a0%80", "not UTF-8"),
        (b"/%f4%90%80%80", "not UTF-8"),
        (b"/%ff", "not UTF-8"),
        (b"/\xff", "not UTF-8"),
        (b"/%C3", "not UTF-8"),
        # escapes that are none
        (b"/%", "percent sign"),
        (b"/a%2", "percent sign"),
        (b"/a%zz", "percent sign"),
        (b"/a%u002e", "percent sign"),
        (b"/%%32e", "percent sign"),
        # ours
        (b"/-", "reserved"),
        (b"/-/x", "reserved"),
        (b"/%2d/x", "reserved"),
        (b"/@" + ULID.encode(), "version's directory"),
        (b"/a/@" + ULID.encode() + b"/b", "version's directory"),
        (b"/a/@" + ULID.encode() + b".7/b", "version's directory"),
        (b"/a/%40" + ULID.encode() + b"/b", "version's directory"),
        # too long
        (b"/" + b"x" * 256, "longer than 255"),
        (b"/" + b"%C3%A9" * 128, "longer than 255"),
        (b"/x" + LONGEST.encode(), "longer than 1024"),
        (b"/" + b"%78" * 1025, "longer than 1024"),
        (b"/" + b"a/" * 5000, "longer than 1024"),
    ],
)
def test_no_name(target: bytes, why: str) -> None:
    with pytest.raises(BadPath, match=why):
        parse_name(target)


@pytest.mark.parametrize(
    ("raw", "path", "query", "host"),
    [
        (b"/a?b=c", b"/a", b"b=c", None),
        (b"/a?", b"/a", b"", None),
        (b"/a?b?c", b"/a", b"b?c", None),
        (b"//host/a", b"//host/a", None, None),
        (b"http://h/a?b", b"/a", b"b", b"h"),
        (b"HTTPS://H:8080/a", b"/a", None, b"H:8080"),
        (b"http://h", b"/", None, b"h"),
        (b"http://h?q", b"/", b"q", b"h"),
    ],
)
def test_a_target(raw: bytes, path: bytes, query: bytes | None, host: bytes | None) -> None:
    assert split_target(raw) == (path, query, host)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"*",
        b"h:443",
        b"a/b",
        b"?a",
        b"ftp://h/a",
        b"file:///a",
        b"/a#b",
        b"/a?b#c",
        b"http://h/#",
        b"http:///a",
        b"http://:80/a",
        b"http://u@h/a",
    ],
)
def test_no_target(raw: bytes) -> None:
    with pytest.raises(BadPath):
        split_target(raw)


@pytest.mark.parametrize("raw", [b"/-/health", b"/-/", b"/-/api/v1/files", b"http://h/-/x"])
def test_what_belongs_to_the_service(raw: bytes) -> None:
    assert split_target(raw).reserved


@pytest.mark.parametrize("raw", [b"/-", b"/-a/x", b"/a/-/b", b"/%2d/health", b"//-/x", b"/?-/"])
def test_what_does_not(raw: bytes) -> None:
    assert not split_target(raw).reserved


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (b"files.example.com", "files.example.com"),
        (b"Files.EXAMPLE.com", "files.example.com"),
        (b"files.example.com:8080", "files.example.com"),
        (b"files.example.com:", "files.example.com"),
        (b"files.example.com.", "files.example.com"),
        (b"files.example.com.:80", "files.example.com"),
        (b"127.0.0.1:80", "127.0.0.1"),
        (b"[::1]", "[::1]"),
        (b"[::1]:8080", "[::1]"),
        (b"[2001:DB8::1]", "[2001:db8::1]"),
        (b"", ""),
        (b".", ""),
        (b" files.example.com ", ""),
        (b"user@files.example.com", ""),
        (b"a:b@files.example.com:80", ""),
        (b"f\xc3\xa9.example.com", ""),
        (b"\xff", ""),
        (b":80", ""),
        (b"[::1", ""),
        (b"[::1]x", ""),
        (b"files.example.com:8080:1", ""),
        (b"files.example.com:x", ""),
        (b"files.example.com/x", ""),
        (b"a b", ""),
        (b"*", ""),
        (b"a,b", ""),
    ],
)
def test_a_host(authority: bytes, host: str) -> None:
    assert host_name(authority) == host
    assert is_authority(authority) is (bool(host) or not authority)


@given(st.binary())
def test_any_bytes_are_a_host_or_none(authority: bytes) -> None:
    host = host_name(authority)
    assert host.isascii()
    assert host == host.lower()
    assert not any(unicodedata.category(c) in ("Cc", "Zs") for c in host)
