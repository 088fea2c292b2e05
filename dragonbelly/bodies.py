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
from dragonbelly.interfaces import IBackend, IObjectBody


@implementer(IBodyProducer)
class BytesBody:
    """A body that is there already."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self.data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """All was written at once."""

    def resumeProducing(self) -> None:
        """All was written at once."""

    def stopProducing(self) -> None:
        """All was written at once."""


async def read_whole(body: IObjectBody) -> bytes:
    """
    All its bytes: for bodies of which the size was looked at.

    :raises BackendUnavailable: it broke off.
    """
    collected = _Collected()
    body.deliver(collected)
    return await collected.done


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
    return await read_whole(body)


class _Collected(Protocol):
    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._stopped = False
        self.done: Deferred[bytes] = Deferred(lambda _: self._stop())

    def _stop(self) -> None:
        self._stopped = True  # else what was cancelled would fail as if the server had
        if self.transport is not None:
            self.transport.stopProducing()  # type: ignore[attr-defined]

    def dataReceived(self, data: bytes) -> None:
        self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called or self._stopped:
            return
        if reason.check(ResponseDone):
            self.done.callback(b"".join(self._pieces))
        else:
            self.done.errback(BackendUnavailable("the object broke off"))
