"""
Signed URLs of a node: who may do what to which key until when.

``?expires=<unix s>&signature=<43 characters>``: HMAC-SHA-256 over method, expiry and key, with a secret that
the node and the daemon share.  Neither a method nor digits contain a newline, and a key comes last, so two
different requests never have one message.  The key is signed decoded: how a client escapes it in the URL
does not matter.  A signature says nothing of the node: give each node a secret of its own.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping

from dragonbelly.errors import ClientError

#: Keys never start with it: what a node says of itself lies below.
RESERVED = "-"
SPACE = f"{RESERVED}/space"
KEYS = f"{RESERVED}/keys"


class Forbidden(ClientError):
    """A signature is missing, wrong, or over."""

    status = 403
    title = "Forbidden"


def _digest(secret: bytes, method: str, key: str, expires: int) -> bytes:
    # Whoever may read an object may ask how large it is.
    verb = "GET" if method == "HEAD" else method
    message = f"{verb}\n{expires}\n{key}".encode()
    return urlsafe_b64encode(hmac.digest(secret, message, "sha256")).rstrip(b"=")


def sign(secret: bytes, method: str, key: str, expires: int) -> str:
    """The query that lets ``method`` be done to ``key`` until ``expires`` (unix s)."""
    return f"expires={expires}&signature={_digest(secret, method, key, expires).decode()}"


def check(secret: bytes, method: str, key: str, query: Mapping[str, str], now: float) -> None:
    """:raises Forbidden: the query does not allow it at ``now`` (unix s)."""
    expires, signature = query.get("expires", ""), query.get("signature", "")
    if not expires or not signature:
        raise Forbidden(f"{method} needs a signed URL")
    # At most 15 ASCII digits: int() takes more kinds of digits than one, and takes long over many.
    if not (expires.isascii() and expires.isdigit() and len(expires) <= 15):
        raise Forbidden("the signature's expiry is no number")
    if not hmac.compare_digest(_digest(secret, method, key, int(expires)), signature.encode()):
        raise Forbidden("the signature is not one for this method, key and expiry")
    if now >= int(expires):
        raise Forbidden("the signed URL has expired")
