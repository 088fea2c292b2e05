"""
What the backends that speak HTTP share: requests to one storage server, on treq.

Every call ends in a bounded time, with an answer or with one of the errors that ``IBackend`` names.  Nothing
is followed, remembered or decoded: no redirects, no cookies, no gzip.  A body is never held in memory, but
for listings, up to a limit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple, cast
from urllib.parse import quote, urlsplit

from hyperlink import EncodedURL
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IPushProducer, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web._newclient import RequestGenerationFailed, RequestNotSent, _WrapperException
from twisted.web.client import BrowserLikePolicyForHTTPS, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer, IResponse
from zope.interface import implementer

from dragonbelly import __version__
from dragonbelly.backends.connections import (
    LARGE,
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
    NoSuchObject,
)
from dragonbelly.interfaces import IObjectBody

#: A body nobody wants is read away up to this size, so that the connection lives on; else it is reset.
SMALL = 64 * 1024

#: A listing is at most so large, and comes within so many seconds.
LISTING_LIMIT = 64 * 1024 * 1024
LISTING_TIME = 300.0

#: Fewer bytes than this in ``idle_timeout`` seconds are a stall.
TRICKLE = 4096

#: An upload's answer may take as long as a slow disk needs to flush it: bytes per second.
FLUSH_RATE = 4 * 1024 * 1024

#: Statuses that say nothing about the request: request timeout, too early, too many requests.
_PASSING = (408, 425, 429)


def quoted(key: str) -> str:
    """The key as the path of a URL, without a leading slash."""
    return quote(key, safe="/")


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
        agent = ServerAgent(self._pool, endpoint, base.origin.encode("ascii"), self._answer)
        self._client = HTTPClient(agent, cookiejar=_NoCookies())

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
        assert url.startswith(self._origin), url
        all_headers = self._headers
        if headers:
            all_headers = all_headers.copy()
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
        sent: Deferred[Any] = self._client.request(
            method,
            _ready(url),
            headers=all_headers,
            data=sending,
            allow_redirects=False,
            unbuffered=True,
            reactor=self.reactor,
        )
        answered: Deferred[Any] = Deferred(cancel)
        sent.chainDeferred(answered)
        try:
            answer = cast(Answer, (await answered).original)
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
            raise BackendUnavailable(f"{what}: answered {answer.status} before it had the whole body")
        return answer

    async def close(self) -> None:
        """Close what is idle; requests under way go on."""
        closed = self._pool.closeCachedConnections()
        # A TLS server that is gone never says good-bye.
        closed.addTimeout(self.timeout, self.reactor).addErrback(lambda failure: failure.trap(TimeoutError))
        await closed

    def _answer(self, response: IResponse, connection: Connection) -> Answer:
        return Answer(self, response, connection)


class Answer:
    """A response: its status and header have come.  ``what`` says to which request, for messages."""

    def __init__(self, server: HttpServer, response: IResponse, connection: Connection) -> None:
        self.status: int = response.code
        self.headers: Headers = response.headers
        self.what = ""
        self.server = server
        self.connection = connection
        self._response = response
        self._turn = connection.turn

    def header(self, name: str) -> str | None:
        """A field's first value; bytes beyond ASCII are replaced."""
        values = self.headers.getRawHeaders(name.encode("ascii"))
        return values[0].decode("ascii", "replace") if values else None

    @property
    def length(self) -> int | None:
        """
        ``Content-Length``: of the body, or of the body that a GET would have had, when this answers a HEAD.
        """
        if self._response.request.method == b"HEAD":
            announced = set(self.headers.getRawHeaders(b"content-length", ()))
            only = announced.pop() if len(announced) == 1 else b""
            return int(only) if only.isdigit() else None
        length = self._response.length
        return None if length is UNKNOWN_LENGTH else cast(int, length)

    def body(self) -> IObjectBody:
        """
        The body as an object's.

        :raises BackendUnavailable: its length was not announced, so nobody could tell whether it is whole.
        """
        length = self.length
        if length is None:
            self.dismiss()
            raise BackendUnavailable(f"{self.what}: an answer without Content-Length")
        self.connection.widen(length >= LARGE)
        return _Body(self, length)

    async def content(self, limit: int = LISTING_LIMIT) -> bytes:
        """
        The whole body, for listings and the like.

        :raises BackendUnavailable: it is longer than ``limit`` bytes, takes too long, or does not come whole.
        """
        collected = _Collected(limit)
        reader = self.deliver(collected)
        too_long = self.server.reactor.callLater(LISTING_TIME, reader.give_up, f"took {LISTING_TIME:g} s")
        try:
            return await collected.done
        except BackendUnavailable:
            if collected.size > limit:
                raise BackendUnavailable(f"{self.what}: a body of more than {limit} bytes") from None
            raise
        finally:
            if too_long.active():
                too_long.cancel()

    def dismiss(self) -> None:
        """Nobody wants the body."""
        length = self._response.length
        if length == 0:
            return
        reader = self.deliver(Protocol())
        if length is UNKNOWN_LENGTH or length > SMALL:
            reader.give_up("dismissed")

    def abort(self) -> None:
        """Reset the connection, unless the body has come whole."""
        self.connection.abort_turn(self._turn)

    def deliver(self, consumer: IProtocol) -> _Reader:
        """Start sending the body to ``consumer``, as ``IObjectBody.deliver`` says."""
        reader = _Reader(self, consumer)
        self._response.deliverBody(reader)
        reader.delivered()
        return reader


