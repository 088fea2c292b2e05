"""The one place where what the stores do becomes the Deferreds of ``IStateStore``."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, fail, succeed

from dragonbelly.interfaces import ITracked, Snapshot
from dragonbelly.model import Path

P = ParamSpec("P")
T = TypeVar("T")


def fires(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Deferred[T]]:
    """A coroutine method that starts at once and gives a Deferred, whose cancelling cancels the await."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        return Deferred.fromCoroutine(method(*args, **kwargs))

    return call


def answers(method: Callable[P, T]) -> Callable[P, Deferred[T]]:
    """A method that gives its answer at once, as a Deferred that has fired."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        try:
            return succeed(method(*args, **kwargs))
        except Exception:
            return fail()

    return call


def asked(tracked: ITracked, path: Path) -> Deferred[Snapshot]:
    """``ITracked.ask`` as a Deferred."""
    answer: Deferred[Snapshot] = Deferred()

    def told(result: Snapshot | Exception) -> None:
        if isinstance(result, Exception):
            answer.errback(result)
        else:
            answer.callback(result)

    tracked.ask(path, told)
    return answer
