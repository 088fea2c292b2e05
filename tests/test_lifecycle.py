"""The two tables move by move, and records under events in any order, late and twice."""

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dragonbelly.errors import IllegalMove, PreconditionFailed, TooManyVersions
from dragonbelly.events import (
    DELETED,
    DIGEST,
    LAPSED,
    PRECONDITION,
    SIZE,
    Abandoned,
    Accepted,
    Adopted,
    Changed,
    Condemned,
    Copied,
    Deleted,
    Doubted,
    Event,
    Expired,
    Found,
    Leaving,
    Lost,
    Placed,
    Refused,
    Removed,
    Thin,
    Tried,
    Verified,
)
from dragonbelly.keys import key_of
from dragonbelly.lifecycle import REPLICA_MOVES, VERSION_MOVES, _move, _turn, apply
from dragonbelly.model import (
    SPARE_VERSIONS,
    Path,
    Record,
    Replica,
    ReplicaState,
    Terms,
    Use,
    VersionState,
)
from dragonbelly.state import accounts
from tests.builders import DATA, NOW, live, record, replicas, upload, version, vid

R, V = ReplicaState, VersionState

LATER = NOW + 100


def events(record: Record, *happened: Event) -> Record:
    for event in happened:
        record = apply(record, event)
    return record


def accepted(number: int, *targets: str, **announced: Any) -> Accepted:
    return Accepted(NOW, vid(number), targets or ("a", "b"), upload(**announced))


def verified(number: int, backend: str = "a", **seen: Any) -> Verified:
    return Verified(LATER, vid(number), backend, **{"size": len(DATA), **seen})


def state_of(record: Record, number: int) -> VersionState | None:
    found = record.version(vid(number))
    return found and found.state


def state_on(record: Record, backend: str, number: int = 1) -> ReplicaState | None:
    found = record.version(vid(number))
    replica = found and found.replica(backend)
    return replica and replica.state


# --- the tables ------------------------------------------------------------------------------------------

VERSION_PAIRS = {
    (V.UPLOADING, V.LIVE),
    (V.UPLOADING, V.SUPERSEDED),
    (V.UPLOADING, V.ABANDONED),
    (V.LIVE, V.SUPERSEDED),
    (V.LIVE, V.DELETED),
}
REPLICA_PAIRS = {
    (R.MISSING, R.GOOD),
    (R.MISSING, R.CONDEMNED),
    (R.GOOD, R.SUSPECT),
    (R.GOOD, R.LOST),
    (R.GOOD, R.LEAVING),
    (R.GOOD, R.CONDEMNED),
    (R.SUSPECT, R.GOOD),
    (R.SUSPECT, R.LOST),
    (R.SUSPECT, R.CONDEMNED),
    (R.LOST, R.GOOD),
    (R.LOST, R.SUSPECT),
    (R.LOST, R.CONDEMNED),
    (R.LEAVING, R.GOOD),
    (R.LEAVING, R.SUSPECT),
    (R.LEAVING, R.LOST),
    (R.LEAVING, R.CONDEMNED),
}


def test_the_tables_are_those():
    assert {(old, new) for old, follow in VERSION_MOVES.items() for new in follow} == VERSION_PAIRS
    assert {(old, new) for old, follow in REPLICA_MOVES.items() for new in follow} == REPLICA_PAIRS
    assert set(VERSION_MOVES) == set(V)
    assert set(REPLICA_MOVES) == set(R)


@pytest.mark.parametrize("old", V)
@pytest.mark.parametrize("new", V)
def test_a_version_moves_as_the_table_says(old, new):
    before = version(1, old, "a:good")
    if (old, new) in VERSION_PAIRS:
        after = _move(before, new, LATER)
        assert (after.state, after.since) == (new, LATER)
    else:
        with pytest.raises(IllegalMove):
            _move(before, new, LATER)


@pytest.mark.parametrize("old", R)
@pytest.mark.parametrize("new", R)
def test_a_replica_moves_as_the_table_says(old, new):
    before = Replica("a", old, since=7, generation=2)
    if old is new:
        assert _turn(before, new, LATER) is before
    elif (old, new) in REPLICA_PAIRS:
        assert _turn(before, new, LATER) == Replica("a", new, LATER, 2)
    else:
        with pytest.raises(IllegalMove):
            _turn(before, new, LATER)


