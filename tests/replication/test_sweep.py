"""Looking at all records, after something changed that no single record knows of."""

from __future__ import annotations

import pytest
from twisted.internet.defer import fail

from dragonbelly.errors import StateUnavailable
from dragonbelly.model import BackendState, Path
from dragonbelly.replication import sweep
from dragonbelly.replication.sweep import DONE, FINGERPRINT, HOLDER, WANTED
from dragonbelly.replication.turn import LEASE
from tests.builders import configuration, done

ALIVE, READONLY, DRAIN, DOWN, DEAD = BackendState


def meta(world, field):
    return done(world.store.meta(field))


def swept(world):
    return meta(world, WANTED) == meta(world, DONE)


def files(world, count=12):
    paths = [Path("media", f"f{n}") for n in range(count)]
    for path in paths:
        world.put(path=path)
    world.advance(10)
    return paths


def held(world, paths):
    return {world.held(path) for path in paths}


@pytest.fixture(autouse=True)
def small_lots(monkeypatch):
    monkeypatch.setattr(sweep, "LOT", 5)


def test_nothing_is_wanted_at_first(world):
    world.advance(5)
    assert meta(world, FINGERPRINT) == world.config.fingerprint()
    assert meta(world, WANTED) is None
    assert meta(world, HOLDER) is None


def test_the_same_configuration_again(world):
    files(world)
    world.daemon.stop()
    world.another("two").start()
    world.advance(5)
    assert meta(world, WANTED) is None


def test_another_configuration(world):
    paths = files(world)
    world.daemon.stop()
    world.another("two", configuration(world.factory, copies=3)).start()
    world.advance(10)
    assert held(world, paths) == {"abc"}
    assert meta(world, WANTED) == "1"
    assert swept(world)
    assert done(world.store.counts()).queued == 0


def test_a_store_that_forgot_what_the_configuration_was(make_world):
    """Else nobody would look at all files again until a daemon is restarted."""
    world = make_world()
    forgotten = world.save()
    world.start()
    world.advance(5)
    world.roll_back(forgotten)
    paths = files(world)
    world.say("a", DRAIN)
    world.advance(40)
    assert held(world, paths) == {"bc"}
    assert meta(world, FINGERPRINT) == world.config.fingerprint()


@pytest.mark.parametrize("state", [READONLY, DRAIN, DOWN, DEAD])
def test_what_a_person_says_of_a_server(world, state):
    paths = files(world)
    assert any("a" in each for each in held(world, paths))
    world.say("a", state)
    world.advance(10)
    assert swept(world)
    assert meta(world, WANTED) == "1"
    if state in (DRAIN, DEAD):
        assert held(world, paths) == {"bc"}
    else:
        assert any("a" in each for each in held(world, paths))


def test_a_server_that_left_without_being_drained(make_world):
    world = make_world().start()
    paths = files(world)
    world.daemon.stop()
    without = configuration(world.factory, "bc")
    world.another("two", without).start()
    world.advance(10)
    assert all(world.record(path).live.replica("a") or "a" not in world.held(path) for path in paths)
    for path in paths:
        assert {"b", "c"} <= set(world.held(path))
    done(world.daemons[1].states.set("a", DEAD))
    world.advance(10)
    assert held(world, paths) == {"bc"}
    assert "a" not in done(world.store.use())


def test_one_that_comes_back_wakes_those_who_wait(make_world):
    world = make_world("ab").start()
    version = world.put()
    second = world.backends[version.replicas[1].backend]
    second.away = True
    paths = [Path("media", f"f{n}") for n in range(7)]
    world.advance(3)
    for path in paths:
        world.put(path=path)
    world.advance(250, step=1)
    assert done(world.store.counts()).thin == 8
    second.away = False
    world.advance(12)
    assert held(world, paths) == {"ab"}
    assert world.held() == "ab"


def test_a_daemon_that_dies_in_the_middle(make_world):
    world = make_world()
    one, two = world.daemon, world.another("two")
    one.start()
    paths = files(world)
    walks = []

    def walk(cursor, limit):
        walks.append(cursor)
        if len(walks) == 2:
            one.crash()
            return fail(StateUnavailable("crashed"))
        return world.store.walk(cursor, limit)

    one.link.walk = walk
    one.link.claim = lambda *args: fail(StateUnavailable("busy with something else"))
    world.say("a", DRAIN)
    world.advance(4)
    assert len(walks) == 2
    assert not swept(world)
    assert meta(world, HOLDER).startswith("one ")
    # Its request is in the store; who comes next takes it up when the lease is over.
    two.cluster.say({"a": DRAIN})
    two.start()
    world.advance(LEASE - 10)
    assert not swept(world)
    world.advance(25)
    assert swept(world)
    assert held(world, paths) == {"bc"}


