"""A store that comes back older than it was: nothing is removed until records and storage were compared."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, fail

from dragonbelly.errors import BackendRefused, BackendUnavailable, StateUnavailable
from dragonbelly.events import Doubted
from dragonbelly.keys import key_of, storage_key
from dragonbelly.model import BackendState, Path
from dragonbelly.replication import compare, objects
from dragonbelly.replication.epoch import BEAT, RUN, SKIPPED, SLACK
from dragonbelly.replication.plan import SETTLED
from dragonbelly.replication.turn import LEASE
from tests.builders import DATA, PATH, R, V, configuration, done

ALIVE, READONLY, DRAIN, DOWN, DEAD = BackendState


def meta(world, field):
    return done(world.store.meta(field))


def agreed(world, daemon=None):
    return (daemon or world.daemon).ledger.epoch.agreed


def deleted(world):
    return [call for name in sorted(world.backends) for call in world.backends[name].asked("delete")]


class TestGate:
    def test_the_first_start(self, make_world):
        world = make_world()
        assert not agreed(world)
        world.start()
        assert agreed(world)
        assert meta(world, RUN) == "1"
        world.advance(5)
        assert world.now - 2 <= int(meta(world, BEAT)) <= world.now

    def test_a_daemon_that_comes_to_it(self, world):
        other = world.another("two")
        assert not agreed(world, other)
        other.start()
        assert agreed(world, other)

    def test_it_closes_in_the_moment_in_which_another_server_answers(self, world):
        world.store.run = "2"
        assert not agreed(world)
        world.store.run = "1"
        assert agreed(world)
        world.daemon.link.away = True
        assert not agreed(world)

    def test_nobody_says_that_all_is_well_while_it_is_not(self, world):
        world.advance(5)
        for backend in world.backends.values():
            backend.away = True
        beat = meta(world, BEAT)
        world.store.run = "2"
        world.advance(100, step=1)
        assert not agreed(world)
        assert meta(world, BEAT) == beat

    def test_a_store_that_was_only_restarted(self, world):
        world.file()
        world.store.run = "2"
        world.advance(5)
        assert agreed(world)
        assert meta(world, RUN) == "2"
        assert int(meta(world, BEAT)) >= world.now - 2

    def test_what_was_compared_is_not_said_of_another_run(self, world):
        epoch = world.daemon.ledger.epoch
        world.store.run = "2"
        assert not done(epoch.agree("1", "1"))
        assert not done(epoch.agree("", "1"))
        assert done(epoch.agree("2", "1"))
        assert not agreed(world), "not looked yet"

    def test_a_server_that_goes_while_it_is_told_that_all_is_well(self, world):
        world.advance(3)
        beat = meta(world, BEAT)
        asked = world.store.meta

        def gone(field):
            world.store.run = "2"
            return asked(field)

        world.clock.advance(0.1)
        world.clock.rightNow += 50
        world.daemon.link.meta = gone
        done(world.daemon.ledger.epoch.beat())
        assert meta(world, BEAT) == beat

    def test_all_daemons_agree(self, make_world):
        world = make_world()
        two = world.another("two")
        world.start()
        world.store.run = "2"
        world.advance(4)
        assert agreed(world)
        assert agreed(world, two)


class TestNothingIsRemoved:
    def close(self, world):
        """One that does not answer keeps the gate closed: it is on no file's way here."""
        world.backends["d"].away = True
        world.store.run += "0"
        world.advance(1)
        assert not agreed(world)

    def open(self, world):
        world.backends["d"].away = False
        world.advance(20)
        assert agreed(world)

    @pytest.fixture
    def world(self, make_world):
        world = make_world("abcd")
        world.another("two")
        world.start()
        world.backends["d"].failing["write"] = BackendUnavailable("no files here")
        world.say("d", READONLY)
        world.advance(5)
        return world

    def test_what_was_deleted(self, world):
        world.file()
        world.delete()
        self.close(world)
        world.advance(300, step=1)
        assert deleted(world) == []
        assert len(world.objects()) == 2
        self.open(world)
        assert world.objects() == ""
        assert world.record() is None

    def test_what_was_overwritten(self, world):
        world.file()
        world.file(b"other bytes")
        self.close(world)
        world.advance(300, step=1)
        assert deleted(world) == []
        self.open(world)
        assert len(world.objects()) == 2

    def test_what_is_too_much(self, world):
        version = world.file()
        self.close(world)
        name = version.in_state(R.GOOD)[0].backend
        world.say(name, DRAIN)
        world.advance(300, step=1)
        # It was copied elsewhere, but nothing leaves.
        assert len(world.objects()) == 3
        assert deleted(world) == []
        assert all(replica.state is R.GOOD for replica in world.live().replicas)
        self.open(world)
        world.advance(130)
        assert len(world.objects()) == 2

    def test_a_removal_on_its_way_is_not_sent(self, world):
        """The gate closes between the plan and the request: hands at that backend were not free."""
        world.file()
        world.delete()
        for daemon in world.daemons:
            for hands in daemon.replicator._hands.values():
                for _ in range(4):
                    done(hands.acquire())
        world.advance(125)
        assert deleted(world) == []
        world.backends["d"].away = True
        world.store.run = "2"
        for daemon in world.daemons:
            for hands in daemon.replicator._hands.values():
                hands.release()
        assert deleted(world) == []
        world.advance(5)
        for daemon in world.daemons:
            for hands in daemon.replicator._hands.values():
                for _ in range(3):
                    hands.release()
        self.open(world)
        world.advance(70)
        assert world.objects() == ""

    def test_a_place_that_refuses_is_not_given_up(self, world):
        """Because of what it holds, it may be: the very copy."""
        version = world.put()
        second = world.backends[version.replicas[1].backend]
        second.failing["write"] = BackendRefused("something else lies there")
        self.close(world)
        world.advance(5)
        assert world.live().replica(second.name).state is R.MISSING

    def test_what_was_done_under_another_server_is_not_said_of_this_one(self, world):
        version = world.put()
        second = version.replicas[1].backend
        world.backends[second].hold("write")
        world.advance(3)
        self.close(world)
        world.backends[second].release("write")
        assert world.live().replica(second).state is R.MISSING
        # The path is due again when the lease of that visit ends.
        world.advance(65, step=1)
        assert world.live().replica(second).state is R.GOOD

    def test_a_late_copy_stays_until_somebody_may_remove_it(self, world):
        """Its place was given up while it was made."""
        version = world.put()
        second = version.replicas[1].backend
        world.backends[second].hold("write")
        world.advance(3)
        world.delete()
        world.advance(130)
        assert world.record() is None
        self.close(world)
        world.backends[second].release("write")
        world.advance(2)
        key = storage_key(PATH, version.id)
        assert key in world.backends[second].objects


