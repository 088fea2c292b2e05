"""The books: compare-and-swap, lost replies, other daemons, and a store that is away."""

from __future__ import annotations

from typing import Any

import pytest

from dragonbelly.errors import (
    BadField,
    BadRecord,
    NoBackend,
    NotFound,
    PreconditionFailed,
    StateUnavailable,
    TooLarge,
    TooManyVersions,
)
from dragonbelly.events import ABORTED, Abandoned, Tried, Verified
from dragonbelly.interfaces import Snapshot
from dragonbelly.ledger import ATTEMPTS, Announced
from dragonbelly.model import (
    SPARE_VERSIONS,
    BackendState,
    Observed,
    Path,
    Record,
    ReplicaState,
    Terms,
    VersionState,
)
from dragonbelly.state.cache import RecentRecords
from tests.builders import DATA, NOW, PATH, World, done, live, record

R, V = ReplicaState, VersionState


@pytest.fixture
def world():
    """Nothing runs: only the books are written."""
    return World()


# --- accepting -------------------------------------------------------------------------------------------


def test_an_upload_is_accepted(world):
    version, targets = done(world.daemon.ledger.accept(PATH, Announced(size=5, terms=Terms(copies=3))))
    assert world.record().versions == (version,)
    assert version.state is V.UPLOADING
    assert [backend for backend, _ in targets] == [r.backend for r in version.replicas]
    assert [key for _, key in targets] == [f"media/a/@{version.id}/photo.jpg"] * 3
    assert version.upload.deadline >= NOW + 600
    # The replicator looks for it soon, though nobody says that it came.
    assert done(world.store.counts()).overdue == 0
    world.clock.advance(1)
    assert done(world.store.counts()).overdue == 1


def test_large_ones_have_longer(world):
    small = world.accept(size=0).upload.deadline
    large = world.accept(size=1024 * 1024).upload.deadline
    assert large - small == 8  # at 128 KiB a second


def test_too_large(world):
    world.accept(size=1024 * 1024)
    with pytest.raises(TooLarge) as caught:
        world.accept(size=1024 * 1024 + 1)
    assert caught.value.extra["maximum"] == 1024 * 1024
    assert len(world.record().versions) == 1


def test_a_policy_that_is_not_there(world):
    with pytest.raises(BadField) as caught:
        world.accept(terms=Terms(policy="gold"))
    assert caught.value.extra["field"] == "policy"
    assert "default, three" in caught.value.detail
    assert world.record() is None
    assert len(world.accept(terms=Terms(policy="three")).replicas) == 3


def test_nowhere_to_put_it(world):
    for name in "abc":
        world.daemon.cluster.observe(name, Observed.FULL)
    with pytest.raises(NoBackend) as caught:
        world.accept()
    assert caught.value.retry_after
    assert world.record() is None


def test_conditions(world):
    world.accept(create_only=True)
    first = world.put()
    replica = first.replicas[0]
    done(
        world.daemon.ledger.happened(
            PATH,
            done(world.store.get(PATH)),
            [Verified(NOW, first.id, replica.backend, len(DATA))],
        )
    )
    with pytest.raises(PreconditionFailed):
        world.accept(create_only=True)
    with pytest.raises(PreconditionFailed):
        world.accept(if_match="other")
    world.accept(if_match=first.id)


def test_too_many_at_once(world):
    for _ in range(SPARE_VERSIONS):
        world.accept()
    with pytest.raises(TooManyVersions):
        world.accept()
    assert len(world.record().versions) == SPARE_VERSIONS


# --- others at the same time -----------------------------------------------------------------------------


def test_two_ledgers_at_once(world):
    other = world.another("two")
    one = world.daemon.link
    one.before_commit = lambda path: (
        setattr(one, "before_commit", lambda path: None) or done(other.ledger.accept(path, Announced(size=2)))
    )
    mine = world.accept(size=1)
    assert [v.size for v in world.record().versions] == [1, 2]
    assert world.record().versions[0].id == mine.id
    assert one.commits == 2
    world.check()


def called_dead(world, *names: str) -> None:
    world.daemon.cluster.say(dict.fromkeys(names, BackendState.DEAD))


def likely() -> list[str]:
    """Where the next upload goes, in a world as it is at first."""
    return [replica.backend for replica in World().accept().replicas]


