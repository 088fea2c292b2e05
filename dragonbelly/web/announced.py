"""What a client announces of an upload: from the headers of a PUT, or the fields of the API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from dragonbelly.digests import from_base64, of_repr_digest
from dragonbelly.errors import BadField, BadRequest, LengthRequired
from dragonbelly.ledger import Announced
from dragonbelly.model import Terms
from dragonbelly.web.message import Question

ATTRIBUTE_PREFIX = "dragonbelly-attr-"
TERMS = frozenset({"dragonbelly-copies", "dragonbelly-policy", "dragonbelly-expires"})

#: More copies of one file than anybody has servers for.
COPIES_MAX = 100

_ATTRIBUTE = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_MEDIA_TYPE = re.compile(r"[!-.0-~]+/[!-~][ -~]*(?<! )")
_ETAG = re.compile(r'(?:W/)?"([^"]*)"')


def from_put(question: Question) -> Announced:
    """
    What the headers of a PUT announce.

    :raises LengthRequired: no ``Content-Length``.
    :raises BadRequest, BadField: a header that cannot be understood: it asked for something, so it counts.
    """
    headers = question.headers
    if "content-range" in headers:  # RFC 9110 section 14.5: else the part would be taken for the file
        raise BadRequest("a part of a file cannot be uploaded, only all of it")
    if "content-encoding" in headers:
        raise BadRequest("a file is stored as it comes; readers would not be told of a Content-Encoding")
    if question.announced is None or "content-length" not in headers:
        raise LengthRequired(
            "an upload needs a Content-Length: without one, what is left of a stream that a client sent twice "
            "could not be told from the file"
        )
    return Announced(
        size=question.announced,
        sha256=sha256_field(headers.get("repr-digest")) or sha256_field(headers.get("content-digest")),
        md5=_md5(headers.get("content-md5")),
        content_type=content_type(headers.get("content-type")),
        terms=_terms(headers),
        create_only=_create_only(headers.get("if-none-match")),
        if_match=_if_match(headers.get("if-match")),
    )


def _terms(headers: Mapping[str, str]) -> Terms | None:
    attributes = {
        name.removeprefix(ATTRIBUTE_PREFIX): _utf8(value)
        for name, value in headers.items()
        if name.startswith(ATTRIBUTE_PREFIX)
    }
    for name in headers:
        if name.startswith("dragonbelly-") and not name.startswith(ATTRIBUTE_PREFIX) and name not in TERMS:
            known = ", ".join(sorted(n.title() for n in TERMS))
            raise BadField(f"no such header; there are {known} and Dragonbelly-Attr-<name>", field=name)
    copies = headers.get("dragonbelly-copies")
    if copies is not None and not re.fullmatch(r"[0-9]{1,4}", copies):
        raise BadField(f"Dragonbelly-Copies: a whole number was expected, not {copies!r}", field="copies")
    return terms(
        attributes,
        int(copies) if copies is not None else None,
        headers.get("dragonbelly-policy"),
        moment(headers.get("dragonbelly-expires")),
    )


def terms(
    attributes: Mapping[str, str], copies: int | None, policy: str | None, expires: int | None
) -> Terms | None:
    """Checked terms, None when nothing is asked for.  :raises BadField: names the field."""
    for name, value in attributes.items():
        if not _ATTRIBUTE.fullmatch(name):
            raise BadField(
                "a name of an attribute is 1 to 64 of a-z, 0-9, '.', '_' and '-', not at its ends",
                field=f"attributes.{name}",
            )
        if not value.isprintable():
            raise BadField("a value of an attribute is printable text", field=f"attributes.{name}")
    if copies is not None and not 1 <= copies <= COPIES_MAX:
        raise BadField(f"1 to {COPIES_MAX} copies, not {copies}", field="copies")
    if not attributes and copies is None and policy is None and expires is None:
        return None
    return Terms(dict(sorted(attributes.items())), copies, policy, expires)


def moment(text: str | None) -> int | None:
    """An RFC 3339 time as unix s.  :raises BadField:"""
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
        if parsed.tzinfo is not None:
            # In UTC the first and the last day may be out of range, and could not be shown.
            return int(parsed.astimezone(UTC).timestamp())
    except (ValueError, OverflowError):
        pass
    raise BadField(f"an RFC 3339 time with its zone was expected, not {text!r}", field="expires")


def rfc3339(seconds: float | None) -> str | None:
    """A unix time as RFC 3339 in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


def content_type(text: str | None) -> str | None:
    if text is None:
        return None
    if len(text) > 255 or not _MEDIA_TYPE.fullmatch(text):
        raise BadField("a media type such as image/jpeg was expected", field="content_type")
    return text


def sha256_field(text: str | None) -> bytes | None:
    """The SHA-256 of a ``Repr-Digest``, None if it has none.  :raises BadField: it has a malformed one."""
    try:
        return None if text is None else of_repr_digest(text)
    except ValueError:
        raise BadField("Repr-Digest: 32 bytes in base64 were expected", field="sha256") from None


def sha256_hex(text: str | None) -> bytes | None:
    """:raises BadField:"""
    if text is None:
        return None
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise BadField("64 hexadecimal digits were expected", field="sha256")
    return bytes.fromhex(text)


def _md5(text: str | None) -> bytes | None:
    try:
        return None if text is None else from_base64(text, 16)
    except ValueError:
        raise BadField("Content-MD5: 16 bytes in base64 were expected", field="md5") from None


def _create_only(text: str | None) -> bool:
    if text is None:
        return False
    if text.strip() != "*":
        raise BadRequest("If-None-Match of a PUT can only be *")
    return True


def _if_match(text: str | None) -> str | None:
    if text is None:
        return None
    if match := _ETAG.fullmatch(text.strip()):
        return match[1]
    raise BadRequest('If-Match of a PUT can only be one "<version>"')


def _utf8(text: str) -> str:
    """A header's value, which HTTP gave us as latin-1."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise BadField("the value is not UTF-8", field="attributes") from None
