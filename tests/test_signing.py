"""Signed URLs: what is signed for is allowed, and nothing else."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragonbelly.signing import BadSignature, Permission, SigningKey, check, signed_query, signed_url, steady

NOW = 1_764_000_000
OLD, NEW = SigningKey("k1", b"o" * 32), SigningKey("k2", b"n" * 32)
READ = Permission("GET", "media", "a/ä b.jpg", NOW + 60)
UPLOAD = Permission("PUT", "media", "a/b.jpg", NOW + 60, 1000, "image/jpeg")


def query(permission: Permission, key: SigningKey = NEW) -> dict[str, str]:
    return dict(parse_qsl(signed_query(key, permission), keep_blank_values=True))


def allowed(permission: Permission, given: dict[str, str], now: float = NOW) -> Permission:
    return check([NEW, OLD], permission.method, permission.domain, permission.name, given, now)


@pytest.mark.parametrize("permission", [READ, UPLOAD])
@pytest.mark.parametrize("key", [OLD, NEW])
def test_what_was_signed_is_allowed(permission, key):
    assert allowed(permission, query(permission, key)) == permission


def test_a_known_one_stays_the_same():
    """Made with ``openssl dgst -sha256 -hmac``: other languages can sign, too."""
    key = SigningKey("k", b"0123456789abcdef0123456789abcdef")
    url = signed_url("http://h/", key, Permission("GET", "d", "a b", 1))
    assert url == "http://h/a%20b?expires=1&key=k&signature=4FGNMSx_A9_OmlX6Q8odmizRLClP5m88eXUyMeOruz4"


def test_who_may_read_may_ask_for_the_size():
    assert check([NEW], "HEAD", "media", READ.name, query(READ), NOW) == READ


@pytest.mark.parametrize("permission", [READ, UPLOAD])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"method": "PUT"}, "not one for this"),
        ({"method": "GET"}, "not one for this"),
        ({"domain": "other"}, "not one for this"),
        ({"name": "a/b.jpeg"}, "not one for this"),
        ({"name": "a/ä b.jpg/"}, "not one for this"),
    ],
)
def test_nothing_else_is(permission, change, says):
    other = msgspec.structs.replace(permission, **change)
    if other == permission:
        return
    with pytest.raises(BadSignature, match=says):
        allowed(other, query(permission))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"expires": str(NOW + 61)}, "not one for this"),
        ({"expires": ""}, "number"),
        ({"expires": "-1"}, "number"),
        ({"expires": "١٢"}, "number"),
        ({"expires": "9" * 16}, "number"),
        ({"max-size": "1001"}, "not one for this"),
        ({"max-size": ""}, "number"),
        ({"type": "text/html"}, "not one for this"),
        ({"type": ""}, "not one for this"),
        ({"key": "k1"}, "not one for this"),
        ({"key": "k3"}, "not known"),
        ({"signature": ""}, "not one for this"),
        ({"signature": "é"}, "not one for this"),
        ({"extra": "1"}, "no parameter 'extra'"),
    ],
)
def test_tampered_with(change, says):
    with pytest.raises(BadSignature, match=says):
        allowed(UPLOAD, query(UPLOAD) | change)


@pytest.mark.parametrize("missing", ["expires", "key", "max-size", "type", "signature"])
def test_a_part_is_missing(missing):
    given = query(UPLOAD)
    del given[missing]
    with pytest.raises(BadSignature):
        allowed(UPLOAD, given)


def test_it_ends():
    assert allowed(READ, query(READ), NOW + 59.9) == READ
    with pytest.raises(BadSignature, match="expired"):
        allowed(READ, query(READ), NOW + 60)


@pytest.mark.parametrize("method", ["DELETE", "POST", "PATCH", "OPTIONS"])
def test_other_methods_cannot_be_signed_for(method):
    with pytest.raises(BadSignature, match=method):
        check([NEW], method, "media", READ.name, query(READ), NOW)


def test_a_key_does_not_show_its_secret():
    assert "nnn" not in repr(NEW)


text = st.text(st.characters(blacklist_categories=["Cc", "Cs"]), min_size=1, max_size=20)
permissions = st.builds(
    Permission,
    st.sampled_from(["GET", "PUT"]),
    text,
    text,
    st.integers(0, 10**10),
    st.none() | st.integers(0, 10**10),
    st.none() | text,
)


@given(permissions, permissions)
def test_two_permissions_have_two_signatures(one, other):
    assert (query(one)["signature"] == query(other)["signature"]) == (one == other)


@given(permissions)
def test_a_url_says_what_it_is_for(permission):
    parts = urlsplit(signed_url("https://h:1", NEW, permission))
    given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True))
    assert allowed(permission, given, now=-1) == permission


@given(st.floats(1e9, 4e9), st.floats(0.001, 1e7), st.text())
def test_expiry(now, lasts, name):
    assert now + lasts <= steady(now, lasts, name) <= now + lasts * 1.25 + 1


@pytest.mark.parametrize("name", ["", "default/a.jpg"])
def test_a_url_stays_the_same_for_a_while(name):
    assert len({steady(1_700_000_000 + second, 3600, name) for second in range(900)}) <= 2


def test_not_all_change_in_the_same_moment():
    assert len({steady(1_700_000_000, 3600, f"default/{n}.jpg") for n in range(100)}) > 50
