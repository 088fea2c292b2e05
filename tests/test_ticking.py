"""A tick may fail, the loop may not."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from dragonbelly.errors import StateUnavailable
from dragonbelly.ticking import TickingService
from dragonbelly.waiting import together
from tests.builders import begun, done


class Ticker(TickingService):
    def __init__(self, clock):
        super().__init__(clock, 2)
        self.ticks = 0
        self.error = None
        self.waiting = None
        self.away = []

    async def work(self):
        self.ticks += 1
        if self.error is not None:
            raise self.error
        if self.waiting is not None:
            await self.waiting

    def store_away(self, reason):
        self.away.append(reason)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ticker(clock):
    ticker = Ticker(clock)
    ticker.startService()
    yield ticker
    if ticker.running:
        done(ticker.stopService())
    assert clock.getDelayedCalls() == []


def test_every_so_often(ticker, clock):
    assert ticker.ticks == 1
    clock.pump([1] * 6)
    assert ticker.ticks == 4


@pytest.mark.parametrize("error", [ZeroDivisionError(), StateUnavailable("?")])
def test_a_failure_does_not_end_it(ticker, clock, error):
    ticker.error = error
    clock.pump([1] * 4)
    ticker.error = None
    clock.pump([1] * 4)
    assert ticker.ticks == 5
    assert ticker.away == (["?", "?"] if isinstance(error, StateUnavailable) else [])


def test_never_twice_at_once(ticker, clock):
    ticker.waiting = Deferred()
    clock.pump([1] * 10)
    assert ticker.ticks == 2
    ticker.tick()
    assert ticker.ticks == 2
    waiting, ticker.waiting = ticker.waiting, None
    waiting.callback(None)
    ticker.tick()
    assert ticker.ticks == 3


def test_stopping_ends_the_tick_under_way(ticker, clock):
    cancelled = []
    ticker.waiting = Deferred(cancelled.append)
    clock.pump([1] * 2)
    done(ticker.stopService())
    assert cancelled == [ticker.waiting]
    clock.pump([1] * 10)
    assert ticker.ticks == 2
    # It can be started again.
    ticker.waiting = None
    ticker.startService()
    assert ticker.ticks == 3


def test_all_results_in_order():
    one, two = Deferred(), Deferred()
    _, results = begun(together([one, two]))
    two.callback(2)
    assert results == []
    one.callback(1)
    assert results == [[1, 2]]
    assert done(together([])) == []


def test_the_first_failure_as_it_is():
    one, two = Deferred(), Deferred()
    _, results = begun(together([one, two]))
    two.errback(ZeroDivisionError("two"))
    assert results[0].check(ZeroDivisionError)
    one.errback(KeyError())  # nobody hears of it, and nobody complains


def test_cancelling_all():
    cancelled = []
    one, two = Deferred(cancelled.append), Deferred(cancelled.append)
    waiting, results = begun(together([one, two]))
    waiting.cancel()
    assert cancelled == [one, two]
    assert len(results) == 1
