"""The replicator on a whole world in memory: files reach their copies and keep them, whatever fails."""

from __future__ import annotations

from hashlib import md5, sha256
from itertools import pairwise

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure

from dragonbelly.errors import BackendFull, BackendRefused, BackendUnavailable, NotFound, Unconfirmed
from dragonbelly.events import DIGEST, LAPSED, PRECONDITION, SIZE, Doubted
from dragonbelly.keys import MARKER
from dragonbelly.ledger import Announced
from dragonbelly.model import BackendState, Path, Record, ReplicaState, Terms, Use, VersionState
from dragonbelly.replication import backoff
from dragonbelly.replication.objects import is_orphan, of_key
from tests.builders import DATA, NOW, PATH, configuration, done, vid

R, V = ReplicaState, VersionState
ALIVE, READONLY, DRAIN, DOWN, DEAD = BackendState

#: Announced: what the bytes are.
KNOWN = {"sha256": sha256(DATA).digest()}

#: Until a superseded version is gone, and what leaves: the grace, and a little.
GRACE = 125


def state_of(world, id):
    found = world.record() and world.record().version(id)
    return found and found.state


def whole(world, data=DATA, copies=2, path=PATH):
    """The file is there with all its copies, and every one of them has its bytes."""
    version = world.live(path)
    held = world.held(path)
    assert len(held) == copies
    for name in held:
        assert world.bytes_of(version, name, path) == data
    assert world.record(path).thin_since is None
    return held


def source(world, path=PATH):
    """The server that the next copy is read from first."""
    return world.backends[world.live(path).in_state(R.GOOD)[0].backend]


# --- uploads ---------------------------------------------------------------------------------------------


def test_an_upload_becomes_a_file_with_two_copies(world):
    version = world.put()
    assert state_of(world, version.id) is V.UPLOADING
    world.advance(3)
    assert state_of(world, version.id) is V.LIVE
    whole(world)
    assert world.live().sha256 == sha256(DATA).digest()
    assert done(world.store.use()) == {name: Use(len(DATA), 1) for name in world.held()}
    assert done(world.store.counts()).queued == 0


@pytest.mark.parametrize("announced", [{"sha256": sha256(DATA).digest()}, {"md5": md5(DATA).digest()}, {}])
def test_what_was_announced_holds(world, announced):
    world.put(**announced)
    world.advance(3)
    whole(world)


@pytest.mark.parametrize(
    ("reason", "announced"),
    [
        (SIZE, {"size": len(DATA) + 1}),
        (SIZE, {"size": 0}),
        (DIGEST, {"sha256": sha256(b"other").digest()}),
        (DIGEST, {"md5": md5(b"other").digest()}),
    ],
)
@pytest.mark.parametrize("overwriting", [True, False])
def test_what_was_announced_does_not_hold(world, reason, announced, overwriting):
    old = world.file(b"old bytes") if overwriting else None
    new = world.put(**announced)
    world.advance(3)
    assert state_of(world, new.id) is V.ABANDONED
    assert world.record().version(new.id).upload.reason == reason
    if old is not None:
        whole(world, b"old bytes")
        assert world.live().id == old.id
    # What arrived is cleaned up in time.
    world.advance(605 + GRACE, step=1)
    assert world.objects() == (world.held() if overwriting else "")
    assert (world.record() is None) is not overwriting


def test_too_large_an_upload_that_announced_nothing(world):
    version = world.accept()
    world.send(version, b"x" * (1024 * 1024 + 1))
    world.advance(3)
    assert world.record().version(version.id).upload.reason == SIZE


def test_one_that_never_comes(world):
    old = world.file()
    new = world.accept(size=9)
    world.advance(590, step=1)
    assert state_of(world, new.id) is V.UPLOADING
    world.advance(20, step=1)
    assert world.record().version(new.id).upload.reason == LAPSED
    world.advance(GRACE, step=1)
    assert [v.id for v in world.record().versions] == [old.id]
    whole(world)


def test_one_that_comes_at_the_last_moment(world):
    version = world.accept()
    world.advance(version.upload.deadline - world.now - 1, step=1)
    world.send(version)
    world.advance(2)
    assert state_of(world, version.id) is V.LIVE


def test_one_that_comes_too_late_is_cleaned_up(world):
    version = world.accept()
    world.advance(version.upload.deadline - world.now + 3, step=1)
    assert state_of(world, version.id) is V.ABANDONED
    world.send(version)
    world.advance(2 * GRACE, step=1)
    assert world.record() is None
    assert world.objects() == ""


def test_one_at_the_second_target(world):
    version = world.accept(size=len(DATA))
    world.send(version, target=1)
    world.advance(3)
    whole(world)


def test_a_lapse_is_believed_only_of_servers_that_answer(world):
    version = world.accept(size=len(DATA))
    first = world.backends[version.replicas[0].backend]
    world.send(version)
    first.away = True
    world.advance(700, step=1)
    assert state_of(world, version.id) is V.UPLOADING
    first.away = False
    world.advance(40)
    whole(world)


