"""Has an upload come?  The question, and how often it is asked."""

from __future__ import annotations

from hashlib import md5, sha256

import pytest

from dragonbelly.errors import BackendRefused, BackendUnavailable
from dragonbelly.events import DIGEST, LAPSED, SIZE, Abandoned, Verified
from dragonbelly.model import BackendState
from dragonbelly.replication import verify
from tests.builders import DATA, PATH, World, begun, done


@pytest.fixture
def world():
    """Nothing runs but what the test asks for; the markers are there."""
    world = World()
    done(world.daemon.health.round())
    return world


def look(world, version, **how):
    return done(world.daemon.verifier.look(PATH, version, **how))


def backend(world, version, target=0):
    return world.backends[version.replicas[target].backend]


def test_not_yet(world):
    version = world.accept()
    assert look(world, version) == verify.Seen()
    assert look(world, version, final=True).event == Abandoned(world.now, version.id, LAPSED)


@pytest.mark.parametrize("target", [0, 1])
def test_it_has_come(world, target):
    version = world.accept()
    world.send(version, target=target)
    name = version.replicas[target].backend
    for final in (False, True):
        assert look(world, version, final=final).event == Verified(world.now, version.id, name, len(DATA))


def test_a_digest_is_asked_for_only_if_it_was_announced(world):
    version = world.accept()
    world.send(version)
    look(world, version)
    assert backend(world, version).asked("read") == []
    announced = world.accept(sha256=sha256(DATA).digest())
    world.send(announced)
    seen = look(world, announced)
    assert seen.event.sha256 == sha256(DATA).digest()
    assert len(backend(world, announced).asked("read")) == 1


def test_a_server_that_knows_digests_is_believed_where_it_says_so(world):
    for each in world.backends.values():
        each.digests = True
    version = world.accept(sha256=sha256(DATA).digest())
    world.send(version)
    assert isinstance(look(world, version).event, Verified)
    other = world.accept(sha256=sha256(b"other").digest())
    world.send(other)
    assert look(world, other).event == Abandoned(world.now, other.id, DIGEST)
    assert not any(each.asked("read") for each in world.backends.values())


@pytest.mark.parametrize("wrong", [{"md5": md5(b"other").digest()}, {"sha256": sha256(b"other").digest()}])
def test_other_bytes(world, wrong):
    version = world.accept(**wrong)
    world.send(version)
    assert look(world, version).event == Abandoned(world.now, version.id, DIGEST)


def test_another_size(world):
    version = world.accept(size=3)
    world.send(version)
    assert look(world, version).event == Abandoned(world.now, version.id, SIZE)


def test_both_digests_have_to_fit(world):
    version = world.accept(md5=md5(DATA).digest(), sha256=sha256(b"other").digest())
    world.send(version)
    assert look(world, version).event == Abandoned(world.now, version.id, DIGEST)


@pytest.mark.parametrize("bad", [DATA[:-1], DATA[:-1] + b"?"], ids=["size", "digest"])
def test_what_is_wrong_on_one_server_may_be_right_on_another(world, bad):
    """A client tries the next server when one fails; or a copy was made, which the store has forgotten."""
    version = world.accept(size=len(DATA), sha256=sha256(DATA).digest())
    other = world.backends[version.replicas[1].backend]
    world.send(version, bad)
    other.failing["stat"] = BackendUnavailable("?")
    assert look(world, version) == verify.Seen(unknown=True)
    other.failing.clear()
    assert isinstance(look(world, version).event, Abandoned)
    world.send(version, target=1)
    assert look(world, version).event == Verified(
        world.now, version.id, other.name, len(DATA), sha256(DATA).digest()
    )


def test_a_large_one_is_not_read_while_a_reader_waits(world):
    version = world.accept(sha256=sha256(DATA).digest())
    world.send(version)
    assert look(world, version, read_at_most=len(DATA) - 1) == verify.Seen(unread=True)
    assert isinstance(look(world, version, read_at_most=len(DATA)).event, Verified)


@pytest.mark.parametrize("error", [BackendUnavailable("?"), BackendRefused("?")])
@pytest.mark.parametrize("final", [False, True])
def test_unreachable_is_not_missing(world, error, final):
    version = world.accept()
    backend(world, version).failing["stat"] = error
    assert look(world, version, final=final) == verify.Seen(unknown=True)


@pytest.mark.parametrize("state", [BackendState.DOWN, None])
def test_one_that_must_not_be_asked(world, state):
    version = world.accept()
    name = version.replicas[0].backend
    if state is not None:
        world.daemon.cluster.say({name: state})
    else:
        backend(world, version).away = True
        done(world.daemon.health.probe(name))
    before = len(backend(world, version).calls)
    assert look(world, version, final=True) == verify.Seen(unknown=True)
    assert len(backend(world, version).calls) == before


def test_the_dead_have_nothing(world):
    version = world.accept()
    world.daemon.cluster.say({r.backend: BackendState.DEAD for r in version.replicas})
    assert look(world, version) == verify.Seen()
    assert look(world, version, final=True).event == Abandoned(world.now, version.id, LAPSED)


