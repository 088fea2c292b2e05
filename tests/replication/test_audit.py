"""Everything that is stored is looked at from time to time."""

from __future__ import annotations

from hashlib import sha256

import pytest
from msgspec.structs import replace
from twisted.internet.defer import fail

from dragonbelly.errors import BackendRefused, BackendUnavailable, NotYet, StateUnavailable
from dragonbelly.events import Hashed
from dragonbelly.keys import MARKER, storage_key
from dragonbelly.lifecycle import apply
from dragonbelly.model import BackendState, Observed, Path, Record
from dragonbelly.replication import audit, objects, strays
from dragonbelly.replication.audit_round import FINDINGS, Finding, Round, decode, encode, following, outcome
from dragonbelly.replication.objects import is_orphan, of_key
from dragonbelly.replication.turn import LEASE
from tests.builders import DATA, NOW, PATH, R, V, configuration, done, live, record, version, vid

DAY = 86400

FAST = '[audit]\nevery = "1h"\nread_every = "5h"\nrate = 10000\nbandwidth = "1GiB"\n'


@pytest.fixture
def world(make_world):
    return make_world(more=FAST).start()


def last(world, kind="asked"):
    return decode(done(world.store.meta(f"audit.{kind}")))


def ask(world, prefix="", read=True, within=30):
    """A round to its end."""
    done(world.daemon.asked_audit.ask(prefix, read))
    for _ in range(2 * within):
        if not last(world).under_way:
            return last(world)
        world.advance(0.5)
    raise AssertionError(f"it does not end: {last(world)}")


def found(round):
    return [(finding.what, finding.backend) for finding in round.findings]


def good(world):
    return world.live().in_state(R.GOOD)


def stored(world):
    return {
        name: {key: data for key, data in backend.objects.items() if key != MARKER}
        for name, backend in world.backends.items()
    }


class TestFinds:
    def test_nothing(self, world):
        world.file()
        before = world.record()
        round = ask(world)
        assert (round.records, round.replicas, round.found, round.unknown) == (1, 2, 0, 0)
        assert round.bytes == 2 * len(DATA)
        assert round.objects == 2
        assert round.total == 1
        assert world.record() == before

    @pytest.mark.parametrize("read", [True, False])
    @pytest.mark.parametrize("how", ["deleted", "truncated", "grown"])
    def test_one_that_is_gone_or_of_another_size(self, world, how, read):
        version = world.file()
        name = good(world)[0].backend
        stored = world.backends[name].objects
        key = world.key(version, name)
        match how:
            case "deleted":
                del stored[key]
            case "truncated":
                stored[key] = stored[key][:-1]
            case "grown":
                stored[key] += b"!"
        round = ask(world, read=read)
        assert found(round) == [("missing" if how == "deleted" else "size", name)]
        assert round.findings[0].path == PATH.member
        world.advance(15)
        assert len(good(world)) == 2
        assert all(world.bytes_of(world.live(), r.backend) == DATA for r in good(world))
        assert len(world.objects()) == 2
        assert outcome(round.findings[0], world.record()) == "repaired"

    def test_other_bytes(self, world):
        version = world.file()
        name = good(world)[1].backend
        world.backends[name].corrupt(world.key(version, name))
        assert found(ask(world, read=False)) == []
        assert found(ask(world, read=True)) == [("digest", name)]
        world.advance(15)
        assert all(world.bytes_of(world.live(), r.backend) == DATA for r in good(world))
        assert len(good(world)) == 2

    def test_other_bytes_where_the_server_tells_the_digest(self, make_world):
        world = make_world(more=FAST).start()
        for backend in world.backends.values():
            backend.digests = True
        version = world.file()
        name = good(world)[1].backend
        world.backends[name].corrupt(world.key(version, name))
        assert found(ask(world, read=False)) == [("digest", name)]

    def test_one_that_is_on_its_way_out_as_well(self, world):
        version = world.file()
        name = good(world)[0].backend
        world.say(name, BackendState.DRAIN)
        world.advance(5)
        assert world.live().replica(name).state is R.LEAVING
        world.backends[name].corrupt(world.key(version, name))
        assert found(ask(world)) == [("digest", name)]

    def test_a_record_that_cannot_be_read(self, world):
        world.store.records["media/bad"] = b"\xc1"
        round = ask(world)
        assert [(f.what, f.path) for f in round.findings] == [("record", "media/bad")]
        del world.store.records["media/bad"]

    def test_what_is_removed_meanwhile_is_not_missing(self, world):
        """Between the look at the record and the one at the server."""
        version = world.file()
        name = good(world)[0].backend
        backend = world.backends[name]
        backend.hold("read")
        done(world.daemon.asked_audit.ask("", True))
        world.advance(2)
        assert backend.held["read"]
        world.delete()
        del backend.objects[world.key(version, name)]
        backend.release("read")
        world.advance(10)
        assert found(last(world)) == []


