"""The reactor of a daemon: its turns are Twisted's, but for what it notes for old log lines."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.selectreactor import SelectReactor
from twisted.logger import capturedLogs
from twisted.python import context
from twisted.python.failure import Failure

from dragonbelly.tuning import come_first, tune


class End:
    """The end of a pipe that is read; ``read`` is called each time something is there."""

    def __init__(self, reactor: EPollReactor, read: Callable[[], object]) -> None:
        self.reads, self.writes = os.pipe()
        self.read = read
        self.why: Failure | None = None
        self.said: bytes | None = None
        reactor.addReader(self)
        os.write(self.writes, b"x")

    def fileno(self) -> int:
        return self.reads

    def logPrefix(self) -> str:
        return "a prefix"

    def doRead(self) -> object:
        self.said = os.read(self.reads, 1)
        return self.read()

    def connectionLost(self, reason: Failure) -> None:
        self.why = reason
        raise RuntimeError("on being told")


@pytest.fixture
def reactor() -> Iterator[EPollReactor]:
    before = gc.get_threshold()
    made = EPollReactor()
    tune(made)
    yield made
    gc.set_threshold(*before)
    gc.unfreeze()
    made.removeAll()
    made._poller.close()


def test_an_event_is_told_without_a_context(reactor: EPollReactor) -> None:
    seen = []
    end = End(reactor, lambda: seen.append(context.get("system")))
    reactor.doIteration(0)
    reactor.doIteration(0)
    assert end.said == b"x"
    assert seen == [None]


def test_one_that_fails_takes_nobody_along(reactor: EPollReactor) -> None:
    def fails() -> object:
        raise ValueError("while reading")

    ends = [End(reactor, fails), End(reactor, lambda: CONNECTION_LOST), End(reactor, lambda: None)]
    with capturedLogs() as logs:
        reactor.doIteration(0)
    told = [event.get("log_failure", event.get("failure")) for event in logs]
    assert [str(failure.value) for failure in told] == ["while reading", *["on being told"] * 2]
    assert [end.said for end in ends] == [b"x"] * 3
    assert [end.why.value.__class__ if end.why else None for end in ends] == [
        ValueError,
        type(CONNECTION_LOST),
        None,
    ]
    assert [end in reactor.getReaders() for end in ends] == [False, False, True]


def test_one_that_another_closed_has_no_event(reactor: EPollReactor) -> None:
    ends: list[End] = []

    def close() -> None:
        for end in ends:
            reactor.removeReader(end)

    ends += [End(reactor, close), End(reactor, close)]
    reactor.doIteration(0)
    assert sorted(end.said or b"" for end in ends) == [b"", b"x"]


def test_who_comes_first(reactor: EPollReactor) -> None:
    """In the order in which they became ready, but for those."""
    told: list[str] = []
    ends = {name: End(reactor, lambda name=name: told.append(name)) for name in "abcd"}
    come_first(reactor).add(ends["c"].fileno())
    reactor.doIteration(0)
    assert told == ["c", "a", "b", "d"]
    come_first(reactor).clear()
    for name in "badc":
        os.write(ends[name].writes, b"x")
    told.clear()
    reactor.doIteration(0)
    assert sorted(told) == ["a", "b", "c", "d"]


def test_it_waits_for_as_long_as_it_is_told(reactor: EPollReactor) -> None:
    ends: list[End] = []
    reactor.callLater(0.01, lambda: ends.append(End(reactor, lambda: None)))
    while not ends or ends[0].said is None:
        reactor.runUntilCurrent()
        reactor.doIteration(reactor.timeout())


def test_another_reactor_is_left_as_it_is(reactor: EPollReactor) -> None:
    other = SelectReactor()
    tune(other)
    assert "doIteration" not in vars(other)
