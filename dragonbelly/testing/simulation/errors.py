"""Errors that the product logs instead of raising: in a simulation each is a finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogBeginner, globalLogPublisher
from zope.interface import provider


@contextmanager
def watched(found: Callable[[str], None]) -> Iterator[None]:
    """Hear of every failure that is logged meanwhile, with its traceback."""

    @provider(ILogObserver)
    def observe(event: dict[str, Any]) -> None:
        failure = event.get("log_failure")
        # Twisted announces an unhandled error first, and then says which.
        if failure is not None or (event["log_level"] is LogLevel.critical and not event.get("isError")):
            found(formatEvent(event) + ("\n" + failure.getTraceback() if failure is not None else ""))

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)


@lru_cache(maxsize=1)
def be_quiet() -> None:
    """Nothing is kept or printed of what else is logged: nobody reads it, and it takes time."""
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
