"""
An answer of a storage server, and the ways to read its body: as an object's, whole as a listing, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from zope.interface import implementer

from dragonbelly.backends.connections import LARGE, Connection
from dragonbelly.backends.response import Response
from dragonbelly.backends.watch import Watch
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


class Answer:
    """A response: its status and header have come.  ``what`` says to which request, for messages."""

    def __init__(
        self, server: HttpServer, response: Response, connection: Connection, method: str, what: str
    ) -> None:
        self.status = response.status
        self.what = what
        self.server = server
        self.connection = connection
        self.response = response
        self._method = method

    def header(self, name: str) -> str | None:
        """A field's first value; bytes beyond ASCII are replaced."""
        value = self.response.headers.get(name.encode("ascii"))
        return None if value is None else value.decode("ascii", "replace")

    @property
    def length(self) -> int | None:
        """
        ``Content-Length``: of the body, or of the body that a GET would have had, when this answers a HEAD.
        """
        return self.response.announced if self._method == "HEAD" else self.response.length

    def body(self) -> IObjectBody:
        """
        The body as an object's.

        :raises BackendUnavailable: its length was not announced, so nobody could tell whether it is whole.
        """
        length = self.length
        if length is None:
            self.dismiss()
            raise BackendUnavailable(f"{self.what}: an answer without Content-Length")
        if length >= LARGE:
            self.connection.widen(True)
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
        if self.response.over:
            return
        reader = self.deliver(Protocol())
        if self.response.length is None or self.response.length > SMALL:
            reader.give_up("dismissed")

    def watch(self, expire: Callable[[], object], least: int = 1) -> Watch:
        """Expects ``least`` bytes in each ``idle_timeout``."""
        return Watch(self.server.reactor, self.server.idle_timeout, expire, least)

    def abort(self) -> None:
        """Reset the connection, unless the body has come whole."""
        self.connection.abort_turn(self.response.turn)

    def deliver(self, consumer: IProtocol) -> _Reader:
        """Start sending the body to ``consumer``, as ``IObjectBody.deliver`` says."""
        reader = _Reader(self, consumer)
        consumer.makeConnection(reader)  # type: ignore[arg-type]
        self.response.deliver(reader)
        return reader


@implementer(IObjectBody)
class _Body:
    def __init__(self, answer: Answer, size: int) -> None:
        self.size = size
        self._answer = answer
        self._used = False
        # Whoever forgets a body must not keep its connection for ever.
        self._forgotten = None if answer.response.over else answer.watch(self.abandon)

    def deliver(self, protocol: IProtocol) -> None:
        if self._used:
            failure = Failure(BackendUnavailable(f"{self._answer.what}: the body was given up"))
            protocol.makeConnection(_Gone())  # type: ignore[arg-type]
            protocol.connectionLost(failure)
            return
        self._use()
        self._answer.deliver(protocol)

    def abandon(self) -> None:
        if not self._used:
            self._use()
            self._answer.dismiss()

    def _use(self) -> None:
        self._used = True
        if self._forgotten is not None:
            self._forgotten.stop()


@implementer(IPushProducer)
class _Reader:
    """
    Between a response and whoever reads its body: guards it against stalls, and is the reader's transport.
    """

    def __init__(self, answer: Answer, consumer: IProtocol) -> None:
        self._answer = answer
        self._consumer = consumer
        self._over = False
        self._watch = None if answer.response.over else answer.watch(self._stalled, TRICKLE)

    def dataReceived(self, data: bytes) -> None:
        if not self._over:
            if self._watch is not None:
                self._watch.passed(len(data))
            self._consumer.dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:
        if not reason.check(ResponseDone):
            reason = Failure(BackendUnavailable(f"{self._answer.what}: {reason.getErrorMessage()}"))
        self._end(reason)

    def give_up(self, why: str) -> None:
        """End it now, unless it is over, and reset the connection."""
        if not self._over:
            self._answer.abort()
            self._end(Failure(BackendUnavailable(f"{self._answer.what}: {why}")))

    def pauseProducing(self) -> None:
        if self._watch is not None:
            self._watch.hold()
        self._answer.response.hold()

    def resumeProducing(self) -> None:
        if self._watch is not None:
            self._watch.release()
        self._answer.response.go_on()

    def stopProducing(self) -> None:
        self.give_up("the reader stopped")

    loseConnection = abortConnection = stopProducing

    def _stalled(self) -> None:
        self.give_up(f"the body stalled for {self._answer.server.idle_timeout:g} s")

    def _end(self, reason: Failure) -> None:
        if not self._over:
            self._over = True
            if self._watch is not None:
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
