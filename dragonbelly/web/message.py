"""Requests and answers as values: what the handlers see of HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from dragonbelly.errors import ClientError
from dragonbelly.web.callers import ANYBODY, Caller, Unauthorized
from dragonbelly.web.paths import Target

JSON = "application/json"
PROBLEM = "application/problem+json"


class Question(msgspec.Struct, frozen=True):
    """
    A request.  ``headers`` are by lower-case name, several values joined with commas; ``announced`` is the
    body's length (None: chunked); ``body`` is there where the handler asked for it.  ``address`` is where the
    connection comes from; ``caller``, who asks, is found out by the router.
    """

    method: str
    target: Target
    host: bytes
    headers: Mapping[str, str]
    announced: int | None = 0
    body: bytes = b""
    address: str = ""
    caller: Caller = ANYBODY


class Answer(msgspec.Struct, frozen=True):
    """A response; ``Content-Length``, ``Date`` and the like are added where it is sent."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def json_answer(value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    body = msgspec.json.encode(value) + b"\n"
    return Answer(status, (("Content-Type", JSON), ("Cache-Control", "no-store"), *headers), body)


def problem(error: ClientError) -> Answer:
    """The error as problem details (RFC 9457)."""
    headers: list[tuple[str, str]] = [("Content-Type", PROBLEM), ("Cache-Control", "no-store")]
    if error.retry_after is not None:
        headers.append(("Retry-After", str(error.retry_after)))
    if allow := error.extra.get("allow"):
        headers.append(("Allow", str(allow)))
    if isinstance(error, Unauthorized):
        headers.append(("WWW-Authenticate", error.challenge))
    extra = {name: value for name, value in error.extra.items() if value is not None}
    details = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        **extra,
    }
    return Answer(error.status, tuple(headers), msgspec.json.encode(details) + b"\n")
