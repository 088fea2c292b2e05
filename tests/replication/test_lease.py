"""A lease is renewed as long as it is needed, and never longer."""

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from dragonbelly.errors import StateUnavailable
from dragonbelly.replication.lease import Lease
from dragonbelly.state.memory import MemoryStore
from tests.builders import NOW, PATH, begun, done


class Leased:
    def __init__(self):
        self.clock = Clock()
        self.clock.advance(NOW)
        self.store = MemoryStore(self.clock)
        done(self.store.hasten([PATH]))
        [claim] = done(self.store.claim(1, 60))
        self.lease = Lease(self.store, claim, 60, self.clock)

    def advance(self, seconds):
        for _ in range(seconds):
            self.clock.advance(1)

    @property
    def due(self):
        """Seconds until somebody may look at the path, None for never."""
        times = [due.time for due in self.store._due.values()]
        return times[0] - self.clock.seconds() if times else None


@pytest.fixture
def leased():
    leased = Leased()
    yield leased
    leased.lease.drop()
    assert leased.clock.getDelayedCalls() == []


def test_it_is_renewed_until_it_is_settled(leased):
    leased.advance(500)
    assert leased.due >= 40
    done(leased.lease.settle(7))
    assert leased.due == 7
    leased.advance(100)
    assert leased.due == -93


def test_never_again(leased):
    leased.advance(30)
    done(leased.lease.settle(None))
    assert leased.due is None
    done(leased.lease.settle(5))
    assert leased.due is None


def test_one_that_is_dropped_lapses(leased):
    leased.advance(30)
    leased.lease.drop()
    leased.advance(100)
    assert leased.due < 0


@pytest.mark.parametrize("wait", [0, 25])
def test_who_moved_the_path_has_it(leased, wait):
    done(leased.store.hasten([PATH]))
    leased.advance(wait)
    due = leased.due
    assert due < 0
    done(leased.lease.settle(900))
    assert leased.due == due


def test_a_store_that_is_away(leased):
    settle = leased.store.settle
    leased.store.settle = lambda *args: fail(StateUnavailable("?"))
    leased.advance(30)
    leased.store.settle = settle
    leased.advance(29)
    assert leased.due == 1  # it lapses: whether it was renewed nobody knows
    done(leased.lease.settle(900))
    assert leased.due == 1


def test_a_store_that_is_away_at_the_end(leased):
    leased.store.settle = lambda *args: fail(StateUnavailable("?"))
    done(leased.lease.settle(5))


def test_settling_waits_for_the_renewal_under_way(leased):
    settle, answers = leased.store.settle, []

    def slow(claim, due):
        answers.append(Deferred())
        result = settle(claim, due)
        return answers[-1].addCallback(lambda _: result)

    leased.store.settle = slow
    leased.advance(20)
    assert len(answers) == 1
    leased.store.settle = settle
    _, results = begun(leased.lease.settle(5))
    assert results == []
    answers[0].callback(None)
    assert results == [None]
    assert leased.due == 5


def test_dropping_ends_the_renewal_under_way(leased):
    leased.store.settle = lambda *args: Deferred()
    leased.advance(20)
    leased.lease.drop()
    assert leased.lease._renewing is None
