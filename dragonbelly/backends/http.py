"""
What the backends that speak HTTP share: requests to one storage server.

Every call ends in a bounded time, with an answer or with one of the errors that ``IBackend`` names.  Nothing
is followed, remembered or decoded: no redirects, no cookies, no gzip.  A body is never held in memory, but
for listings, up to a limit.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from twisted.internet import error
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import BrowserLikePolicyForHTTPS
from twisted.web.iweb import IBodyProducer

from dragonbelly import __version__
from dragonbelly.backends.answers import Answer
from dragonbelly.backends.connections import Broken, Connection, Pool, Unanswered
from dragonbelly.backends.response import Response
from dragonbelly.backends.sending import FLUSH_RATE, Sending
from dragonbelly.backends.watch import Watch
from dragonbelly.bodies import BytesBody
from dragonbelly.errors import (
    BackendError,
    BackendFull,
    BackendRefused,
    BackendUnavailable,
    ConfigError,
    NoSuchObject,
)
from dragonbelly.keys import quoted

__all__ = ["Answer", "Base", "HttpServer", "base_of", "quoted"]

#: Statuses that say nothing about the request: request timeout, too early, too many requests.
_PASSING = (408, 425, 429)

#: What stands in the first line of a request, and in its fields (RFC 9112 section 3, RFC 9110 section 5.5).
_METHOD, _TARGET, _FIELD = re.compile("[A-Z]+"), re.compile(r"[!-~]+"), re.compile(r"[^\x00\r\n]*")


class Base(NamedTuple):
    """A storage server's URL: ``url`` without a trailing slash, ``netloc`` as in ``Host``."""

    url: str
    origin: str
    netloc: str
    host: str
    port: int
    tls: bool


def base_of(url: str) -> Base:
    """:raises ValueError: it is not ``http[s]://host[:port][/path]``; the message says what is wrong."""
    if not url.isascii() or any(c <= " " for c in url):
        raise ValueError(f"{url!r} is not encoded")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not http://host[:port][/path], or https://…")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ValueError(f"{url!r} has a user, a query or a fragment; a storage server's URL has none")
    tls = parts.scheme == "https"
    origin = f"{parts.scheme}://{parts.netloc}"
    port = parts.port or (443 if tls else 80)
    return Base(origin + parts.path.rstrip("/"), origin, parts.netloc, parts.hostname, port, tls)