class TestDurable:
    def test_a_removal_is_done_when_the_store_cannot_have_forgotten_why(self, world):
        version = world.file()
        name = version.in_state(R.GOOD)[0].backend
        world.backends[name].corrupt(world.key(version, name))
        snapshot = done(world.store.get(PATH))
        done(world.daemon.ledger.commit(PATH, snapshot, lambda _: [Doubted(world.now, version.id, name, 0)]))
        world.advance(1.5)
        assert world.live().replica(name).state is R.CONDEMNED
        world.advance(SETTLED - 3)
        assert deleted(world) == []
        world.advance(4)
        assert deleted(world) == [("delete", storage_key(PATH, version.id))]

    def test_a_record_that_another_may_have_written_is_confirmed_first(self, world):
        world.file()
        world.delete()
        world.daemon.link.confirm = lambda: fail(StateUnavailable("not yet"))
        world.advance(130)
        assert deleted(world) == []
        del world.daemon.link.confirm
        world.advance(70)
        assert world.objects() == ""


class TestForgotten:
    def test_a_file(self, world):
        world.advance(3)
        saved = world.save()
        version = world.file()
        world.roll_back(saved)
        assert world.record() is None
        world.advance(5)
        assert agreed(world)
        assert world.live().id == version.id
        assert len(world.held()) == 2
        assert world.objects() == world.held()
        assert deleted(world) == []

    def test_an_overwrite(self, world):
        old = world.file()
        saved = world.save()
        new = world.file(b"newer bytes")
        world.advance(125)
        assert len(world.objects()) == 2, "the old one is gone"
        world.roll_back(saved)
        assert world.live().id == old.id
        world.advance(5)
        assert world.live().id == new.id
        assert len(world.held()) == 2
        world.advance(130)
        assert [v.id for v in world.record().versions] == [new.id]

    def test_a_copy(self, world):
        """One too many, for that it was asked for was forgotten as well: it is trimmed like any other."""
        world.file()
        saved = world.save()
        world.change(copies=3)
        world.advance(3)
        assert world.held() == "abc"
        world.roll_back(saved)
        world.advance(3)
        assert {r.backend for r in world.live().replicas} == {"a", "b", "c"}
        assert len(world.held()) == 2
        world.advance(135)
        assert len(world.objects()) == 2
        assert world.objects() == world.held()

    def test_an_upload_that_was_seen_goes_on(self, world):
        version = world.put()
        saved = world.save()
        world.advance(3)
        world.roll_back(saved)
        assert world.record().versions[0].state is V.UPLOADING
        world.advance(3)
        assert world.live().id == version.id

    def test_a_removal(self, world):
        """The record of before says that copies lie where they were removed."""
        version = world.file()
        saved = world.save()
        gone = version.in_state(R.GOOD)[0].backend
        world.say(gone, DRAIN)
        world.advance(140)
        assert gone not in world.held()
        world.say(gone, ALIVE)
        world.advance(3)
        world.roll_back(saved)
        assert gone in world.held()
        world.advance(60)
        assert agreed(world)
        for replica in world.live().in_state(R.GOOD):
            assert world.bytes_of(world.live(), replica.backend) == DATA
        assert len(world.held()) == 2

    def test_what_was_a_stray_before_stays_one(self, world):
        key = storage_key(PATH, world.make_id(world.now - SLACK - 10))
        world.advance(3)
        world.backends["a"].objects[key] = DATA
        world.store.run = "2"
        world.advance(5)
        assert agreed(world)
        assert world.record() is None

    def test_what_may_have_been_removed_for_good_is_not_taken_for_forgotten(self, make_world):
        """With a grace shorter than the slack: a late copy of a deleted file would bring the file back."""
        world = make_world(grace="10s")
        world.start()
        world.advance(3)
        version = world.file()
        held = version.in_state(R.GOOD)[0].backend
        key = key_of(PATH, version, version.in_state(R.GOOD)[0])
        world.delete()
        world.advance(25)
        assert world.record() is None
        world.backends[held].objects[key] = DATA
        world.store.run = "2"
        world.advance(5)
        assert agreed(world)
        assert world.record() is None

    @pytest.mark.parametrize("key", ["elsewhere/@{id}/x", "media/x", "media/@{id}.0/x", "media/@{id}/@{id}/x"])
    def test_what_is_not_ours_is_left_alone(self, world, key):
        world.advance(3)
        world.backends["a"].objects[key.format(id=world.make_id(world.now))] = DATA
        world.store.run = "2"
        world.advance(5)
        assert agreed(world)
        assert not world.store.records

    def test_many(self, make_world, monkeypatch):
        monkeypatch.setattr(compare, "LOT", 7)
        monkeypatch.setattr(objects, "LOT", 5)
        world = make_world().start()
        before = [Path("media", f"before/{n}") for n in range(30)]
        after = [Path("media", f"after/{n}") for n in range(30)]
        for path in before:
            world.put(path=path)
        world.advance(10)
        saved = world.save()
        for path in after:
            world.put(path=path)
        world.advance(10)
        world.roll_back(saved)
        world.advance(10)
        assert {len(world.held(path)) for path in before + after} == {2}


