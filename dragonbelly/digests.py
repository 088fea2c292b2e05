"""SHA-256 in HTTP: the field ``Repr-Digest`` (RFC 9530), read and written in one place."""

from __future__ import annotations

import base64


def from_base64(text: str, size: int) -> bytes:
    """:raises ValueError: it is not ``size`` bytes in base64."""
    value = base64.b64decode(text, validate=True)
    if len(value) != size:
        raise ValueError(f"{len(value)} bytes, not {size}")
    return value


def repr_digest(sha256: bytes) -> str:
    """The field's value."""
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


def of_repr_digest(text: str) -> bytes | None:
    """
    The SHA-256 in a field's value, None if there is none; other algorithms are ignored, as the RFC says.

    :raises ValueError: there is one, and it is no byte sequence (RFC 8941 section 3.3.5) of 32 bytes.
    """
    for member in text.split(","):
        algorithm, _, value = member.partition("=")
        if algorithm.strip() == "sha-256":
            value = value.strip()
            if len(value) < 2 or not value[0] == value[-1] == ":":
                raise ValueError("a byte sequence stands between colons")
            return from_base64(value[1:-1], 32)
    return None