class HttpServer:
    """
    One storage server.

    ``base_url`` is ``http[s]://host[:port][/path]``; ``timeout`` is for connecting and for the header of the
    answer, ``idle_timeout`` for a body that does not move, both in seconds; ``connections`` are kept idle at
    most (how many are open at once is the callers' business).

    :raises ValueError: it is no such URL.
    """

    def __init__(
        self,
        reactor: Any,
        base_url: str,
        *,
        timeout: float = 10.0,
        idle_timeout: float = 30.0,
        connections: int = 16,
    ) -> None:
        self.reactor = reactor
        self.timeout = timeout
        self.idle_timeout = idle_timeout
        base = base_of(base_url)
        self.base = base.url
        self._origin = f"{base.origin}/"
        self._fields = (
            f" HTTP/1.1\r\nHost: {base.netloc}\r\nUser-Agent: dragonbelly/{__version__}\r\n"
            "Accept-Encoding: identity\r\n"
        )
        endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, base.host, base.port, timeout=timeout)
        if base.tls:
            trust = BrowserLikePolicyForHTTPS().creatorForNetloc(base.host.encode("ascii"), base.port)
            endpoint = wrapClientTLS(trust, endpoint)
        self._pool = Pool(reactor, endpoint, connections)

    def url(self, key: str) -> str:
        """Where ``key`` lies on this server."""
        return f"{self.base}/{quoted(key)}"

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: IBodyProducer | None = None,
        expect: Collection[int] = (200,),
    ) -> Answer:
        """
        The answer, if its status is in ``expect``; its body must be read, delivered or dismissed.

        ``url`` starts with this server's origin and is encoded.  A failure of the ``body`` itself is passed on
        as it is; a body that was not started when the request fails is still the caller's.

        :raises NoSuchObject: 404.  Not 410: servers say that of a link whose time is over.
        :raises BackendFull: 507.
        :raises BackendRefused: any other 4xx, and redirects.
        :raises BackendUnavailable: everything else.
        """
        what = f"{method} {url.partition('?')[0]}"  # a query may hold a signature
        head = self._head(what, method, url, headers, body)
        # What is in memory already goes out together with the head, and no slower reader can hold it up.
        ready = body.data if isinstance(body, BytesBody) else b""
        patience = self.timeout + len(ready) / FLUSH_RATE
        expired = False
        waiting: Deferred[Any]

        def expire() -> None:
            nonlocal expired
            expired = True
            waiting.cancel()

        watch = Watch(self.reactor, patience, expire)
        sending = None
        if body is not None and not isinstance(body, BytesBody):
            sending = Sending(body, watch, self.idle_timeout, self.timeout)
        try:
            while True:
                connection: Connection | None = self._pool.take()
                if connection is None:
                    waiting = self._pool.connect()
                    connection = await waiting
                waiting = connection.request(head + ready, method == "HEAD", sending)
                try:
                    response: Response = await waiting
                    break
                except Unanswered:
                    # A server may close an idle connection at the very moment that it is used again.
                    if connection.turn == 1 or body is not None:
                        raise
        except Exception as problem:
            if sending is not None and sending.failure is not None and not expired:
                sending.failure.raiseException()
            if expired:
                raise BackendUnavailable(f"{what}: {_too_late(sending)}") from problem
            if not isinstance(problem, _CLIENT_ERRORS):
                raise
            raise BackendUnavailable(f"{what}: {str(problem).strip() or type(problem).__name__}") from problem
        finally:
            watch.stop()
        answer = Answer(self, response, connection, method, what)
        if response.headers.get(b"content-encoding", b"identity").strip().lower() not in (b"", b"identity"):
            answer.abort()
            raise BackendUnavailable(f"{what}: the answer is encoded, though identity was asked for")
        if answer.status not in expect:
            answer.dismiss()
            raise _refusal(what, answer)
        if sending is not None and not sending.sent:
            answer.dismiss()
            raise BackendUnavailable(f"{what}: answered {answer.status} before it had the whole body")
        return answer

    def _head(
        self, what: str, method: str, url: str, headers: Iterable[tuple[str, str]], body: IBodyProducer | None
    ) -> bytes:
        """:raises ValueError: it would be no request, or one for somebody else."""
        if not url.startswith(self._origin):
            raise ValueError(f"{what} is not at {self._origin}")  # elsewhere our headers are nobody's business
        target = url[len(self._origin) - 1 :]
        if not _METHOD.fullmatch(method) or not _TARGET.fullmatch(target):
            raise ValueError(f"{what!r} is no request")
        if not all(_FIELD.fullmatch(name + value) for name, value in headers):
            raise ValueError(f"{what}: a field of its header has more than one line")
        fields = "".join([f"{name}: {value}\r\n" for name, value in headers])
        if body is not None:
            fields += f"Content-Length: {body.length}\r\n"
        return f"{method} {target}{self._fields}{fields}\r\n".encode()

    async def close(self) -> None:
        """Close what is idle; requests under way go on."""
        closed = self._pool.close()
        # A TLS server that is gone never says good-bye.
        closed.addTimeout(self.timeout, self.reactor).addErrback(lambda failure: failure.trap(TimeoutError))
        await closed


#: What a connection fails with when it is the server's or the network's fault.
_CLIENT_ERRORS = (
    Broken,
    OSError,  # DNSLookupError
    error.ConnectError,
    error.ConnectionClosed,
    error.ConnectingCancelledError,
)


def _too_late(sending: Sending | None) -> str:
    if sending is not None and sending.stopped and not sending.sent:
        return "the server does not read on"
    return "no answer in time"


def _refusal(what: str, answer: Answer) -> BackendError:
    """The error that a status nobody expected stands for."""
    status = answer.status
    text = f"{what}: {status}"
    if status == 404:
        return NoSuchObject(text)
    if status == 507:
        return BackendFull(text)
    if 300 <= status < 400:
        return BackendRefused(f"{text}, a redirect, is not followed")
    if 400 <= status < 500 and status not in _PASSING:
        return BackendRefused(text)
    return BackendUnavailable(text)


class HttpBackend:
    """
    A backend that is one HTTP server: clients are sent to ``url``, the daemon itself goes to ``internal_url``
    if that is another.  The times are those of ``HttpServer``.

    :raises ConfigError: a URL is none.
    """

    def __init__(
        self,
        name: str,
        reactor: Any,
        url: str,
        internal_url: str | None,
        *,
        timeout: float = 10.0,
        idle_timeout: float = 30.0,
    ) -> None:
        self.name = name
        self._reactor = reactor
        try:
            self._public = base_of(url).url
            self._server = HttpServer(reactor, internal_url or url, timeout=timeout, idle_timeout=idle_timeout)
        except ValueError as error:
            raise ConfigError(f"backend {name}: {error}") from None

    def close(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._server.close())
