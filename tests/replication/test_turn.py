"""What one daemon at a time does."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from dragonbelly.errors import StateUnavailable
from dragonbelly.replication.turn import LEASE, Turn
from dragonbelly.state.memory import MemoryStore
from tests.builders import NOW, done


@pytest.fixture
def clock():
    clock = Clock()
    clock.advance(NOW)
    yield clock
    assert clock.getDelayedCalls() == []


@pytest.fixture
def store(clock):
    return MemoryStore(clock)


@pytest.fixture
def turns(store, clock):
    return [Turn(store, clock, "field", name) for name in ("one", "two 2")]


def test_one_at_a_time(turns, clock):
    one, two = turns
    assert not one.ours
    assert done(one.take())
    assert one.ours
    assert not done(two.take())
    assert not two.ours
    clock.advance(LEASE - 1)
    assert done(one.take())
    clock.advance(LEASE - 1)
    assert not done(two.take())
    clock.advance(1)
    assert not one.ours
    assert done(two.take())
    assert not done(one.take())


def test_given_back(turns):
    one, two = turns
    assert done(one.take())
    done(two.give_back())
    assert not done(two.take())
    done(one.give_back())
    assert not one.ours
    assert done(two.take())


def test_two_who_take_it_at_once(turns, store):
    one, two = turns
    asked = store.meta

    def meanwhile(field):
        store.meta = asked
        assert done(two.take())
        return done(asked("other")) or _fired(None)

    store.meta = meanwhile
    assert not done(one.take())
    assert two.ours


def _fired(result):
    fired = Deferred()
    fired.callback(result)
    return fired


def test_a_turn_that_no_right_clock_gave_is_none(turns, store):
    one, _ = turns
    assert done(store.set_meta("field", None, f"two 2 {NOW + 1000 * LEASE}"))
    assert done(one.take())


def test_kept_meanwhile(turns, clock):
    one, two = turns
    assert done(one.take())
    with one.kept():
        for _ in range(10):
            clock.advance(LEASE / 3)
            assert one.ours
            assert not done(two.take())
    clock.advance(LEASE)
    assert not one.ours


def test_kept_though_the_store_is_away_for_a_moment(turns, store, clock):
    one, _ = turns
    assert done(one.take())
    asked, away = store.meta, []

    def fails(field):
        away.append(field)
        failed: Deferred[None] = Deferred()
        failed.errback(StateUnavailable("away"))
        return failed

    with one.kept():
        store.meta = fails
        clock.advance(LEASE / 3)
        assert away
        store.meta = asked
        for _ in range(5):
            clock.advance(LEASE / 3)
        assert one.ours


def test_what_is_asked_as_it_ends_is_given_up(turns, store, clock):
    one, _ = turns
    assert done(one.take())
    cancelled = []
    with one.kept():
        store.meta = lambda field: Deferred(cancelled.append)
        clock.advance(LEASE / 3)
    assert len(cancelled) == 1