@implementer(IObjectBody)
class _Body:
    def __init__(self, answer: Answer, size: int) -> None:
        self.size = size
        self._answer = answer
        # Whoever forgets a body must not keep its connection for ever.
        self._forgotten = Watch(answer.server.reactor, answer.server.idle_timeout, self.abandon)
        self._used = False

    def deliver(self, protocol: IProtocol) -> None:
        if self._used:
            failure = Failure(BackendUnavailable(f"{self._answer.what}: the body was given up"))
            protocol.makeConnection(_Gone())  # type: ignore[arg-type]
            protocol.connectionLost(failure)
            return
        self._used = True
        self._forgotten.stop()
        self._answer.deliver(protocol)

    def abandon(self) -> None:
        if not self._used:
            self._used = True
            self._forgotten.stop()
            self._answer.dismiss()


@implementer(IPushProducer)
class _Reader(Protocol):
    """
    Between a response and whoever reads its body: guards it against stalls, and is the reader's transport.
    """

    def __init__(self, answer: Answer, consumer: IProtocol) -> None:
        self._answer = answer
        self._consumer = consumer
        self._paused = False
        self._over = False
        self._watch = Watch(answer.server.reactor, answer.server.idle_timeout, self._stalled, TRICKLE)

    def connectionMade(self) -> None:
        self._consumer.makeConnection(self)  # type: ignore[arg-type]

    def delivered(self) -> None:
        # Response.deliverBody resumes the transport at its end, whatever the consumer said meanwhile.
        if self._paused and not self._over:
            self._transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        if not self._over:
            self._watch.passed(len(data))
            self._consumer.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reason.check(ResponseDone):
            self._end(reason)
        else:
            self._end(Failure(BackendUnavailable(f"{self._answer.what}: {_cause(reason.value)}")))

    def give_up(self, why: str) -> None:
        """End it now, unless it is over, and reset the connection."""
        if not self._over:
            self._answer.abort()
            self._end(Failure(BackendUnavailable(f"{self._answer.what}: {why}")))

    def pauseProducing(self) -> None:
        self._paused = True
        self._watch.hold()
        self._transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        self._watch.release()
        self._transport.resumeProducing()

    def stopProducing(self) -> None:
        self.give_up("the reader stopped")

    loseConnection = abortConnection = stopProducing

    @property
    def _transport(self) -> IPushProducer:
        return cast(IPushProducer, self.transport)

    def _stalled(self) -> None:
        self.give_up(f"the body stalled for {self._answer.server.idle_timeout:g} s")

    def _end(self, reason: Failure) -> None:
        if not self._over:
            self._over = True
            self._watch.stop()
            self._consumer.connectionLost(reason)


class _Collected(Protocol):
    def __init__(self, limit: int) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._stop())
        self.size = 0
        self._limit = limit
        self._chunks: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._limit:
            self._stop()
        else:
            self._chunks.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(ResponseDone):
            self.done.callback(b"".join(self._chunks))
        else:
            self.done.errback(reason)

    def _stop(self) -> None:
        cast(IPushProducer, self.transport).stopProducing()


@implementer(IPushProducer)
class _Gone:
    """The transport of a body that is not there."""

    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def stopProducing(self) -> None: ...


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
        return _cause(problem)
    if sending is not None and not sending.sent and isinstance(problem, RequestGenerationFailed):
        return "the server does not read on"
    return "no answer in time"


def _cause(problem: BaseException | None) -> str:
    """The innermost reason in words; the HTTP client's own wrapping tells nothing."""
    while isinstance(problem, _WrapperException) and problem.reasons:
        problem = problem.reasons[0].value
    text = str(problem).strip() if problem is not None else ""
    return text or type(problem).__name__


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
