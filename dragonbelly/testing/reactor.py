"""
A real reactor for tests that talk to real servers.

It runs in a thread of its own for the whole test process, so a test stays an ordinary function: it may call
``curl`` or a blocking HTTP library while the reactor goes on.  Everything that touches Twisted goes through
``run``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread

T = TypeVar("T")

_started = threading.Event()
_lock = threading.Lock()


def start() -> Any:
    """The running reactor; started at the first call."""
    with _lock:
        if not _started.is_set():
            _reactor.callWhenRunning(_started.set)
            threading.Thread(
                target=_reactor.run, kwargs={"installSignalHandlers": False}, name="reactor", daemon=True
            ).start()
            if not _started.wait(10):
                raise RuntimeError("the reactor did not start within 10 s")
    return _reactor


def run(work: Callable[[], Coroutine[Any, Any, T] | Deferred[T] | T], timeout: float = 30.0) -> T:
    """Call ``work`` in the reactor's thread and wait for what it returns, for ``timeout`` seconds at most."""
    reactor = start()

    def call() -> Any:
        result = work()
        if isinstance(result, Coroutine):
            result = Deferred.fromCoroutine(result)
        if isinstance(result, Deferred):
            result.addTimeout(timeout, reactor)
        return result

    return blockingCallFromThread(reactor, call)  # type: ignore[no-any-return]