def test_a_lapse_is_not_believed_of_an_empty_mount_point(world):
    """It answers 404 as politely as a full disk; the marker tells them apart, and the probe is yet to come."""
    version = world.accept(size=len(DATA))
    first = world.backends[version.replicas[0].backend]
    world.advance(599.5)
    world.send(version)
    disk, first.objects = first.objects, {}
    world.clock.rightNow = float(version.upload.deadline)
    snapshot = done(world.store.get(PATH))
    done(world.daemon.replicator.reconcile(PATH, snapshot))
    assert state_of(world, version.id) is V.UPLOADING
    first.objects = disk
    world.advance(60)
    whole(world)


def test_order_is_that_of_the_accepts(world):
    first, second = world.accept(), world.accept()
    world.send(second, b"second")
    world.advance(3)
    assert world.live().id == second.id
    world.send(first, b"first")
    world.advance(10)
    assert state_of(world, first.id) is V.SUPERSEDED
    world.advance(GRACE)
    assert [v.id for v in world.record().versions] == [second.id]
    whole(world, b"second")


def test_of_two_that_may_only_be_first_one_wins(world):
    first, second = world.accept(create_only=True), world.accept(create_only=True)
    world.send(first, b"first")
    world.send(second, b"second")
    world.advance(3)
    reasons = {v.state: v.upload and v.upload.reason for v in world.record().versions}
    assert reasons == {V.LIVE: None, V.ABANDONED: PRECONDITION}


# --- overwriting and deleting ----------------------------------------------------------------------------


def test_overwriting_keeps_the_old_bytes_for_the_grace(world):
    old = world.file(b"old")
    keys = {name: world.key(old, name) for name in world.held()}
    new = world.file(b"new")
    assert world.live().id == new.id
    for name, key in keys.items():
        assert world.backends[name].objects[key] == b"old"
    world.advance(GRACE - 10)
    assert all(key in world.backends[name].objects for name, key in keys.items())
    world.advance(15)
    assert not any(key in world.backends[name].objects for name, key in keys.items())
    whole(world, b"new")
    assert len(world.record().versions) == 1


def test_the_old_one_stays_until_the_new_one_has_its_copies(world):
    old = world.file(b"old")
    new = world.put(b"new")
    for backend in world.backends.values():
        if backend.name != new.replicas[0].backend:
            backend.failing["write"] = BackendUnavailable("?")
    world.advance(3 * GRACE, step=1)
    assert world.held() == new.replicas[0].backend
    assert state_of(world, old.id) is V.SUPERSEDED
    assert len(world.objects()) == 3
    for backend in world.backends.values():
        backend.failing.clear()
    world.advance(backoff.HOUR, step=5)
    whole(world, b"new")
    assert len(world.record().versions) == 1


def test_deleting(world):
    world.file()
    world.delete()
    assert world.record().live is None
    assert len(world.objects()) == 2
    world.advance(GRACE - 10)
    assert len(world.objects()) == 2
    world.advance(15)
    assert (world.record(), world.objects()) == (None, "")
    assert done(world.store.use()) == {}
    with pytest.raises(NotFound):
        world.delete()


def test_deleting_where_nobody_answers(world):
    world.file()
    gone = world.backends[world.held()[0]]
    world.delete()
    gone.away = True
    world.advance(2 * GRACE)
    assert world.objects() == gone.name
    gone.away = False
    world.advance(30)
    assert (world.record(), world.objects()) == (None, "")


def test_a_file_expires(world):
    world.file(terms=Terms(expires=NOW + 60))
    world.advance(55)
    whole(world)
    world.advance(5)
    assert world.record().live is None
    world.advance(GRACE)
    assert world.record() is None


def test_more_and_fewer_copies(world):
    world.file()
    world.change(copies=3)
    world.advance(2)
    whole(world, copies=3)
    world.change(copies=1)
    world.advance(2)
    assert len(world.held()) == 1
    assert len(world.objects()) == 3
    world.advance(GRACE)
    assert len(world.objects()) == 1
    world.change(policy="three")
    world.advance(2)
    whole(world, copies=3)
    # A place that was left and is taken again has another key.
    assert sorted(r.generation for r in world.live().replicas) == [0, 2, 2]


# --- servers that fail, and are taken out ----------------------------------------------------------------


def test_draining(world):
    paths = [Path("media", f"f{n}") for n in range(20)]
    for path in paths:
        world.put(path=path)
    world.advance(5)
    world.say("a", DRAIN)
    held = [world.held(path) for path in paths]
    assert any("a" in each for each in held)
    world.advance(10)
    for path in paths:
        assert world.held(path) == "bc"
    assert world.backends["a"].objects.keys() != {MARKER}
    world.advance(GRACE)
    assert world.backends["a"].objects.keys() == {MARKER}
    assert "a" not in done(world.store.use())


def test_draining_with_nowhere_to_go(make_world):
    world = make_world("ab").start()
    world.file()
    world.say("a", DRAIN)
    world.advance(3 * GRACE)
    assert world.objects() == "ab"
    assert world.record().thin_since is not None
    world.say("a", ALIVE)
    world.advance(5)
    whole(world)