#: What each event about a replica of a live version does in each state; nothing in those not named.
REPLICA_EVENTS: dict[type[Event], dict[ReplicaState, ReplicaState]] = {
    Found: {R.SUSPECT: R.GOOD, R.LEAVING: R.GOOD, R.LOST: R.GOOD},
    Doubted: {R.GOOD: R.SUSPECT, R.LEAVING: R.SUSPECT, R.LOST: R.SUSPECT},
    Lost: {R.GOOD: R.LOST, R.LEAVING: R.LOST, R.SUSPECT: R.LOST},
    Leaving: {R.GOOD: R.LEAVING},
    Refused: {R.MISSING: R.CONDEMNED},
    Condemned: {state: R.CONDEMNED for state in R if state is not R.CONDEMNED},
}


@pytest.mark.parametrize("kind", REPLICA_EVENTS)
@pytest.mark.parametrize("state", R)
def test_an_event_about_a_replica(kind, state):
    before = record(live("b:good", f"a.2:{state.name}", sha256=None))
    after = apply(before, kind(LATER, vid(1), "a", 2))
    assert state_on(after, "a") is REPLICA_EVENTS[kind].get(state, state)
    assert state_on(after, "b") is R.GOOD
    if state not in REPLICA_EVENTS[kind]:
        assert after == before


@pytest.mark.parametrize("kind", [*REPLICA_EVENTS, Removed])
@pytest.mark.parametrize("state", R)
def test_an_event_about_an_object_that_lay_there_before(kind, state):
    before = record(live("b:good", f"a.2:{state.name}"))
    for generation in (0, 1, 3):
        assert apply(before, kind(LATER, vid(1), "a", generation)) == before
    assert apply(before, kind(LATER, vid(1), "c", 2)) == before
    assert apply(before, kind(LATER, vid(9), "a", 2)) == before


@pytest.mark.parametrize("state", R)
def test_a_copy_that_was_made(state):
    before = record(live("b:good", f"a:{state.name}"))
    good = Copied(LATER, vid(1), "a", 0, sha256(DATA).digest())
    after = apply(before, good)
    assert state_on(after, "a") is (R.GOOD if state is R.MISSING else state)
    assert apply(after, good) == after
    assert apply(before, Copied(LATER, vid(1), "a", 1, sha256(DATA).digest())) == before


def test_a_copy_with_other_bytes_is_none():
    before = record(live("b:good", "a:missing"))
    assert apply(before, Copied(LATER, vid(1), "a", 0, sha256(b"other").digest())) == before
    assert apply(before, Copied(LATER, vid(1), "a", 0, None)) == before


def test_the_first_copy_says_what_the_digest_is():
    before = record(live("b:good", "a:missing", "c:missing", sha256=None))
    after = apply(before, Copied(LATER, vid(1), "a", 0, sha256(DATA).digest()))
    assert after.live.sha256 == sha256(DATA).digest()
    after = apply(after, Copied(LATER, vid(1), "c", 0, sha256(b"other").digest()))
    assert after.live.sha256 == sha256(DATA).digest()
    assert state_on(after, "c") is R.MISSING


@pytest.mark.parametrize("state", R)
@pytest.mark.parametrize("of", V)
def test_an_object_that_was_removed(of, state):
    before = record(version(1, of, "b:good", f"a:{state.name}"))
    after = apply(before, Removed(LATER, vid(1), "a", 0))
    if of in (V.LIVE, V.UPLOADING) and state not in (R.CONDEMNED, R.LOST):
        # Nobody had said that it may go.
        assert after == before
    else:
        assert state_on(after, "a") is None
        assert after.version(vid(1)).removals == 1


# --- uploads ---------------------------------------------------------------------------------------------


def test_an_upload():
    one = Accepted(
        NOW,
        vid(1),
        ("a", "b"),
        upload(size=3, sha256=b"s"),
        content_type="text/plain",
        terms=Terms({"by": "me"}),
    )
    after = apply(record(tries=4), one)
    [made] = after.versions
    assert made.state is V.UPLOADING
    assert made.replicas == replicas("a:missing", "b:missing")
    assert (made.size, made.sha256, made.content_type) == (3, b"s", "text/plain")
    assert made.terms == Terms({"by": "me"})
    assert after.tries == 0
    assert apply(after, one) == after

    after = apply(after, verified(1, size=3, sha256=b"s"))
    assert after.live is not None
    assert after.live.replicas == replicas("a:good", "b:missing")
    assert after.live.upload is None
    assert (after.live.since, after.live.terms) == (LATER, Terms({"by": "me"}))
    assert apply(after, one) == after
    for late in (verified(1), verified(1, "b"), Abandoned(LATER, vid(1), LAPSED)):
        assert apply(after, late) == after