def test_two_daemons_sweep_once(make_world, monkeypatch):
    world = make_world()
    two = world.another("two")
    world.start()
    paths = files(world)
    walks = []
    for daemon in (world.daemon, two):
        daemon.link.walk = lambda cursor, limit, name=daemon: (
            walks.append(name) or world.store.walk(cursor, limit)
        )
    # Who sweeps is slower than the other's tick.
    monkeypatch.setattr(sweep, "PAUSE", 3.0)
    world.say("a", DRAIN)
    world.advance(60)
    assert swept(world)
    assert held(world, paths) == {"bc"}
    # Both saw the change and both asked: at most one sweep for each, and never two at a time.
    assert len(walks) in (3, 6)
    assert all(len(set(walks[at : at + 3])) == 1 for at in range(0, len(walks), 3))


def test_a_holder_that_was_asleep_stops(make_world, monkeypatch):
    world = make_world().start()
    files(world)
    monkeypatch.setattr(sweep, "PAUSE", 5.0)
    world.say("a", DRAIN)
    world.advance(4)
    assert meta(world, HOLDER).startswith("one ")
    assert not swept(world)
    holder = meta(world, HOLDER)
    assert done(world.store.set_meta(HOLDER, holder, f"two {world.now + LEASE}"))
    world.advance(LEASE - 1)
    assert not swept(world)
    assert meta(world, HOLDER).startswith("two ")
    done(world.store.set_meta(HOLDER, meta(world, HOLDER), f"two {world.now}"))
    world.advance(30)
    assert swept(world)


def test_a_daemon_of_an_older_configuration_does_not_sweep_for_a_newer_one(make_world):
    """While the daemons are restarted one after the other."""
    world = make_world().start()
    paths = files(world)
    newer = world.another("two", configuration(world.factory, copies=3))
    newer.start()
    newer.stop()
    done(world.store.set_meta(WANTED, meta(world, WANTED), "7"))
    world.advance(20)
    assert not swept(world)
    world.another("three", configuration(world.factory, copies=3)).start()
    world.advance(LEASE + 20)
    assert swept(world)
    world.daemon.stop()
    for path in paths:
        done(world.store.hasten([path]))
    world.advance(20)
    assert held(world, paths) == {"abc"}


def test_a_request_during_a_sweep_is_not_lost(make_world, monkeypatch):
    world = make_world().start()
    files(world)
    monkeypatch.setattr(sweep, "PAUSE", 5.0)
    world.say("a", READONLY)
    world.advance(4)
    assert meta(world, WANTED) == "1"
    world.say("b", READONLY)
    world.advance(60)
    assert meta(world, WANTED) == "2"
    assert swept(world)


def test_a_request_while_the_store_is_away_is_not_lost(world):
    paths = files(world)
    world.say("a", DRAIN)
    world.daemon.link.away = True
    world.advance(20)
    assert meta(world, WANTED) is None
    world.daemon.link.away = False
    world.advance(80)
    assert swept(world)
    assert held(world, paths) == {"bc"}


def test_one_bad_record_does_not_keep_the_others_waiting(world):
    paths = files(world)
    world.store.records["media/f"] = b"\xc1"
    plan = world.daemon.ledger.plan

    def broken(path, *rest):
        if path == paths[0]:
            raise ZeroDivisionError
        return plan(path, *rest)

    world.daemon.ledger.plan = broken
    world.say("a", DRAIN)
    world.advance(10)
    assert swept(world)
    assert held(world, paths[1:]) == {"bc"}
    del world.store.records["media/f"]


def test_only_those_with_something_to_do_are_made_due(world):
    paths = files(world)
    on_a = [path for path in paths if "a" in world.held(path)]
    hastened = []
    hasten = world.store.hasten
    world.daemon.link.hasten = lambda some: hastened.extend(some) or hasten(some)
    world.say("a", DRAIN)
    world.advance(10)
    assert sorted(hastened) == sorted(on_a)


def test_stopping_in_the_middle(make_world, monkeypatch):
    world = make_world().start()
    paths = files(world)
    monkeypatch.setattr(sweep, "PAUSE", 5.0)
    world.say("a", DRAIN)
    world.advance(4)
    world.daemon.stop()
    assert world.clock.getDelayedCalls() == []
    world.daemon.sweeper.wake()
    assert world.clock.getDelayedCalls() == []
    monkeypatch.setattr(sweep, "PAUSE", 0.01)
    world.another("two").start()
    world.advance(LEASE + 20)
    assert swept(world)
    assert held(world, paths) == {"bc"}
