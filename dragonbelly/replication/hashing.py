"""The SHA-256 of what passes, computed beside the passing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

#: Bytes that are hashed at a time: going to a thread and back costs as much as hashing a tenth of that.
BATCH = 1024 * 1024

#: More bytes than this are not kept for it.
BEHIND = 3 * 1024 * 1024

#: Does some work in a thread; fires when it is done.
InThread = Callable[[Callable[[], None]], Deferred[None]]


def in_thread_of(reactor: Any) -> InThread | None:
    """The reactor's threads; None for a clock that has none."""
    if not IReactorThreads.providedBy(reactor):
        return None
    return lambda work: deferToThreadPool(reactor, reactor.getThreadPool(), work)


class Hashing:
    """
    Pieces in the order in which they come, in a thread if there is one (``hashlib`` lets others run meanwhile),
    and one batch of them at a time.  ``caught_up`` is called after each.
    """

    def __init__(self, in_thread: InThread | None, caught_up: Callable[[], None]) -> None:
        self._sha256 = hashlib.sha256()
        self._in_thread = in_thread
        self._caught_up = caught_up
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._under_way = 0
        self._failure: Failure | None = None
        self._finished: Deferred[bytes] | None = None

    @property
    def behind(self) -> bool:
        """Whether whoever reads should wait."""
        return self._waiting + self._under_way > BEHIND

    def add(self, data: bytes) -> None:
        if self._in_thread is None:
            self._sha256.update(data)
            return
        self._pieces.append(data)
        self._waiting += len(data)
        self._go_on(self._in_thread)

    def digest(self) -> Deferred[bytes]:
        """That of all pieces, when they are done."""
        self._finished = finished = Deferred[bytes]()
        if not self._under_way:
            self._finish(finished)
        return finished

    def _finish(self, finished: Deferred[bytes]) -> None:
        if self._failure is not None:
            finished.errback(self._failure)
            return
        # Less than a batch, or what came while the last one was under way.
        self._hash(self._pieces)
        finished.callback(self._sha256.digest())

    def _go_on(self, in_thread: InThread) -> None:
        if self._under_way or self._waiting < BATCH:
            return
        pieces, self._pieces = self._pieces, []
        self._under_way, self._waiting = self._waiting, 0
        in_thread(lambda: self._hash(pieces)).addErrback(self._failed).addCallback(self._done, in_thread)

    def _hash(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self._sha256.update(piece)

    def _done(self, _: None, in_thread: InThread) -> None:
        self._under_way = 0
        if self._finished is not None:
            self._finish(self._finished)
            return
        self._go_on(in_thread)
        self._caught_up()

    def _failed(self, failure: Failure) -> None:
        self._failure = failure  # said at the end
