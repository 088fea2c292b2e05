"""What clients announce of an upload: understood, or refused with the field named."""

from __future__ import annotations

import base64
import time
from hashlib import md5, sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragonbelly.digests import repr_digest
from dragonbelly.errors import BadField, BadRequest, ClientError, LengthRequired
from dragonbelly.ledger import Announced
from dragonbelly.model import Terms
from dragonbelly.web import announced
from dragonbelly.web.message import Question
from dragonbelly.web.paths import split_target

DIGEST = sha256(b"x").digest()
MD5 = md5(b"x").digest()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def put(size: int | None = 1, /, **headers: str) -> Announced:
    """The header's name in Python's letters: ``if_match`` is ``if-match``."""
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    if size is not None:
        lines.setdefault("content-length", str(size))
    return announced.from_put(Question("PUT", split_target(b"/a"), b"h", lines, announced=size))


def test_nothing_but_a_length() -> None:
    assert put(0) == Announced(size=0)


def test_all_there_is() -> None:
    said = put(
        5,
        content_type="image/jpeg",
        repr_digest=f"sha-256=:{b64(DIGEST)}:",
        content_md5=b64(MD5),
        dragonbelly_attr_owner="me",
        dragonbelly_attr_album="été".encode().decode("latin-1"),
        dragonbelly_copies="3",
        dragonbelly_policy="large",
        dragonbelly_expires="2030-01-01T00:00:00+01:00",
        if_none_match="*",
        if_match='"01J9ZQ4Y7H8V5N3K2M1R0TXWCE"',
    )
    assert said == Announced(
        size=5,
        sha256=DIGEST,
        md5=MD5,
        content_type="image/jpeg",
        terms=Terms({"album": "été", "owner": "me"}, 3, "large", 1893452400),
        create_only=True,
        if_match="01J9ZQ4Y7H8V5N3K2M1R0TXWCE",
    )


def test_no_length() -> None:
    with pytest.raises(LengthRequired):
        put(None)
    with pytest.raises(LengthRequired):
        announced.from_put(Question("PUT", split_target(b"/a"), b"h", {}))


@pytest.mark.parametrize(
    "text",
    [
        "sha-256=:{}:",
        " sha-256 = :{}: ",
        "sha-512=:AAAA:, sha-256=:{}:",
        "sha-256=:{}:, sha-512=:AAAA:",
        "md5=:AAAA:,sha-256=:{}:",
    ],
)
@pytest.mark.parametrize("header", ["repr_digest", "content_digest"])
def test_a_digest(text: str, header: str) -> None:
    assert put(**{header: text.format(b64(DIGEST))}).sha256 == DIGEST


def test_other_digests_say_nothing() -> None:
    assert put(repr_digest="sha-512=:AAAA:").sha256 is None
    assert put(repr_digest="sha-512=:AAAA:", content_digest=f"sha-256=:{b64(DIGEST)}:").sha256 == DIGEST


@pytest.mark.parametrize(
    "text",
    [
        "sha-256=::",
        "sha-256=:",
        "sha-256=",
        "sha-256",
        "sha-256=:AAAA:",
        "sha-256=:!:",
        f"sha-256={b64(DIGEST)}",
        f"sha-256=:{b64(DIGEST)}",
        f"sha-256=:{b64(DIGEST)[:-1]}:",
        f"sha-256=:{b64(DIGEST)}x:",
        f"sha-256=:{DIGEST.hex()}:",
        "sha-256=:\xe9:",
    ],
)
def test_a_digest_that_cannot_be_read_is_not_passed_over(text: str) -> None:
    with pytest.raises(BadField) as refused:
        put(repr_digest=text)
    assert refused.value.extra == {"field": "sha256"}


@given(st.text(st.characters(max_codepoint=255)))
def test_any_digest_is_read_refused_or_none_of_ours(text: str) -> None:
    try:
        found = announced.sha256_field(text)
    except BadField:
        assert "sha-256" in text
    else:
        assert found is None or announced.sha256_field(repr_digest(found)) == found


@pytest.mark.parametrize("text", ["", "AAAA", MD5.hex(), b64(MD5) + "=", "\xe9", b64(DIGEST)])
def test_an_md5_that_cannot_be_read(text: str) -> None:
    with pytest.raises(BadField, match="Content-MD5") as refused:
        put(content_md5=text)
    assert refused.value.extra == {"field": "md5"}


