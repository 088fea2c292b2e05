"""The SHA-256 of what passes, computed beside the passing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads
from twisted.python.failure import Failure

#: Bytes that are hashed at a time: going to a thread and back costs as much as hashing a tenth of that.
BATCH = 1024 * 1024

#: More bytes than this are not kept for it.
BEHIND = 3 * 1024 * 1024

#: Does some work in a thread; fires when it is done.
InThread = Callable[[Callable[[], None]], Deferred[None]]


class Threads:
    """
    Threads that do one thing after the other, and wait for more as cheaply as threads can: while copies were
    under way, handing a batch to Twisted's pool kept Python for 60 µs (py-spy), a tenth of its hashing.

    ``count`` are begun with the first work; after ``stop`` they end when they have done what was given to them.
    """

    def __init__(self, reactor: Any, count: int) -> None:
        self._reactor = reactor
        self._count = count
        self._work: SimpleQueue[tuple[Callable[[], None], Deferred[None]] | None] = SimpleQueue()
        self._running = 0

    def __call__(self, work: Callable[[], None]) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self._work.put((work, done))
        while self._running < self._count:
            self._running += 1
            Thread(target=self._run, name="hashing", daemon=True).start()
        return done

    def stop(self) -> None:
        for _ in range(self._running):
            self._work.put(None)
        self._running = 0

    def _run(self) -> None:
        while (given := self._work.get()) is not None:
            work, done = given
            try:
                work()
            except BaseException:
                self._reactor.callFromThread(done.errback, Failure())
            else:
                self._reactor.callFromThread(done.callback, None)


def threads_of(reactor: Any) -> Threads | None:
    """As many as there are cores beside the reactor's, or one; None for a clock, which has none."""
    if not IReactorThreads.providedBy(reactor):
        return None
    # More of them than that would only take the reactor's core away.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Threads(reactor, max(1, cores - 1))


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

    def abandon(self) -> None:
        """Nobody wants to know any more: what is not begun is not done."""
        self._pieces, self._waiting = [], 0

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
