"""Timeouts give what came in time the chance to be read."""

from twisted.internet.task import Clock

from dragonbelly.deadlines import Deadlines


def test_after_its_time_and_one_more_turn():
    clock, called = Clock(), []
    deadline = Deadlines(clock).callLater(2, called.append, "late")
    clock.advance(1.9)
    assert deadline.active()
    clock.advance(0.1)
    assert called == ["late"]
    assert not deadline.active()


def test_what_is_read_in_that_turn_cancels_it():
    clock, called = Clock(), []
    deadline = Deadlines(clock).callLater(2, called.append, "late")
    clock.callLater(2, deadline.cancel)
    clock.advance(2)
    assert called == []
    assert not deadline.active()


def test_who_slept_is_given_the_time_once_more_and_not_for_ever():
    clock, called = Clock(), []
    deadline = Deadlines(clock).callLater(2, called.append, "late")
    clock.advance(10)
    assert called == []
    clock.advance(1.9)
    assert deadline.active()
    assert called == []
    clock.advance(10)
    assert called == ["late"]


def test_cancelled_before():
    clock, called = Clock(), []
    Deadlines(clock).callLater(2, called.append, "late").cancel()
    clock.advance(5)
    assert called == []
    assert clock.getDelayedCalls() == []
