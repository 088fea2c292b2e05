"""Moving bytes from one storage server to another: hashed on the way, bounded in memory, checked at the end."""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IDelayedCall
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from dragonbelly.bodies import BytesBody, read_whole
from dragonbelly.errors import BackendError, BackendUnavailable, DigestMismatch
from dragonbelly.interfaces import IBackend, IObjectBody
from dragonbelly.replication.hashing import Hashing, InThread
from dragonbelly.replication.pace import Allowance

#: Bytes of an object that is read as a whole before it is written.
SMALL = 64 * 1024


@implementer(IBodyProducer)
class Relay(Protocol):
    """
    Reads an object and produces it as the body of a request, no faster than the reader takes it.

    The SHA-256 of what went through is in ``sha256`` when it ended well.  ``expected`` (size, and digest if
    known) is checked *before* the last byte is handed on, so that a corrupt source never becomes a whole
    object elsewhere.  ``error`` is what went wrong on the side of the source, if anything did.
    """

    def __init__(
        self,
        body: IObjectBody,
        sha256: bytes | None,
        in_thread: InThread | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        self._body = body
        self._expected = sha256
        self._hashing = Hashing(in_thread, self._steer)
        self._allowance = allowance
        self._waiting: IDelayedCall | None = None
        self._full = False
        self._held = False
        self._received = 0
        self._last = b""
        self._consumer: Any = None
        self._begun = False
        self._done: Deferred[None] = Deferred(lambda _: self.stopProducing())
        self.length = body.size
        self.sha256: bytes | None = None
        self.error: Exception | None = None

    # --- what the request asks of its body

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self._consumer = consumer
        self._begun = True
        self._body.deliver(self)
        return self._done

    def pauseProducing(self) -> None:
        self._full = True
        self._steer()

    def resumeProducing(self) -> None:
        self._full = False
        self._steer()

    def _steer(self) -> None:
        """Read on, or not: as whoever takes the bytes says, as the hashing gets on, and as fast as allowed."""
        hold = self._full or self._hashing.behind or self._waiting is not None
        if hold is self._held or self.transport is None or self._consumer is None:
            return
        self._held = hold
        if hold:
            self.transport.pauseProducing()  # type: ignore[attr-defined]
        else:
            self.transport.resumeProducing()  # type: ignore[attr-defined]

    def stopProducing(self) -> None:
        """The request ended early: no fault of the source, and nobody waits for us any more."""
        self._consumer = None
        self._stop_waiting()
        if self.transport is not None:
            self.transport.stopProducing()  # type: ignore[attr-defined]

    def end(self) -> None:
        """The request is over, and may have left the source as it was."""
        self._hashing.abandon()
        if not self._begun:
            self._body.abandon()
        elif not self._done.called:
            self.stopProducing()

    # --- what the source delivers

    def dataReceived(self, data: bytes) -> None:
        if self._consumer is None:
            return
        self._hashing.add(data)
        self._received += len(data)
        if self._received < self.length:
            self._consumer.write(data)
        else:
            # The piece with the last byte waits for the verdict.
            self._last = data
        wait = self._allowance.owe(len(data)) if self._allowance is not None else 0.0
        if wait and self._waiting is None and self._allowance is not None:
            self._waiting = self._allowance.later(wait, self._waited)
        self._steer()

    def _waited(self) -> None:
        self._waiting = None
        self._steer()

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def connectionLost(self, reason: Failure = Failure(ResponseDone())) -> None:
        if self._done.called or self._consumer is None:
            return
        self._stop_waiting()
        if not reason.check(ResponseDone) or self._received != self.length:
            self._fail(BackendUnavailable(f"the source ended after {self._received} of {self.length} bytes"))
        else:
            self._hashing.digest().addCallback(self._decide).addErrback(self._fail_with)

    def _decide(self, digest: bytes) -> None:
        if self._consumer is None:
            return
        _check(digest, self._expected)
        self.sha256 = digest
        if self._last:
            self._consumer.write(self._last)
        self._done.callback(None)

    def _fail_with(self, failure: Failure) -> None:
        if isinstance(failure.value, Exception) and self._consumer is not None:
            self._fail(failure.value)

    def _fail(self, error: Exception) -> None:
        self.error = error
        self._done.errback(error)


class Digest(Protocol):
    """Reads an object to its end and keeps its digests."""

    def __init__(self, md5: bool = False) -> None:
        self.sha256 = hashlib.sha256()
        self.md5 = hashlib.md5(usedforsecurity=False) if md5 else None
        self.size = 0
        self.done: Deferred[None] = Deferred(lambda _: self._stop())
        self._stopped = False

    def _stop(self) -> None:
        self._stopped = True  # else what was cancelled would fail as if the server had
        if self.transport is not None:
            self.transport.stopProducing()  # type: ignore[attr-defined]

    def dataReceived(self, data: bytes) -> None:
        self.size += len(data)
        self.sha256.update(data)
        if self.md5 is not None:
            self.md5.update(data)

    def connectionLost(self, reason: Failure = Failure(ResponseDone())) -> None:
        if self.done.called or self._stopped:
            return
        if reason.check(ResponseDone):
            self.done.callback(None)
        else:
            self.done.errback(BackendUnavailable(f"the object broke off after {self.size} bytes"))


async def read_digest(backend: IBackend, key: str, size: int | None, md5: bool = False) -> Digest:
    """
    Size and digests of what really lies there.  Of anything but ``size`` bytes only the size: a server could
    send for ever.  :raises BackendError: as ``read``.
    """
    body = await backend.read(key)
    digest = Digest(md5)
    if body.size != size:
        body.abandon()
        digest.size = body.size
        return digest
    body.deliver(digest)
    await digest.done
    return digest


async def copy(
    source: IBackend,
    source_key: str,
    target: IBackend,
    target_key: str,
    *,
    size: int,
    sha256: bytes | None,
    content_type: str | None,
    in_thread: InThread | None = None,
    allowance: Allowance | None = None,
    small: int = SMALL,
) -> bytes:
    """
    Copy an object and see it there; its SHA-256, computed ``in_thread`` if it is large.  No faster than the
    ``allowance``; ``small`` is the size up to which an object is read as a whole.

    :raises SourceFailed: the source could not be read, or holds other bytes; ``error`` says how.
    :raises BackendError: of the target.
    """
    if allowance is not None and size <= small:
        await allowance.spend(size)
    try:
        body = await source.read(source_key)
    except CancelledError:
        raise
    except Exception as error:
        raise SourceFailed(error) from error
    if body.size != size:
        body.abandon()
        raise SourceFailed(DigestMismatch(f"the source has {body.size} bytes, not {size}"))
    if size <= small:
        digest = await _copy_whole(body, sha256, target, target_key, content_type)
    else:
        digest = await _copy_passing(body, sha256, target, target_key, content_type, in_thread, allowance)
    # A 201 is no proof: some servers say it and store nothing.
    stat = await target.stat(target_key)
    if stat.size != size or stat.sha256 not in (None, digest):
        raise BackendUnavailable(f"the target has {stat.size} bytes after a copy of {size}")
    return digest


async def _copy_whole(
    body: IObjectBody, sha256: bytes | None, target: IBackend, key: str, content_type: str | None
) -> bytes:
    """Read all, then write all: the request goes out in one piece, and nothing is ever paused on the way."""
    try:
        data = await read_whole(body)
        digest = hashlib.sha256(data).digest()
        if len(data) != body.size:
            raise BackendUnavailable(f"the source ended after {len(data)} of {body.size} bytes")
        _check(digest, sha256)
    except BackendError as error:
        raise SourceFailed(error) from error
    await target.write(key, BytesBody(data), content_type)
    return digest


async def _copy_passing(
    body: IObjectBody,
    sha256: bytes | None,
    target: IBackend,
    key: str,
    content_type: str | None,
    in_thread: InThread | None,
    allowance: Allowance | None,
) -> bytes:
    """Write what is read as it comes."""
    relay = Relay(body, sha256, in_thread, allowance)
    try:
        await target.write(key, relay, content_type)
    except CancelledError:
        raise
    except Exception as error:
        if relay.error is not None:
            raise SourceFailed(relay.error) from error
        raise
    finally:
        relay.end()
    if relay.sha256 is None:
        raise BackendUnavailable("the target did not wait for the whole object")
    return relay.sha256


def _check(digest: bytes, expected: bytes | None) -> None:
    """:raises DigestMismatch: the source sent something else."""
    if expected is not None and digest != expected:
        raise DigestMismatch(f"the source sent bytes of SHA-256 {digest.hex()}, not {expected.hex()}")


class SourceFailed(Exception):
    """A copy failed on the side of the source, for ``error``."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error
