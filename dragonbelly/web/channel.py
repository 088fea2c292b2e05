"""
``twisted.web``'s HTTP/1.1 with a say in what becomes of a request's body before it comes.

``twisted.web`` collects the whole body before it asks anybody, and sends ``100 Continue`` by itself; a
redirector must answer before the body, and a storage server must not keep it.  So ``Request.intake`` is asked
when the headers are complete, and answers ``Buffer``, ``Refuse`` or ``Stream``.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http
from zope.interface import implementer

from dragonbelly.config.limits import LimitsSection
from dragonbelly.web.connections import Connections, Limited, Seat
from dragonbelly.web.heads import LINE_COST
from dragonbelly.web.request import Buffer, Intake, Refuse, Stream

#: A refused body up to this size is read away, so that the connection lives on.
SMALL_BODY = 64 * 1024

#: How long a refused larger body is read away, in s: in all, and without a byte.  Closing at once would reset
#: the connection, and the reset may overtake the answer (RFC 9112 section 9.6).
LINGER = 30.0
LINGER_IDLE = 3.0

#: How long a connection that has to make room may take to close, in s: those who open many must not be able to
#: keep more of them than there are seats.
GIVE_WAY = 1.0

#: How long a client who has closed his side may wait for an answer, in s.  Most often he has left, and his work
#: is to be cancelled soon; which of both it is shows only when something is written to him.
HALF_CLOSED = 2.0

HEADERS_TOO_LARGE = (  # RFC 6585 section 5
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)

#: First byte of a TLS handshake (RFC 8446 section 5.1); no request begins with it.
TLS = b"\x16"

#: What a line that continues a header begins with.
_FOLDS = (b" ", b"\t")


@implementer(IHalfCloseableProtocol)
class Channel(http.HTTPChannel):
    """One connection."""

    limits: LimitsSection
    connections: Connections
    limited: Limited
    transport: Any

    #: twisted.web's own limit of lines; ours counts their bytes, see ``lineReceived``.
    maxHeaders = sys.maxsize

    _seat: Seat | None = None
    _entered = ""  # the address that it has the seat for
    _unheard = True
    #: Requests so far, those answered elsewhere included.
    asked = 0
    _headerSize = 0
    _intake: Intake | None = None
    _pieces: list[bytes]
    _collected = 0
    _discarding = False
    _lingering = False
    _deadline: IDelayedCall | None = None
    _half_closed = False  # the client has said all
    _reading = False  # between a request's first byte and the end of its headers

    def connectionMade(self) -> None:
        super().connectionMade()
        self._enter()

    def _enter(self) -> None:
        if self._seat is not None:
            self.connections.leave(self._seat)
        self._entered = self._address()
        self._seat = self.connections.enter(self, self._entered)
        if self._seat is None:
            self.transport.abortConnection()

    def _address(self) -> str:
        return getattr(self.transport.getPeer(), "host", "")

    def give_way(self) -> None:
        # Its seat is another's already: who does not close his side, or does not read, is cut off soon.
        if self._abortingCall is not None:
            self._abortingCall.cancel()
        self._abortingCall = self.callLater(GIVE_WAY, self.forceAbortClient)
        super().loseConnection()

    def _busy(self) -> None:
        if self._seat is not None:
            self.connections.busy(self._seat)

    def dataReceived(self, data: bytes) -> None:
        if self._unheard:
            self._unheard = False
            # A proxy tells who its client is before anything else (the ``haproxy:`` endpoint).
            if self._address() != self._entered:
                self._enter()
        if not self._reading and not self._handlingRequest and self._intake is None:
            if data.startswith(TLS):
                # Both would wait for the other: it for a handshake, this for the end of a line.
                self._respondToBadRequestAndDisconnect()
                return
            self._reading = True
        super().dataReceived(data)
        begun = self._buffer or self._headerSize
        if begun and not (self._handlingRequest or self._intake or self.transport.disconnecting):
            self._reading = True  # perhaps in one packet with the end of the request before
            if self._buffer.startswith(TLS) and not self._headerSize:
                self._respondToBadRequestAndDisconnect()
                return
        # Nearly all requests come in one packet, and need no timer.
        if self._reading and self._deadline is None:
            self._deadline = self.callLater(self.limits.header_time, self._tooSlow)

    def _tooSlow(self) -> None:
        self._deadline = None
        if not self._discarding:
            self.limited("header_time" if self._reading else "body_time")
        self.forceAbortClient()

    def lineReceived(self, line: bytes) -> None:
        # One rule for a long line, many lines and many bytes; each costs something, however short it is.
        self._headerSize += len(line) + LINE_COST
        if self._headerSize > self.limits.header_size:
            self._refuseHeaders()
        elif line[:1] in _FOLDS:
            # A header over several lines: others read it differently (RFC 9112 section 5.2).
            self._respondToBadRequestAndDisconnect()
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self._refuseHeaders()

    def _refuseHeaders(self) -> None:
        self.limited("header_size")
        self.transport.write(HEADERS_TOO_LARGE)
        self.loseConnection()

    def _stopDeadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        if header == b"Transfer-Encoding" and (data.lower() != b"chunked" or self._version != b"HTTP/1.1"):
            # twisted.web reads over "identity"; where a body ends must not be in doubt (RFC 9112 section 6.3).
            return bool(self._failChooseTransferDecoder())
        return bool(super()._maybeChooseTransferDecoder(header, data))

    def checkPersistence(self, request: http.Request, version: bytes) -> bool:
        # twisted.web finds "close" in the first field only, and between spaces.
        for field in request.requestHeaders.getRawHeaders(b"Connection", ()):
            if b"close" in (option.strip() for option in field.lower().split(b",")):
                request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
                return False
        return bool(super().checkPersistence(request, version))

    def headerReceived(self, line: bytes) -> bool:
        try:
            taken: bool = super().headerReceived(line)
        except ValueError:
            # twisted.web tests for digits only, and int() refuses thousands of them.
            self._respondToBadRequestAndDisconnect()
            return False
        return taken

    def _respondToBadRequestAndDisconnect(self) -> None:
        if not self._discarding:  # else the request has its answer, and what comes of it is no matter
            super()._respondToBadRequestAndDisconnect()

    def allHeadersReceived(self) -> None:
        self._reading, self._headerSize = False, 0
        self._stopDeadline()
        request = self.requests[-1]
        request.method, request.uri, request.clientproto = self._command, self._path, self._version
        request.announced = self.length
        self.persistent = self.checkPersistence(request, self._version)
        self.asked += 1
        if self.asked == self.limits.requests_per_connection:
            self.persistent = False
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        expect = request.requestHeaders.getRawHeaders(b"Expect")
        expects = bool(expect) and expect[0].lower() == b"100-continue" and self._version == b"HTTP/1.1"
        if self.length == 0:
            # Also asked when there is no body: a handler sets itself up in one place.
            if isinstance(intake := request.intake(), Stream):
                intake.sink.finished()
            return
        self._intake, self._pieces, self._collected = request.intake(), [], 0
        if isinstance(self._intake, Buffer) and self.length is not None and self.length > self._intake.limit:
            request.oversized = True
            self._intake = Refuse()
        if isinstance(self._intake, Refuse):
            if expects or self.length is None or self.length > SMALL_BODY:
                self._answerEarly()
                return
        elif expects:
            self._send100Continue()
        if isinstance(self._intake, Stream):
            self._busy()
        else:
            self._deadline = self.callLater(self.limits.body_time, self._tooSlow)

    def _answerEarly(self) -> None:
        """Process the request now, drop what still comes of its body, and close after the answer."""
        self._stopDeadline()
        self._discarding = True
        self._busy()
        self.persistent = False
        self.requests[-1].responseHeaders.setRawHeaders(b"Connection", [b"close"])
        self._intake = None
        super().allContentReceived()
        # Not 0: the caller would take the request for one without a body and process it again.
        self.length = -1

    def bodyReceived(self, data: bytes) -> None:
        if isinstance(self._intake, Stream):
            self._intake.sink.write(data)
        elif isinstance(self._intake, Buffer):
            self._collected += len(data)
            if self._collected <= self._intake.limit:
                self._pieces.append(data)
            else:
                self._pieces = []
                self.requests[-1].oversized = True
                if not self._discarding:
                    self._answerEarly()

    def rawDataReceived(self, data: bytes) -> None:
        if not self._discarding:
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        intake, self._intake = self._intake, None
        if self._discarding:
            return
        self._stopDeadline()
        self._busy()
        if isinstance(intake, Buffer):
            self.requests[-1].body = b"".join(self._pieces)
            self._pieces = []
        elif isinstance(intake, Stream):
            intake.sink.finished()
        super().allContentReceived()

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Any) -> None:
        if self.connections.draining and self.persistent:
            self.persistent = False
            headers.setRawHeaders(b"Connection", [b"close"])
        super().writeHeaders(version, code, reason, headers)

    def requestDone(self, request: http.Request) -> None:
        if self._seat is not None:
            self.connections.idle(self._seat)
        super().requestDone(request)
        if self._half_closed and not self._busyReceiving:  # else there is more that was asked
            self._wind_up()

    def readConnectionLost(self) -> None:
        self._half_closed = True
        self._wind_up()

    def writeConnectionLost(self) -> None:
        """Our side is closed, which is what was wanted."""

    def _wind_up(self) -> None:
        """Close when all is answered that was asked, or nothing was for a while."""
        if self._lingering or not self._handlingRequest:
            self.give_way()
        elif self._deadline is None:
            self._deadline = self.callLater(HALF_CLOSED, self._waitedEnough)

    def _waitedEnough(self) -> None:
        self._deadline = None
        self.give_way()

    def loseConnection(self) -> None:
        if self._discarding and not self._lingering:
            self._lingering = True
            self._linger()
        else:
            if self.timeOut is None and self._savedTimeOut:
                self.setTimeout(self._savedTimeOut)  # or who does not read the answer would keep it for ever
            super().loseConnection()

    def _linger(self) -> None:
        self.transport.unregisterProducer()
        if ITCPTransport.providedBy(self.transport) and not ISSLTransport.providedBy(self.transport):
            self.transport.loseWriteConnection()
        self.setTimeout(LINGER_IDLE)
        self._deadline = self.callLater(LINGER, self._tooSlow)

    def timeoutConnection(self) -> None:
        if self._lingering:
            super().loseConnection()
        elif self._abortingCall is None:
            # Not twisted.web's, which writes a line of log for each.
            self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
            self.loseConnection()

    def forceAbortClient(self) -> None:
        aborting, self._abortingCall = self._abortingCall, None
        if aborting is not None and aborting.active():
            aborting.cancel()
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stopDeadline()
        if self._seat is not None:
            self.connections.leave(self._seat)
        intake, self._intake = self._intake, None
        if isinstance(intake, Stream):
            intake.sink.aborted()
        super().connectionLost(reason)
