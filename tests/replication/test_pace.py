"""So often a second and no more."""

import pytest
from twisted.internet.task import Clock

from dragonbelly.replication.pace import GRAIN, Pace
from tests.builders import NOW, begun, done


@pytest.fixture
def clock():
    clock = Clock()
    clock.advance(NOW)
    return clock


def test_in_the_long_run(clock):
    pace = Pace(clock, 100)

    async def many():
        for _ in range(1000):
            await pace.spend(1)

    _, results = begun(many())
    clock.pump([0.01] * 980)
    assert not results
    clock.pump([0.01] * 30)
    assert results == [None]


def test_what_is_hardly_worth_it_is_made_up_for(clock):
    pace = Pace(clock, 100)
    waits = [pace.owe(1) for _ in range(10)]
    assert waits[:4] == [0.0] * 4
    assert waits[-1] == pytest.approx(0.1)
    assert all(wait == 0 or wait >= GRAIN for wait in waits)


def test_nothing_is_saved_up(clock):
    pace = Pace(clock, 100)
    clock.advance(1000)
    done(pace.spend(1))
    assert pace.owe(100) == pytest.approx(1.01)


def test_a_clock_that_is_set_back(clock):
    pace = Pace(clock, 100)
    pace.owe(10)
    clock.rightNow -= 3600
    assert pace.owe(10) == pytest.approx(0.1)