class TestUnknown:
    def test_one_that_does_not_answer_says_nothing(self, world):
        world.file()
        name = good(world)[0].backend
        world.backends[name].failing["read"] = BackendUnavailable("?")
        round = ask(world)
        assert found(round) == []
        assert round.unknown == 1
        assert name in round.skipped, "its marker cannot be read either"
        world.backends[name].failing.clear()
        world.backends[name].away = True
        world.advance(10)
        round = ask(world)
        assert (round.found, round.unknown, round.replicas) == (0, 1, 1)
        assert round.skipped == [name]
        assert len(good(world)) == 2

    def test_one_that_was_taken_down_is_left_alone(self, world):
        world.file()
        name = good(world)[0].backend
        world.say(name, BackendState.DOWN)
        world.advance(3)
        world.backends[name].calls.clear()
        round = ask(world)
        assert (round.unknown, round.replicas, round.skipped) == (1, 1, [name])
        assert world.backends[name].asked("stat", "read") == []

    def test_a_disk_that_is_not_mounted(self, world):
        """Before a probe has noticed."""
        world.file()
        world.advance(0.5)
        name = good(world)[0].backend
        there = dict(world.backends[name].objects)
        world.backends[name].objects.clear()
        done(world.daemon.asked_audit.ask("", False))
        assert last(world).found == 0
        assert last(world).unknown == 1
        assert world.live().replica(name).state is R.GOOD
        world.backends[name].objects.update(there)
        world.advance(10)


class TestDamaged:
    def test_every_byte_is_kept(self, world):
        version = world.file()
        names = [replica.backend for replica in good(world)]
        for name in names:
            world.backends[name].corrupt(world.key(version, name))
        before = {name: dict(world.backends[name].objects) for name in names}
        round = ask(world)
        assert sorted(found(round)) == sorted(("digest", name) for name in names)
        world.advance(4000, step=2)
        assert {name: dict(world.backends[name].objects) for name in names} == before
        assert world.record().damaged
        assert done(world.store.counts()).damaged == 1
        assert outcome(round.findings[0], world.record()) == "damaged"
        assert ask(world).damaged == 1
        assert ask(world).found == 0, "it was found before"

    def test_a_good_copy_that_comes_back_is_seen(self, world):
        version = world.file()
        names = [replica.backend for replica in good(world)]
        for name in names:
            world.backends[name].corrupt(world.key(version, name))
        ask(world)
        world.advance(4000, step=2)
        world.backends[names[0]].corrupt(world.key(version, names[0]))  # the same bit again
        ask(world)
        world.advance(15)
        assert len(good(world)) == 2
        assert not world.record().damaged
        assert done(world.store.counts()).damaged == 0


class TestDigest:
    def test_that_nobody_has_said_is_kept_from_the_first_reading(self, make_world):
        world = make_world(copies=1, more=FAST).start()
        version = world.file()
        assert version.sha256 is None
        ask(world, read=False)
        assert world.live().sha256 is None
        ask(world)
        assert world.live().sha256 == sha256(DATA).digest()
        name = world.held()
        world.backends[name].corrupt(world.key(version, name))
        assert found(ask(world)) == [("digest", name)]

    @pytest.mark.parametrize(
        "there",
        [
            record(live("a:suspect", sha256=None)),
            record(live("a.1:good", sha256=None)),
            record(live("b:good", sha256=None)),
            record(live("a:good", number=2, sha256=None)),
            record(live("a:good")),
            Record(),
        ],
    )
    def test_of_anything_else_it_is_none(self, there):
        assert apply(there, Hashed(NOW, vid(1), "a", 0, b"x" * 32)) == there


