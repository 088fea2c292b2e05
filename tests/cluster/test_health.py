"""How a backend feels: the rule, and the probes."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from dragonbelly.cluster.health import FULL_FOR, MEMORY, STEADY, WRITES, Health, Pulse
from dragonbelly.cluster.members import Cluster, Member
from dragonbelly.errors import BackendFull, BackendRefused, BackendUnavailable, NoSuchObject, StateUnavailable
from dragonbelly.keys import MARKER
from dragonbelly.model import BackendView, Observed, Space
from tests.builders import NOW, FaultyBackend, done

UP, FULL, UNREACHABLE = Observed

ROOM = Space(50, 100)


# --- the rule --------------------------------------------------------------------------------------------


def fallen(times: int, now: float = NOW) -> Pulse:
    """One that fell so often, and is away."""
    pulse = Pulse()
    for count in range(times):
        pulse.failed(now)
        if count < times - 1:
            for _ in range(pulse.needed):
                pulse.succeeded(now, ROOM)
    return pulse


def test_away_at_once():
    pulse = Pulse()
    assert pulse.observed is UP
    pulse.failed(NOW)
    assert (pulse.observed, pulse.away_since) == (UNREACHABLE, NOW)
    pulse.failed(NOW + 9)
    assert pulse.away_since == NOW


@pytest.mark.parametrize(("falls", "needed"), [(1, 2), (2, 4), (3, 8), (4, 16), (5, 32), (6, 32), (9, 32)])
def test_back_after_several_successes_the_more_the_more_often_it_fell(falls, needed):
    pulse = fallen(falls)
    assert pulse.needed == needed <= STEADY
    for _ in range(needed - 1):
        pulse.succeeded(NOW, ROOM)
        assert pulse.observed is UNREACHABLE
    pulse.succeeded(NOW, ROOM)
    assert (pulse.observed, pulse.away_since) == (UP, None)


def test_the_successes_are_in_a_row():
    pulse = fallen(2)
    for _ in range(5):
        for _ in range(3):
            pulse.succeeded(NOW, ROOM)
        pulse.failed(NOW)
        assert pulse.observed is UNREACHABLE
    assert pulse.needed == 4  # it fell once and has been away since


def test_old_falls_are_forgotten():
    pulse = fallen(5)
    for _ in range(pulse.needed):
        pulse.succeeded(NOW, ROOM)
    pulse.failed(NOW + MEMORY)
    assert pulse.needed == 2


def test_full():
    pulse = Pulse()
    pulse.full(NOW)
    assert pulse.observed is FULL
    pulse.succeeded(NOW + FULL_FOR - 1, ROOM)
    assert pulse.observed is FULL
    pulse.succeeded(NOW + FULL_FOR, ROOM)
    assert pulse.observed is UP
    pulse.succeeded(NOW + FULL_FOR, Space(1, 100))
    assert pulse.observed is FULL
    pulse.succeeded(NOW + FULL_FOR, Space(2, 100))
    assert pulse.observed is UP
    for unknown in (Space(), Space(None, 100), Space(7, None)):
        pulse.succeeded(NOW + FULL_FOR, unknown)
        assert pulse.observed is UP
    pulse.succeeded(NOW + FULL_FOR, Space(0, None))
    assert pulse.observed is FULL


def test_a_server_that_takes_no_writes_is_taken_for_full():
    pulse = Pulse()
    for said in (False, False, True, False, False):
        assert not pulse.write(NOW, said)
        assert pulse.observed is UP
    assert pulse.write(NOW, False)
    assert pulse.observed is FULL
    assert not pulse.write(NOW + 1, False)  # it is said once
    pulse.succeeded(NOW + 1 + FULL_FOR, ROOM)
    assert pulse.observed is UP


def test_writes_that_fail_because_it_is_away_say_nothing_of_its_room():
    pulse = Pulse()
    for _ in range(WRITES):
        pulse.write(NOW, False)
    pulse.failed(NOW)
    for _ in range(WRITES):
        assert not pulse.write(NOW, False)
    for _ in range(pulse.needed):
        pulse.succeeded(NOW + 1, ROOM)
    assert pulse.observed is UP
    # What it said itself stays said.
    pulse.full(NOW + 1)
    pulse.failed(NOW + 1)
    for _ in range(pulse.needed):
        pulse.succeeded(NOW + 2, ROOM)
    assert pulse.observed is FULL


def test_what_is_away_and_full_is_away():
    pulse = fallen(1)
    pulse.full(NOW)
    assert pulse.observed is UNREACHABLE
    pulse.succeeded(NOW, ROOM)
    pulse.succeeded(NOW, ROOM)
    assert pulse.observed is FULL


def test_after_a_refusal_only_a_write_proves_that_there_is_room():
    pulse = Pulse()
    assert not pulse.has_room_again(wrote=True)  # nothing was wrong
    for refuse in (lambda: pulse.full(NOW), lambda: [pulse.write(NOW, False) for _ in range(WRITES)]):
        refuse()
        pulse.succeeded(NOW + FULL_FOR, ROOM)
        assert pulse.observed is UP
        assert not pulse.has_room_again(wrote=False)  # that a minute has passed is no proof
        assert pulse.has_room_again(wrote=True)
        assert not pulse.has_room_again(wrote=True)  # it is said once


def test_after_figures_that_said_full_only_figures_prove_that_there_is_room():
    pulse = Pulse()
    pulse.succeeded(NOW, ROOM)
    assert not pulse.has_room_again(wrote=False)
    pulse.succeeded(NOW, Space(1, 100))
    assert not pulse.has_room_again(wrote=False)
    assert not pulse.has_room_again(wrote=True)  # a small one fits in before it is really full
    pulse.failed(NOW)
    pulse.succeeded(NOW, ROOM)
    assert not pulse.has_room_again(wrote=False)
    pulse.succeeded(NOW, ROOM)
    assert pulse.has_room_again(wrote=False)
    assert not pulse.has_room_again(wrote=False)


def test_figures_do_not_make_up_for_a_refusal():
    pulse = Pulse()
    pulse.succeeded(NOW, Space(1, 100))
    pulse.full(NOW)
    pulse.succeeded(NOW + 2, ROOM)
    assert not pulse.has_room_again(wrote=False)
    pulse.succeeded(NOW + FULL_FOR, ROOM)
    assert pulse.has_room_again(wrote=False)
    assert pulse.has_room_again(wrote=True)


# --- the probes ------------------------------------------------------------------------------------------


class Ward:
    """Some backends, watched every 2 s with 1.5 s for each probe and 60 s of patience."""

    def __init__(self, names: str = "ab") -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.backends = {n: FaultyBackend(n) for n in names}
        self.cluster = Cluster(Member(b, BackendView(n, n, "z")) for n, b in self.backends.items())
        self.expecting: dict[str, Any] = {}
        self.identity = "this store"
        self.said: list[Any] = []
        clock: Any = self.clock
        self.health = Health(
            self.cluster,
            clock,
            every=2,
            timeout=1.5,
            patience=60,
            identity=lambda: self.identity,
            expected=self._expected,
            on_impatience=lambda name: self.said.append(("impatient", name)),
            on_return=lambda name, long: self.said.append(("back", name, long)),
            on_failure=lambda name, reason: self.said.append((reason, name)),
        )
        self.a = self.backends["a"]

    def _expected(self, name: str) -> Deferred[bool]:
        answer = self.expecting.get(name, False)
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds * 2)):
            self.clock.advance(0.5)

    def observed(self, name: str = "a") -> Observed:
        return self.cluster.view[name].observed

    def stop(self) -> None:
        done(self.health.stopService())
        assert self.clock.getDelayedCalls() == []


@pytest.fixture
def ward():
    ward = Ward()
    done(ward.health.round())
    ward.health.startService()
    yield ward
    if ward.health.running:
        ward.stop()


def test_away_and_back(ward):
    ward.a.away = True
    ward.advance(2)
    assert ward.observed() is UNREACHABLE
    assert ward.cluster.view["a"].patient
    assert ward.observed("b") is UP
    ward.a.away = False
    ward.advance(2)
    assert ward.observed() is UNREACHABLE
    ward.advance(2)
    assert ward.observed() is UP
    assert not ward.cluster.view["a"].patient
    assert ward.said == [("probe", "a"), ("back", "a", False)]


def test_flapping_is_damped(ward):
    for falls in range(1, 5):
        ward.a.away = True
        ward.advance(2)
        assert ward.observed() is UNREACHABLE
        ward.a.away = False
        ward.advance(2 * (2**falls - 1))
        assert ward.observed() is UNREACHABLE
        ward.advance(2)
        assert ward.observed() is UP


def test_patience_ends_once(ward):
    ward.a.away = True
    ward.advance(60)
    assert ward.cluster.view["a"].patient
    assert ward.cluster.view["a"].counts
    ward.advance(2)
    assert not ward.cluster.view["a"].patient
    assert not ward.cluster.view["a"].counts
    ward.advance(100)
    assert ward.said == [("probe", "a"), ("impatient", "a")]
    ward.a.away = False
    ward.advance(4)
    assert ward.said[2:] == [("back", "a", True)]
    ward.a.away = True
    ward.advance(2)
    assert ward.cluster.view["a"].patient
    ward.advance(62)
    assert ward.said[3:] == [("probe", "a"), ("impatient", "a")]


def test_there_is_no_moment_of_impatience_in_between(ward):
    seen = []
    ward.cluster.on_change.append(lambda old, new: seen.append(new.counts))
    ward.a.away = True
    ward.advance(4)
    ward.a.away = False
    ward.advance(10)
    assert ward.observed() is UP
    assert all(seen)


def test_room_is_seen(ward):
    ward.a.capacity = 10_000
    ward.advance(2)
    assert ward.cluster.view["a"].total == 10_000
    ward.a.objects["fill"] = b"x" * 9_950
    ward.advance(2)
    assert ward.observed() is FULL
    assert not ward.cluster.view["a"].takes
    assert ward.cluster.view["a"].serves
    assert ward.said == []
    del ward.a.objects["fill"]
    ward.advance(2)
    assert ward.observed() is UP
    assert ward.said == [("back", "a", False)]  # what waits for room is looked at again
    ward.advance(20)
    assert len(ward.said) == 1


def test_a_refusal_for_want_of_room_is_seen_at_once(ward):
    ward.health.doubt("a", BackendFull("no room"))
    assert ward.observed() is FULL
    ward.advance(FULL_FOR - 2)
    assert ward.observed() is FULL
    ward.advance(4)
    assert ward.observed() is UP
    assert ward.said == [("full", "a")]  # no proof yet that it takes writes
    ward.health.wrote("a", went_well=True)
    assert ward.said == [("full", "a"), ("back", "a", False)]  # what waits for room is looked at again


def test_use_that_fails_is_looked_into_at_once(ward):
    ward.a.away = True
    ward.health.doubt("a", BackendUnavailable("?"))
    assert ward.observed() is UNREACHABLE
    probes = len(ward.a.calls)
    ward.health.doubt("a", BackendUnavailable("?"))
    assert len(ward.a.calls) == probes  # it is known, and the successes are not to be counted faster


def test_use_that_fails_by_itself_changes_nothing(ward):
    for error in (BackendUnavailable("?"), NoSuchObject("?"), BackendRefused("?")):
        ward.health.doubt("a", error)
        assert ward.observed() is UP
    ward.health.doubt("unknown", BackendUnavailable("?"))
    assert ward.said == [("unavailable", "a"), ("missing", "a"), ("refused", "a"), ("unavailable", "unknown")]


# --- the marker ------------------------------------------------------------------------------------------


def test_the_marker_is_written_where_nothing_is_expected():
    ward = Ward()
    done(ward.health.round())
    assert ward.a.objects[MARKER] == b"this store\n"
    assert ward.observed() is UP


def test_storage_without_its_marker_is_away_while_objects_are_expected(ward):
    ward.expecting["a"] = True
    del ward.a.objects[MARKER]
    ward.advance(2)
    assert ward.observed() is UNREACHABLE
    assert MARKER not in ward.a.objects
    ward.expecting["a"] = False
    ward.advance(4)
    assert ward.observed() is UP
    assert MARKER in ward.a.objects


def test_a_store_that_is_away_teaches_nothing(ward):
    del ward.a.objects[MARKER]
    ward.expecting["a"] = StateUnavailable("away")
    ward.advance(10)
    assert ward.observed() is UP
    assert MARKER not in ward.a.objects
    ward.a.away = True  # this needs no store
    ward.advance(2)
    assert ward.observed() is UNREACHABLE


def test_that_nothing_is_there_is_believed_of_the_storage_we_know(ward):
    assert done(ward.health.believed("a")) is True
    ward.expecting["a"] = True
    del ward.a.objects[MARKER]
    assert done(ward.health.believed("a")) is False
    assert ward.observed() is UNREACHABLE
    assert done(ward.health.believed("unknown")) is False


def test_the_marker_of_another_store(ward):
    """The wrong Redis, or one that lost its data: nothing on these servers is its to remove."""
    ward.identity = "another store"
    for expecting in (False, True):
        ward.expecting["a"] = expecting
        ward.advance(4)
        assert ward.observed() is UNREACHABLE
        assert ward.a.objects[MARKER] == b"this store\n"
        assert done(ward.health.believed("a")) is False
    ward.identity = "this store"
    ward.advance(4)
    assert ward.observed() is UP


# --- time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["read", "probe"])
def test_a_probe_that_hangs(ward, call):
    def silent(*args: Any) -> Deferred[Any]:
        return Deferred()

    setattr(ward.a, call, silent)
    ward.advance(2)
    assert ward.observed() is UP
    ward.advance(1)
    assert ward.observed() is UP
    ward.advance(0.5)
    assert ward.observed() is UNREACHABLE
    assert ward.observed("b") is UP
    delattr(ward.a, call)
    ward.advance(5)
    assert ward.observed() is UP


def test_a_bug_in_a_plugin_is_no_answer(ward):
    def broken() -> Any:
        raise ZeroDivisionError

    ward.a.probe = broken
    ward.advance(2)
    assert ward.observed() is UNREACHABLE
    assert ward.observed("b") is UP
    del ward.a.probe
    ward.advance(4)
    assert ward.observed() is UP


def test_not_all_at_once():
    """Or a daemon with many backends would answer nobody for as long as it takes to ask all of them."""
    ward = Ward("abcd")
    asked: list[tuple[float, str]] = []
    for name, backend in ward.backends.items():
        backend.probe = lambda name=name: asked.append((ward.clock.seconds() - NOW, name)) or succeed(Space())
    ward.health.startService()
    for _ in range(16):
        ward.clock.advance(0.25)
    assert asked[:8] == [(n // 4 * 2 + n % 4 * 0.25, name) for n, name in enumerate("abcdabcd")]
    ward.stop()


def test_one_probe_at_a_time_serves_all_who_ask(ward):
    waiting: Deferred[Any] = Deferred()
    ward.a.read = lambda key: waiting
    first, second = ward.health.probe("a"), ward.health.probe("a")
    results: list[Any] = []
    first.addCallback(results.append)
    second.addCallback(results.append)
    assert results == []
    waiting.errback(BackendUnavailable("?"))
    assert results == [None, None]
    assert ward.observed() is UNREACHABLE


def test_stopping_leaves_nothing(ward):
    ward.a.read = lambda key: Deferred()
    ward.advance(2)
    assert len(ward.clock.getDelayedCalls()) > 0
    ward.stop()
    before = ward.observed()
    ward.advance(10)
    assert ward.observed() is before is UP


def test_it_goes_on_after_a_failure_of_its_own(ward):
    names = ward.cluster.__class__.names
    calls = []

    class Broken(Cluster):
        @property
        def names(self) -> Any:
            calls.append(1)
            raise ZeroDivisionError

    ward.cluster.__class__ = Broken
    ward.advance(4)
    assert calls
    ward.cluster.__class__ = Cluster
    assert Cluster.names is names
    ward.a.away = True
    ward.advance(2)
    assert ward.observed() is UNREACHABLE


# --- writes ----------------------------------------------------------------------------------------------


def test_one_that_takes_no_writes_gets_no_new_objects_for_a_while(ward):
    for went_well in (False, False, True, False, False):
        ward.health.wrote("a", went_well)
        assert ward.observed() is UP, "a failure now and then is none of the server's"
    ward.health.wrote("a", False)
    assert ward.observed() is Observed.FULL
    assert ward.cluster.view["a"].serves
    assert not ward.cluster.view["a"].takes
    ward.advance(FULL_FOR - 2)
    assert ward.observed() is Observed.FULL, "a probe that goes well says nothing of writes"
    ward.advance(4)
    assert ward.observed() is UP
    assert ward.said == [], "nor does the time that passed"
    ward.health.wrote("a", True)
    ward.health.wrote("a", True)
    assert ward.said == [("back", "a", False)]
    ward.health.wrote("unknown", False)
    ward.health.wrote("unknown", True)
