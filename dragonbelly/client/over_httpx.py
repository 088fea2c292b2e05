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
    said = _origin(error) if isinstance(error, httpx.ConnectError) else error
    return NoAnswer(str(said) or type(said).__name__, sent=not isinstance(error, _NEVER_SENT))


def _origin(error: BaseException) -> BaseException:
    """With asyncio its own words are "All connection attempts failed"; this is why they did."""
    origin: BaseException | None = error
    while origin is not None and not isinstance(origin, OSError):
        origin = origin.__cause__ or origin.__context__
    if origin is None:
        return error
    tried = origin.__cause__
    if isinstance(tried, BaseExceptionGroup):  # one for each address
        tried = tried.exceptions[0]
    return tried if isinstance(tried, OSError) else origin


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
