"""
The connections to one HTTP server: kept, watched, and given up when it misbehaves.

``ServerAgent`` is the agent under treq.  What it does that ``twisted.web.client.Agent`` does not: one server
only (no URL to parse, no endpoint to make for each request), a bound on the bytes of an answer's header, wide
buffers while a large body passes, never an encoded body, and answers that know their connection.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IConsumer, IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.web._newclient import (
    HTTP11ClientProtocol,
    Request,
    RequestNotSent,
    RequestTransmissionFailed,
    ResponseNeverReceived,
    _WrapperException,
)
from twisted.web.client import HTTPConnectionPool, _HTTP11ClientFactory
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

#: Bytes of an answer's header, at most; interim answers (100, 103) included.
MAX_HEADER = 64 * 1024

#: A body is large from here on; the buffers of its connection are then ``WIDE`` bytes for as long as it passes.
#: That took copies from about 300 to 480 MB/s (1 MiB is no faster, and costs memory); on small requests it
#: would only cost an allocation each.
LARGE = 256 * 1024
WIDE = 256 * 1024

#: An idle connection is closed after so many seconds: before the server does it (nginx: 75, often set to less),
#: because a PUT on a connection that is just being closed is lost.
KEEP = 15


class Watch:
    """
    Calls ``expire`` when fewer than ``least`` bytes passed in a window of ``limit`` seconds.

    Costs one timer a window, and nothing for each chunk of bytes but an addition.  Time on ``hold`` (it is not
    the server's turn) does not count, so a stall is noticed after one to two windows.
    """

    def __init__(
        self, reactor: IReactorTime, limit: float, expire: Callable[[], object], least: int = 1
    ) -> None:
        self._reactor = reactor
        self._expire = expire
        self._least = least
        self._passed = 0
        self._held = False
        self._call: IDelayedCall | None = None
        self.restart(limit)

    def restart(self, limit: float) -> None:
        """A new window, of another length from now on."""
        self.stop()
        self._limit = limit
        self._passed = 0
        self._held = False
        self._call = self._reactor.callLater(limit, self._look)

    def passed(self, size: int) -> None:
        self._passed += size

    def hold(self) -> None:
        self._held = True

    def release(self) -> None:
        self._held = False
        self._passed = self._least  # what is left of this window says nothing about the server

    def stop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _look(self) -> None:
        self._call = None
        if not self._held and self._passed < self._least:
            self._expire()
            return
        self._passed = 0
        self._call = self._reactor.callLater(self._limit, self._look)


@implementer(IBodyProducer)
class Sending:
    """
    A request's body on its way.

    The server has ``idle`` seconds to take a full buffer, and ``answer`` seconds to answer once it has all.
    ``sent`` says whether it has.
    """

    def __init__(self, body: IBodyProducer, watch: Watch, idle: float, answer: float) -> None:
        self.length: int = body.length
        self.sent = False
        self.failure: Failure | None = None
        self._body = body
        self._watch = watch
        self._idle = idle
        self._answer = answer
        self._started = False
        self._stopped = False

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        if self._stopped:
            return fail(RequestNotSent())
        self._started = True
        self._watch.restart(self._idle)
        self._watch.hold()
        # A Deferred of our own: when it is cancelled it must fail, and not every producer's does
        # (FileBodyProducer's never fires again).
        done: Deferred[None] = Deferred(lambda _: self.stopProducing())

        def finished(_: object) -> None:
            if not done.called:
                self.sent = True
                self._watch.restart(self._answer)
                done.callback(None)

        def failed(failure: Failure) -> None:
            # One that was stopped fails as a consequence: not the cause that anybody wants to hear of.
            if not (self._stopped or done.called):
                self.failure = failure
                done.errback(failure)

        self._body.startProducing(consumer).addCallbacks(finished, failed)
        return done

    def pauseProducing(self) -> None:
        self._watch.release()
        self._body.pauseProducing()

    def resumeProducing(self) -> None:
        self._watch.hold()
        self._body.resumeProducing()

    def stopProducing(self) -> None:
        # The transport and the HTTP protocol both call this when the connection is lost.
        stop = self._started and not self._stopped and not self.sent
        self._stopped = True
        if stop:
            self._body.stopProducing()


class Connection(HTTP11ClientProtocol):
    """
    One connection: bounds the header, can be wide, and knows whose turn it is.

    ``turn`` counts requests and the times it became idle; it is 1 during the first request.
    """

    def __init__(self, quiescent: Callable[[Connection], object]) -> None:
        super().__init__(self._idle)
        self._quiescent = quiescent
        self.turn = 0
        self._aborted = False
        self._header: int | None = None
        self._wide = False

    def _idle(self, _: object) -> None:
        # What is left in the buffer of an aborted connection may still complete an answer.
        self.turn += 1
        if not self._aborted:
            self._quiescent(self)

    def request(self, request: Request) -> Deferred[IResponse]:
        self.turn += 1
        self._header = 0
        answer = super().request(request)
        answer.addBoth(self._answered)
        return answer

    def _answered(self, result: object) -> object:
        self._header = None
        return result

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if self._header is not None:
            self._header += len(data)
            if self._header > MAX_HEADER:
                self.abort_turn(self.turn)

    def widen(self, wide: bool) -> None:
        """Wide or ordinary buffers.  Twisted has no setting for them: they are attributes of the transport."""
        if wide is self._wide:
            return
        self._wide = wide
        transport: Any = self.transport
        socket = getattr(transport, "transport", transport)  # under TLS
        for name in ("bufferSize", "SEND_LIMIT"):
            if wide:
                setattr(socket, name, WIDE)
            else:
                delattr(socket, name)

    def abort_turn(self, turn: int) -> None:
        """Reset the connection, unless it is somebody else's turn: a whole answer has given it back."""
        if turn != self.turn:
            return
        self._aborted = True
        transport: Any = self.transport
        transport.abortConnection()


class _ConnectionFactory(_HTTP11ClientFactory):
    noisy = False  # else the log has a line for each connection

    def buildProtocol(self, addr: object) -> Connection:
        return Connection(self._quiescentCallback)


class Pool(HTTPConnectionPool):
    """The idle connections to one server."""

    _factory = _ConnectionFactory
    cachedConnectionTimeout = KEEP
    retryAutomatically = False  # ServerAgent does, and needs the connection itself

    def __init__(self, reactor: object, connections: int) -> None:
        super().__init__(reactor)
        self.maxPersistentPerHost = connections
        self._closed = False

    def closeCachedConnections(self) -> Deferred[None]:
        self._closed = True
        closed: Deferred[None] = super().closeCachedConnections()
        return closed

    def _putConnection(self, key: Hashable, connection: Connection) -> None:
        if self._closed:
            connection.abort_turn(connection.turn)
        else:
            super()._putConnection(key, connection)


class EncodedBody(Exception):
    """The server sent the object's bytes in some content coding, which nobody asked for."""


class MakeAnswer(Protocol):
    def __call__(self, response: IResponse, connection: Connection) -> Any: ...


@implementer(IAgent)
class ServerAgent:
    """
    Sends requests to the server at ``endpoint``; ``answer`` makes of a response and its connection what
    ``request`` fires with.
    """

    def __init__(self, pool: Pool, endpoint: IStreamClientEndpoint, origin: bytes, answer: MakeAnswer) -> None:
        self._pool = pool
        self._endpoint = endpoint
        self._origin = len(origin)
        self._answer = answer

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        assert headers is not None  # the request's own
        headers.setRawHeaders(b"accept-encoding", [b"identity"])  # treq asks for gzip
        return self._send(Request(method, uri[self._origin :], headers, bodyProducer, persistent=True))

    def _send(self, request: Request) -> Deferred[IResponse]:
        def connected(connection: Connection) -> Deferred[Any]:
            body = request.bodyProducer
            connection.widen(body is not None and body.length >= LARGE)
            sent = connection.request(request)
            sent.addCallbacks(answered, failed, callbackArgs=(connection,), errbackArgs=(connection,))
            return sent

        def answered(response: IResponse, connection: Connection) -> Any:
            body = request.bodyProducer
            if isinstance(body, Sending) and not body.sent:
                # It answered early, and would have to read on before this connection could be used again.
                body.stopProducing()
                connection.abort_turn(connection.turn)
            if not _identity(response):
                if response.length:
                    connection.abort_turn(connection.turn)
                raise EncodedBody
            return self._answer(response, connection)

        def failed(failure: Failure, connection: Connection) -> Any:
            # A server may close an idle connection at the very moment that it is used again.
            if connection.turn > 1 and request.bodyProducer is None and _never_answered(failure):
                return self._send(request)
            return failure

        connection: Deferred[Any] = self._pool.getConnection("server", self._endpoint)
        return connection.addCallback(connected)


def _identity(response: IResponse) -> bool:
    codings = response.headers.getRawHeaders(b"content-encoding", ())
    return all(coding.strip().lower() in (b"", b"identity") for coding in codings)


def _never_answered(failure: Failure) -> bool:
    if failure.check(RequestNotSent):
        return True
    if not failure.check(RequestTransmissionFailed, ResponseNeverReceived):
        return False
    return not _was_cancelled(failure.value)


def _was_cancelled(error: BaseException | None) -> bool:
    """Whether a failure of the HTTP client is what is left of a cancelled Deferred."""
    if isinstance(error, _WrapperException):
        return any(_was_cancelled(reason.value) for reason in error.reasons)
    return isinstance(error, CancelledError)