def test_what_was_seen_is_what_counts():
    after = events(record(), accepted(1), verified(1, size=7, sha256=b"seen"))
    assert (after.live.size, after.live.sha256) == (7, b"seen")
    announced = Accepted(NOW, vid(1), ("a",), upload(sha256=b"announced"))
    assert events(record(), announced, verified(1)).live.sha256 == b"announced"


def test_an_upload_to_where_it_is_not_expected_any_more():
    """Its backend was called dead while somebody looked."""
    waiting = events(record(), accepted(1, "a"))
    assert apply(waiting, verified(1, "z")) == waiting
    condemned = apply(waiting, Condemned(NOW, vid(1), "a", 0))
    assert apply(condemned, verified(1, "a")) == condemned


def test_what_was_abandoned_does_not_come_back():
    over = events(record(), accepted(1), Abandoned(LATER, vid(1), SIZE))
    assert state_of(over, 1) is V.ABANDONED
    assert over.versions[0].upload.reason == SIZE
    for late in (verified(1), Abandoned(LATER, vid(1), DIGEST), accepted(1)):
        assert apply(over, late) == over


def test_overwriting():
    first = events(record(), accepted(1), verified(1))
    second = events(first, accepted(2))
    assert (state_of(second, 1), state_of(second, 2)) == (V.LIVE, V.UPLOADING)
    after = events(second, verified(2))
    assert (state_of(after, 1), state_of(after, 2)) == (V.SUPERSEDED, V.LIVE)
    assert after.version(vid(1)).since == LATER
    assert after.version(vid(1)).replicas == first.live.replicas


@pytest.mark.parametrize("numbers", [(1, 2), (2, 1)], ids=["id order", "against the ids"])
def test_it_is_the_order_of_accepts_that_decides(numbers):
    first, second = numbers
    both = events(record(), accepted(first), accepted(second))
    assert [v.id for v in both.versions] == [vid(second), vid(first)]

    in_order = events(both, verified(first), verified(second))
    assert (state_of(in_order, second), state_of(in_order, first)) == (V.LIVE, V.SUPERSEDED)

    other_way = events(both, verified(second))
    assert state_of(other_way, first) is V.UPLOADING
    other_way = events(other_way, verified(first))
    assert (state_of(other_way, second), state_of(other_way, first)) == (V.LIVE, V.SUPERSEDED)
    assert other_way.version(vid(first)).upload is None


def test_clocks_do_not_decide():
    both = events(record(), accepted(1), Accepted(NOW - 5000, vid(2), ("a",), upload()))
    after = events(both, verified(2), Verified(NOW + 9999, vid(1), "a", 3))
    assert after.live.id == vid(2)


def test_only_if_nothing_is_there():
    there = events(record(), accepted(1), verified(1))
    with pytest.raises(PreconditionFailed) as caught:
        apply(there, accepted(2, create_only=True))
    assert caught.value.extra["live"] == vid(1)

    both = events(record(), accepted(1, create_only=True), accepted(2, create_only=True))
    for winner, loser in ((1, 2), (2, 1)):
        after = events(both, verified(winner), verified(loser))
        assert after.live.id == vid(winner)
        assert state_of(after, loser) is V.ABANDONED
        assert after.version(vid(loser)).upload.reason == PRECONDITION


def test_only_if_that_one_is_there():
    there = events(record(), accepted(1), verified(1))
    for bad in (there, record()):
        with pytest.raises(PreconditionFailed):
            apply(bad, accepted(2, if_match=vid(7)))
    both = events(there, accepted(2, if_match=vid(1)), accepted(3, if_match=vid(1)))
    after = events(both, verified(3), verified(2))
    assert after.live.id == vid(3)
    assert after.version(vid(2)).upload.reason == PRECONDITION
    gone = events(both, Deleted(LATER), verified(2))
    assert gone.live is None


