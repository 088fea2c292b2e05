"""
``twisted.web``'s HTTP/1.1 with a say in what becomes of a request's body before it comes.

``twisted.web`` collects the whole body before it asks anybody, and sends ``100 Continue`` by itself; a
redirector must answer before the body, and a storage server must not keep it.  So ``Request.intake`` is asked
when the headers are complete, and answers ``Buffer``, ``Refuse`` or ``Stream``.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocolNegotiationFactory,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.iweb import INonQueuedRequestFactory
from zope.interface import implementer, provider

from dragonbelly.errors import BadRequest
from dragonbelly.web.paths import is_authority

#: A refused body up to this size is read away, so that the connection lives on.
SMALL_BODY = 64 * 1024

#: How long a refused larger body is read away, in s: in all, and without a byte.  Closing at once would reset
#: the connection, and the reset may overtake the answer (RFC 9112 section 9.6).
LINGER = 30.0
LINGER_IDLE = 3.0

#: First byte of a TLS handshake (RFC 8446 section 5.1); no request begins with it.
TLS = b"\x16"

#: What a line that continues a header begins with.
_FOLDS = (b" ", b"\t")


class Sink(Protocol):
    """Where a streamed body goes."""

    def write(self, data: bytes) -> None: ...

    def finished(self) -> None:
        """All has come."""

    def aborted(self) -> None:
        """The client went away, or sent nonsense; nothing more comes."""


class Intake:
    """What to do with a request's body."""


class Buffer(Intake):
    """Collect up to ``limit`` bytes in ``request.body``; of a larger one nothing is kept (``oversized``)."""

    def __init__(self, limit: int) -> None:
        self.limit = limit


class Refuse(Intake):
    """Answer without the body, before ``100 Continue``."""


class Stream(Intake):
    """Hand every chunk to ``sink``, then process."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink


@provider(INonQueuedRequestFactory)
class Request(http.Request):
    """
    A request whose body is dealt with as ``intake`` says; subclasses override ``intake`` and ``process``.

    ``announced`` is the body's size in bytes: 0 without a body, None for a chunked one.  ``oversized`` is set
    when a body to be buffered was over its limit: answer 413.
    """

    announced: int | None = 0
    body: bytes = b""
    oversized = False
    #: twisted.web sets it, and deletes it when the answer is out.
    channel: Any = None

    def intake(self) -> Intake:
        return Refuse()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        # Everything is set already, and neither queries nor form bodies are for twisted.web to parse.
        self.process()

    def header(self, name: str) -> str | None:
        """The header's value, several joined with commas (RFC 9110 section 5.3); bytes as latin-1."""
        values = self.requestHeaders.getRawHeaders(name.encode())
        return b", ".join(values).decode("latin-1") if values else None

    def authority(self) -> bytes:
        """
        What the ``Host`` header says; empty in HTTP/1.0 without one.

        :raises BadRequest: it is not there exactly once, or is no host (RFC 9112 section 3.2).
        """
        hosts = self.requestHeaders.getRawHeaders(b"Host") or []
        if len(hosts) > 1 or (not hosts and self.clientproto == b"HTTP/1.1"):
            raise BadRequest("exactly one Host header is needed")
        if hosts and not is_authority(hosts[0]):
            raise BadRequest("the Host header is no host and port")
        return hosts[0] if hosts else b""

    def all_headers(self) -> dict[str, str]:
        """The same of every header, by name in lower case."""
        return {
            name.decode("latin-1").lower(): b", ".join(values).decode("latin-1")
            for name, values in self.requestHeaders.getAllRawHeaders()
        }

    def pause(self) -> None:
        """Read no more of the body for now."""
        if self.channel is not None:
            self.channel.transport.pauseProducing()

    def resume(self) -> None:
        if self.channel is not None:
            self.channel.transport.resumeProducing()

    def handleContentChunk(self, data: bytes) -> None:
        # Called with each piece, whatever the transfer coding; also with those that came in one packet with
        # the one that was too much, when that was answered already.
        if self.channel is not None:
            self.channel.bodyReceived(data)