def test_changing_ones_mind_about_a_drain(world):
    world.file()
    [left] = world.held()[:1]
    world.say(left, DRAIN)
    world.advance(5)
    assert world.live().replica(left).state is R.LEAVING
    world.say(left, ALIVE)
    other = next(n for n in world.held() if n != left)
    world.say(other, DRAIN)
    world.advance(5)
    assert left in world.held()
    writes = world.backends[left].asked("write")
    assert len(writes) <= 1


def test_a_dead_one_is_not_asked(world):
    world.file()
    dead = world.backends[world.held()[0]]
    dead.away = True
    world.advance(5)
    world.say(dead.name, DEAD)
    asked = len(dead.asked("stat", "read", "write", "delete"))
    world.advance(5)
    assert dead.name not in whole(world)
    assert [r.backend for r in world.live().replicas if r.backend == dead.name] == []
    assert len(dead.asked("stat", "read", "write", "delete")) == asked


def test_all_dead_is_remembered(world):
    world.file()
    held = world.held()
    for name in held:
        world.say(name, DEAD)
    world.advance(30)
    assert world.held() == ""
    assert {r.state for r in world.live().replicas if r.backend in held} == {R.LOST}
    world.say(held[0], ALIVE)
    world.advance(backoff.MINUTE * 5)
    assert held[0] in whole(world)


def test_one_that_is_away_is_made_up_for_and_comes_back(world):
    version = world.file()
    gone = world.held()[0]
    key = world.key(version, gone)
    world.backends[gone].away = True
    world.advance(50)
    assert gone in world.held()
    assert len(world.live().replicas) == 2  # it may be back soon
    world.advance(25)
    assert len(world.held()) == 3
    assert world.daemon.impatient == [gone]
    world.backends[gone].away = False
    world.advance(10)
    assert world.daemon.returned == [(gone, True)]
    assert len(world.objects()) == 3
    assert len(world.held()) == 2
    world.advance(GRACE)
    assert len(world.objects()) == 2
    whole(world)
    assert (world.backends[gone].objects.get(key) is not None) is (gone in world.held())


def test_one_that_was_away_for_a_moment_changes_nothing(world):
    world.file()
    gone = world.held()[0]
    world.backends[gone].away = True
    world.advance(20)
    world.backends[gone].away = False
    world.advance(20)
    assert len(world.live().replicas) == 2
    assert all(not backend.asked("delete") for backend in world.backends.values())


def test_what_leaves_waits_for_one_that_is_away(world):
    """Two are owed.  The third is surplus, until one of the two does not answer."""
    version = world.file(terms=Terms(copies=3))
    world.change(copies=2)
    world.advance(2)
    [leaving] = world.live().in_state(R.LEAVING)
    world.advance(GRACE - 40)
    gone = world.held()[0]
    world.backends[gone].away = True
    world.advance(50)  # the grace is over, patience is not
    assert world.backends[leaving.backend].objects[world.key(version, leaving.backend)] == DATA
    world.advance(60)
    assert leaving.backend in world.held()


def test_work_that_waited_for_a_server_goes_on_when_it_is_back(make_world):
    world = make_world("ab").start()
    version = world.put()
    second = world.backends[version.replicas[1].backend]
    second.away = True
    world.advance(600, step=1)
    assert len(world.held()) == 1
    second.away = False
    world.advance(10)
    whole(world)


def test_work_that_waited_for_room_goes_on_when_figures_say_that_there_is_some(make_world):
    world = make_world("ab").start()
    full = world.backends["b"]
    full.capacity, full.objects["fill"] = 10_000, b"x" * 9_950
    world.advance(3)
    assert [r.backend for r in world.put().replicas] == ["a"]
    world.advance(2 * backoff.HOUR, step=5)
    assert world.held() == "a"
    del full.objects["fill"]
    world.advance(5)
    assert whole(world) == "ab"


def test_work_that_waited_for_room_goes_on_when_another_file_had_some(make_world):
    """One that refuses for want of room without any figures: what proves that there is some is a write."""
    world = make_world("ab").start()
    version = world.put()
    second = world.backends[version.replicas[1].backend]
    second.failing["write"] = BackendFull("?")
    world.advance(2 * backoff.HOUR, step=5)
    second.failing.clear()
    tries = len(second.asked("write"))
    world.advance(120)
    assert len(second.asked("write")) == tries, "its time is yet to come"
    other = Path("media", "other")
    accepted = world.accept(other, size=len(DATA))
    first = [r.backend != second.name for r in accepted.replicas].index(True)
    world.send(accepted, path=other, target=first)
    world.advance(5)
    whole(world, path=other)
    assert whole(world) == "ab"


def test_surplus_goes_when_a_server_is_back_that_was_away_for_a_moment(world):
    world.file(terms=Terms(copies=3))
    gone = world.backends[world.held()[0]]
    gone.away = True
    world.advance(5)
    world.change(copies=2)
    world.advance(20)
    assert world.held() == "abc"
    gone.away = False
    world.advance(10)
    assert len(world.held()) == 2
    world.advance(GRACE)
    assert len(world.objects()) == 2
    whole(world)