@pytest.mark.parametrize("moment", ["before", "conflict"])
def test_where_to_is_asked_at_the_moment_of_the_commit(world, moment):
    """Somebody says meanwhile that the servers are dead to which it was going."""
    link, other = world.daemon.link, world.another("two")

    def confirming() -> Any:
        called_dead(world, *likely())
        return world.store.confirm()

    def interfere(path: Path) -> None:
        link.before_commit = lambda path: None
        done(other.ledger.accept(path, Announced(size=2)))
        called_dead(world, *likely())

    if moment == "before":
        link.confirm = confirming
    else:
        link.before_commit = interfere
    version, targets = done(world.daemon.ledger.accept(PATH, Announced()))
    [left] = set("abc") - set(likely())
    assert [backend for backend, _ in targets] == [left]
    assert [r.backend for r in version.replicas] == [left]


@pytest.mark.parametrize("moment", ["before", "conflict"])
def test_when_none_is_left_by_then_it_is_refused(world, moment):
    link, other = world.daemon.link, world.another("two")

    def confirming() -> Any:
        called_dead(world, *"abc")
        return world.store.confirm()

    def interfere(path: Path) -> None:
        done(other.ledger.accept(path, Announced(size=2)))
        called_dead(world, *"abc")

    if moment == "before":
        link.confirm = confirming
    else:
        link.before_commit = interfere
    with pytest.raises(NoBackend) as caught:
        world.accept()
    assert caught.value.retry_after
    assert [v.size for v in (world.record() or Record()).versions] == ([2] if moment == "conflict" else [])


def test_what_another_made_of_it_is_what_the_events_are_of(world):
    """A condition that held when it was read, and no longer does."""
    version = world.put()
    other = world.another("two")
    one = world.daemon.link

    def interfere(path: Path) -> None:
        one.before_commit = lambda path: None
        event = Verified(NOW, version.id, version.replicas[0].backend, len(DATA))
        done(other.ledger.happened(path, done(world.store.get(path)), [event]))

    one.before_commit = interfere
    with pytest.raises(PreconditionFailed):
        world.accept(create_only=True)
    assert len(world.record().versions) == 1


def test_late_events_are_of_the_record_as_it_is(world):
    version = world.put()
    stale = done(world.store.get(PATH))
    done(world.daemon.ledger.happened(PATH, stale, [Abandoned(NOW, version.id, ABORTED)]))
    event = Verified(NOW, version.id, version.replicas[0].backend, len(DATA))
    snapshot, _ = done(world.daemon.ledger.happened(PATH, stale, [event]))
    assert snapshot == done(world.store.get(PATH))
    assert world.record().live is None


def test_one_that_always_loses_gives_up(world):
    other = world.another("two")
    world.accept()
    link = world.daemon.link
    link.before_commit = lambda path: done(
        other.ledger.happened(path, done(world.store.get(path)), [Tried(NOW)])
    )
    with pytest.raises(StateUnavailable):
        world.accept()
    assert link.commits == 1 + ATTEMPTS
    assert len(world.record().versions) == 1


def test_of_a_record_that_is_gone_nothing_comes(world):
    version = world.accept()
    stale = done(world.store.get(PATH))
    world.store.records.clear()
    snapshot, plan = done(
        world.daemon.ledger.happened(PATH, stale, [Abandoned(NOW, version.id, ABORTED), Tried(NOW)])
    )
    assert (snapshot, plan.steps) == (Snapshot(None, b""), ())
    assert world.record() is None


def test_what_changes_nothing_is_not_written(world):
    world.accept()
    commits = world.daemon.link.commits
    done(world.daemon.ledger.happened(PATH, done(world.store.get(PATH)), []))
    assert world.daemon.link.commits == commits


def test_what_was_seen_leaves_the_due_time(world):
    version = world.put()
    stale = done(world.store.get(PATH))
    world.clock.advance(2)
    [claim] = done(world.store.claim(9, 60))
    event = Verified(NOW, version.id, version.replicas[0].backend, len(DATA))
    done(world.daemon.ledger.happened(PATH, stale, [event]))
    assert done(world.store.settle(claim, None))
    # What a client asks for is due at once, whoever holds the lease.
    world.accept()
    world.clock.advance(2)
    [claim] = done(world.store.claim(9, 60))
    world.delete()
    assert not done(world.store.settle(claim, None))
    assert done(world.store.counts()).overdue == 1