class TestSlowly:
    def test_the_rate(self, make_world):
        world = make_world(more='[audit]\nrate = 4\nbandwidth = "1GiB"\n').start()
        for n in range(10):
            world.put(path=Path("media", f"f{n}"))
        world.advance(5)
        before = sum(len(b.asked("stat")) for b in world.backends.values())
        done(world.daemon.asked_audit.ask("", False))
        world.advance(4)
        assert 12 <= sum(len(b.asked("stat")) for b in world.backends.values()) - before <= 18
        assert last(world).under_way
        world.advance(30)
        assert not last(world).under_way

    def test_the_bandwidth(self, make_world):
        world = make_world(copies=1, more='[audit]\nbandwidth = "64KiB"\n').start()
        data = bytes(640 * 1024)
        world.file(data)
        done(world.daemon.asked_audit.ask("", True))
        world.advance(8)
        assert last(world).under_way
        assert last(world).bytes == 0
        world.advance(6)
        assert not last(world).under_way
        assert last(world).bytes == len(data)

    def test_it_is_not_in_the_way_of_other_work(self, make_world):
        world = make_world(per_backend=1, more=FAST).start()
        world.file()
        for backend in world.backends.values():
            backend.hold("read")
        done(world.daemon.asked_audit.ask("", True))
        world.advance(3)
        assert any(backend.held["read"] for backend in world.backends.values())
        other = Path("media", "other")
        world.put(path=other)
        world.advance(1)
        for backend in world.backends.values():
            held = backend.held["read"]
            mine, backend.held["read"] = held[-1:], held[:-1]
            if mine and not mine[0].called:
                mine[0].callback(None)
        world.advance(3)
        assert world.record(other).live is not None
        for backend in world.backends.values():
            backend.release("read")
        world.advance(10)


