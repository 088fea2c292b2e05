"""
Signed URLs of Dragonbelly's own: who has one may read or upload that one file, until it expires.

    https://media.example.com/a/photo.jpg?expires=1764000000&key=k1&signature=<43 characters>
    …?expires=…&key=k1&max-size=1000000&type=image%2Fjpeg&signature=…            (PUT)

The signature is HMAC-SHA-256 over method, domain, expiry, the conditions of an upload, and the path.  Each of
them stands in a line of its own, and none can have a newline, so two different permissions never have one
message.  The path is signed decoded: how a client escapes it does not matter.  Made by ``POST /-/api/v1/sign``,
or by whoever has the key.
"""

from __future__ import annotations

import hmac
import math
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import quote, urlencode
from zlib import crc32

import msgspec

#: Bytes of a secret, at least (RFC 2104 section 3: not less than the digest has).
SECRET_MIN = 32

#: Seconds that a URL is good, unless said otherwise, and at most: a week, as with S3.
EXPIRES, EXPIRES_MAX = 3600, 7 * 86400

Method = Literal["GET", "PUT"]


class SigningKey(msgspec.Struct, frozen=True):
    """``id`` is public, and says which secret a URL was signed with."""

    id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"SigningKey(id={self.id!r})"


class Permission(msgspec.Struct, frozen=True):
    """
    To do ``method`` (GET is also HEAD) to ``name`` in ``domain`` until ``expires`` (unix s).  An upload has at
    most ``max_size`` bytes, and is of ``content_type``, where they are given.
    """

    method: Method
    domain: str
    name: str
    expires: int
    max_size: int | None = None
    content_type: str | None = None


class BadSignature(Exception):
    """The message says why."""


def signed_query(key: SigningKey, permission: Permission) -> str:
    """The query of a URL that gives this permission."""
    query = {"expires": str(permission.expires), "key": key.id}
    if permission.max_size is not None:
        query["max-size"] = str(permission.max_size)
    if permission.content_type is not None:
        query["type"] = permission.content_type
    return urlencode({**query, "signature": _signature(key.secret, permission)})


def signed_url(base: str, key: SigningKey, permission: Permission) -> str:
    """``base`` is ``http[s]://host[:port]`` of a daemon."""
    path = quote(permission.name, safe="/~")
    return f"{base.rstrip('/')}/{path}?{signed_query(key, permission)}"


def steady(now: float, lasts: float, name: str = "") -> int:
    """
    An expiry at least ``lasts`` seconds away, and the same one for a quarter of that: a page's images keep
    their URLs for a while, and browsers need not fetch them again.  When it changes differs by name, or all
    that is kept of such URLs would have to be made anew in the same moment.
    """
    bucket = max(1, int(lasts / 4))
    phase = crc32(name.encode()) % bucket
    return math.ceil((now + lasts + phase) / bucket) * bucket - phase


def check(
    keys: Sequence[SigningKey], method: str, domain: str, name: str, query: Mapping[str, str], now: float
) -> Permission:
    """
    The permission that a query gives for this.

    :raises BadSignature: it gives none.
    """
    unknown = query.keys() - {"expires", "key", "max-size", "type", "signature"}
    if unknown:
        raise BadSignature(f"a signed URL has no parameter {min(unknown)!r}")
    verb: Method = "PUT" if method == "PUT" else "GET"
    if method not in ("GET", "HEAD", "PUT"):
        raise BadSignature(f"{method} cannot be signed for")
    key = next((key for key in keys if key.id == query.get("key")), None)
    if key is None:
        raise BadSignature("it was signed with a key that is not known (any more)")
    max_size = query.get("max-size")
    permission = Permission(
        verb,
        domain,
        name,
        _number(query.get("expires", "")),
        None if max_size is None else _number(max_size),
        query.get("type"),
    )
    expected = _signature(key.secret, permission)
    if not hmac.compare_digest(expected.encode(), query.get("signature", "").encode()):
        raise BadSignature("the signature is not one for this method, host, path and conditions")
    if now >= permission.expires:
        raise BadSignature("the signed URL has expired")
    return permission


def _number(text: str) -> int:
    # int() takes more kinds of digits than one, and takes long over many.
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise BadSignature("a number in it is none")
    return int(text)


def _signature(secret: bytes, permission: Permission) -> str:
    message = "\n".join(
        (
            permission.method,
            permission.domain,
            str(permission.expires),
            "" if permission.max_size is None else str(permission.max_size),
            permission.content_type or "",
            permission.name,
        )
    )
    digest = hmac.digest(secret, message.encode(), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