def test_expiry_ends_its_version_and_what_is_older_and_leaves_what_is_newer():
    before = events(record(), accepted(1), accepted(2), verified(2), accepted(3))
    after = apply(before, Expired(LATER, vid(2)))
    assert [state_of(after, n) for n in (1, 2, 3)] == [V.ABANDONED, V.DELETED, V.UPLOADING]
    assert apply(after, verified(3)).live.id == vid(3)
    assert apply(before, Expired(LATER, vid(1))) == before, "not the live one (any more)"


def test_deleting_ends_what_was_accepted_before():
    before = events(record(thin_since=3, tries=2), accepted(1), verified(1), accepted(2))
    after = events(before, Deleted(LATER), accepted(3))
    assert (state_of(after, 1), state_of(after, 2)) == (V.DELETED, V.ABANDONED)
    assert after.version(vid(2)).upload.reason == DELETED
    assert after.thin_since is None
    after = events(after, verified(2))
    assert after.live is None
    after = events(after, verified(3))
    assert after.live.id == vid(3)


def test_sixteen_spare_versions():
    full = record(live("a:good", number=99))
    for number in range(SPARE_VERSIONS):
        full = apply(full, accepted(number))
    with pytest.raises(TooManyVersions) as caught:
        apply(full, accepted(50))
    assert caught.value.status == 429
    assert caught.value.retry_after
    assert apply(full, accepted(3)) == full

    room = events(full, Abandoned(LATER, vid(0), LAPSED), Removed(LATER, vid(0), "a", 0))
    with pytest.raises(TooManyVersions):
        apply(room, accepted(50))
    room = events(room, Removed(LATER, vid(0), "b", 0))
    assert state_of(apply(room, accepted(50)), 50) is V.UPLOADING


def test_a_version_of_which_nothing_is_left_leaves_the_record():
    after = events(record(), accepted(1, "a"), verified(1), Deleted(LATER))
    assert len(after.versions) == 1
    assert apply(after, Removed(LATER, vid(1), "a", 0)).versions == ()
    # A live one stays, whatever it lost: only its record knows that it was there.
    lost = events(record(live("a:lost")), Removed(LATER, vid(1), "a", 0))
    assert lost.live is not None
    assert lost.live.replicas == ()


def test_a_generation_never_repeats():
    one = record(live("z:good"))
    seen = set()
    for _ in range(3):
        for backend in "ab":
            one = apply(one, Placed(NOW, vid(1), backend))
            replica = one.live.replica(backend)
            key = (backend, key_of(Path("d", "f"), one.live, replica))
            assert key not in seen
            seen.add(key)
        for backend in "ba":
            where = one.live.replica(backend).generation
            one = events(
                one,
                Condemned(NOW, vid(1), backend, where),
                Removed(NOW, vid(1), backend, where),
                Removed(NOW, vid(1), backend, where),
            )
    assert apply(one, Placed(NOW, vid(1), "z")) == one


# --- what the store has forgotten


def adopted(number: int, backend: str = "a", generation: int = 0) -> Adopted:
    return Adopted(NOW, vid(number), backend, generation, len(DATA), LATER)


def test_a_forgotten_upload_is_one_again():
    after = events(Record(), adopted(1, generation=3))
    assert after == record(
        version(
            1,
            V.UPLOADING,
            "a.3:missing",
            sha256=None,
            upload=upload(deadline=LATER, size=len(DATA)),
        )
    )
    # Another object of it, and the same again.
    after = events(after, adopted(1, "b", 4), adopted(1), adopted(1, "b", 4))
    assert after.versions[0].replicas == replicas("a.3:missing", "b.4:missing")
    assert after.versions[0].removals == 4
    after = events(after, verified(1, "b"))
    assert (state_of(after, 1), state_on(after, "b")) == (V.LIVE, R.GOOD)


def test_a_forgotten_upload_takes_its_place():
    there = record(
        version(5, V.UPLOADING, "a:missing"), live("a:good", number=2), version(1, V.SUPERSEDED, "a:good")
    )
    after = events(there, adopted(3))
    assert [v.id for v in after.versions] == [vid(5), vid(3), vid(2), vid(1)]
    after = events(after, verified(3))
    assert after.live is not None
    assert after.live.id == vid(3)


@pytest.mark.parametrize("state", [V.LIVE, V.SUPERSEDED, V.DELETED])
def test_what_came_before_something_later_is_not_forgotten(state):
    there = record(version(2, state, "a:good"))
    assert events(there, adopted(1)) == there


