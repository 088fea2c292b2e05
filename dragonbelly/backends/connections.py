"""
The connections to one HTTP server: kept, and given up when it misbehaves.

Of what comes llhttp sees the header, and chunks; the bytes of a body whose length is known are handed on as
they were read.  What goes out is written to the socket at once where that is possible.  What that gains over
``twisted.web.client`` is in docs/performance.rst.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from dragonbelly.backends.response import Parser, Response
from dragonbelly.backends.sending import Sending

#: Bytes of an answer's header, at most; interim answers (100, 103) included.
MAX_HEADER = 64 * 1024

#: A body is large from here on; the buffers of its connection are then ``WIDE`` bytes for as long as it passes.
#: With 256 KiB that took copies from about 300 to 480 MB/s, and on another machine 1 MiB from 1,195 to 1,291;
#: on small requests it would only cost an allocation each.
LARGE = 256 * 1024
WIDE = 1024 * 1024

#: An idle connection is closed after so many seconds: before the server does it (nginx: 75, often set to less),
#: because a PUT on a connection that is just being closed is lost.
KEEP = 15

#: Answers that never have a body (RFC 9110 sections 15.3.5 and 15.4.5).
BODILESS = (204, 304)


class Broken(Exception):
    """The server did not keep to HTTP, or the connection ended before it had answered."""


class Unanswered(Broken):
    """The connection ended before a byte of the answer came."""


class Connection(Protocol):
    """
    One request at a time.

    ``turn`` counts requests and the times it became idle; it is 1 during the first request.  While a body comes
    that nobody takes, the server is not read from.
    """

    def __init__(self, idle: Callable[[Connection], object]) -> None:
        self.turn = 0
        self.idle_since = 0.0
        self.gone = False
        self.lost: Deferred[None] = Deferred()
        self._idle = idle
        self._wide = False
        self._socket: socket.socket | None = None
        self._direct = False
        self._asked: Deferred[Response] | None = None
        self._sending: Sending | None = None
        self._head = bytearray()
        self._header = 0
        self._bodiless = False
        self._response: Response | None = None
        self._left: int | None = None
        self._chunks: Parser | None = None
        self._empty = 0
        self._keep = False
        self._held = False

    def connectionMade(self) -> None:
        handle = self._transport.getHandle()
        # Under TLS it is something else.
        # Else the last piece of a large body waits for the acknowledgement of the one before.
        self._transport.setTcpNoDelay(True)
        self._socket = handle if isinstance(handle, socket.socket) else None

    # --- the request

    def request(self, head: bytes, bodiless: bool, sending: Sending | None = None) -> Deferred[Response]:
        """
        Send ``head``, behind which a small body may stand already, and then what is ``sending``.  ``bodiless``:
        no answer to this method has a body.  Fires when the answer's header is there; cancelling it resets the
        connection.

        :raises Broken: it did not come.
        """
        self.turn += 1
        self._header = 0
        self._bodiless = bodiless
        self._direct = self._socket is not None
        asked: Deferred[Response] = Deferred(lambda _: self.give_up(CancelledError()))
        self._asked = asked
        self._sending = sending
        self.widen(sending is not None and sending.length >= LARGE)
        self.send(head)
        if sending is not None:
            self._transport.registerProducer(sending, True)
            sending.start(self)
        return asked

    def send(self, data: bytes) -> None:
        """
        To the socket: the way through the transport's buffer costs a copy and three more system calls.  What
        does not fit goes there, and what follows goes there too: until it was paused for it, and is resumed.
        """
        if self._direct and self._socket is not None:
            try:
                sent = self._socket.send(data)
            except OSError:  # it is full; or broken, which the transport finds out, too
                sent = 0
            if sent == len(data):
                return
            self._direct = False
            data = data[sent:]
        self._transport.write(data)

    def body_sent(self) -> None:
        self._transport.unregisterProducer()

    def give_up(self, error: BaseException) -> None:
        """Reset the connection; whoever waits for an answer gets the ``error``."""
        self._abort()
        asked, self._asked = self._asked, None
        self._stop_sending()
        if asked is not None:
            asked.errback(Failure(error))

    def _stop_sending(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.stopProducing()

    # --- the answer

    def dataReceived(self, data: bytes) -> None:
        if self._response is not None:
            self._take(self._response, data)
        elif self._asked is not None:
            try:
                self._take_head(data)
            except ValueError as error:
                self.give_up(Broken(str(error)))
        else:
            self._abort()  # it would be taken for the answer to the next question

    def _take_head(self, data: bytes) -> None:
        head = self._head
        seen = max(0, len(head) - 3)
        head += data
        self._header += len(data)
        while (end := head.find(b"\r\n\r\n", seen)) >= 0:
            response = Response(self, self.turn)
            parser = Parser(response)
            parser.feed(bytes(head[: end + 4]))
            del head[: end + 4]
            seen = 0
            if response.status >= 200:
                rest = bytes(head)
                head.clear()
                self._answered(response, parser, rest)
                return
            if self._header > MAX_HEADER:
                break
        if self._header > MAX_HEADER:
            raise ValueError(f"a header of more than {MAX_HEADER} bytes")

    def _answered(self, response: Response, parser: Parser, rest: bytes) -> None:
        headers = response.headers
        self._keep = parser.kept
        self._chunks = None
        self._empty = 0
        if self._bodiless or response.status in BODILESS:
            response.length = 0
        elif b"transfer-encoding" in headers:
            self._chunks = parser
        elif b"content-length" in headers:
            response.length = response.announced
            if response.length is None:
                raise ValueError("a Content-Length that is none")
        self._left = response.length
        asked, self._asked = self._asked, None
        if self._sending is not None and not self._sending.sent:
            # It answered early, and would have to read on before this connection could be used again.
            self._keep = False
            self._abort()
            self._stop_sending()
        self._sending = None
        self._response = response
        self._take(response, rest)
        if asked is not None:
            asked.callback(response)
        if self._response is response and not response.read:
            self.hold()

    def _take(self, response: Response, data: bytes) -> None:
        if self._chunks is not None:
            self._take_chunks(response, self._chunks, data)
            return
        if self._left is None:
            response.take(data)
            return
        left = self._left
        self._left -= len(data)
        if self._left < 0:
            self._keep = False  # more than it announced
            data = data[:left]
        if data:
            response.take(data)
        if self._left <= 0 and self._response is response:
            self._over(response)

    def _take_chunks(self, response: Response, parser: Parser, data: bytes) -> None:
        try:
            parser.feed(data)
        except ValueError as error:
            self._over(response, error)
            return
        pieces, parser.pieces = parser.pieces, []
        for piece in pieces:
            response.take(piece)
        # What is no body is bounded like a header.
        self._empty = 0 if pieces else self._empty + len(data)
        if self._response is not response:
            return
        if parser.complete:
            self._keep = self._keep and not parser.excess
            self._over(response)
        elif self._empty > MAX_HEADER:
            self._over(response, ValueError("chunks without a body"))

    def _over(self, response: Response, error: Exception | None = None) -> None:
        """Nothing more comes; the connection is the next one's, whether or not the body was read."""
        self._response = None
        self._chunks = None
        self.turn += 1
        self.go_on()
        if error is not None or not self._keep:
            self._abort()
        elif not self.gone:
            self.widen(False)
            self._idle(self)
        response.end(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone = True
        self._socket = None
        said = str(reason.value).strip() or type(reason.value).__name__
        response, asked = self._response, self._asked
        if response is not None:
            self._over(response, Broken(said))
        if asked is not None:
            self.give_up(Broken(said) if self._header else Unanswered(said))
        self.lost.callback(None)

    # --- the transport

    @property
    def _transport(self) -> Any:
        return self.transport

    def hold(self) -> None:
        """Read nothing for now."""
        if not (self._held or self.gone):
            self._held = True
            self._transport.pauseProducing()

    def go_on(self) -> None:
        if self._held and not self.gone:
            self._held = False
            self._transport.resumeProducing()

    def widen(self, wide: bool) -> None:
        """Wide or ordinary buffers.  Twisted has no setting for them: they are attributes of the transport."""
        if wide is self._wide or self.gone:
            return
        self._wide = wide
        own = getattr(self._transport, "transport", self._transport)  # under TLS
        for name in ("bufferSize", "SEND_LIMIT"):
            if wide:
                setattr(own, name, WIDE)
            else:
                delattr(own, name)

    def abort_turn(self, turn: int) -> None:
        """Reset the connection, unless it is somebody else's turn: a whole answer has given it back."""
        if turn == self.turn:
            self._abort()

    def close(self) -> None:
        """Politely, when it is idle."""
        if not self.gone:
            self.gone = True
            self._transport.loseConnection()

    def _abort(self) -> None:
        if not self.gone:
            self.gone = True
            self._transport.abortConnection()


class Pool:
    """
    The connections to one server: those that are idle, ``most`` of them at most, and new ones.
    """

    def __init__(self, reactor: Any, endpoint: IStreamClientEndpoint, most: int) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._most = most
        self._idle: list[Connection] = []
        self._closed = False
        self._sweeping: IDelayedCall | None = None
        self._factory = Factory.forProtocol(lambda: Connection(self._put))
        self._factory.noisy = False  # else the log has a line for each connection

    def take(self) -> Connection | None:
        """An idle one, the one used last."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.gone:
                return connection
        return None

    def connect(self) -> Deferred[Connection]:
        """A new one.  Cancelled it fails with ``CancelledError``, whatever the attempt fails with then."""

        def cancel(connected: Deferred[Connection]) -> None:
            connected.errback(CancelledError())
            attempt.cancel()

        def made(connection: Connection) -> None:
            if connected.called:
                connection.abort_turn(0)
            else:
                connected.callback(connection)

        def failed(failure: Failure) -> None:
            if not connected.called:
                connected.errback(failure)

        connected: Deferred[Connection] = Deferred(cancel)
        attempt: Deferred[Any] = self._endpoint.connect(self._factory)
        attempt.addCallbacks(made, failed)
        return connected

    def close(self) -> Deferred[Any]:
        """Close what is idle, and everything else when it is; fires when nothing is open that was idle."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        return DeferredList([connection.lost for connection in idle])

    def _put(self, connection: Connection) -> None:
        if self._closed or len(self._idle) >= self._most:
            connection.close()
            return
        connection.idle_since = self._reactor.seconds()
        self._idle.append(connection)
        # One timer for all, not one for each time that one is idle.
        if self._sweeping is None:
            self._sweeping = self._reactor.callLater(KEEP, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        now = self._reactor.seconds()
        ages = [(now - connection.idle_since, connection) for connection in self._idle if not connection.gone]
        # A clock that was set back says nothing of how long they have been idle.
        self._idle = [connection for age, connection in ages if 0 <= age < KEEP]
        for age, connection in ages:
            if not 0 <= age < KEEP:
                connection.close()
        if self._idle:
            wait = KEEP - (now - self._idle[0].idle_since)
            self._sweeping = self._reactor.callLater(wait, self._sweep)