class TestRounds:
    def test_by_themselves(self, world):
        world.file()
        assert last(world, "regular").number == 0
        world.advance(3590, step=2)
        assert last(world, "regular").number == 0
        world.advance(20)
        assert last(world, "regular").number == 1
        assert (last(world, "regular").read, last(world, "regular").bytes) == (False, 0)
        world.advance(4 * 3600, step=2)
        assert last(world, "regular").number == 5
        assert last(world, "regular").read
        assert last(world, "regular").bytes == 2 * len(DATA)
        world.advance(3600, step=2)
        assert not last(world, "regular").read

    def test_switched_off(self, make_world):
        world = make_world(more="[audit]\nevery = 0\n").start()
        world.file()
        world.advance(3 * DAY, step=60)
        assert last(world, "regular").number == 0
        assert ask(world).replicas == 2

    def test_of_a_part(self, world):
        for name in ("a/1", "a/2", "ab/3", "b/4"):
            world.put(path=Path("media", name))
        world.advance(5)
        assert ask(world, "media/a/").records == 2
        assert ask(world, "media/a").records == 3
        round = ask(world, "media/a/1")
        assert (round.records, round.replicas, round.objects, round.total) == (1, 2, 2, None)
        assert ask(world, "media/").records == 4
        assert ask(world, "media/c").records == 0

    def test_in_pages(self, world, monkeypatch):
        monkeypatch.setattr(audit, "LOT", 3)
        monkeypatch.setattr(objects, "LOT", 3)
        for n in range(20):
            world.put(path=Path("media", f"f{n}"))
        world.advance(10)
        for prefix in ("", "media/"):
            round = ask(world, prefix)
            assert (round.records, round.replicas, round.objects) == (20, 40, 40)

    def test_one_at_a_time(self, world):
        for backend in world.backends.values():
            backend.hold("read")
        world.put()
        world.advance(3)
        done(world.daemon.asked_audit.ask("media/a", True))
        world.advance(3)
        with pytest.raises(NotYet, match="of media/a is under way"):
            done(world.daemon.asked_audit.ask("", True))
        done(world.daemon.asked_audit.call_off())
        assert not last(world).under_way
        walks = []
        for backend in world.backends.values():
            backend.keys = lambda prefix="", keys=backend.keys: walks.append(prefix) or keys(prefix)
        for backend in world.backends.values():
            backend.release("read")
        world.advance(5)
        assert last(world).replicas == 0, "it was called off"
        assert not walks
        assert ask(world).number == 2

    def test_not_before_records_and_storage_agree(self, world):
        world.file()
        world.backends["a"].away = True
        world.store.run = "2"
        done(world.daemon.asked_audit.ask("", True))
        world.advance(30)
        assert last(world).records == 0
        assert done(world.store.meta("audit.asked.holder")) is None
        world.backends["a"].away = False
        world.advance(30)
        assert not last(world).under_way

    def test_it_is_bounded(self):
        round = Round(1, NOW)
        for n in range(2 * FINDINGS):
            assert round.add(Finding(f"d/{n}", "size", NOW, "a"))
            assert not round.add(Finding(f"d/{n}", "size", NOW + 1, "a"))
        assert len(round.findings) == FINDINGS
        assert round.findings[-1].path == f"d/{2 * FINDINGS - 1}"
        assert round.found == 2 * FINDINGS
        assert decode(encode(round)) == round

    @pytest.mark.parametrize("text", [None, "", "{", '{"number": "one"}'])
    def test_what_is_none(self, text):
        assert decode(text) is None

    def test_the_next(self):
        ended = Round(3, NOW, read_at=NOW - 50, ended=NOW + 9)
        assert following(None, NOW, 10, 100) == Round(0, NOW, read_at=NOW, ended=NOW)
        assert following(Round(3, NOW), NOW + 1000, 10, 100) is None
        assert following(ended, NOW + 9, 10, 100) is None
        assert following(ended, NOW + 10, 10, 100) == Round(4, NOW + 10, read_at=NOW - 50)
        assert following(ended, NOW + 50, 10, 100) == Round(4, NOW + 50, read=True, read_at=NOW + 50)
        assert following(ended, NOW + 50, 10, 0) == Round(4, NOW + 50, read_at=NOW - 50)
        assert following(ended, NOW + 1000, 0, 100) is None
        # Clocks differ a little, or were wrong.
        assert following(ended, NOW - 5, 10, 1000) is None
        assert following(ended, NOW - 11, 10, 1000) is not None

    def test_outcomes(self):
        finding = Finding("d/f", "size", NOW, "a", vid(1))
        for there, became in (
            (None, "gone"),
            (record(live("a:good", number=2)), "gone"),
            (record(live("a:lost", "b:suspect")), "damaged"),
            (record(live("a:suspect", "b:good")), "doubted"),
            (record(live("b:good"), thin_since=NOW), "thin"),
            (record(live("b:good", "c:good")), "repaired"),
        ):
            assert outcome(finding, there) == became
        assert outcome(Finding("d/f", "orphan", NOW, "a", vid(1), "removed"), None) == "removed"


