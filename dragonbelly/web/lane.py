"""
The fast lane: a connection begins here, and stays as long as its requests are plain.

A reader of a file is nearly always answered from what is prepared: his request line leads to a redirect, and
his headers are those of the request before, byte for byte, which were read then.  No parser runs, and nobody is
asked.  (llhttp would call back for each header of each request; to look up both as they came costs less than
its first call.)

Other plain requests are made questions and answered by the router, without ``twisted.web``'s objects.  All that
is not plain (chunked bodies, ``Expect``, HTTP/1.0, absolute targets, half a head, …) is handed over to
``twisted.web`` with the bytes read so far, and for the rest of the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from dragonbelly.errors import ClientError
from dragonbelly.interfaces import Snapshot
from dragonbelly.model import Path
from dragonbelly.sending import Sender
from dragonbelly.web.api import PREFIX
from dragonbelly.web.channel import GIVE_WAY, HALF_CLOSED, SMALL_BODY
from dragonbelly.web.connections import Seat
from dragonbelly.web.heads import END, read_line
from dragonbelly.web.manner import NOBODY, Manner, header_line
from dragonbelly.web.message import Answer, Question
from dragonbelly.web.paths import split_target
from dragonbelly.web.redirects import Redirect
from dragonbelly.web.site import phrase

if TYPE_CHECKING:
    from dragonbelly.web.lanes import Lanes

#: Bytes that may wait while a request is being answered; then no more are read.
WAITING = 64 * 1024

_API = PREFIX.encode()
_READS = ("GET", "HEAD")
_WRITES = ("PUT", "POST", "PATCH")
_FOUND = b"HTTP/1.1 302 Found\r\n"


class Asked:
    """A question to the store for one reader; nobody waits for its answer when another one is under way."""

    __slots__ = ("lane", "line", "method", "path", "redirect", "target", "until")

    def __init__(self, lane: Lane, line: bytes, method: str, target: bytes, path: Path, until: float) -> None:
        self.lane = lane
        self.line = line
        self.method = method
        self.target = target
        self.path = path
        self.until = until
        self.redirect: Redirect | None = None

    def came(self, _: Snapshot | Exception, redirect: Redirect | None) -> None:
        self.redirect = redirect
        # Answers that are sent one right after the other find their readers awake, if these are near: to wake
        # one takes as long as to send.
        self.lane.lanes.prepared.tracked.after(self._tell)

    def _tell(self) -> None:
        self.lane.tell(self)

    def cancel(self) -> None:
        """Nothing is to be undone."""


@implementer(IPushProducer, IHalfCloseableProtocol)
class Lane(Protocol):
    """One connection."""

    _log = Logger()
    transport: Any
    _send: Sender

    def __init__(self, lanes: Lanes, address: IAddress | None) -> None:
        self.lanes = lanes
        self._peer = address
        self._manner = NOBODY
        self._waiting = b""  # read, and not answered yet
        self._needed = 0  # more bytes than that have to wait before it goes on
        self._answering: Deferred[Any] | Asked | None = None
        self._going = False
        self._clogged = False
        self._deaf = False  # enough waits, and no more is read
        self._half_closed = False  # the client has said all
        self._asked = 0
        self._seat: Seat | None = None
        self._entered = ""
        self._heard = 0.0
        self._idle: IDelayedCall | None = None
        self._deadline: IDelayedCall | None = None
        #: Who has the connection now, after it was handed over.
        self.channel: Any = None

    # --- the connection

    def connectionMade(self) -> None:
        lanes, transport = self.lanes, self.transport
        if not self._enter():
            return
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        self._send = Sender(transport)
        transport.registerProducer(self, True)
        self._heard = lanes.clock.seconds()
        self._idle = lanes.reactor.callLater(lanes.limits.idle, self._look)

    def _enter(self) -> bool:
        """Take a seat; whether there was one."""
        connections = self.lanes.connections
        if self._seat is not None:
            connections.leave(self._seat)
        self._entered = self._address()
        self._seat = connections.enter(self, self._entered)
        if self._seat is None:
            self._cut_off()
        return self._seat is not None

    def _address(self) -> str:
        return getattr(self.transport.getPeer(), "host", "")

    def _look(self) -> None:
        """Whether it has been idle for too long."""
        reactor, idle = self.lanes.reactor, self.lanes.limits.idle
        left = self._heard + idle - self.lanes.clock.seconds()
        self._idle = None
        if left > 0 or self._answering is not None:
            self._idle = reactor.callLater(left if left > 0 else idle, self._look)
        else:
            self.give_way()

    def give_way(self) -> None:
        # Its seat is its own until all is written that was answered: whoever drains waits for that.
        self._stop_clocks()
        self._end()
        # Who does not close his side, or does not read, is cut off soon.
        self._deadline = self.lanes.reactor.callLater(GIVE_WAY, self.transport.abortConnection)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._leave()
        self._end()

    def readConnectionLost(self) -> None:
        self._half_closed = True
        self._wind_up()

    def writeConnectionLost(self) -> None:
        """It is never closed by itself."""

    def _wind_up(self) -> None:
        """Close when all is answered that was asked, or nothing was for a while."""
        if self._answering is None and not self._clogged:
            self.give_way()
        elif self._deadline is None:
            self._deadline = self.lanes.reactor.callLater(HALF_CLOSED, self.give_way)

    def _cut_off(self) -> None:
        self._end()
        self.transport.abortConnection()

    def _stop_clocks(self) -> None:
        self._stop_clock()
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _leave(self) -> None:
        self._stop_clocks()
        if self._seat is not None:
            self.lanes.connections.leave(self._seat)

    def _end(self) -> None:
        """Nothing that came is answered any more."""
        self._waiting = b""
        self.dataReceived = _ignore  # type: ignore[method-assign]
        answering, self._answering = self._answering, None
        if answering is not None:
            answering.cancel()

    def _stop_clock(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()

    def _hand_over(self) -> None:
        """Give the connection, and all that was read and not answered, to ``twisted.web``."""
        self._leave()
        data, self._waiting = self._waiting, b""
        channel: Any = self.lanes.site.buildProtocol(self._peer)
        self.channel = channel
        self.transport.unregisterProducer()
        self.dataReceived = channel.dataReceived  # type: ignore[method-assign]
        self.connectionLost = channel.connectionLost  # type: ignore[method-assign]
        self.readConnectionLost = channel.readConnectionLost  # type: ignore[method-assign]
        self.writeConnectionLost = channel.writeConnectionLost  # type: ignore[method-assign]
        channel.asked = self._asked
        channel.makeConnection(self.transport)
        channel.dataReceived(data)
        if self._half_closed:
            channel.readConnectionLost()

    # --- what comes

    def dataReceived(self, data: bytes) -> None:
        # Nearly all are one request for a file, of a client that has asked before.
        if self._answering is None and not self._waiting and not self._clogged:
            line, _, block = data.partition(b"\r\n")
            manner = self._manner
            if block == manner.block and len(line) <= manner.room:
                redirect = manner.lines.of(line).get(line)
                if redirect is not None:
                    redirect.used = True
                    if self._redirect(line, redirect):
                        return
                if manner.domain is not None and self._asked != self.lanes.last:
                    asked = read_line(line)
                    if asked is not None and asked[0] in _READS and self._find(line, *asked):
                        return
        # A proxy tells who its client is before anything else (the ``haproxy:`` endpoint).
        if not self._asked and self._address() != self._entered and not self._enter():
            return
        self._waiting += data
        self._heard = self.lanes.clock.seconds()
        if self._answering is None:
            self._go()
        elif len(self._waiting) > WAITING:
            self._deaf = True
            self.transport.pauseProducing()

    def _go(self) -> None:
        """Answer what waits, one after the other."""
        if self._going:
            return
        self._going = True
        try:
            while self._answering is None and not self._clogged and len(self._waiting) > self._needed:
                self._take()
        finally:
            self._going = False
        if self._half_closed and self.channel is None:
            self._wind_up()

    def _take(self) -> None:
        """Begin to answer the first request that waits."""
        waiting = self._waiting
        end = waiting.find(END, 0, self.lanes.limits.header_size) + len(END)
        line, _, block = waiting[:end].partition(b"\r\n") if end >= len(END) else (b"", b"", b"")
        asked = read_line(line)
        manner: Manner | None = self._manner
        if block != self._manner.block:
            manner = self.lanes.manner(block) if asked is not None else None
        if asked is None or manner is None or not self._fits(*asked, line, manner):
            self._hand_over()
            return
        size = end + manner.fields.length
        if len(waiting) < size:
            if self._deadline is None:
                self._deadline = self.lanes.reactor.callLater(self.lanes.limits.body_time, self._too_slow)
            self._needed = size - 1
            return
        self._stop_clock()
        self._needed = 0
        self._manner, self._waiting = manner, waiting[size:]
        if not (manner.domain is not None and asked[0] in _READS and self._find(line, *asked)):
            self._ask(*asked, waiting[end:size])

    def _fits(self, method: str, target: bytes, line: bytes, manner: Manner) -> bool:
        """Whether it is answered here, with all limits kept."""
        lanes = self.lanes
        if self._asked == lanes.last or lanes.connections.draining or len(line) > manner.room:
            return False  # the last one is told so
        length = manner.fields.length
        most = lanes.json_size if target.startswith(_API) else SMALL_BODY
        return length == 0 or (method in _WRITES and length <= most)

    def _too_slow(self) -> None:
        self.lanes.limited("body_time")
        self._cut_off()

    # --- redirects

    def _redirect(self, line: bytes, redirect: Redirect) -> bool:
        """Send it, if it is true now; whether it was."""
        lanes = self.lanes
        now = lanes.clock.seconds()
        if now >= redirect.until or now >= lanes.prepared.tracked.until or self._asked == lanes.last:
            return False
        if lanes.connections.draining:
            return False
        way = lanes.redirects.draw(redirect)
        if way is None or way.last_resort:
            return False
        way.tally.n += 1
        (lanes.gets if line.startswith(b"G") else lanes.heads).n += 1
        self._asked += 1
        self._heard = now
        lanes.connections.heard(self._seat)
        self._send(b"".join((_FOUND, lanes.stamp(now), lanes.redirects.lines(redirect, way), self._manner.end)))
        return True

    def _find(self, line: bytes, method: str, target: bytes) -> bool:
        """Look for the redirect of a file that is not led to yet; whether somebody sees to the request."""
        lanes, domain = self.lanes, self._manner.domain
        assert domain is not None
        found = lanes.file(domain, method, target)
        if found is None:
            return False
        path, until = found
        redirect = lanes.prepared.find(path)
        if redirect is not None:
            return self._redirect(line, lanes.prepared.spell(line, path, redirect, until))
        lanes.connections.busy(self._seat)
        asked = self._answering = Asked(self, line, method, target, path, until)
        lanes.prepared.ask(path, asked.came)
        return True

    def tell(self, asked: Asked) -> None:
        """Answer what the store was asked for."""
        if self._answering is not asked:
            return  # the client is gone
        self._answering = None
        try:
            redirect = asked.redirect
            # Most of what is asked for once is not asked for again: its line is remembered the next time.
            if redirect is not None and self._redirect(asked.line, redirect.shorter(asked.until)):
                self._answered()
            else:
                self._ask(asked.method, asked.target, b"")
        except Exception:
            self._give_up(Failure())  # who told us has others to tell

    # --- all other answers

    def _ask(self, method: str, target: bytes, body: bytes) -> None:
        self._asked += 1
        self.lanes.connections.busy(self._seat)
        answering = self._answering = Deferred.fromCoroutine(self._answer(method, target, body))
        answering.addCallback(self._say, method)
        answering.addErrback(self._give_up)

    async def _answer(self, method: str, target: bytes, body: bytes) -> Answer:
        fields = self._manner.fields
        try:
            question = Question(
                method,
                split_target(target),
                fields.host,
                fields.headers,
                fields.length,
                body if target.startswith(_API) else b"",
                self._entered,
            )
        except ClientError as error:
            return self.lanes.router.refuse(method, error)
        return await self.lanes.router.answer(question)

    def _say(self, answer: Answer, method: str) -> None:
        if self._answering is None:
            return  # it was under way when the client left, and could not be stopped
        lanes = self.lanes
        self._answering = None
        self._heard = now = lanes.clock.seconds()
        cors = lanes.router.cors.headers(self._manner.fields.headers.get("origin"))
        head = [b"HTTP/1.1 %d %b\r\n" % (answer.status, phrase(answer.status)), lanes.stamp(now)]
        head += map(header_line, (*answer.headers, *cors))
        if answer.status != 204:
            head.append(b"Content-Length: %d\r\n" % len(answer.body))
        draining = lanes.connections.draining  # since it was asked
        if draining:
            head.append(b"Connection: close\r\n")
        self._send(b"".join((*head, b"\r\n", answer.body if method != "HEAD" else b"")))
        if draining:
            self.give_way()
        else:
            self._answered()

    def _answered(self) -> None:
        self.lanes.connections.idle(self._seat)
        if self._deaf and not self._clogged:
            self._deaf = False
            self.transport.resumeProducing()
        self._go()

    def _give_up(self, failure: Failure) -> None:
        if self._answering is None and failure.check(CancelledError):
            return
        self._log.failure("sending an answer", failure)
        self._cut_off()

    def pauseProducing(self) -> None:
        self._clogged = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._clogged = self._deaf = False
        self.transport.resumeProducing()
        self._go()

    def stopProducing(self) -> None:
        """The connection is lost, which is told otherwise."""


def _ignore(data: bytes) -> None:
    """What comes after the end."""