# --- files of which no good copy is known ----------------------------------------------------------------


def lose(world, *names):
    """The objects of the live version there are gone, and somebody saw it."""
    version = world.live()
    for name in names:
        del world.backends[name].objects[world.key(version, name)]
    events = [Doubted(world.now, version.id, n, version.replica(n).generation) for n in names]
    done(world.daemon.ledger.commit(PATH, done(world.store.get(PATH)), lambda _: events))


def half_copied(world, stored=True, **announced):
    """A file with one good copy, and another that was made (or not) without an answer: their servers."""
    version = world.put(**announced)
    first, second = (world.backends[replica.backend] for replica in version.replicas)
    write = second.write

    def silent(key, *what):
        if stored:
            write(key, *what)
        return fail(BackendUnavailable("no answer"))

    second.write = silent
    world.advance(3)
    assert world.live().replica(second.name).state is R.MISSING
    assert world.objects() == (world.held() if not stored else "ab")
    return first, second


@pytest.mark.parametrize("state", [ALIVE, READONLY, DRAIN])
def test_a_copy_without_an_answer_is_found_when_it_is_the_only_one(make_world, state):
    world = make_world("ab").start()
    first, second = half_copied(world)
    if state is not ALIVE:
        world.say(second.name, state)
    lose(world, first.name)
    world.advance(3)
    assert second.name in world.held()
    assert world.live().sha256 == sha256(DATA).digest()
    world.advance(backoff.HOUR, step=5)
    assert first.name in world.held()
    assert world.record().thin_since is None or state is DRAIN


def test_also_when_its_server_was_away_for_long(make_world):
    world = make_world("ab").start()
    first, second = half_copied(world)
    second.away = True
    world.advance(5)
    lose(world, first.name)
    world.advance(200)
    assert world.held() == ""
    second.away = False
    world.advance(30)
    assert second.name in world.held()


@pytest.mark.parametrize(
    ("there", "announced"),
    [(None, {}), (b"short", {}), (None, KNOWN), (b"short", KNOWN), (bytes(len(DATA)), KNOWN)],
)
def test_a_copy_that_is_not_there_is_none(make_world, there, announced):
    world = make_world("ab").start()
    first, second = half_copied(world, stored=False, **announced)
    before = world.live().replica(second.name)
    if there is not None:
        second.objects[world.key(world.live(), second.name)] = there
    lose(world, first.name)
    world.advance(backoff.HOUR, step=5)
    assert world.held() == ""
    assert world.live().replica(second.name) == before
    assert second.asked("read")
    assert second.asked("delete") == []


def test_what_was_about_to_be_removed_is_what_is_left(make_world):
    world = make_world("abcd", copies=1).start()
    world.file(terms=Terms(copies=3))
    kept, *others = world.held()
    world.say(kept, DRAIN)
    world.backends[kept].failing["delete"] = BackendUnavailable("?")
    world.change(copies=2)
    world.advance(GRACE + 20)
    assert world.live().replica(kept).state is R.CONDEMNED
    world.backends[kept].failing.clear()
    for backend in world.backends.values():
        backend.failing["write"] = BackendUnavailable("?")
    lose(world, *others)
    removals = len(world.backends[kept].asked("delete"))
    world.advance(backoff.HOUR, step=5)
    assert world.held() == ""
    assert world.objects() == kept
    assert len(world.backends[kept].asked("delete")) == removals
    for backend in world.backends.values():
        backend.failing.clear()
    world.advance(2 * backoff.HOUR, step=5)
    assert kept not in whole(world)
    world.advance(GRACE)
    assert world.objects() == world.held()


def test_unless_its_server_is_dead(make_world):
    world = make_world("ab", copies=1).start()
    world.file(terms=Terms(copies=2))
    world.backends["a"].failing["delete"] = BackendUnavailable("?")
    world.say("a", DRAIN)
    world.change(copies=1)
    world.advance(GRACE + 20)
    assert world.live().replica("a").state is R.CONDEMNED
    lose(world, "b")
    world.advance(20)
    assert {r.backend: r.state for r in world.live().replicas} == {"a": R.CONDEMNED, "b": R.LOST}
    world.say("a", DEAD)
    world.advance(5)
    assert [r.backend for r in world.live().replicas] == ["b"]
    assert "a" not in done(world.store.use())


# --- copies that fail ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [BackendUnavailable("?"), BackendFull("?"), BackendRefused("?"), ZeroDivisionError()]
)
def test_a_target_that_fails_gives_way(world, error):
    version = world.put()
    second = world.backends[version.replicas[1].backend]
    second.failing["write"] = error
    world.advance(4)
    assert second.name not in whole(world)
    assert second.name not in world.objects()
    world.advance(70)
    assert len(world.live().replicas) == 2


def test_a_target_that_lies(world):
    version = world.put()
    second = world.backends[version.replicas[1].backend]
    second.lies = True
    world.advance(3)
    assert second.name not in whole(world)