# --- a reply that is lost --------------------------------------------------------------------------------


def test_a_lost_reply_is_no_failure(world):
    world.daemon.link.lost = 1
    version = world.accept(size=3)
    assert world.record().versions == (version,)
    assert world.daemon.link.commits == 1


def test_a_lost_reply_to_what_was_seen(world):
    version = world.accept()
    world.daemon.link.lost = 1
    done(world.daemon.ledger.happened(PATH, done(world.store.get(PATH)), [Abandoned(NOW, version.id, ABORTED)]))
    assert world.record().versions[0].state is V.ABANDONED


def test_nobody_knows_when_another_was_there_meanwhile(world):
    other = world.another("two")
    link = world.daemon.link
    get = link.store.get

    def reading(path: Path) -> Any:
        done(other.ledger.accept(path, Announced(size=9)))
        return get(path)

    def interfere(path: Path) -> None:
        link.store = type("Interfered", (), {"get": staticmethod(reading), "commit": world.store.commit})()

    link.before_commit = interfere
    link.lost = 1
    with pytest.raises(StateUnavailable):
        world.accept(size=3)
    # It happened, and only once.
    assert [v.size for v in world.record().versions] == [9, 3]


def test_a_store_that_is_away(world):
    world.daemon.link.away = True
    for work in (world.accept, world.delete):
        with pytest.raises(StateUnavailable):
            work()
    assert world.record() is None


# --- reading ---------------------------------------------------------------------------------------------


def test_what_was_read_lately_serves_only_while_the_store_is_away(world):
    ledger, link = world.daemon.ledger, world.daemon.link
    world.accept(size=1)
    first = done(world.store.get(PATH))
    assert done(ledger.recall(PATH)) == (first, True)

    link.away = True
    assert done(ledger.recall(PATH)) == (first, False)
    with pytest.raises(StateUnavailable):
        done(ledger.recall(Path("media", "never read")))
    with pytest.raises(StateUnavailable):
        done(ledger.read(PATH))

    # Another daemon goes on meanwhile.
    done(world.another("two").ledger.accept(PATH, Announced(size=2)))
    assert done(ledger.recall(PATH)) == (first, False)
    link.away = False
    second = done(world.store.get(PATH))
    assert second != first
    assert done(ledger.recall(PATH)) == (second, True)


def test_it_serves_no_longer_than_its_bound(world):
    ledger, link = world.daemon.ledger, world.daemon.link
    world.accept()
    done(ledger.read(PATH))
    link.away = True
    world.clock.advance(59.9)
    assert done(ledger.recall(PATH))[1] is False
    world.clock.advance(0.1)
    with pytest.raises(StateUnavailable):
        done(ledger.recall(PATH))


@pytest.mark.parametrize("call", ["get", "commit"])
def test_it_is_as_old_as_the_question(world, call):
    """The answer lay in the socket of a process that slept: others may have gone on since."""
    ledger, link = world.daemon.ledger, world.daemon.link
    if call == "get":
        world.accept()
    ask = getattr(link, call)

    def late(*what: Any) -> Any:
        answer = ask(*what)
        world.clock.advance(30)
        return answer

    setattr(link, call, late)
    if call == "get":
        done(ledger.read(PATH))
    else:
        world.accept()
    delattr(link, call)
    link.away = True
    world.clock.advance(29.9)
    assert done(ledger.recall(PATH))[1] is False
    world.clock.advance(0.1)
    with pytest.raises(StateUnavailable):
        done(ledger.recall(PATH))


def test_that_nothing_is_there_is_not_remembered(world):
    """Nor is what was there before."""
    ledger = world.daemon.ledger
    world.accept()
    done(ledger.recall(PATH))
    world.store.records.clear()
    assert done(ledger.recall(PATH)) == (Snapshot(None, b""), True)
    world.daemon.link.away = True
    with pytest.raises(StateUnavailable):
        done(ledger.recall(PATH))


