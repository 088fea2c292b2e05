"""Many files at a time, each by one of several threads."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Generic, TypeVar

from dragonbelly.cli.wire import Stopped
from dragonbelly.client.errors import Error, NotDragonbelly, Unauthorized, Unavailable

T = TypeVar("T")

#: Files that are known ahead of the work; more would only take memory.
AHEAD = 100_000

#: Seconds between two looks at what was done, and what is under way has after Ctrl-C to end well.
LOOK, LEAVE = 0.1, 5.0


class Share:
    """What one thread has done: files, their bytes, and the bytes of the one under way."""

    def __init__(self, stopped: threading.Event) -> None:
        self._stopped = stopped
        self.files = self.failures = self.bytes = self.under_way = 0

    def progress(self, done: int, size: int | None) -> None:
        """:raises Stopped:"""
        if self._stopped.is_set():
            raise Stopped
        self.under_way = done


class Work(Generic[T]):
    """
    ``do(item, share)`` for each item.  One that fails with ``Error`` or ``OSError`` is told to
    ``failed(item, error)``, and the others go on, unless they would fail as well.  ``watch`` is called from
    time to time.
    """

    def __init__(
        self,
        do: Callable[[T, Share], None],
        failed: Callable[[T, Exception], None],
        jobs: int,
        stopped: threading.Event,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self._do = do
        self._tell = failed
        self._jobs = jobs
        self._stopped = stopped
        self._watch = watch
        self._queue: queue.Queue[T | None] = queue.Queue(AHEAD)
        self._threads: list[threading.Thread] = []
        self._shares: list[Share] = []
        self._over: list[BaseException] = []

    @property
    def files(self) -> int:
        """Those that are done."""
        return sum(share.files for share in self._shares)

    @property
    def bytes(self) -> int:
        """Those that went, of files that are under way as well."""
        return sum(share.bytes + share.under_way for share in self._shares)

    @property
    def failures(self) -> int:
        return sum(share.failures for share in self._shares)

    def all(self, items: Iterable[T]) -> None:
        """
        Until nothing is left to do.

        :raises Error: what would fail for all that are left; they were not tried.
        """
        try:
            for item in items:
                if self._stopped.is_set():
                    break
                self._put(item)
                if len(self._threads) < self._jobs:
                    self._start()
            self._put_end()
            for thread in self._threads:
                while thread.is_alive():
                    thread.join(LOOK)
                    self._watch()
        except BaseException:
            self._end()
            raise
        if self._over:
            raise self._over[0]

    def _put(self, item: T | None) -> None:
        while not self._stopped.is_set():
            try:
                self._queue.put_nowait(item)
                return
            except queue.Full:
                time.sleep(LOOK)
                self._watch()

    def _put_end(self) -> None:
        """No more items come; when it was stopped, none of those that wait is done either."""
        for _ in self._threads:
            self._put(None)
        if self._stopped.is_set():
            with suppress(queue.Empty):
                while True:
                    self._queue.get_nowait()
            for _ in self._threads:
                self._queue.put_nowait(None)

    def _start(self) -> None:
        share = Share(self._stopped)
        # A thread that hangs in a connection does not keep the command from ending.
        thread = threading.Thread(target=self._run, args=(share,), daemon=True)
        self._shares.append(share)
        self._threads.append(thread)
        thread.start()

    def _end(self) -> None:
        self._stopped.set()
        self._put_end()
        until = time.monotonic() + LEAVE
        for thread in self._threads:
            thread.join(max(0, until - time.monotonic()))

    def _run(self, share: Share) -> None:
        while not self._stopped.is_set() and (item := self._queue.get()) is not None:
            try:
                self._do(item, share)
            except Stopped:
                return
            except (Error, OSError) as error:
                if is_hopeless(error):
                    self._give_up(error)
                    return
                share.failures += 1
                self._tell(item, error)
            except BaseException as error:
                self._give_up(error)
                return
            else:
                share.files += 1
                share.bytes += share.under_way
            share.under_way = 0

    def _give_up(self, error: BaseException) -> None:
        self._over.append(error)
        self._stopped.set()


def is_hopeless(error: Exception) -> bool:
    """Whether it is the same for every other file."""
    if isinstance(error, Unavailable):
        return error.status is None
    return isinstance(error, Unauthorized | NotDragonbelly) or (
        isinstance(error, Error) and error.problem.get("title") == "Unknown domain"
    )