def test_it_is_tried_again_less_and_less(make_world):
    world = make_world("ab").start()
    version = world.put()
    second = world.backends[version.replicas[1].backend]
    second.failing["write"] = BackendUnavailable("?")
    moments = []
    before = 0
    while len(moments) < 12:
        world.clock.advance(1 if len(moments) < 4 else 30)
        tries = len(second.asked("write"))
        if tries > before:
            moments.append(world.clock.seconds())
            before = tries
    gaps = [b - a for a, b in pairwise(moments)]
    expected = [*backoff.SCHEDULE, backoff.DAY, backoff.DAY]
    assert gaps == pytest.approx(expected, abs=31)
    assert world.record().tries == 12
    second.failing.clear()
    world.advance(backoff.DAY + 60, step=30)
    whole(world)
    assert world.record().tries == 0


def test_two_that_fail_in_turn_are_tried_less_and_less_as_well(world):
    version = world.put()
    first = version.replicas[0].backend
    others = [backend for name, backend in world.backends.items() if name != first]
    for backend in others:
        backend.failing["write"] = BackendRefused("?")
    world.advance(2 * backoff.HOUR, step=5)
    assert sum(len(backend.asked("write")) for backend in others) < 20
    assert world.held() == first


def test_an_upload_that_does_not_come_does_not_slow_the_copies_of_the_file(world):
    version = world.put()
    first = version.replicas[0].backend
    others = [backend for name, backend in world.backends.items() if name != first]
    for backend in others:
        backend.failing["write"] = BackendUnavailable("?")
    world.advance(3)
    world.accept(size=3)
    world.advance(700, step=1)
    for backend in others:
        backend.failing.clear()
    world.advance(backoff.HOUR, step=5)
    whole(world)


def test_a_corrupt_source_is_replaced_from_a_good_one(world):
    version = world.file()
    bad = source(world)
    bad.corrupt(world.key(version, bad.name))
    world.change(copies=3)
    world.advance(10)
    whole(world, copies=3)
    assert len(world.live().replicas) == 3
    assert len({world.bytes_of(world.live(), name) for name in "abc"}) == 1


def test_a_corrupt_source_that_is_the_only_one_is_kept(make_world):
    world = make_world("abc", copies=1).start()
    version = world.file()
    [only] = world.held()
    world.backends[only].corrupt(world.key(version, only))
    world.change(copies=2)
    # The digest is not known yet, unless it was announced: it is what the first copy says.
    world.advance(5)
    assert world.live().sha256 is not None

    other = world.file(path=Path("media", "known"), sha256=sha256(DATA).digest())
    path = Path("media", "known")
    [only] = world.held(path)
    key = world.key(other, only, path)
    world.backends[only].corrupt(key)
    world.change(path, copies=2)
    world.advance(GRACE + 100)
    assert world.held(path) == ""
    assert key in world.backends[only].objects
    assert not [r for r in world.live(path).replicas if r.state is R.GOOD]
    # Should the disk turn out to be well after all, it is seen.
    world.backends[only].corrupt(key)
    world.advance(backoff.HOUR, step=5)
    whole(world, path=path)


@pytest.mark.parametrize("error", [BackendUnavailable("?"), BackendRefused("?")])
def test_one_that_cannot_be_checked_is_not_lost(world, error):
    version = world.file()
    bad = source(world)
    bad.corrupt(world.key(version, bad.name))
    read, before = bad.read, len(bad.asked("read"))

    def reading(key):
        if key != MARKER and len(bad.asked("read")) > before:
            return fail(error)
        return read(key)

    bad.read = reading
    world.change(copies=3)
    world.advance(100)
    replica = world.live().replica(bad.name)
    assert (replica.state, replica.generation) == (R.SUSPECT, 0)
    assert world.key(version, bad.name) in bad.objects
    bad.read = read
    world.advance(backoff.HOUR, step=5)
    whole(world, copies=3)


def test_an_object_that_is_gone_is_made_again(world):
    version = world.file()
    bad = source(world)
    del bad.objects[world.key(version, bad.name)]
    world.change(copies=3)
    world.advance(10)
    whole(world, copies=3)


def test_a_disk_that_is_not_mounted_loses_nothing(world):
    """Its server answers, and has nothing: between two probes that must not be taken for a loss."""
    version = world.file()
    first = source(world)
    disk, first.objects = first.objects, {}
    world.change(copies=3)
    done(world.daemon.replicator.reconcile(PATH, done(world.store.get(PATH))))
    replica = world.live().replica(first.name)
    assert replica is not None
    assert (replica.state, replica.generation) == (R.SUSPECT, 0)
    first.objects = disk
    world.advance(60)
    whole(world, copies=3)
    assert world.live().replica(first.name).generation == 0
    assert world.bytes_of(version, first.name) == DATA


def test_two_copies_of_which_one_read_other_bytes(make_world):
    """The digest is not known: what the first copy says counts, and the other is made again."""
    world = make_world("abc", copies=3).start()
    version = world.put()
    first = world.backends[version.replicas[0].backend]
    read, reads = first.read, []

    def flipping(key):
        if key != MARKER:  # which probes read, at their own pace
            reads.append(key)
        if key != MARKER and len(reads) == 2:
            first.corrupt(key)
            body = read(key)
            first.corrupt(key)
            return body
        return read(key)

    first.read = flipping
    world.advance(40)
    whole(world, copies=3)


