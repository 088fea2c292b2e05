"""The body of a request on its way to a server."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from dragonbelly.backends.watch import Watch

#: An upload's answer may take as long as a slow disk needs to flush it: bytes per second.
FLUSH_RATE = 4 * 1024 * 1024


class Sender(Protocol):
    """What a body needs of its connection."""

    def send(self, data: bytes) -> None: ...

    def body_sent(self) -> None: ...

    def give_up(self, error: Exception) -> None: ...


@implementer(IConsumer)
class Sending:
    """
    The server has ``idle`` seconds to take a full buffer, and ``timeout`` (and what a disk takes) to answer
    once it has all.  ``sent`` says whether it has, ``stopped`` that it began and will not go on; ``failure`` is
    the body's own, if it failed.
    """

    def __init__(self, body: IBodyProducer, watch: Watch, idle: float, timeout: float) -> None:
        self.length: int = body.length
        self.sent = False
        self.failure: Failure | None = None
        self._body = body
        self._watch = watch
        self._idle = idle
        self._answer = timeout + self.length / FLUSH_RATE
        self._left = self.length
        self._connection: Sender | None = None
        self.stopped = False

    def start(self, connection: Sender) -> None:
        self._connection = connection
        self._watch.restart(self._idle)
        self._watch.hold()
        self._body.startProducing(self).addCallbacks(self._finished, self._failed)

    def _finished(self, _: object) -> None:
        if self._left and not self.stopped:
            self._failed(Failure(ValueError(f"the body ended {self._left} bytes before its length")))
        elif self._connection is not None and not self.stopped:
            self.sent = True
            self._connection.body_sent()
            self._watch.restart(self._answer)

    def _failed(self, failure: Failure) -> None:
        # One that was stopped fails as a consequence: not the cause that anybody wants to hear of.
        if self._connection is not None and not self.stopped:
            self.stopped = True
            self.failure = failure
            self._connection.give_up(RuntimeError("the body failed"))

    def write(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"the body is longer than its length of {self.length} bytes")
        if self._connection is not None and not self.stopped:
            self._connection.send(data)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """A body is paused and resumed itself."""

    def unregisterProducer(self) -> None:
        """It ends when its Deferred fires."""

    def pauseProducing(self) -> None:
        self._watch.release()
        self._body.pauseProducing()

    def resumeProducing(self) -> None:
        self._watch.hold()
        self._body.resumeProducing()

    def stopProducing(self) -> None:
        # The transport and the connection both call this when it is lost.
        stop = self._connection is not None and not self.stopped and not self.sent
        self.stopped = True
        if stop:
            self._body.stopProducing()