@pytest.mark.parametrize(
    ("of", "becomes"),
    [(V.UPLOADING, R.MISSING), (V.LIVE, R.SUSPECT), (V.SUPERSEDED, R.SUSPECT), (V.DELETED, R.SUSPECT)],
)
def test_a_forgotten_copy(of, becomes):
    there = record(version(1, of, "a:good" if of is not V.UPLOADING else "a:missing", removals=2))
    after = events(there, adopted(1, "b", 2))
    assert state_on(after, "b") is becomes
    # What was placed before the removals that are known is what is left of one; and where one is it stays.
    assert events(there, adopted(1, "b", 1), adopted(1, "a", 2)) == there


def test_a_forgotten_copy_does_not_give_its_generation_again():
    there = events(record(live("a:good")), adopted(1, "b", 4), Lost(NOW, vid(1), "b", 4))
    there = events(
        there, Condemned(NOW, vid(1), "b", 4), Removed(NOW, vid(1), "b", 4), Placed(NOW, vid(1), "b")
    )
    assert there.versions[0].replica("b") == Replica("b", R.MISSING, generation=5)


def test_terms():
    there = record(live("a:good"), tries=3)
    terms = Terms(copies=4)
    after = apply(there, Changed(LATER, vid(1), terms))
    assert (after.live.terms, after.tries) == (terms, 0)
    assert apply(there, Changed(LATER, vid(2), terms)) == there
    assert apply(record(), Changed(LATER, vid(1), terms)) == record()


def test_how_often_it_was_tried_since_it_last_got_on():
    one = record(live("a:good", "b:missing"))
    for count in range(1, 105):
        one = apply(one, Tried(LATER))
        assert one.tries == min(count, 100)
    thin = apply(one, Thin(LATER, True))
    assert (thin.thin_since, thin.tries) == (LATER, 0)
    thin = events(thin, Tried(LATER))
    assert apply(thin, Thin(LATER + 5, True)) == thin
    assert apply(thin, Thin(LATER + 5, False)) == record(live("a:good", "b:missing"))

    tried = events(one, Tried(LATER))
    copied = apply(tried, Copied(LATER, vid(1), "b", 0, sha256(DATA).digest()))
    assert copied.tries == 0
    # Clearing away what failed is not getting on.
    cleared = events(tried, Condemned(LATER, vid(1), "b", 0), Removed(LATER, vid(1), "b", 0))
    assert cleared.tries == tried.tries


def test_what_knows_no_event():
    with pytest.raises(KeyError):
        apply(record(), Event(NOW))


# --- anything, in any order ------------------------------------------------------------------------------

NAMES = st.sampled_from("abc")
DIGESTS = st.sampled_from([b"1" * 32, b"2" * 32])
NUMBERS = st.integers(0, 5)
PATH = Path("d", "f")