# --- visits ----------------------------------------------------------------------------------------------


def test_no_more_than_so_many_at_a_server(make_world):
    world = make_world("ab", per_backend=2, concurrency=10).start()
    for number in range(10):
        path = Path("media", f"f{number}")
        version = world.accept(path, size=len(DATA))
        # All are uploaded to a, and copied to b.
        world.send(version, path=path, target=[r.backend for r in version.replicas].index("a"))
    target = world.backends["b"]
    target.hold("write")
    world.advance(3)
    assert len(target.held["write"]) == 2
    world.advance(10)
    assert len(target.held["write"]) == 2
    held, target.held["write"] = target.held["write"], []
    for waiting in held:
        waiting.callback(None)
    assert len(target.held["write"]) == 2
    target.release("write")
    world.advance(30)
    for number in range(10):
        whole(world, path=Path("media", f"f{number}"))


def test_no_more_than_so_many_at_once(make_world):
    world = make_world("ab", per_backend=10, concurrency=4).start()
    for number in range(10):
        world.put(path=Path("media", f"f{number}"))
    for backend in world.backends.values():
        backend.hold("write")
    world.advance(5)
    assert len(world.daemon.replicator._visits) == 4
    for backend in world.backends.values():
        backend.release("write")
    world.advance(10)
    for number in range(10):
        whole(world, path=Path("media", f"f{number}"))


def test_copies_give_way_to_uploads_for_a_while(make_world):
    """One lot a tick while uploads come; then the copies' turn comes all the same."""
    world = make_world("ab", concurrency=4, uploads_first="5s").start()
    uploads = 0

    def upload_for(seconds: int) -> int:
        nonlocal uploads
        for _ in range(seconds * 4):
            for _ in range(8):
                uploads += 1
                world.put(path=Path("media", f"f{uploads}"))
            world.clock.advance(0.25)
        return sum(len(backend.asked("write")) for backend in world.backends.values())

    assert 4 <= upload_for(5) <= 5 * 4
    assert upload_for(2) >= 100
    whole(world, path=Path("media", "f1"))


def test_the_lease_is_kept_as_long_as_a_copy_takes(world):
    two = world.another("two").start()
    version = world.put()
    target = world.backends[version.replicas[1].backend]
    target.hold("write")
    world.advance(300)
    assert len(target.asked("write")) == 1
    target.release("write")
    world.advance(1)
    whole(world)
    assert not two.replicator._visits
    assert not world.daemon.replicator._visits


def test_a_path_that_comes_again_is_not_copied_twice(world):
    version = world.put()
    target = world.backends[version.replicas[1].backend]
    target.hold("write")
    world.advance(2)
    assert len(target.held["write"]) == 1
    for _ in range(3):
        done(world.store.hasten([PATH]))
        world.advance(2)
    assert len(target.asked("write")) == 1
    # The looks for a later upload go on meanwhile.
    new = world.put(b"new")
    world.advance(3)
    assert world.live().id == new.id
    target.release("write")
    world.advance(20)
    whole(world, b"new")


def test_a_newer_due_time_is_not_overridden(world):
    version = world.put()
    target = world.backends[version.replicas[1].backend]
    target.hold("write")
    world.advance(2)
    done(world.daemon.ledger.accept(PATH, Announced(size=3)))
    before = dict(world.store._due)
    target.release("write")
    assert world.live().in_state(R.GOOD)
    assert world.store._due == before
    world.advance(3)
    whole(world)


def test_a_damaged_record_is_left_alone(world):
    world.store.records["media/bad"] = b"\xc1 damaged"
    done(world.store.hasten([Path("media", "bad")]))
    world.put()
    world.advance(30)
    assert world.store.records["media/bad"] == b"\xc1 damaged"
    assert done(world.store.counts()).overdue == 0
    whole(world)
    del world.store.records["media/bad"]


def test_a_path_that_has_no_record(world):
    done(world.store.hasten([PATH]))
    world.advance(2)
    assert done(world.store.counts()).queued == 0


def test_a_bug_at_one_path_does_not_stop_the_others(world):
    plan = world.daemon.ledger.plan

    def broken(path, *rest):
        if path == PATH:
            raise ZeroDivisionError
        return plan(path, *rest)

    world.put()
    world.put(path=Path("media", "other"))
    world.daemon.ledger.plan = broken
    world.advance(10)
    assert world.record().live is None
    whole(world, path=Path("media", "other"))
    world.daemon.ledger.plan = plan
    world.advance(backoff.HOUR, step=5)
    whole(world)


def test_a_bug_at_one_server_does_not_stop_the_others(make_world):
    world = make_world("abcd", copies=3).start()
    version = world.file()
    bad = source(world)
    bad.corrupt(world.key(version, bad.name))
    reads = bad.read

    def read(key):
        if key == MARKER:
            return reads(key)
        asked.append(key)
        return reads(key) if len(asked) == 1 else 1 / 0

    asked = []
    bad.read = read
    world.change(copies=4)
    world.advance(30)
    assert len(world.held()) == 3
    assert bad.name not in world.held()


