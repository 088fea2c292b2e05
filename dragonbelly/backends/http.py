"""
What the backends that speak HTTP share: requests to one storage server, on treq.

Every call ends in a bounded time, with an answer or with one of the errors that ``IBackend`` names.  Nothing
is followed, remembered or decoded: no redirects, no cookies, no gzip.  A body is never held in memory, but
for listings, up to a limit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from hyperlink import EncodedURL
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web._newclient import RequestGenerationFailed, RequestNotSent, _WrapperException
from twisted.web.client import BrowserLikePolicyForHTTPS
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse

from dragonbelly import __version__
from dragonbelly.backends.answers import Answer, cause_of
from dragonbelly.backends.connections import (
    Connection,
    EncodedBody,
    Pool,
    Sending,
    ServerAgent,
    Watch,
)
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

#: An upload's answer may take as long as a slow disk needs to flush it: bytes per second.
FLUSH_RATE = 4 * 1024 * 1024

#: Statuses that say nothing about the request: request timeout, too early, too many requests.
_PASSING = (408, 425, 429)


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
        self._headers = Headers({"Host": [base.netloc], "User-Agent": [f"dragonbelly/{__version__}"]})
        self._pool = Pool(reactor, connections)
        endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, base.host, base.port, timeout=timeout)
        if base.tls:
            trust = BrowserLikePolicyForHTTPS().creatorForNetloc(base.host.encode("ascii"), base.port)
            endpoint = wrapClientTLS(trust, endpoint)
        self._agent = ServerAgent(self._pool, endpoint, base.origin.encode("ascii"), self._answer)
        self._client = HTTPClient(self._agent, cookiejar=_NoCookies())

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
        if not url.startswith(self._origin):
            raise ValueError(f"{what} is not at {self._origin}")  # elsewhere our headers are nobody's business
        all_headers = self._headers.copy()
        for name, value in headers:
            all_headers.addRawHeader(name, value)
        expired = cancelled = False

        def expire() -> None:
            nonlocal expired
            expired = True
            answered.cancel()

        def cancel(_: object) -> None:
            # What the HTTP client fails with then may be anything: a failed look-up, for one.
            nonlocal cancelled
            cancelled = True
            sent.cancel()

        watch = Watch(self.reactor, self.timeout, expire)
        sending = None
        if body is not None:
            patience = self.timeout + body.length / FLUSH_RATE
            sending = Sending(body, watch, self.idle_timeout, patience)
        answered: Deferred[Any] = Deferred(cancel)
        try:
            sent = self._send(method, url, all_headers, sending)
            sent.chainDeferred(answered)
            answer = cast(Answer, await answered)
        except _CLIENT_ERRORS as problem:
            if sending is not None and sending.failure is not None and not expired:
                sending.failure.raiseException()
            if cancelled and not expired:
                raise CancelledError from None
            raise BackendUnavailable(f"{what}: {_reason(problem, expired, sending)}") from problem
        finally:
            watch.stop()
        answer.what = what
        if answer.status not in expect:
            answer.dismiss()
            raise _refusal(what, answer)
        if sending is not None and not sending.sent:
            answer.dismiss()
            raise BackendUnavailable(f"{what}: answered {answer.status} before it had the whole body")
        return answer

    def _send(self, method: str, url: str, headers: Headers, body: Sending | None) -> Deferred[Any]:
        if body is None:
            # What treq adds for cookies and codings, which nobody wants, costs as much as the request itself.
            return self._agent.request(method.encode("ascii"), url.encode("ascii"), headers)
        sent: Deferred[Any] = self._client.request(
            method,
            _ready(url),
            headers=headers,
            data=body,
            allow_redirects=False,
            unbuffered=True,
            reactor=self.reactor,
        )
        return sent.addCallback(lambda response: response.original)

    async def close(self) -> None:
        """Close what is idle; requests under way go on."""
        closed = self._pool.closeCachedConnections()
        # A TLS server that is gone never says good-bye.
        closed.addTimeout(self.timeout, self.reactor).addErrback(lambda failure: failure.trap(TimeoutError))
        await closed

    def _answer(self, response: IResponse, connection: Connection) -> Answer:
        return Answer(self, response, connection)


class _NoCookies(IndexableCookieJar):
    """Sends none and keeps none."""

    def add_cookie_header(self, request: object) -> None: ...
    def extract_cookies(self, response: object, request: object) -> None: ...


class _ReadyURL(EncodedURL):
    """
    A URL that is written already.

    treq would take it apart and put it together again for each request, which costs about as much as the
    request itself (100 of 250 µs).
    """

    __slots__ = ("text",)

    text: str

    def to_uri(self) -> _ReadyURL:
        return self

    def to_text(self, with_password: bool = False) -> str:
        return self.text


def _ready(text: str) -> _ReadyURL:
    url = object.__new__(_ReadyURL)
    url.text = text
    return url


#: What the HTTP client fails with when it is the server's or the network's fault, or when it was cancelled.
_CLIENT_ERRORS = (
    OSError,  # DNSLookupError, TLS
    error.ConnectError,
    error.ConnectionClosed,
    error.ConnectingCancelledError,
    RequestNotSent,
    EncodedBody,
    CancelledError,
    _WrapperException,
)


def _reason(problem: BaseException, expired: bool, sending: Sending | None) -> str:
    if isinstance(problem, EncodedBody):
        return "the answer is encoded, though identity was asked for"
    if not expired:
        return cause_of(problem)
    if sending is not None and not sending.sent and isinstance(problem, RequestGenerationFailed):
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