class TestGoesOn:
    def many(self, world, monkeypatch, count=20):
        monkeypatch.setattr(audit, "LOT", 4)
        monkeypatch.setattr(audit, "NOTE", 0.0)
        for n in range(count):
            world.put(path=Path("media", f"f{n:02}"))
        world.advance(10)

    def test_where_a_daemon_stopped(self, make_world, monkeypatch):
        world = make_world(more=FAST).start()
        self.many(world, monkeypatch)
        one = world.daemon
        walked = []
        one.link.walk = lambda cursor, limit: walked.append(cursor) or world.store.walk(cursor, limit)
        done(one.asked_audit.ask("", False))
        # It answers as slowly as it can.
        one.stop()
        done(world.store.set_meta("audit.asked", encode(last(world)), encode(Round(2, world.now, total=20))))
        slow = world.another("two", configuration(world.factory, more="[audit]\nrate = 10\n"))
        slow.start()
        world.advance(3)
        assert 0 < last(world).records < 20
        before = last(world)
        slow.stop()
        three = world.another("three")
        three.link.walk = lambda cursor, limit: walked.append(cursor) or world.store.walk(cursor, limit)
        walked.clear()
        three.start()
        world.advance(20)
        assert walked[0] == before.cursor
        after = last(world)
        assert not after.under_way
        assert after.number == 2
        assert (after.records, after.replicas) == (20, 40)

    def test_where_a_daemon_died(self, make_world, monkeypatch):
        world = make_world(more="[audit]\nrate = 10\n").start()
        self.many(world, monkeypatch)
        done(world.daemon.asked_audit.ask("", False))
        world.advance(3)
        assert 0 < last(world).records < 20
        world.daemon.crash()
        two = world.another("two").start()
        world.advance(LEASE - 5)
        assert last(world).records < 20
        world.advance(40)
        assert not last(world).under_way
        assert last(world).records == 20
        assert two.asked_audit.running

    def test_how_far_it_is_within_a_lot(self, make_world):
        """And what is looked at again after a crash is not counted twice."""
        world = make_world(more="[audit]\nrate = 8\nbandwidth = '1GiB'\n").start()
        for n in range(20):
            world.put(path=Path("media", f"f{n:02}"))
        world.advance(10)
        done(world.daemon.asked_audit.ask("", True))
        seen = []
        for _ in range(4):
            world.advance(1)
            seen.append((last(world).records, last(world).replicas, last(world).bytes))
        assert last(world).cursor is None
        assert last(world).under_way
        assert seen[0] < seen[-1]
        assert 0 < last(world).records < 20
        assert 0 < last(world).replicas < 40
        assert last(world).bytes > 0
        world.daemon.crash()
        world.another("two").start()
        world.advance(LEASE + 40)
        round = last(world)
        assert not round.under_way
        assert (round.records, round.replicas, round.bytes) == (20, 40, 40 * len(DATA))
        assert round.objects == 40

    def test_how_far_it_is_within_a_walk(self, make_world, monkeypatch):
        monkeypatch.setattr(objects, "LOT", 2)
        world = make_world(more="[audit]\nrate = 4\n").start()
        for n in range(20):
            world.put(path=Path("media", f"f{n:02}"))
        world.advance(10)
        done(world.daemon.asked_audit.ask("", False))
        while not last(world).compared:
            world.advance(0.5)
        assert last(world).walked == []
        world.advance(2.5)
        assert last(world).objects > 0
        assert last(world).walked == []
        world.daemon.crash()
        world.another("two").start()
        world.advance(LEASE + 40)
        assert not last(world).under_way
        assert (last(world).replicas, last(world).objects) == (40, 40)

    def test_two_daemons_do_it_once(self, make_world, monkeypatch):
        world = make_world(more="[audit]\nrate = 10\n")
        world.another("two")
        world.start()
        self.many(world, monkeypatch)
        before = sum(len(b.asked("stat")) for b in world.backends.values())
        done(world.daemon.asked_audit.ask("", False))
        world.advance(60)
        assert not last(world).under_way
        assert sum(len(b.asked("stat")) for b in world.backends.values()) - before == 40

    def test_one_that_was_asleep_does_not(self, make_world, monkeypatch):
        world = make_world(more="[audit]\nrate = 10\n").start()
        self.many(world, monkeypatch)
        done(world.daemon.asked_audit.ask("", False))
        world.advance(3)
        text = done(world.store.meta("audit.asked"))
        newer = decode(text)
        newer.records = 1000
        assert done(world.store.set_meta("audit.asked", text, encode(newer)))
        holder = done(world.store.meta("audit.asked.holder"))
        assert done(world.store.set_meta("audit.asked.holder", holder, f"two {world.now + LEASE}"))
        world.advance(3)
        assert last(world) == newer