@pytest.mark.parametrize(
    ("header", "text", "field"),
    [
        ("content_type", "image", "content_type"),
        ("content_type", "", "content_type"),
        ("content_type", "/", "content_type"),
        ("content_type", "image/", "content_type"),
        ("content_type", "/jpeg", "content_type"),
        ("content_type", "ima ge/jpeg", "content_type"),
        ("content_type", "image/jpeg ", "content_type"),
        ("content_type", "image/jpe\xe9g", "content_type"),
        ("content_type", "image/jpeg\tx", "content_type"),
        ("content_type", "image/" + "x" * 250, "content_type"),
        ("dragonbelly_copies", "", "copies"),
        ("dragonbelly_copies", "0", "copies"),
        ("dragonbelly_copies", "-1", "copies"),
        ("dragonbelly_copies", "101", "copies"),
        ("dragonbelly_copies", "two", "copies"),
        ("dragonbelly_copies", "2, 3", "copies"),
        ("dragonbelly_copies", "2.0", "copies"),
        ("dragonbelly_copies", "\xb2", "copies"),
        ("dragonbelly_expires", "", "expires"),
        ("dragonbelly_expires", "tomorrow", "expires"),
        ("dragonbelly_expires", "2030-01-01", "expires"),
        ("dragonbelly_expires", "2030-01-01T00:00:00", "expires"),
        ("dragonbelly_expires", "2030-13-01T00:00:00Z", "expires"),
        ("dragonbelly_expires", "9999-12-31T23:59:59-01:00", "expires"),
        ("dragonbelly_expires", "0001-01-01T00:00:00+01:00", "expires"),
        ("dragonbelly_expires", "1893452400", "expires"),
        ("dragonbelly_attr_", "x", "attributes."),
        ("dragonbelly_attr_a!", "x", "attributes.a!"),
        ("dragonbelly_attr_.a", "x", "attributes..a"),
        ("dragonbelly_attr_a" + "b" * 64, "x", "attributes.a" + "b" * 64),
        ("dragonbelly_attr_a", "x\ty", "attributes.a"),
        ("dragonbelly_attr_a", "x\x7fy", "attributes.a"),
        ("dragonbelly_attr_a", "x\xc2\x80y", "attributes.a"),
        ("dragonbelly_attr_a", "\xe9", "attributes"),
    ],
)
def test_what_cannot_be_understood_is_refused(header: str, text: str, field: str) -> None:
    with pytest.raises(BadField) as refused:
        put(**{header: text})
    assert refused.value.status == 422
    assert refused.value.extra == {"field": field}


@pytest.mark.parametrize(
    "text",
    [
        "image/jpeg",
        "text/html; charset=utf-8",
        'a/b; x="y z"',
        "application/vnd.a+json",
        "a/b/c",
        "a/" + "b" * 253,
    ],
)
def test_a_media_type(text: str) -> None:
    assert put(content_type=text).content_type == text


def test_a_media_type_is_read_in_no_time() -> None:
    began = time.process_time()
    for _ in range(100):
        with pytest.raises(BadField):
            announced.content_type("/" * 254 + "\xe9")
        with pytest.raises(BadField):
            announced.content_type("a/" * 127 + "\xe9")
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("text", ['"x"', "x", "", "*, *", 'W/"x"'])
def test_if_none_match_is_for_nothing_but_new_files(text: str) -> None:
    with pytest.raises(BadRequest):
        put(if_none_match=text)


@pytest.mark.parametrize("text", ["*", "x", '"x", "y"', "", '"x', 'W"x"', '"x"y"'])
def test_if_match_names_one_version(text: str) -> None:
    with pytest.raises(BadRequest):
        put(if_match=text)


HEADERS = ["content_type", "repr_digest", "content_digest", "content_md5", "if_match", "if_none_match"]
HEADERS += [f"dragonbelly_{name}" for name in ("copies", "policy", "expires", "attr_a", "attr_")]


@given(st.dictionaries(st.sampled_from(HEADERS), st.text(st.characters(max_codepoint=255))))
def test_any_headers_are_understood_or_refused(headers: dict[str, str]) -> None:
    try:
        said = put(**headers)
    except ClientError as error:
        assert 400 <= error.status < 500
    else:
        if said.terms is not None:
            announced.rfc3339(said.terms.expires)


@given(st.datetimes(timezones=st.timezones() | st.none()).map(lambda moment: moment.isoformat()))
def test_a_moment_that_is_taken_can_be_shown(text: str) -> None:
    try:
        seconds = announced.moment(text)
    except BadField:
        return
    assert announced.moment(announced.rfc3339(seconds)) == seconds


@pytest.mark.parametrize("name", ["dragonbelly_copy", "dragonbelly_foo"])
def test_an_unknown_term_is_refused_and_not_ignored(name: str) -> None:
    with pytest.raises(BadField) as refused:
        put(**{name: "3"})
    assert refused.value.extra["field"] == name.replace("_", "-")


def test_an_encoded_body_is_refused() -> None:
    with pytest.raises(BadRequest):
        put(content_encoding="gzip")
