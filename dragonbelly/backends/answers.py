"""
An answer of a storage server, and the ways to read its body: as an object's, whole as a listing, or not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web._newclient import _WrapperException
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse
from zope.interface import implementer

from dragonbelly.backends.connections import LARGE, Connection, Watch
from dragonbelly.errors import BackendUnavailable
from dragonbelly.interfaces import IObjectBody

if TYPE_CHECKING:
    from dragonbelly.backends.http import HttpServer

#: A body nobody wants is read away up to this size, so that the connection lives on; else it is reset.
SMALL = 64 * 1024

#: A listing is at most so large, and comes within so many seconds.
LISTING_LIMIT = 64 * 1024 * 1024
LISTING_TIME = 300.0

#: Fewer bytes than this in ``idle_timeout`` seconds are a stall.
TRICKLE = 4096


#: Digits of a length, at most: an exabyte.
DIGITS = 18


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
            return int(only) if only.isdigit() and len(only) <= DIGITS else None
        length = self._response.length
        return None if length is UNKNOWN_LENGTH or length >= 10**DIGITS else cast(int, length)

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
            self._end(Failure(BackendUnavailable(f"{self._answer.what}: {cause_of(reason.value)}")))

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


def cause_of(problem: BaseException | None) -> str:
    """The innermost reason in words; the HTTP client's own wrapping tells nothing."""
    while isinstance(problem, _WrapperException) and problem.reasons:
        problem = problem.reasons[0].value
    text = str(problem).strip() if problem is not None else ""
    return text or type(problem).__name__