class TestUnreachable:
    def test_one_that_does_not_answer_is_waited_for(self, make_world):
        world = make_world("ab", copies=1).start()
        world.advance(3)
        saved = world.save()
        name = world.file().replicas[0].backend
        world.backends[name].away = True
        world.roll_back(saved)
        world.advance(60)
        assert not agreed(world)
        assert world.daemon.comparison.show()["waits_for"] == [name]
        world.backends[name].away = False
        world.advance(10)
        assert agreed(world)
        assert world.held() == name
        assert world.daemon.comparison.show()["waits_for"] == []

    @pytest.mark.parametrize("state", [DOWN, DEAD])
    def test_one_that_a_person_took_out_is_not(self, make_world, state):
        world = make_world("abc").start()
        world.backends["a"].away = True
        world.say("a", state)
        world.store.run = "2"
        world.advance(5)
        assert agreed(world)
        assert world.daemon.comparison.show()["skipped"] == (["a"] if state is DOWN else [])

    def test_what_is_down_is_compared_when_it_is_back(self, make_world):
        world = make_world("ab", copies=1).start()
        world.advance(3)
        saved = world.save()
        version = world.file()
        name = version.replicas[0].backend
        world.roll_back(saved)
        world.say(name, DOWN)
        world.advance(5)
        assert agreed(world)
        assert world.record() is None
        assert meta(world, SKIPPED).startswith(f"{name}=")
        world.advance(500, step=1)
        # Forgotten again, and the daemon with it: the older mark stays.
        mark = meta(world, SKIPPED)
        world.store.run = "9"
        world.daemon.stop()
        world.another("two").start()
        world.advance(5)
        assert meta(world, SKIPPED) == mark
        world.say(name, ALIVE)
        world.advance(15)
        done(world.daemons[1].states.work())
        world.advance(5)
        assert world.live().id == version.id
        assert meta(world, SKIPPED) == ""

    def test_one_that_left_the_configuration_with_objects(self, make_world):
        world = make_world("abc").start()
        world.file()
        name = world.held()[0]
        world.daemon.stop()
        world.another("two", configuration(world.factory, "abc".replace(name, ""))).start()
        world.store.run = "2"
        world.advance(5)
        assert agreed(world, world.daemons[1])
        assert meta(world, SKIPPED).startswith(f"{name}=")

    def test_one_that_breaks_off_is_asked_again(self, make_world):
        world = make_world("abc").start()
        world.advance(3)
        saved = world.save()
        version = world.file()
        backend = world.backends[version.replicas[0].backend]
        keys, walks = backend.keys, []

        async def broken(prefix=""):
            walks.append(prefix)
            async for stored in keys(prefix):
                if len(walks) < 3:
                    raise BackendRefused("not today")
                yield stored

        backend.keys = broken
        world.roll_back(saved)
        world.advance(10)
        assert agreed(world)
        assert len(walks) == 3
        assert world.live().id == version.id

    @pytest.fixture
    def walked(self, make_world):
        """A file whose record is no more; a walk over server a waits until it is told to go on."""
        world = make_world("abc").start()
        saved = world.save()
        world.file()
        world.advance(3)
        world.roll_back(saved)
        world.store.run = "1"
        backend = world.backends["a"]
        keys, waits = backend.keys, []

        async def slow(prefix=""):
            found = [stored async for stored in keys(prefix)]
            waits.append(Deferred())
            await waits[-1]
            for stored in found:
                yield stored

        backend.keys = slow
        done(world.daemon.comparison.take_in("a"))
        assert len(waits) == 1
        return world, waits

    def test_what_is_to_be_taken_in_while_another_is_walked(self, walked):
        world, [wait] = walked
        for name in "bc":
            done(world.daemon.comparison.take_in(name))
        wait.callback(None)
        world.advance(30)
        assert len(world.held()) == 2
        assert meta(world, SKIPPED) == ""

    def test_what_is_to_be_taken_in_again_while_it_is_walked(self, walked):
        """Something was put there since."""
        world, waits = walked
        world.backends["a"].objects[storage_key(PATH, later := world.make_id(world.now))] = b"since then"
        done(world.daemon.comparison.take_in("a"))
        for wait in waits:
            wait.callback(None)
        world.advance(3)
        waits[-1].callback(None)
        world.advance(30)
        assert len(waits) == 2
        assert world.live().id == later
        assert meta(world, SKIPPED) == ""

    def test_a_disk_that_is_not_mounted_says_nothing(self, make_world):
        """Before the next probe has noticed."""
        world = make_world("abc").start()
        version = world.file()
        world.advance(1.5)
        name = version.in_state(R.GOOD)[0].backend
        there = dict(world.backends[name].objects)
        world.backends[name].objects.clear()
        world.store.run = "2"
        world.advance(30)
        assert not agreed(world)
        assert world.live().replica(name).state is R.GOOD
        world.backends[name].objects.update(there)
        world.advance(20)
        assert agreed(world)
        assert len(world.held()) == 2

    def test_nor_does_it_hold_nothing(self, make_world):
        world = make_world("a", copies=1).start()
        world.file(path=Path("media", "other"))
        saved = world.save()
        version = world.file()
        world.advance(0.5)
        there = dict(world.backends["a"].objects)
        world.backends["a"].objects.clear()
        world.backends["a"].objects.update({k: v for k, v in there.items() if k.endswith("other")})
        world.roll_back(saved)
        world.advance(30)
        assert not agreed(world)
        world.backends["a"].objects.update(there)
        world.advance(20)
        assert agreed(world)
        assert world.live().id == version.id