def test_a_store_that_is_unsure_holds_up_only_what_needs_it(world):
    """It cannot say that the record is safe which asks for a removal; the upload was seen all the same."""
    world.file(b"old")
    world.delete()
    world.advance(GRACE - 20)
    new = world.accept(size=len(DATA))
    world.daemon.link.confirm = lambda: fail(Unconfirmed("nobody knows"))
    world.advance(30)
    world.send(new)
    with capturedLogs() as logs:
        again = done(world.daemon.replicator.reconcile(PATH, done(world.store.get(PATH))))
    assert again is not None
    assert whole(world)
    assert len(world.objects()) == 4
    assert [event for event in logs if event["log_level"] >= LogLevel.error] == []
    del world.daemon.link.confirm
    world.advance(backoff.MINUTE * 5)
    assert world.objects() == whole(world)


def test_the_store_goes_away_and_comes_back(world):
    version = world.put()
    world.daemon.link.away = True
    world.advance(30)
    assert state_of(world, version.id) is V.UPLOADING
    world.daemon.link.away = False
    world.advance(70)
    whole(world)


@pytest.mark.parametrize("moment", range(12))
def test_the_store_goes_away_at_any_moment(world, moment):
    """Every call to the store but so many fails, then all is well again."""
    link = world.daemon.link
    calls = []

    def before(path):
        calls.append(path)
        if len(calls) > moment % 4:
            link.away = True

    link.before_commit = before
    link.lost = 1 if moment >= 8 else 0
    world.clock.advance(0)
    version = None
    try:
        version = world.put()
    except Exception:
        link.away = False
        link.before_commit = lambda path: None
        version = world.put()
    world.advance(10)
    link.before_commit = lambda path: None
    link.away = False
    world.advance(130)
    assert world.live().id == version.id
    whole(world)


# --- several daemons -------------------------------------------------------------------------------------


def test_two_share_the_work(make_world):
    world = make_world(concurrency=4)
    two = world.another("two")
    world.start()
    paths = [Path("media", f"f{n}") for n in range(40)]
    for path in paths:
        world.put(path=path)
    for backend in world.backends.values():
        backend.hold("write")
    world.advance(3)
    for daemon in (world.daemon, two):
        assert len(daemon.replicator._visits) == 4
    for backend in world.backends.values():
        backend.release("write")
    world.advance(15)
    for path in paths:
        whole(world, path=path)
    # Each copy was made once.
    assert sum(len(b.asked("write")) for b in world.backends.values()) == 40


@pytest.mark.parametrize("call", ["stat", "read", "write", "delete"])
def test_one_crashes_in_the_middle_and_the_other_goes_on(make_world, call):
    world = make_world()
    two = world.another("two")
    for each in (world.daemon, two):
        each.start()
    two.replicator.stopService()
    old = world.file(b"old")
    if call == "delete":
        world.file(b"new")
        world.advance(GRACE - 10)
    for backend in world.backends.values():
        backend.hold(call)
    if call != "delete":
        world.put(b"new")
    world.advance(20)
    assert any(backend.held[call] for backend in world.backends.values())
    world.daemon.crash()
    two.replicator.startService()
    kept = [waiting for backend in world.backends.values() for waiting in backend.held.pop(call)]
    world.advance(30)
    world.advance(GRACE + 100)
    whole(world, b"new")
    assert old.id not in [v.id for v in world.record().versions]
    before = world.record()
    # What it had begun ends only now, long after.
    for waiting in kept:
        waiting.callback(None)
    world.advance(10)
    assert world.record() == before
    assert sorted(set(world.objects())) == sorted(world.held())
    whole(world, b"new")


def test_one_that_was_stopped_and_woken_an_hour_later_undoes_nothing(make_world):
    """It saw a copy fail that another has made since, and a replica lost that has been replaced since."""
    world = make_world()
    two = world.another("two")
    world.daemon.start()
    version = world.put()
    target = world.backends[version.replicas[1].backend]
    target.hold("write")
    world.advance(2)
    [waiting] = target.held.pop("write")
    world.daemon.link.away = True
    world.advance(70)
    two.start()
    world.advance(10)
    assert whole(world) == "".join(sorted(r.backend for r in version.replicas))
    world.daemon.link.away = False
    before = world.live()
    # The server says that something is there already.
    waiting.errback(BackendRefused("it is there already"))
    world.advance(200)
    assert world.live() == before
    whole(world)