def test_a_read_that_breaks_off_says_nothing(world):
    version = world.accept(sha256=sha256(DATA).digest())
    world.send(version)
    backend(world, version).failing["read"] = BackendUnavailable("?")
    assert look(world, version, final=True) == verify.Seen(unknown=True)


# --- readers who wait ------------------------------------------------------------------------------------


def glance(world, version):
    return begun(world.daemon.verifier.glance(PATH, version))


def questions(world, version):
    return len(backend(world, version).asked("stat"))


def test_one_question_at_a_time(world):
    version = world.accept()
    backend(world, version).hold("stat")
    answers = [glance(world, version)[1] for _ in range(5)]
    other = world.accept()
    assert questions(world, version) <= 2
    world.send(version)
    backend(world, version).release("stat")
    for answer in answers:
        assert isinstance(answer[0].event, Verified)
    assert glance(world, other)[1]


def test_a_not_yet_is_believed_for_a_tenth_of_the_age(world):
    version = world.accept()
    world.clock.advance(5)
    assert glance(world, version)[1] == [verify.Seen()]
    asked = questions(world, version)
    world.clock.advance(0.4)
    assert glance(world, version)[1] == [verify.Seen()]
    assert questions(world, version) == asked
    world.clock.advance(0.2)
    world.send(version)
    assert isinstance(glance(world, version)[1][0].event, Verified)


def test_and_for_a_second_at_most(world):
    version = world.accept()
    world.clock.advance(500)
    glance(world, version)
    world.clock.advance(1.01)
    world.send(version)
    assert isinstance(glance(world, version)[1][0].event, Verified)


def test_at_once_after_it_was_accepted(world):
    version = world.accept()
    assert glance(world, version)[1] == [verify.Seen()]
    world.send(version)
    assert isinstance(glance(world, version)[1][0].event, Verified)


def test_who_asked_first_may_leave(world):
    version = world.accept()
    backend(world, version).hold("stat")
    first, left = glance(world, version)
    _, stays = glance(world, version)
    first.cancel()
    assert len(left) == 1
    assert stays == []
    world.send(version)
    backend(world, version).release("stat")
    assert isinstance(stays[0].event, Verified)


def test_who_joined_may_leave(world):
    version = world.accept()
    backend(world, version).hold("stat")
    _, stays = glance(world, version)
    second, left = glance(world, version)
    second.cancel()
    assert len(left) == 1
    backend(world, version).release("stat")
    assert stays == [verify.Seen()]


def test_a_server_that_does_not_answer_holds_nobody_for_long(world):
    version = world.accept()
    backend(world, version).hold("stat")
    _, first = glance(world, version)
    world.clock.advance(verify.GLANCE - 0.5)
    _, second = glance(world, version)
    world.clock.advance(0.4)
    assert (first, second) == ([], [])
    world.clock.advance(0.1)
    # The time is that of the question, so the second does not wait as long again.
    assert first == second == [verify.Seen(unknown=True)]
    world.clock.advance(60)
    assert glance(world, version)[1] == [verify.Seen(unknown=True)]
    assert questions(world, version) == 1
    backend(world, version).release("stat")
    assert world.clock.getDelayedCalls() == []


def test_the_question_goes_on_when_nobody_waits_any_more(world):
    version = world.accept()
    backend(world, version).hold("stat")
    glance(world, version)
    world.clock.advance(8)
    backend(world, version).release("stat")
    asked = questions(world, version)
    # What it came to is believed as if somebody had waited: for a tenth of the upload's age now.
    world.clock.advance(0.7)
    assert glance(world, version)[1] == [verify.Seen()]
    assert questions(world, version) == asked
    world.clock.advance(0.2)
    world.send(version)
    assert isinstance(glance(world, version)[1][0].event, Verified)


def test_one_that_comes_in_time_gets_the_answer_for_which_others_did_not_wait(world):
    version = world.accept()
    backend(world, version).hold("stat")
    leaving, left = glance(world, version)
    world.clock.advance(verify.GLANCE - 0.1)
    leaving.cancel()
    _, second = glance(world, version)
    world.send(version)
    backend(world, version).release("stat")
    assert isinstance(second[0].event, Verified)
    assert len(left) == 1
    assert questions(world, version) == 1
    assert world.clock.getDelayedCalls() == []


def test_a_bug_is_no_answer(world):
    version = world.accept()
    backend(world, version).failing["stat"] = ZeroDivisionError()
    assert glance(world, version)[1] == [verify.Seen(unknown=True)]


def test_the_memory_is_bounded(world, monkeypatch):
    monkeypatch.setattr(verify, "REMEMBERED", 3)
    for _ in range(6):
        glance(world, world.accept())
    assert len(world.daemon.verifier._answers) == 3


def test_so_many_are_read_at_a_time(world):
    version = world.accept(sha256=sha256(DATA).digest())
    world.send(version)
    server = backend(world, version)
    server.hold("read")
    looks = [begun(world.daemon.verifier.look(PATH, version)) for _ in range(verify.READERS + 2)]
    assert len(server.asked("read")) == verify.READERS
    server.release("read")
    assert [seen[0].event.sha256 for _, seen in looks] == [sha256(DATA).digest()] * len(looks)
    assert len(server.asked("read")) == len(looks)
