"""What Python, glibc and Twisted do for every object, page and event, and a daemon has no use for."""

from __future__ import annotations

import ctypes
import gc
from functools import partial
from typing import Any

from twisted.logger import Logger

#: New objects until Python looks for garbage among them: some MB.
GARBAGE = 20_000

#: Bytes of free memory that are kept, at most; an eighth of it, asked for at once, is the system's.
KEPT_FREE = 16 * 1024 * 1024
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

#: Where a reactor has the descriptors that come first.
_FIRST = "_come_first"

_NEEDED = ("doIteration", "_poller", "_selectables", "_doReadOrWrite")

_log = Logger()


def tune(reactor: Any) -> None:
    """To be called when all is imported, before the reactor runs or while it does."""
    _collect_less()
    _keep_memory()
    # Another one is somebody's choice, or another system's, or of a Twisted to come.  By name, for its module
    # cannot be imported where there is no epoll.
    is_epoll = type(reactor).__module__ == "twisted.internet.epollreactor"
    if is_epoll and all(hasattr(reactor, name) for name in _NEEDED):
        reactor.doIteration = partial(_poll, reactor, come_first(reactor))


def come_first(reactor: Any) -> set[int]:
    """
    Descriptors whose events come before those of others that happened in the same turn, if the reactor is
    tuned.  epoll has no order of its own: who was ready in the last turn comes before who is so since.
    """
    found: set[int] = vars(reactor).setdefault(_FIRST, set())
    return found


def _collect_less() -> None:
    """
    A daemon has many objects that live, such as redirects that are kept, and few cycles; with the collector's
    700 it spends a quarter of its time on looking at what stays.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, 20, 20)


def _keep_memory() -> None:
    """
    What a large copy reads is freed as soon as it is written.  glibc gives the free end of its memory back when
    that is as little as two such pieces (mallopt(3)), and to take it again took a twentieth of a copy's time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # others than glibc have none
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, KEPT_FREE)
        mallopt(_M_MMAP_THRESHOLD, KEPT_FREE // 8)


def _poll(reactor: Any, first: set[int], timeout: float | None) -> None:
    """
    One turn, as of ``EPollReactor.doPoll`` (Twisted 26.10).  Twisted notes for each event whose it is,
    for log lines of its old kind; nobody here writes any, and that took a seventh of a cached redirect's time.
    """
    events = reactor._poller.poll(-1 if timeout is None else timeout, len(reactor._selectables))
    if first and len(events) > 1:
        events.sort(key=lambda event: event[0] not in first)
    for descriptor, event in events:
        selectable = reactor._selectables.get(descriptor)  # one before it may have closed it
        if selectable is not None:
            try:
                reactor._doReadOrWrite(selectable, descriptor, event)
            except BaseException:  # of one that was told that its connection is lost; others have events, too
                _log.failure("an event of {who!r}", who=selectable)
