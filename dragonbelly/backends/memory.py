"""
A backend that is a dictionary: for simulations, and as the model of what a backend does.

No kinder than a real one: keys are checked, bodies are counted, a server that is away answers nothing, and a
stored object comes in pieces that wait for their reader.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any
from urllib.parse import unquote

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IConsumer, IProtocol, IPushProducer
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from dragonbelly.errors import BackendFull, BackendRefused, BackendUnavailable, NoSuchObject
from dragonbelly.interfaces import IBackend, IObjectBody
from dragonbelly.keys import quoted
from dragonbelly.model import ObjectStat, Space, StoredKey, Target

PIECE = 64 * 1024
MAX_KEY = 1200


@implementer(IBackend)
class MemoryBackend:
    """
    ``objects`` is what is stored.  ``away`` makes every call fail as if the server did not answer.
    ``capacity`` is in bytes.  ``digests``: whether ``stat`` tells them, as ``node`` does and nginx does not.
    """

    def __init__(self, name: str, *, capacity: int | None = None, digests: bool = False) -> None:
        self.name = name
        self.objects: dict[str, bytes] = {}
        self.away = False
        self.capacity = capacity
        self.digests = digests
        self.link_expires: float | None = None
        self._base = f"http://{name}.test/"
        self.download_base: str | None = self._base

    def download_url(self, key: str, expires: int | None = None) -> str:
        return self._base + quoted(_checked(key))

    def upload_target(
        self, key: str, *, size: int | None = None, content_type: str | None = None, expires: int | None = None
    ) -> Target:
        return Target("PUT", self.download_url(key))

    def stat(self, key: str) -> Deferred[ObjectStat]:
        try:
            data = self._find(key)
        except (BackendUnavailable, NoSuchObject) as error:
            return fail(error)
        return succeed(ObjectStat(len(data), sha256(data).digest() if self.digests else None))

    def read(self, key: str) -> Deferred[IObjectBody]:
        try:
            data = self._find(key)
        except (BackendUnavailable, NoSuchObject) as error:
            return fail(error)
        body: IObjectBody = _Body(self, data)
        return succeed(body)

    def write(self, key: str, body: IBodyProducer, content_type: str | None = None) -> Deferred[None]:
        _checked(key)
        if self.away:
            return fail(self._unavailable())
        if not self._fits(key, body.length):
            return fail(self._full(body.length))
        intake = _Intake(body.length)
        # As with a real server, the caller hears of a cancelled write even if its producer says nothing more.
        stored: Deferred[None] = Deferred(lambda _: body.stopProducing())

        def produced(_: object) -> None:
            if stored.called:
                return
            try:
                self._store(key, intake.whole())
            except Exception:
                stored.errback()
            else:
                stored.callback(None)

        def failed(failure: Failure) -> None:
            if not stored.called:
                stored.errback(failure)

        body.startProducing(intake).addCallbacks(produced, failed)
        return stored

    def delete(self, key: str) -> Deferred[None]:
        _checked(key)
        if self.away:
            return fail(self._unavailable())
        self.objects.pop(key, None)
        return succeed(None)

    def probe(self) -> Deferred[Space]:
        if self.away:
            return fail(self._unavailable())
        return succeed(Space(self.free, self.capacity))

    async def keys(self, prefix: str = "") -> AsyncIterator[StoredKey]:
        directory = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        # A copy, because objects may come and go meanwhile.
        for key, data in list(self.objects.items()):
            if self.away:
                raise self._unavailable()
            if key.startswith(directory):
                yield StoredKey(key, len(data))
        if self.away:
            raise self._unavailable()

    def close(self) -> Deferred[None]:
        return succeed(None)

    # --- what clients do

    def client_put(self, url: str, data: bytes) -> None:
        """An upload to a URL of ``upload_target``.  :raises BackendUnavailable, BackendFull: as it is."""
        if self.away:
            raise self._unavailable()
        self._store(self._key_of(url), data)

    def client_get(self, url: str) -> bytes:
        """:raises NoSuchObject, BackendUnavailable: as it is."""
        return self._find(self._key_of(url))

    # --- within

    @property
    def free(self) -> int | None:
        """Bytes; None without a capacity."""
        if self.capacity is None:
            return None
        return self.capacity - sum(map(len, self.objects.values()))

    def _fits(self, key: str, size: int) -> bool:
        return self.free is None or size <= self.free + len(self.objects.get(key, b""))

    def _key_of(self, url: str) -> str:
        if not url.startswith(self._base):
            raise ValueError(f"{url} is not at {self._base}")
        return unquote(url.removeprefix(self._base))

    def _store(self, key: str, data: bytes) -> None:
        if self.away:
            raise self._unavailable()
        if not self._fits(key, len(data)):
            raise self._full(len(data))
        self.objects[key] = data

    def _find(self, key: str) -> bytes:
        if self.away:
            raise self._unavailable()
        data = self.objects.get(_checked(key))
        if data is None:
            raise NoSuchObject(f"{self.name}: {key}")
        return data

    def _full(self, size: int) -> BackendFull:
        return BackendFull(f"{self.name}: {size} bytes do not fit in {self.free}")

    def _unavailable(self) -> BackendUnavailable:
        return BackendUnavailable(f"{self.name}: does not answer")


def _checked(key: str) -> str:
    """What every real server would refuse, in one way or another, is refused here too."""
    if any(segment in ("", ".", "..") for segment in key.split("/")) or len(key.encode()) > MAX_KEY:
        raise BackendRefused(f"no key: {key!r}")
    return key


@implementer(IConsumer)
class _Intake:
    """Takes a body of exactly so many bytes."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._data = bytearray()

    def write(self, data: bytes) -> None:
        self._data += data

    def whole(self) -> bytes:
        if len(self._data) != self._length:
            raise BackendUnavailable(f"{len(self._data)} bytes came of {self._length}")
        return bytes(self._data)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """It is always ready for more."""

    def unregisterProducer(self) -> None:
        """It is always ready for more."""


@implementer(IObjectBody, IPushProducer)
class _Body:
    """The bytes in pieces; the reader's transport.  Each piece looks whether the server is still there."""

    def __init__(self, backend: MemoryBackend, data: bytes) -> None:
        self.size = len(data)
        self._backend = backend
        self._left = memoryview(data)
        self._protocol: IProtocol | None = None
        self._over = False
        self._paused = False
        self._running = False

    def deliver(self, protocol: IProtocol) -> None:
        if self._protocol is not None:
            raise RuntimeError("delivered twice")
        self._protocol = protocol
        protocol.makeConnection(self)  # type: ignore[arg-type]
        self._run()

    def abandon(self) -> None:
        self._over = True

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._run()

    def stopProducing(self) -> None:
        self._end(BackendUnavailable(f"{self._backend.name}: the reader stopped"))

    loseConnection = abortConnection = stopProducing

    def _run(self) -> None:
        if self._running or self._protocol is None:
            return  # resumed from within dataReceived
        self._running = True
        while not (self._over or self._paused):
            if self._backend.away:
                self._end(BackendUnavailable(f"{self._backend.name}: the connection was lost"))
            elif not self._left:
                self._end(ResponseDone())
            else:
                piece, self._left = self._left[:PIECE], self._left[PIECE:]
                self._protocol.dataReceived(bytes(piece))
        self._running = False

    def _end(self, why: Exception) -> None:
        if not self._over and self._protocol is not None:
            self._over = True
            self._protocol.connectionLost(Failure(why))