class TestOrphans:
    """Long ago is long enough: a day."""

    def stray(self, world, name="a", path=PATH, age=DAY, generation=0):
        key = storage_key(path, world.make_id(world.now - age), generation)
        world.backends[name].objects[key] = b"nobody's"
        return key

    def test_is_removed(self, world):
        key = self.stray(world)
        round = ask(world)
        assert key not in world.backends["a"].objects
        assert [(f.what, f.backend, f.path, f.outcome) for f in round.findings] == [
            ("orphan", "a", PATH.member, "removed")
        ]
        assert ask(world).found == 0

    def test_beside_a_file_of_the_same_name(self, world):
        version = world.file()
        name = good(world)[0].backend
        key = self.stray(world, name)
        ask(world)
        assert key not in world.backends[name].objects
        assert world.bytes_of(version, name) == DATA

    def test_what_was_there_before_the_store_is_another_ones(self, make_world):
        """The data of a Redis are lost, and somebody gives its servers to a new one."""
        world = make_world(more=FAST)
        empty = world.save()
        world.start()
        paths = [Path("media", f"f{n}") for n in range(5)]
        for path in paths:
            world.put(path=path, data=path.name.encode() * 9)
        world.advance(20)
        world.daemon.stop()
        before = stored(world)
        world.advance(2 * DAY, step=3600)
        world.roll_back(empty)
        world.store.identity = world.make_id(world.now)
        world.another("new").start()
        world.advance(20)
        assert all(view.observed is Observed.UNREACHABLE for view in world.daemons[-1].cluster.view.values())
        for backend in world.backends.values():
            del backend.objects[MARKER]
        world.advance(20)
        world.daemon = world.daemons[-1]
        assert ask(world).foreign >= 10
        assert stored(world) == before
        assert world.record(paths[0]) is None
        # And whoever wants them back can have them.
        for name in world.backends:
            done(world.daemon.comparison.take_in(name))
            world.advance(1)
        world.advance(60)
        for path in paths:
            assert world.record(path).live.sha256 == sha256(path.name.encode() * 9).digest()
            assert len(world.record(path).live.in_state(R.GOOD)) == 2
        assert done(world.store.counts()).queued == 0
        assert ask(world).found == 0
        assert stored(world) == before

    def test_of_another_part_stays(self, world):
        key = self.stray(world)
        ask(world, "media/b")
        assert key in world.backends["a"].objects
        ask(world, "media/a/ph")
        assert key not in world.backends["a"].objects

    def test_that_is_young_stays(self, world):
        # 10 min for the upload, 2 of grace, and a moment.
        key = self.stray(world, age=10 * 60 + 2 * 60)
        ask(world)
        assert key in world.backends["a"].objects
        world.advance(10)
        ask(world)
        assert key not in world.backends["a"].objects

    def test_that_came_late(self, make_world):
        """On an unsigned link, after the upload had lapsed and was forgotten."""
        world = make_world(more=FAST).start()
        accepted = world.accept(size=len(DATA))
        world.advance(1000, step=5)
        assert world.record() is None
        world.send(accepted)
        assert len(world.objects()) == 1
        ask(world)
        assert world.objects() == ""

    def test_of_which_the_removal_is_known(self, world):
        version = world.file()
        name = good(world)[0].backend
        key = world.key(version, name)
        world.backends[name].corrupt(key)
        ask(world)
        world.advance(15)
        assert world.live().removals == 1
        world.backends[name].objects[key] = b"a late copy"
        assert found(ask(world)) == [("orphan", name)]
        assert key not in world.backends[name].objects
        assert len(good(world)) == 2

    def test_a_copy_that_was_forgotten_is_taken_in(self, world):
        """It could not be when records and storage were compared: another of it was condemned there."""
        version = world.file()
        (name,) = {"a", "b", "c"} - set(world.held())
        world.backends[name].objects[storage_key(PATH, version.id, 3)] = DATA
        round = ask(world)
        assert round.found == 0
        assert world.live().replica(name).generation == 3
        world.advance(135)
        assert len(world.objects()) == 2
        assert world.objects() == world.held()

    def test_what_is_not_of_our_form_is_counted(self, world):
        foreign = ["x", "media/a/photo.jpg", "elsewhere/@01ARZ3NDEKTSV4RRFFQ69G5FAV/x"]
        for key in foreign:
            world.backends["b"].objects[key] = b"a person's"
        round = ask(world)
        assert round.found == 0
        assert round.foreign == len(foreign) + 3, "and the markers"
        assert set(foreign) <= set(world.backends["b"].objects)

    def test_that_is_not_alone_stays(self, world):
        """Its directory is removed with it: what nginx leaves of a failed copy lies beside the file itself."""
        version = world.file()
        name = good(world)[0].backend
        left = world.key(version, name) + ".0000000012"
        world.backends[name].objects[left] = b"half"
        world.advance(1000, step=5)
        assert ask(world).found == 0
        assert left in world.backends[name].objects
        assert world.bytes_of(version, name) == DATA

    def test_is_looked_up_again_before_it_goes(self, world):
        key = self.stray(world)
        done(world.daemon.asked_audit.ask("", True))
        world.advance(3)
        assert key in world.backends["a"].objects
        id = of_key(key, 0).version
        there = record(version(1, V.DELETED, "a:good", since=world.now))
        there = replace(there, versions=(replace(there.versions[0], id=id),))
        done(world.store.commit(PATH, done(world.store.get(PATH)), there, None))
        world.advance(20)
        assert not last(world).under_way
        assert key in world.backends["a"].objects

    def test_stays_when_another_server_answers(self, world):
        key = self.stray(world)
        done(world.daemon.asked_audit.ask("", True))
        world.advance(3)
        world.backends["c"].away = True
        world.store.run = "2"
        world.advance(20)
        assert key in world.backends["a"].objects
        world.backends["c"].away = False
        world.advance(40)
        assert key not in world.backends["a"].objects

    def test_stays_while_it_is_not_sure_that_no_record_is_there(self, world):
        key = self.stray(world)
        world.daemon.link.confirm = lambda: fail(StateUnavailable("not yet"))
        done(world.daemon.asked_audit.ask("", True))
        world.advance(15)
        assert key in world.backends["a"].objects
        del world.daemon.link.confirm
        world.advance(15)
        assert key not in world.backends["a"].objects

    def test_slowly(self, make_world):
        world = make_world(more="[audit]\nrate = 4\n").start()
        keys = [self.stray(world, path=Path("media", f"f{n}")) for n in range(20)]
        done(world.daemon.asked_audit.ask("", True))
        world.advance(10)
        assert set(keys) <= set(world.backends["a"].objects), "it takes 5 s to see them, and as long to be sure"
        world.advance(3)
        assert len(world.backends["a"].objects) > 10
        world.advance(10)
        assert len(world.backends["a"].objects) == 1

    def test_stays_where_the_marker_is_gone(self, world):
        key = self.stray(world)
        done(world.daemon.asked_audit.ask("", True))
        world.advance(3)
        marker = world.backends["a"].objects.pop(".dragonbelly/backend")
        world.daemon.health.stopService()
        world.advance(10)
        assert key in world.backends["a"].objects
        world.backends["a"].objects[".dragonbelly/backend"] = marker

    def test_stays_on_a_backend_that_was_not_compared(self, world):
        key = self.stray(world)
        world.advance(1)
        done(world.store.set_meta("epoch.skipped", None, f"a={world.now - 2 * DAY}"))
        round = ask(world)
        assert round.found == 0
        assert key in world.backends["a"].objects

    def test_a_walk_that_breaks_off(self, world):
        key = self.stray(world)

        async def broken(prefix=""):
            raise BackendRefused("not today")
            yield

        keys, world.backends["a"].keys = world.backends["a"].keys, broken
        assert ask(world).skipped == ["a"]
        world.backends["a"].keys = keys
        assert ask(world).skipped == []
        assert key not in world.backends["a"].objects

    def test_many(self, world, monkeypatch):
        monkeypatch.setattr(strays, "WAITING", 7)
        for n in range(30):
            self.stray(world, path=Path("media", f"f{n}"))
        assert ask(world, within=60).found == 30
        assert len(world.backends["a"].objects) == 1

    @pytest.mark.parametrize(
        ("there", "key", "orphan"),
        [
            (Record(), (1, 0), True),
            (record(live("a:good")), (1, 0), False),
            (record(live("a:good")), (1, 1), False),
            (record(live("b:good")), (1, 0), False),
            (record(live("b:good", removals=1)), (1, 0), True),
            (record(live("b:good", removals=1)), (1, 1), False),
            (record(live("a.1:good", removals=1)), (1, 0), True),
            (record(live("a:good", removals=1)), (1, 0), False),
            (record(live("a:good", number=2)), (1, 0), True),
            (record(live("b:lost", "c:suspect", removals=1)), (1, 0), False),
        ],
    )
    def test_the_rule(self, there, key, orphan):
        number, generation = key
        stored = of_key(storage_key(PATH, vid(number), generation), 1)
        assert is_orphan(there, "a", stored, NOW * 10) is orphan
        assert is_orphan(there, "a", stored, 0) is (orphan and there.version(vid(number)) is not None)