def test_our_own_commits_are_remembered(world):
    version = world.accept()
    world.daemon.link.away = True
    snapshot, current = done(world.daemon.ledger.recall(PATH))
    assert snapshot.record.versions == (version,)
    assert not current


def test_a_damaged_record(world):
    world.store.records[PATH.member] = b"\xc1"
    with pytest.raises(BadRecord):
        done(world.daemon.ledger.recall(PATH))
    with pytest.raises(BadRecord):
        world.accept()
    assert world.store.records[PATH.member] == b"\xc1"


def test_the_memory_is_bounded():
    recent = RecentRecords(2, 10)
    paths = [Path("d", str(n)) for n in range(3)]
    snapshots = [Snapshot(Record(tries=n), str(n).encode()) for n in range(3)]
    recent.put(paths[0], snapshots[0], 0)
    recent.put(paths[1], snapshots[1], 0)
    recent.put(paths[0], snapshots[0], 1)
    recent.put(paths[2], snapshots[2], 1)
    assert [recent.get(path, 1) for path in paths] == [snapshots[0], None, snapshots[2]]
    assert recent.get(paths[0], 10.9) == snapshots[0]
    assert recent.get(paths[0], 11) is None
    assert recent.get(paths[0], 0.5) is None  # a clock that went back
    none = RecentRecords(0, 10)
    none.put(paths[0], snapshots[0], 0)
    assert none.get(paths[0], 0) is None
    assert RecentRecords(5, 0).get(paths[0], 0) is None


# --- deleting and changing -------------------------------------------------------------------------------


def test_deleting():
    world = World().start()
    version = world.file()
    world.accept()
    world.delete()
    [pending, old] = world.record().versions
    assert (pending.state, old.state, old.id) == (V.ABANDONED, V.DELETED, version.id)
    with pytest.raises(NotFound):
        world.delete()
    world.check()
    world.close()


def test_deleting_what_nobody_has_seen_yet(world):
    """The bytes are there, and the next look would make them live."""
    world.put()
    world.delete()
    assert world.record().versions[0].state is V.ABANDONED
    with pytest.raises(NotFound):
        world.delete()


def test_nothing_to_delete(world):
    with pytest.raises(NotFound):
        world.delete()
    assert world.record() is None


def test_changing_terms():
    world = World().start()
    with pytest.raises(NotFound):
        world.change(copies=1)
    version = world.file(content_type="text/plain", terms=Terms({"a": "b"}))
    with pytest.raises(BadField):
        world.change(policy="gold")
    assert world.live() == version
    world.change(copies=3)
    assert world.live().terms == Terms(copies=3)
    assert len(world.live().replicas) == 3  # placed in the same commit
    assert world.record().thin_since is not None
    world.change()
    assert world.live().terms is None
    world.close()


def test_a_time_that_has_passed(world):
    with pytest.raises(BadField) as caught:
        world.accept(terms=Terms(expires=world.now))
    assert caught.value.extra["field"] == "expires"
    assert world.record() is None
    assert world.accept(terms=Terms(expires=world.now + 1)).terms == Terms(expires=world.now + 1)


# --- what follows ----------------------------------------------------------------------------------------


def test_moves_that_follow_are_in_the_same_commit(world):
    version = world.put(terms=Terms(copies=3))
    world.daemon.cluster.say({version.replicas[1].backend: BackendState.DEAD})
    commits = world.daemon.link.commits
    event = Verified(NOW, version.id, version.replicas[0].backend, len(DATA))
    done(world.daemon.ledger.happened(PATH, done(world.store.get(PATH)), [event]))
    assert world.daemon.link.commits == commits + 1
    after = world.record()
    assert after.thin_since == NOW
    assert after.live.replica(version.replicas[1].backend) is None
    assert after.live.replica(version.replicas[2].backend).state is R.MISSING


def test_the_plan_asks_the_policy_of_the_version(world):
    plan = world.daemon.ledger.plan(PATH, record(live("a:good", terms=Terms(policy="three"))))
    assert len([m for m in plan.moves if type(m).__name__ == "Placed"]) == 2
    gone = record(live("a:good", "b:good", terms=Terms(policy="no longer there")))
    assert world.daemon.ledger.plan(PATH, gone).moves == ()
    assert world.daemon.ledger.plan(PATH, Record()).steps == ()