def test_a_late_look_at_a_replica_that_was_replaced_since(make_world):
    world = make_world()
    two = world.another("two")
    world.daemon.start()
    version = world.file()
    bad = source(world)
    bad.corrupt(world.key(version, bad.name))
    # The first daemon doubts it, and begins to check it.
    world.change(copies=3)
    bad.hold("read")
    world.advance(2)
    held = bad.held["read"]
    assert held
    bad.held["read"] = []
    for waiting in held:
        waiting.callback(None)  # the copy: it sees other bytes, and doubts it
    world.advance(1)
    late = bad.held.pop("read")
    assert world.live().replica(bad.name).state is R.SUSPECT
    assert late
    world.daemon.link.away = True
    world.advance(70)
    two.start()
    world.advance(30)
    whole(world, copies=3)
    assert world.live().replica(bad.name).generation > 0
    before = world.live()
    world.daemon.link.away = False
    for waiting in late:
        waiting.callback(None)
    world.advance(30)
    assert world.live() == before


def test_a_copy_that_is_made_is_not_made_again_while_another_takes_long(make_world):
    """Else what was seen to be good is written over before the record says so.  Found by the simulation."""
    world = make_world("abc", copies=3).start()
    version = world.put()
    first = version.replicas[0].backend
    quick, slow = (backend for name, backend in sorted(world.backends.items()) if name != first)
    slow.hold("write")
    world.advance(3)
    assert len(quick.asked("write")) == 1
    for _ in range(3):
        done(world.store.hasten([PATH]))
        world.advance(3)
    assert len(quick.asked("write")) == 1
    slow.release("write")
    world.advance(5)
    whole(world, copies=3)
    assert len(quick.asked("write")) == len(slow.asked("write")) == 1


def test_a_copy_that_ends_when_nobody_waits_for_it_any_more(world):
    """Its place was given up meanwhile: the record stays gone, and the object is the audit's to remove."""
    version = world.put(b"old")
    target = world.backends[version.replicas[1].backend]
    target.hold("write")
    world.advance(2)
    [waiting] = target.held.pop("write")
    assert world.live().id == version.id
    world.delete()
    world.advance(GRACE + 20)
    assert world.record() is None
    waiting.callback(None)
    world.advance(5)
    assert world.record() is None
    [key] = [key for key in target.objects if key != MARKER]
    found = of_key(key, len(b"old"))
    assert found is not None
    assert is_orphan(Record(), target.name, found, world.now)


# --- stopping --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["stat", "read", "write", "delete"])
def test_stopping_leaves_nothing(world, call):
    if call == "delete":
        world.file()
        world.delete()
        world.advance(GRACE - 10)
    for backend in world.backends.values():
        backend.hold(call)
    if call != "delete":
        world.put()
    world.advance(10)
    assert any(backend.held[call] for backend in world.backends.values())
    calls = sum(len(b.asked("stat", "read", "write", "delete")) for b in world.backends.values())
    world.daemon.stop()
    assert not world.daemon.replicator._visits
    assert not world.daemon.replicator._copying
    assert world.clock.getDelayedCalls() == []
    # It began nothing new.
    assert sum(len(b.asked("stat", "read", "write", "delete")) for b in world.backends.values()) == calls
    for backend in world.backends.values():
        backend.held.clear()
    world.another("two").start()
    world.advance(80 + GRACE)
    if call == "delete":
        assert world.record() is None
    else:
        whole(world)


def test_what_is_under_way_ends_in_the_order_in_which_it_began(make_world):
    """Where things lie in memory must not decide what is sent first."""
    world = make_world("a", copies=1).start()
    backend = world.backends["a"]
    backend.hold("stat")
    for number in range(12):
        world.accept(Path("media", f"f{number}"))
    world.advance(3)
    ended = []
    for number, waiting in enumerate(backend.held["stat"]):
        waiting.addBoth(lambda _, number=number: ended.append(number))
    world.daemon.stop()
    assert ended == list(range(12))


def test_stopping_in_the_middle_of_a_body(make_world):
    """With another source at hand, which must not be begun with."""
    world = make_world().start()
    version = world.file()
    body = {}
    for name in world.held():
        backend = world.backends[name]

        def read(key, backend=backend, well=backend.read):
            if key == MARKER:
                return well(key)
            body[backend.name] = Stuck(len(DATA))
            made = Deferred()
            made.callback(body[backend.name])
            return made

        backend.read = read
    world.change(copies=3)
    world.advance(2)
    assert len(body) == 1
    world.daemon.stop()
    assert len(body) == 1
    [stuck] = body.values()
    assert stuck.stopped
    assert len(world.live().replicas) == 3
    assert world.live().id == version.id


class Stuck:
    """A body that comes half."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.stopped = False

    def deliver(self, protocol) -> None:
        self.protocol = protocol
        protocol.makeConnection(self)
        protocol.dataReceived(DATA[: self.size // 2])

    def abandon(self) -> None:
        self.stopped = True

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        if not self.stopped:
            self.stopped = True
            self.protocol.connectionLost(Failure(BackendUnavailable("the reader stopped")))


def test_nothing_is_left_of_a_world_that_did_a_lot(make_world):
    world = make_world("abcd")
    world.another("two", configuration(world.factory, "abcd", copies=3))
    world.start()
    for number in range(8):
        world.put(str(number).encode(), path=Path("media", f"f{number}"))
    world.advance(10)
    for number in range(4):
        world.delete(Path("media", f"f{number}"))
    world.say("b", DRAIN)
    world.advance(3)
    assert vid(1) not in world.store.records