class TestTwoDaemons:
    def test_one_compares(self, make_world):
        world = make_world()
        two = world.another("two")
        world.start()
        world.file()
        walks = []
        for daemon in (world.daemon, two):
            daemon.link.walk = lambda *args, name=daemon: walks.append(name) or world.store.walk(*args)
        for backend in world.backends.values():
            backend.hold("stat")
        world.store.run = "2"
        world.advance(120, step=1)
        assert len(walks) == 1
        for backend in world.backends.values():
            backend.release("stat")
        world.advance(3)
        assert agreed(world)
        assert agreed(world, two)

    def test_one_that_dies_is_followed_by_another(self, make_world):
        world = make_world()
        two = world.another("two")
        world.start()
        world.file()
        for backend in world.backends.values():
            backend.hold("stat")
        world.store.run = "2"
        world.advance(2)
        held = [daemon for daemon in world.daemons if daemon.comparison._turn.ours]
        assert len(held) == 1
        held[0].crash()
        for backend in world.backends.values():
            backend.held.clear()
        world.advance(30)
        other = two if held[0] is world.daemon else world.daemon
        assert agreed(world, other)

    def test_one_that_is_taken_for_dead_stops(self, make_world):
        world = make_world().start()
        world.file()
        walks = []
        for backend in world.backends.values():
            backend.hold("stat")
            backend.keys = lambda prefix="", keys=backend.keys: walks.append(prefix) or keys(prefix)
        world.store.run = "2"
        world.advance(2)
        held = meta(world, compare.HOLDER)
        assert held.startswith("one ")
        assert done(world.store.set_meta(compare.HOLDER, held, f"two {world.now + LEASE}"))
        world.advance(6)
        for backend in world.backends.values():
            backend.release("stat")
        assert not walks
        world.advance(4)
        assert not agreed(world)
        world.advance(15)
        assert agreed(world)

    def test_another_run_in_the_middle(self, make_world):
        world = make_world().start()
        world.file()
        world.advance(3)
        for backend in world.backends.values():
            backend.hold("stat")
        world.store.run = "2"
        world.advance(2)
        world.store.run = "3"
        for backend in world.backends.values():
            backend.release("stat")
        assert meta(world, RUN) == "1"
        world.advance(3)
        assert meta(world, RUN) == "3"
        assert agreed(world)
