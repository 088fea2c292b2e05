"""What the two clients on httpx have in common."""

from __future__ import annotations

import httpx

from dragonbelly.client.wire import NoAnswer, Request

#: Connections that are kept, and that there are at most.
LIMITS = httpx.Limits(max_keepalive_connections=20, max_connections=100)

#: What failed before anything was sent.
_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.InvalidURL,
    httpx.UnsupportedProtocol,
    httpx.ProxyError,
)


def no_answer(error: Exception) -> NoAnswer:
    return NoAnswer(str(error) or type(error).__name__, sent=not isinstance(error, _NEVER_SENT))


def stream_headers(request: Request, length: int | None) -> dict[str, str]:
    """Without a length httpx sends it in chunks."""
    headers = dict(request.headers)
    if length is not None:
        headers["Content-Length"] = str(length)
    return headers


def built(http: httpx.Client | httpx.AsyncClient, request: Request) -> httpx.Request:
    """:raises InvalidURL:"""
    return http.build_request(
        request.method, request.url, headers=dict(request.headers), timeout=request.timeout
    )
