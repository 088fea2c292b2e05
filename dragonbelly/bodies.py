"""Small bodies, to and from storage servers."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from dragonbelly.errors import BackendRefused, BackendUnavailable
from dragonbelly.interfaces import IBackend


@implementer(IBodyProducer)
class BytesBody:
    """A body that is there already."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """All was written at once."""

    def resumeProducing(self) -> None:
        """All was written at once."""

    def stopProducing(self) -> None:
        """All was written at once."""


async def read_small(backend: IBackend, key: str, limit: int = 4096) -> bytes:
    """
    All bytes of an object that is small.

    :raises BackendRefused: it is larger than ``limit`` bytes.
    :raises BackendError: as ``IBackend.read``.
    """
    body = await backend.read(key)
    if body.size > limit:
        body.abandon()
        raise BackendRefused(f"{key} has {body.size} bytes, at most {limit} were expected")
    collected = _Collected()
    body.deliver(collected)
    return await collected.done


class _Collected(Protocol):
    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.done: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(ResponseDone):
            self.done.callback(b"".join(self._pieces))
        else:
            self.done.errback(BackendUnavailable("the object broke off"))