class Channel(http.HTTPChannel):
    """One connection."""

    #: Seconds from a request's first byte to the end of its headers, and for a body that is collected or read
    #: away, which is small: a client that drips them is cut off.  What is streamed may take its time.
    headerTime = 20.0
    bodyTime = 60.0

    _intake: Intake | None = None
    _pieces: list[bytes]
    _collected = 0
    _discarding = False
    _lingering = False
    _deadline: IDelayedCall | None = None
    _reading = False  # between a request's first byte and the end of its headers

    def dataReceived(self, data: bytes) -> None:
        if not self._reading and not self._handlingRequest and self._intake is None:
            if data.startswith(TLS):
                # Both would wait for the other: it for a handshake, this for the end of a line.
                self._respondToBadRequestAndDisconnect()
                return
            self._reading = True
            self._deadline = self.callLater(self.headerTime, self._tooSlow)
        super().dataReceived(data)

    def _tooSlow(self) -> None:
        self._deadline = None
        self.forceAbortClient()

    def _stopDeadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def lineReceived(self, line: bytes) -> None:
        if line[:1] in _FOLDS:
            # A header over several lines: others read it differently (RFC 9112 section 5.2).
            self._respondToBadRequestAndDisconnect()
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self._respondToBadRequestAndDisconnect()

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
        self._reading = False
        self._stopDeadline()
        request = self.requests[-1]
        request.method, request.uri, request.clientproto = self._command, self._path, self._version
        request.announced = self.length
        self.persistent = self.checkPersistence(request, self._version)
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
        if not isinstance(self._intake, Stream):
            self._deadline = self.callLater(self.bodyTime, self._tooSlow)

    def _answerEarly(self) -> None:
        """Process the request now, drop what still comes of its body, and close after the answer."""
        self._stopDeadline()
        self._discarding = True
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
        if isinstance(intake, Buffer):
            self.requests[-1].body = b"".join(self._pieces)
            self._pieces = []
        elif isinstance(intake, Stream):
            intake.sink.finished()
        super().allContentReceived()

    def loseConnection(self) -> None:
        if self._discarding and not self._lingering:
            self._lingering = True
            self._linger()
        else:
            if self.timeOut is None and self._savedTimeOut:
                self.setTimeout(self._savedTimeOut)  # or who does not read the answer would keep it for ever
            super().loseConnection()

    def _linger(self) -> None:
        transport: Any = self.transport
        transport.unregisterProducer()
        if ITCPTransport.providedBy(transport) and not ISSLTransport.providedBy(transport):
            transport.loseWriteConnection()
        self.setTimeout(LINGER_IDLE)
        self._deadline = self.callLater(LINGER, self._tooSlow)

    def timeoutConnection(self) -> None:
        if self._lingering:
            super().loseConnection()
        else:
            super().timeoutConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stopDeadline()
        intake, self._intake = self._intake, None
        if isinstance(intake, Stream):
            intake.sink.aborted()
        super().connectionLost(reason)


@implementer(IProtocolNegotiationFactory)
class HttpListener(http.HTTPFactory):
    noisy = False

    def acceptableProtocols(self) -> list[bytes]:
        """What a TLS listener agrees to; without it clients that ask (browsers, curl) would be turned away."""
        return [b"http/1.1"]

    def log(self, request: http.Request) -> None:
        """Requests are counted, not logged: a line for each would cost more than the answer."""


def make_factory(request_factory: Any, reactor: Any, *, idle: float = 60.0) -> http.HTTPFactory:
    """A factory of such connections; ``idle`` is how long one may be silent, in s."""
    factory = HttpListener(timeout=idle, reactor=reactor)

    def build() -> Channel:
        channel = Channel()
        channel.requestFactory = request_factory
        return channel

    factory.protocol = build  # type: ignore[assignment]
    return factory