class Life(RuleBasedStateMachine):
    """
    One record under random events.  Objects are followed as a storage server would see them: one may be made
    for every replica that was ever placed, and a key may never come back after it was given up.
    """

    @initialize()
    def begin(self):
        self.record = Record()
        self.now = NOW
        self.next = 0
        self.past = []
        self.known = {}  # of live versions: id -> size and digest as they became known
        self.given_up = set()
        self.here = set()

    def happen(self, event):
        self.past.append(event)
        before = self.record
        try:
            self.record = apply(before, event)
        except (PreconditionFailed, TooManyVersions, IllegalMove):
            return
        assert apply(self.record, event) == self.record or isinstance(event, Tried | Removed | Deleted)
        here = {
            (replica.backend, key_of(PATH, each, replica))
            for each in self.record.versions
            for replica in each.replicas
        }
        assert not (here & self.given_up), "a storage key was used twice"
        self.given_up |= self.here - here
        self.here = here

    def some(self, number):
        """The id of one of the versions, or of one that is gone."""
        versions = self.record.versions
        return versions[number % len(versions)].id if versions and number < 5 else vid(number)

    def generation(self, id, backend, late):
        found = self.record.version(id)
        replica = found and found.replica(backend)
        return max(0, (replica.generation if replica else 0) - late)

    @rule(
        places=st.lists(NAMES, min_size=1, unique=True),
        create_only=st.booleans(),
        match=st.none() | NUMBERS,
        step=st.integers(-100, 100),
    )
    def accept(self, places, create_only, match, step):
        self.now += step  # clocks do as they like
        announced = upload(create_only=create_only, if_match=match if match is None else self.some(match))
        # Ids are random: their order says nothing.
        self.happen(Accepted(self.now, vid(self.next * 7919 % 10007), tuple(places), announced))
        self.next += 1

    @rule(
        number=NUMBERS,
        backend=NAMES,
        size=st.integers(0, 3),
        digest=st.none() | DIGESTS,
    )
    def verify(self, number, backend, size, digest):
        self.happen(Verified(self.now, self.some(number), backend, size, digest))

    @rule(number=NUMBERS)
    def abandon(self, number):
        self.happen(Abandoned(self.now, self.some(number), LAPSED))

    @rule()
    def delete(self):
        self.happen(Deleted(self.now))

    @rule(number=NUMBERS, copies=st.none() | st.integers(1, 3))
    def change(self, number, copies):
        self.happen(Changed(self.now, self.some(number), Terms(copies=copies)))

    @rule(number=NUMBERS, backend=NAMES)
    def place(self, number, backend):
        self.happen(Placed(self.now, self.some(number), backend))

    @rule(number=NUMBERS, backend=NAMES, late=st.integers(0, 1), digest=DIGESTS)
    def copy(self, number, backend, late, digest):
        id = self.some(number)
        self.happen(Copied(self.now, id, backend, self.generation(id, backend, late), digest))

    @rule(
        kind=st.sampled_from([*REPLICA_EVENTS, Removed]), number=NUMBERS, backend=NAMES, late=st.integers(0, 1)
    )
    def replica(self, kind, number, backend, late):
        id = self.some(number)
        self.happen(kind(self.now, id, backend, self.generation(id, backend, late)))

    @rule(number=NUMBERS, backend=NAMES, generation=st.integers(0, 3))
    def adopt(self, number, backend, generation):
        if self.record.versions:
            id = self.record.versions[number % len(self.record.versions)].id
            self.happen(Adopted(self.now, id, backend, generation, 3, LATER))

    @rule(thin=st.booleans())
    def thin(self, thin):
        self.happen(Thin(self.now, thin))

    @rule()
    def tried(self):
        self.happen(Tried(self.now))

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def again(self, data):
        """A late or duplicate event."""
        self.happen(data.draw(st.sampled_from(self.past)))

    @invariant()
    def one_is_live(self):
        assert sum(v.state is V.LIVE for v in self.record.versions) <= 1
        assert sum(v.state is not V.LIVE for v in self.record.versions) <= SPARE_VERSIONS + 1
        ids = [v.id for v in self.record.versions]
        assert len(set(ids)) == len(ids)

    @invariant()
    def what_is_live_does_not_change(self):
        for each in self.record.versions:
            if each.state not in (V.LIVE, V.SUPERSEDED, V.DELETED):
                continue
            size, digest = self.known.setdefault(each.id, (each.size, each.sha256))
            assert each.size == size
            assert each.sha256 == digest or digest is None
            self.known[each.id] = (each.size, each.sha256)

    @invariant()
    def nothing_newer_than_the_live_one_was_superseded(self):
        states = [v.state for v in self.record.versions]
        if V.LIVE in states:
            assert V.SUPERSEDED not in states[: states.index(V.LIVE)]

    @invariant()
    def nothing_spent_stays(self):
        for each in self.record.versions:
            assert each.replicas or each.state in (V.UPLOADING, V.LIVE)
            assert len({r.backend for r in each.replicas}) == len(each.replicas)
            assert (each.upload is not None) is (each.state in (V.UPLOADING, V.ABANDONED))

    @invariant()
    def the_books_are_right(self):
        counted: dict[str, Use] = {}
        for each in self.record.versions:
            for replica in each.replicas if each.state is not V.ABANDONED else ():
                if replica.state is not R.LOST:
                    was = counted.get(replica.backend, Use())
                    size = 0 if replica.state is R.MISSING else each.size or 0
                    counted[replica.backend] = Use(was.bytes + size, was.objects + 1)
        assert accounts.footprint(self.record) == counted
        assert accounts.decode(PATH, accounts.encode(self.record)) == (
            self.record if self.record.versions else None
        )


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
