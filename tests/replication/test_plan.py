"""What is planned: for cases one can read, and for records, clusters and policies at random."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dragonbelly.events import (
    LAPSED,
    Abandoned,
    Condemned,
    Copied,
    Deleted,
    Event,
    Expired,
    Found,
    Leaving,
    Lost,
    Placed,
    Removed,
    Thin,
    Verified,
)
from dragonbelly.lifecycle import apply
from dragonbelly.model import (
    BackendState,
    BackendView,
    ClusterView,
    Demand,
    Observed,
    Placement,
    Record,
    ReplicaState,
    Terms,
    Version,
    VersionState,
)
from dragonbelly.policies.copies import CopiesPolicy
from dragonbelly.replication.plan import (
    SETTLED,
    UNCOMPARED,
    Check,
    Copy,
    Plan,
    Remove,
    Step,
    Verify,
    Wait,
    advance,
    demand,
    plan,
)
from dragonbelly.testing.policy import clusters
from tests.builders import DATA, NOW, live, record, upload, version, vid, view

R, V = ReplicaState, VersionState

GRACE = 900
LONG_AGO = NOW - 10 * GRACE


def planned(record: Record, cluster: ClusterView, *, now: int = NOW, copies: int = 2, **how: Any) -> Plan:
    policy = how.pop("policy", CopiesPolicy("p", copies))
    return plan(record, cluster, lambda _: policy, now, GRACE, **how)


def advanced(record: Record, cluster: ClusterView, **how: Any) -> tuple[Record, Plan]:
    return advance(record, lambda each: planned(each, cluster, **how))


def removal(record: Record, cluster: ClusterView, now: int = NOW) -> tuple[Step, ...]:
    """The steps, once what was condemned ``now`` has settled; there are none before."""
    assert not [s for s in planned(record, cluster, now=now + SETTLED - 1).steps if isinstance(s, Remove)]
    return planned(record, cluster, now=now + SETTLED).steps


def one_wait(left: Plan) -> Wait:
    [wait] = left.waits
    return wait


def states(version: Version | None) -> dict[str, str]:
    assert version is not None
    return {r.backend: r.state.name.lower() for r in version.replicas}


# --- the live version ------------------------------------------------------------------------------------


def test_nothing_to_do():
    assert planned(Record(), {}) == Plan()
    assert planned(record(live("a:good", "b:good")), view("a", "b", "c")) == Plan()


def test_a_copy_is_placed_and_made():
    after, left = advanced(record(live("a:good")), view("a", "b"))
    assert states(after.live) == {"a": "good", "b": "missing"}
    assert after.thin_since == NOW
    assert left.steps == (Copy(vid(1), "b", 0, ("a",)),)

    after, left = advanced(apply(after, Copied(NOW + 5, vid(1), "b", 0, after.live.sha256)), view("a", "b"))
    assert after.thin_since is None
    assert left == Plan()


def test_sources_are_good_ones_then_leaving_ones_that_answer():
    there = record(live("l:leaving", "s:suspect", "x:good", "a:good", "b:missing", "c:lost"))
    _, left = advanced(there, view("l", "s", "x:away", "a", "b", "c"), copies=3)
    [copy] = [step for step in left.steps if isinstance(step, Copy) and step.backend == "b"]
    # It came back from leaving, since it is needed.
    assert copy.sources == ("l", "a")
    # One on a server that is emptied does not count, and is still a source.
    there = record(live("l:leaving", "a:good", "b:missing"))
    _, left = advanced(there, view("l:drain", "a", "b"))
    assert left.steps == (Copy(vid(1), "b", 0, ("a", "l")),)


def test_without_a_source_it_waits():
    after, left = advanced(record(live("a:good")), view("a:away", "b"))
    assert states(after.live) == {"a": "good", "b": "missing"}
    assert [wait.backend for wait in left.waits] == ["b", None]
    assert "no copy can be read to make it from" in left.waits[0].why
    assert left.steps == ()


def test_with_too_few_servers_it_waits():
    after, left = advanced(record(live("a:good")), view("a"))
    assert after.thin_since == NOW
    assert (left.steps, bool(left.waits), left.due) == ((), True, None)


def test_surplus_leaves_and_goes_after_the_grace():
    after, left = advanced(record(live("a:good", "b:good", "c:good")), view("a", "b", "c:drain"))
    assert states(after.live) == {"a": "good", "b": "good", "c": "leaving"}
    assert left == Plan(due=GRACE)
    after, left = advanced(after, view("a", "b", "c:drain"), now=NOW + GRACE - 1)
    assert left == Plan(due=1)
    after, left = advanced(after, view("a", "b", "c:drain"), now=NOW + GRACE)
    assert states(after.live)["c"] == "condemned"
    assert left == Plan(due=SETTLED)
    assert removal(after, view("a", "b", "c:drain"), now=NOW + GRACE) == (Remove(vid(1), "c", 0),)


def test_drain_adds_before_it_drops():
    cluster = view("a", "b:drain", "c")
    after, left = advanced(record(live("a:good", "b:good")), cluster)
    assert states(after.live) == {"a": "good", "b": "good", "c": "missing"}
    after, left = advanced(apply(after, Copied(NOW, vid(1), "c", 0, after.live.sha256)), cluster)
    assert states(after.live) == {"a": "good", "b": "leaving", "c": "good"}
    # With nowhere to go it stays.
    after, left = advanced(record(live("a:good", "b:good")), view("a", "b:drain"))
    assert states(after.live) == {"a": "good", "b": "good"}
    assert left.waits


def test_a_leaving_one_comes_back_when_it_is_needed():
    there = record(live("a:good", "b:leaving@1", "c:lost"))
    after, _ = advanced(there, view("a", "b", "c"))
    assert states(after.live)["b"] == "good"
    assert states(after.live)["c"] == "condemned"
    for other in ("b:drain", "b:away", "b:dead"):
        after, _ = advanced(there, view("a", other, "c"))
        assert after.live.replica("b") is None or states(after.live)["b"] != "good"


def test_what_leaves_stays_while_another_may_not_come_back():
    there = record(live("a:good", "b:good", f"c:leaving@{LONG_AGO}"))
    after, left = advanced(there, view("a", "b:patient", "c"))
    assert states(after.live)["c"] == "leaving"
    assert (left.steps, bool(left.waits)) == ((), True)
    after, left = advanced(there, view("a", "b", "c"))
    assert removal(after, view("a", "b", "c")) == (Remove(vid(1), "c", 0),)
    # Of the two that are owed one is away for good: it is needed again.
    after, left = advanced(there, view("a", "b:away", "c"))
    assert states(after.live)["c"] == "good"


def test_surplus_waits_for_a_server_that_is_away():
    three = record(live("a:good", "b:good", "c:good"))
    for away in ("c:patient", "c:away"):
        after, left = advanced(three, view("a", "b", away))
        assert after == three
        assert left == Plan(waits=left.waits)
        assert "a copy too many" in one_wait(left).why
    # When a person says that it is up again all files are looked at.
    assert advanced(three, view("a", "b", "c:down")) == (three, Plan())
    # As many as are owed wait for nothing.
    assert advanced(record(live("a:good", "b:good")), view("a", "b:patient"))[1] == Plan()
    after, left = advanced(three, view("a", "b", "c"))
    assert sorted(states(after.live).values()) == ["good", "good", "leaving"]
    assert not left.waits


def test_what_leaves_stays_while_readers_have_nowhere_else_to_go():
    there = record(live("a:good", "b:good", f"c:leaving@{LONG_AGO}"))
    # What is taken down counts: all that is owed is there, and nobody can read it.
    after, left = advanced(there, view("a:down", "b:down", "c"))
    assert after == there
    assert left == Plan(waits=left.waits)
    assert one_wait(left).backend == "c"
    assert "readers can be sent to no other" in one_wait(left).why
    after, _ = advanced(there, view("a", "b:down", "c"))
    assert states(after.live)["c"] == "condemned"


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_the_last_good_one_never_goes(copies):
    for word in ("", ":drain", ":full", ":away", ":readonly", ":down"):
        there = record(live("a:good", f"b:leaving@{LONG_AGO}", "c:lost", "d:suspect"))
        after, left = advanced(there, view("a" + word, "b:drain", "c", "d"), copies=copies)
        assert states(after.live)["a"] == "good"
        assert not [step for step in left.steps if isinstance(step, Remove) and step.backend == "a"]


def test_a_doubted_one_is_checked():
    _, left = advanced(record(live("a:good", "b:suspect")), view("a", "b"))
    assert left.steps == (Check(vid(1), "b"),)
    _, left = advanced(record(live("a:good", "b:suspect")), view("a", "b:away"))
    assert (left.steps, bool(left.waits)) == ((), True)


def test_a_lost_one_makes_room_only_while_a_good_one_is_left():
    after, left = advanced(record(live("a:good", "b:lost")), view("a", "b"))
    assert removal(after, view("a", "b")) == (Remove(vid(1), "b", 0),)
    after, left = advanced(record(live("a:lost", "b:suspect", "c:lost")), view("a", "b", "c:away"))
    assert states(after.live) == {"a": "lost", "b": "suspect", "c": "lost"}
    assert left.steps == (Check(vid(1), "a"), Check(vid(1), "b"))
    assert left.waits


# --- a file of which no good copy is known


def test_of_a_damaged_file_what_was_condemned_stays():
    there = record(live(f"a:condemned@{LONG_AGO}", "b:lost", sha256=None))
    after, left = advanced(there, view("a", "b"))
    assert states(after.live) == {"a": "condemned", "b": "lost"}
    assert left == Plan(steps=(Check(vid(1), "b"),), waits=left.waits)
    assert one_wait(left) == Wait(vid(1), "no good copy is left, so every byte is kept", "a")
    # With a good one it goes.
    after, left = advanced(record(live(f"a:condemned@{LONG_AGO}", "b:good")), view("a", "b"), copies=1)
    assert left.steps == (Remove(vid(1), "a", 0),)


def test_it_is_the_last_source_if_anybody_can_tell_whether_it_is_right():
    there = record(live(f"a:condemned@{LONG_AGO}", "b:lost", "c:missing"))
    _, left = advanced(there, view("a", "b", "c"), copies=1)
    assert left.steps == (Check(vid(1), "b"), Check(vid(1), "c"), Copy(vid(1), "c", 0, ("a",)))
    # Nothing would tell whether these bytes are the right ones.
    unknown = record(live(f"a:condemned@{LONG_AGO}", "b:lost", "c:missing", sha256=None))
    _, left = advanced(unknown, view("a", "b", "c"), copies=1)
    assert left.steps == (Check(vid(1), "b"), Check(vid(1), "c"))
    _, left = advanced(there, view("a:away", "b", "c"), copies=1)
    assert left.steps == (Check(vid(1), "b"), Check(vid(1), "c"))
    # One that is counted on comes first, though nobody can get there now.
    counted = record(live(f"a:condemned@{LONG_AGO}", "b:good", "c:missing"))
    _, left = advanced(counted, view("a", "b:patient", "c"))
    assert not [step for step in left.steps if isinstance(step, Copy)]


def test_what_was_condemned_on_a_dead_server_is_gone():
    there = record(live(f"a:condemned@{LONG_AGO}", "b:lost"))
    after, left = advanced(there, view("a:dead", "b"))
    assert states(after.live) == {"b": "lost"}
    assert left.steps == (Check(vid(1), "b"),)


def test_of_a_damaged_file_a_copy_that_may_have_been_made_is_looked_at():
    damaged = record(live("a:lost", "b:missing"), thin_since=NOW)
    for server in ("b", "b:full", "b:readonly", "b:drain"):
        _, left = advanced(damaged, view("a", server))
        assert left.steps == (Check(vid(1), "a"), Check(vid(1), "b"))
        assert left.waits
    for server in ("b:away", "b:down"):
        _, left = advanced(damaged, view("a", server))
        assert left.steps == (Check(vid(1), "a"),)
    # Of another it is only made, which finds what is there.
    _, left = advanced(record(live("a:good", "b:missing")), view("a", "b"))
    assert left.steps == (Copy(vid(1), "b", 0, ("a",)),)
    _, left = advanced(record(live("a:leaving", "b:missing")), view("a:drain", "b:full"))
    assert left.steps == ()


# --- while nobody knows whether the record is of today


def kept(there: Record, *cluster: str, **how: Any) -> tuple[Record, Plan]:
    return advanced(there, view(*cluster), keep=True, **how)


def test_nothing_leaves_and_nothing_is_condemned():
    for there, *cluster in (
        (record(live("a:good", "b:good", "c:good")), "a", "b", "c:drain"),
        (record(live("a:good", "b:good", f"c:leaving@{LONG_AGO}")), "a", "b", "c"),
        (record(live("a:good", "b:good", "c:missing")), "a", "b", "c:drain"),
        (record(live("a:good", "b:good", "c:lost")), "a", "b", "c:away"),
    ):
        after, left = kept(there, *cluster)
        assert after == there
        assert (left.steps, bool(left.waits)) == ((), True)
        assert advanced(there, view(*cluster))[0] != there


def test_nothing_is_removed():
    old = {"since": LONG_AGO}
    for there in (
        record(live("a:good", "b:good", f"c:condemned@{LONG_AGO}")),
        record(version(1, V.DELETED, "a:good", **old)),
        record(live("a:good", "b:good", number=2), version(1, V.SUPERSEDED, "c:good", **old)),
        record(version(1, V.ABANDONED, "a:missing", upload=upload(deadline=LONG_AGO), **old)),
        record(version(1, V.UPLOADING, f"a:condemned@{LONG_AGO}", "b:missing")),
    ):
        after, left = kept(there, "a", "b", "c")
        assert after == there
        assert not [step for step in left.steps if isinstance(step, Remove)]
        assert left.waits
        assert [s for s in advanced(there, view("a", "b", "c"))[1].steps if isinstance(s, Remove)]


def test_no_upload_is_given_up():
    there = record(version(1, V.UPLOADING, "a:missing", upload=upload(deadline=NOW)))
    _, left = kept(there, "a")
    assert left == Plan(steps=(Verify(vid(1), final=False),), waits=(Wait(vid(1), UNCOMPARED),))


def test_what_brings_no_harm_goes_on():
    after, left = kept(record(live("a:good")), "a", "b")
    assert left.steps == (Copy(vid(1), "b", 0, ("a",)),)
    after, left = kept(record(live("a:good", "b:leaving@1")), "a", "b")
    assert states(after.live)["b"] == "good"
    after, left = kept(record(live("a:good", "b:good")), "a", "b:dead")
    assert states(after.live)["b"] == "lost"
    after, left = kept(record(version(1, V.DELETED, "a:good", since=LONG_AGO)), "a:dead")
    assert after == Record()


@pytest.mark.parametrize("grace", [0, 1, SETTLED])
def test_no_grace_is_shorter_than_what_a_store_may_forget(grace):
    there = record(version(1, V.DELETED, "a:good"))
    for now, steps in ((NOW + SETTLED - 1, ()), (NOW + SETTLED, (Remove(vid(1), "a", 0),))):
        assert plan(there, view("a"), lambda _: CopiesPolicy("p"), now, grace).steps == steps


def test_where_one_has_to_be_removed_no_other_is_waited_for():
    after, left = advanced(record(live("a:good", "b:condemned")), view("a", "b", "c"))
    assert states(after.live) == {"a": "good", "b": "condemned", "c": "missing"}
    assert set(left.steps) == {Remove(vid(1), "b", 0), Copy(vid(1), "c", 0, ("a",))}


def test_dead_is_lost_without_asking():
    there = record(live("a:good", "b:good", "c:suspect", "d:missing", "e:condemned"))
    cluster = view("a", "b:dead", "c:dead", "d:dead", "e:dead", "f")
    after, left = advanced(there, cluster)
    assert states(after.live) == {"a": "good", "f": "missing"}
    assert left.steps == (Copy(vid(1), "f", 0, ("a",)),)
    # When all is dead nothing is forgotten: the server may turn out not to be.
    after, left = advanced(record(live("a:good")), view("a:dead"))
    assert states(after.live) == {"a": "lost"}
    assert (left.steps, bool(left.waits)) == ((), True)
    after, left = advanced(after, view("a"))
    assert left.steps == (Check(vid(1), "a"),)


def test_a_failing_target_gives_way_if_there_is_another():
    there = record(live("a:good", "b:missing"), thin_since=NOW)
    after, left = advanced(there, view("a", "b", "c"), avoid=frozenset("b"))
    assert states(after.live) == {"a": "good", "b": "condemned", "c": "missing"}
    after, left = advanced(there, view("a", "b"), avoid=frozenset("b"))
    assert after == there
    assert left.steps == (Copy(vid(1), "b", 0, ("a",)),)


def test_thin_since():
    after, _ = advanced(record(live("a:good")), view("a", "b"))
    assert after.thin_since == NOW
    later, _ = advanced(after, view("a", "b"), now=NOW + 50)
    assert later.thin_since == NOW
    good, _ = advanced(apply(later, Copied(NOW, vid(1), "b", 0, later.live.sha256)), view("a", "b"))
    assert good.thin_since is None
    gone, _ = advanced(apply(later, Deleted(NOW)), view("a", "b"))
    assert gone.thin_since is None
    only = record(version(1, V.ABANDONED, "a:missing"), thin_since=NOW)
    assert advanced(only, view("a"))[0].thin_since is None


def test_a_file_expires():
    there = record(live("a:good", "b:good", terms=Terms(expires=NOW + 70)))
    assert planned(there, view("a", "b")) == Plan(due=70)
    after, left = advanced(there, view("a", "b"), now=NOW + 70)
    assert after.versions[0].state is V.DELETED
    assert left == Plan(due=GRACE)


def test_what_the_file_asks_for():
    there = record(live("a:good", "b:good", terms=Terms(copies=3)))
    after, _ = advanced(there, view("a", "b", "c"))
    assert states(after.live) == {"a": "good", "b": "good", "c": "missing"}
    fewer = record(live("a:good", "b:good", terms=Terms(copies=1)))
    after, _ = advanced(fewer, view("a", "b"))
    assert sorted(states(after.live).values()) == ["good", "leaving"]


# --- predecessors ----------------------------------------------------------------------------------------


def test_a_predecessor_waits_for_its_successor():
    old = version(1, V.SUPERSEDED, "a:good", "b:good", since=LONG_AGO)
    _, left = advanced(record(live("a:good", "b:missing", number=2), old), view("a", "b"))
    assert left.steps == (Copy(vid(2), "b", 0, ("a",)),)
    _, left = advanced(record(live("a:good", "b:good", number=2), old), view("a", "b"))
    assert left.steps == (Remove(vid(1), "a", 0), Remove(vid(1), "b", 0))
    # It has what it can have.
    _, left = advanced(record(live("a:good", number=2), old), view("a", "b:drain"))
    assert left.steps == (Remove(vid(1), "a", 0), Remove(vid(1), "b", 0))
    # None at all is never enough.
    for state in ("lost", "suspect", "missing"):
        _, left = advanced(record(live(f"a:{state}", number=2), old), view("a", "b"))
        assert not [step for step in left.steps if isinstance(step, Remove)]
    _, left = advanced(record(live("a:good", number=2), old), view("a:drain", "b:drain"))
    assert left.steps == ()


@pytest.mark.parametrize("state", [V.SUPERSEDED, V.DELETED])
def test_the_grace(state):
    over = record(version(1, state, "a:good", "b:leaving"))
    _, left = advanced(over, view("a", "b:away"), now=NOW + GRACE - 1)
    assert left == Plan(due=1)
    _, left = advanced(over, view("a", "b:away"), now=NOW + GRACE)
    away = Wait(vid(1), "its object is to be removed, and the server is away", "b")
    assert left == Plan(steps=(Remove(vid(1), "a", 0),), waits=(away,))


def test_the_dead_are_not_asked_to_remove():
    over = record(version(1, V.DELETED, "a:good", "b.2:good", since=LONG_AGO))
    after, left = advanced(over, view("a:dead", "b"))
    assert left.steps == (Remove(vid(1), "b", 2),)
    assert states(after.versions[0]) == {"b": "good"}
    after, left = advanced(over, view("a:dead", "b:dead"))
    assert (after.versions, left) == ((), Plan())
    # At once, whatever may still read or come there: until then the server cannot be used again.
    young = record(version(1, V.DELETED, "a:good", "b:good", since=NOW))
    after, left = advanced(young, view("a:dead", "b"))
    assert (states(after.versions[0]), left.steps) == ({"b": "good"}, ())
    coming = record(version(1, V.UPLOADING, "a:missing", "b:missing", upload=upload(deadline=NOW + 60)))
    after, _ = advanced(coming, view("a:dead", "b"))
    assert states(after.versions[0]) == {"b": "missing"}
    former = record(live("b:good", "c:missing", number=2), version(1, V.SUPERSEDED, "a:good", since=LONG_AGO))
    after, _ = advanced(former, view("a:dead", "b", "c"))
    assert after.version(vid(1)) is None
    # Nobody knows a server of that name: it may come back.
    _, left = advanced(over, view("b"))
    assert left.waits


# --- uploads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "due"), [(0, 1), (1, 1), (3, 1.5), (10, 5), (100, 50), (120, 60), (1000, 60), (3570, 30), (3599, 1)]
)
def test_an_upload_is_looked_for(age, due):
    there = record(version(1, V.UPLOADING, "a:missing", "b:missing"))
    assert planned(there, view("a", "b"), now=NOW + age) == Plan(steps=(Verify(vid(1)),), due=due)


@pytest.mark.parametrize("age", [3600, 3601, 9999])
def test_the_last_look_for_an_upload(age):
    there = record(version(1, V.UPLOADING, "a:missing"))
    assert planned(there, view("a"), now=NOW + age) == Plan(steps=(Verify(vid(1), final=True),))


def test_an_upload_whose_clock_is_wrong():
    there = record(version(1, V.UPLOADING, "a:missing", since=NOW + 500))
    assert planned(there, view("a")) == Plan(steps=(Verify(vid(1)),), due=1)


def test_what_was_abandoned_is_cleaned_where_it_may_arrive_yet():
    over = record(version(1, V.ABANDONED, "a:missing", "b:missing", upload=upload(deadline=NOW + 60)))
    _, left = advanced(over, view("a", "b"), now=NOW + 59)
    assert left.steps == ()
    end = NOW + 59 + int(left.due)
    assert end >= NOW + 60
    _, left = advanced(over, view("a", "b"), now=end - 1)
    assert left == Plan(due=1)
    _, left = advanced(over, view("a", "b"), now=end)
    assert left.steps == (Remove(vid(1), "a", 0), Remove(vid(1), "b", 0))


def test_what_was_abandoned_after_its_deadline():
    over = record(version(1, V.ABANDONED, "a:missing", since=NOW, upload=upload(deadline=NOW - 5000)))
    _, left = advanced(over, view("a"), now=NOW)
    end = NOW + int(left.due or 0)
    _, left = advanced(over, view("a"), now=end)
    assert left.steps == (Remove(vid(1), "a", 0),)


# --- moves that do not end -------------------------------------------------------------------------------


def test_a_policy_that_contradicts_itself():
    class Fickle:
        """Has too much of two copies, and too little of one."""

        name = "fickle"

        def place(self, demand: Demand, cluster: ClusterView) -> Placement:
            held = demand.held
            if len(held) > 1:
                return Placement(held[:1], (), held[1:], 1, 1, True)
            return Placement(held, (), (), 1, 1, False)

    with pytest.raises(AssertionError, match="never ends"):
        advanced(record(live("a:good", "b:good")), view("a", "b"), policy=Fickle())


def test_a_policy_that_wants_all_gone():
    class Greedy:
        name = "greedy"

        def __init__(self, owed: int, enough: bool = True) -> None:
            self.owed, self.enough = owed, enough

        def place(self, demand: Demand, cluster: ClusterView) -> Placement:
            # All but the first, or all.
            keep = demand.held[:1] if self.owed == 1 else ()
            drop = tuple(name for name in demand.held if name not in keep)
            return Placement(keep, (), drop, self.owed, self.owed, self.enough)

    there = record(live("a:good", "b:good", "c:good"))
    cluster = view("a", "b", "c")
    assert states(advanced(there, cluster, policy=Greedy(2))[0].live) == dict.fromkeys("abc", "good")
    assert states(advanced(there, cluster, policy=Greedy(0))[0].live) == dict.fromkeys("abc", "good")
    after, _ = advanced(there, cluster, policy=Greedy(1))
    assert states(after.live) == {"a": "good", "b": "leaving", "c": "leaving"}
    # Nothing goes while something is missing.
    after, _ = advanced(there, cluster, policy=Greedy(1, enough=False))
    assert states(after.live) == dict.fromkeys("abc", "good")


# --- at random -------------------------------------------------------------------------------------------


class Wild:
    """Says anything: the plan must keep what is owed all the same."""

    name = "wild"

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def place(self, demand: Demand, cluster: ClusterView) -> Placement:
        random = Random(f"{self._seed} {sorted(demand.held)} {sorted(demand.pending)}")
        replicas = sorted({*demand.held, *demand.pending})
        keep = tuple(name for name in replicas if random.random() < 0.4)
        drop = tuple(name for name in replicas if name not in keep)
        add = tuple(name for name in [*sorted(cluster), "unknown"] if random.random() < 0.3)
        owed = random.randrange(1, 4)
        return Placement(keep, add, drop, owed, random.randrange(0, owed + 1), random.random() < 0.6)


@st.composite
def versions(draw: st.DrawFn, number: int, state: VersionState, names: list[str]) -> Version:
    where = draw(st.lists(st.sampled_from(names), unique=True, max_size=5))
    if state is V.UPLOADING:
        said = [f"{name}:missing" for name in where]
    else:
        said = [
            f"{name}.{draw(st.integers(0, 2))}:{draw(st.sampled_from(R)).name}@{draw(TIMES)}" for name in where
        ]
    changes: dict[str, Any] = {"since": draw(TIMES)}
    if state in (V.UPLOADING, V.ABANDONED):
        changes["upload"] = upload(deadline=draw(TIMES))
    if state is V.LIVE:
        changes["terms"] = draw(st.none() | st.builds(Terms, copies=st.none() | st.integers(1, 4)))
    elif state is not V.UPLOADING:
        assume(said)
    return version(number, state, *said, removals=5, **changes)


TIMES = st.sampled_from([LONG_AGO, NOW - GRACE, NOW - GRACE + 1, NOW - 1, NOW, NOW + 1, NOW + 5000])


@st.composite
def records(draw: st.DrawFn, names: list[str]) -> Record:
    """At most one live version, uploads and abandoned ones anywhere, superseded ones below it."""
    above = draw(st.lists(st.sampled_from([V.UPLOADING, V.ABANDONED, V.DELETED]), max_size=2))
    middle = draw(st.sampled_from([[V.LIVE]] * 4 + [[]]))
    below = draw(st.lists(st.sampled_from([v for v in V if v is not V.LIVE]), max_size=2))
    made = [draw(versions(9 - at, state, names)) for at, state in enumerate([*above, *middle, *below])]
    return Record(tuple(made), draw(st.none() | st.just(NOW - 7)), draw(st.integers(0, 9)))


POLICIES = st.builds(CopiesPolicy, st.just("p"), st.integers(1, 4), st.sampled_from(["host", "zone"]))


@st.composite
def situations(draw: st.DrawFn, policies: Any = POLICIES) -> tuple[Record, ClusterView, Any, frozenset[str]]:
    cluster = draw(clusters())
    names = [*cluster, "gone"]
    avoid = draw(st.frozensets(st.sampled_from(names), max_size=2))
    return draw(records(names)), cluster, draw(policies), avoid


def hosts(names: list[str], cluster: ClusterView, *, sure: bool = False) -> int:
    found = [cluster[name] for name in names if name in cluster and cluster[name].counts]
    if sure:
        found = [b for b in found if b.state is BackendState.DOWN or b.observed is not Observed.UNREACHABLE]
    return len({b.host for b in found})


def good(version: Version) -> list[str]:
    return [r.backend for r in version.in_state(R.GOOD)]


def check_moves(
    before: Record, moves: tuple[Event, ...], cluster: ClusterView, policy: Any, avoid: Any
) -> Record:
    """Every move is one that may be made, whatever the policy said."""
    after = before
    for move in moves:
        after = apply(after, move)
    was = before.live
    for move in moves:
        match move:
            case Placed():
                assert was is not None
                assert cluster[move.backend].takes
                assert was.replica(move.backend) is None
            case Lost():
                assert cluster[move.backend].state is BackendState.DEAD
            case Leaving():
                answer = policy.place(demand(was, avoid), cluster)
                stay = [name for name in good(was) if name in good(after.live)]
                assert stay
                assert hosts(stay, cluster) >= answer.owed
            case Condemned():
                replica = before.version(move.id).replica(move.backend)
                assert replica.state is not R.GOOD
                if replica.state is R.LEAVING:
                    answer = policy.place(demand(was, avoid), cluster)
                    assert replica.since + GRACE <= NOW
                    assert good(after.live)
                    assert hosts(good(was), cluster, sure=True) >= answer.owed
                elif replica.state is R.LOST:
                    assert good(was)
                else:
                    assert replica.state is R.MISSING
            case Removed():
                assert cluster[move.backend].state is BackendState.DEAD
                found = before.version(move.id)
                replica = found.replica(move.backend)
                assert replica.state is R.CONDEMNED or found.state not in (V.LIVE, V.UPLOADING)
            case Found():
                assert was.replica(move.backend).state is R.LEAVING
                assert cluster[move.backend].serves
            case Thin() | Expired():
                pass
            case _:
                raise AssertionError(move)
    return after


def check_steps(record: Record, made: Plan, cluster: ClusterView, policy: Any, avoid: Any) -> None:
    """Every step is one that may be taken."""
    for step in made.steps:
        found = record.version(step.id)
        assert found is not None
        match step:
            case Verify():
                assert found.state is V.UPLOADING
                assert step.final is (found.upload.deadline <= NOW)
            case Copy():
                replica = found.replica(step.backend)
                assert (found.state, replica.state, replica.generation) == (V.LIVE, R.MISSING, step.generation)
                assert cluster[step.backend].takes
                assert step.sources
                for name in step.sources:
                    assert cluster[name].reachable
                    may = (R.CONDEMNED,) if record.damaged else (R.GOOD, R.LEAVING)
                    assert found.replica(name).state in may
            case Check():
                assert cluster[step.backend].reachable
                may = (R.SUSPECT, R.LOST, R.MISSING) if record.damaged else (R.SUSPECT, R.LOST)
                assert found.replica(step.backend).state in may
            case Remove():
                assert cluster[step.backend].reachable
                assert found.replica(step.backend).generation == step.generation
                check_removal(record, found, step, cluster, policy, avoid)


def check_removal(
    record: Record, found: Version, step: Remove, cluster: ClusterView, policy: Any, avoid: Any
) -> None:
    match found.state:
        case V.LIVE:
            assert found.replica(step.backend).state is R.CONDEMNED
        case V.ABANDONED:
            assert found.upload.deadline <= NOW
        case V.SUPERSEDED | V.DELETED:
            assert found.since + GRACE <= NOW
        case _:
            raise AssertionError(found.state)
    if found.state is V.SUPERSEDED and record.live is not None:
        answer = policy.place(demand(record.live, avoid), cluster)
        assert hosts(good(record.live), cluster) >= max(1, min(answer.owed, answer.possible))


@given(situations(st.builds(Wild, st.integers(0, 1000))))
@settings(deadline=None, max_examples=120)
def test_whatever_a_policy_says_nothing_owed_goes(situation):
    before, cluster, policy, avoid = situation
    for _ in range(6):
        made = planned(before, cluster, policy=policy, avoid=avoid)
        after = check_moves(before, made.moves, cluster, policy, avoid)
        check_steps(before, made, cluster, policy, avoid)
        if after == before:
            assert not made.moves
            break
        before = after


@given(situations())
@settings(deadline=None, max_examples=120)
def test_the_moves_end_and_leave_nothing_undone(situation):
    before, cluster, policy, avoid = situation

    def make(each: Record) -> Plan:
        made = planned(each, cluster, policy=policy, avoid=avoid)
        check_moves(each, made.moves, cluster, policy, avoid)
        return made

    after, left = advance(before, make)
    check_steps(after, left, cluster, policy, avoid)
    assert left.moves == ()
    assert left.due is None or left.due >= 0

    if (version := after.live) is None:
        assert after.thin_since is None
        return
    answer = policy.place(demand(version, avoid), cluster)
    assert (after.thin_since is not None) is not answer.enough
    if not answer.enough:
        assert left.waits or left.steps, "thin, and nobody will look again"
    for replica in version.replicas:
        backend = cluster.get(replica.backend)
        if backend is not None and backend.state is BackendState.DEAD:
            # What is lost everywhere is kept in mind.
            assert replica.state is R.LOST
            assert not good(version)
        if replica.state is R.SUSPECT and backend is not None and backend.reachable:
            assert Check(version.id, replica.backend) in left.steps
        if replica.state is R.LEAVING and backend is not None and backend.counts and backend.serves:
            assert answer.enough
        if replica.state is R.LOST:
            assert not good(version)
    for upload_ in (v for v in after.versions if v.state is V.UPLOADING):
        final = upload_.upload.deadline <= NOW
        assert Verify(upload_.id, final) in left.steps
        assert final or left.due <= 60


def perform(record: Record, step: Step, now: int) -> Event | None:
    """What comes of a step when everything works, and no client uploads."""
    found = record.version(step.id)
    assert found is not None
    match step:
        case Verify():
            return Abandoned(now, step.id, LAPSED) if step.final else None
        case Copy():
            return Copied(now, step.id, step.backend, step.generation, found.sha256)
        case Check():
            generation = found.replica(step.backend).generation
            if found.replica(step.backend).state is R.MISSING:
                return Copied(now, step.id, step.backend, generation, found.sha256)
            return Found(now, step.id, step.backend, generation)
        case Remove():
            return Removed(now, step.id, step.backend, step.generation)
    raise AssertionError(step)


@given(situations(), st.booleans())
@settings(deadline=None, max_examples=120)
def test_performed_it_comes_to_rest(situation, well):
    """Every step succeeds and time goes on: in the end nothing is left to do, and what is possible is there."""
    before, cluster, policy, _ = situation
    if well:
        cluster = {name: BackendView(name, b.host, b.zone, b.weight) for name, b in cluster.items()}
    now = NOW
    for _ in range(60):
        before, left = advance(before, lambda each: planned(each, cluster, policy=policy, now=now))  # noqa: B023
        happened = [event for step in left.steps if (event := perform(before, step, now)) is not None]
        for event in happened:
            before = apply(before, event)
        if not happened:
            if left.due is None:
                break
            now += max(600, int(left.due))
    else:
        raise AssertionError("it does not come to rest")
    assert (left.moves, left.steps) == ((), ())
    assert not [v for v in before.versions if v.state is V.UPLOADING]
    if not well:
        return

    known = {v.id for v in before.versions if all(r.backend in cluster for r in v.replicas)}
    assert not [v for v in before.versions if v.state is not V.LIVE and v.id in known and before.live is None]
    if (version := before.live) is None or not any(name in cluster for name in good(version)):
        return
    answer = policy.place(demand(version), cluster)
    assert hosts(good(version), cluster) >= answer.possible
    assert set(states(version).values()) <= {"good"} or version.id not in known
    assert not [v for v in before.versions if v.state is not V.LIVE and v.id in known]


@given(situations())
@settings(deadline=None, max_examples=60)
def test_a_finished_upload_replaces(situation):
    """The moment a version becomes live nothing of its predecessor goes."""
    before, cluster, policy, _ = situation
    for each in before.pending:
        if not each.replicas:
            continue
        old = before.live
        after = apply(before, Verified(NOW, each.id, each.replicas[0].backend, len(DATA)))
        after, left = advance(after, lambda r: planned(r, cluster, policy=policy))
        if old is not None and after.version(old.id) is not None:
            assert not [s for s in left.steps if isinstance(s, Remove) and s.id == old.id]
            alive = [n for n in good(old) if n not in cluster or cluster[n].state is not BackendState.DEAD]
            assert good(after.version(old.id)) == alive
