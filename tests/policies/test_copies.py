import msgspec
import pytest
from hypothesis import given, settings

from dragonbelly.model import BackendState, BackendView, Demand, Observed
from dragonbelly.policies.copies import CopiesPolicy
from dragonbelly.testing.policy import PolicyContract, counted, performed, situations

ALIVE, READONLY, DRAIN, DOWN, DEAD = BackendState


class TestOverHosts(PolicyContract):
    def make_policy(self):
        return CopiesPolicy("default", copies=2)


class TestManyOverHosts(PolicyContract):
    def make_policy(self):
        return CopiesPolicy("many", copies=4)


class TestOverZones(PolicyContract):
    def make_policy(self):
        return CopiesPolicy("large", copies=3, spread="zone")


def cluster(*backends):
    """``a1`` is backend 1 on host ``a1``; ``a1.x`` another one on that host; the letter is the zone."""
    views = {}
    for backend in backends:
        name, changes = (backend, {}) if isinstance(backend, str) else backend
        views[name] = BackendView(name, **{"host": name.partition(".")[0], "zone": name[0], **changes})
    return views


def place(views, held=(), pending=(), *, copies=2, spread="host", seed="", **demand):
    return CopiesPolicy("p", copies, spread).place(
        Demand(seed=seed, held=tuple(held), pending=tuple(pending), **demand), views
    )


def away(name, **changes):
    return name, {"observed": Observed.UNREACHABLE, **changes}


# --- properties of this policy alone ---------------------------------------------------------------------


@pytest.mark.parametrize("spread", ["host", "zone"])
@given(situations())
@settings(deadline=None)
def test_no_two_copies_on_one_host_while_another_has_room(spread, situation):
    demand, views = situation
    policy = CopiesPolicy("p", 3, spread)
    placement = policy.place(demand, views)
    hosts = [views[name].host for name in placement.add]
    assert len(set(hosts)) == len(hosts)
    held = counted(demand.held, views)
    assert {views[name].host for name in held}.isdisjoint(hosts)

    for _ in range(4):
        demand = performed(demand, placement)
        placement = policy.place(demand, views)
    if placement.enough and not any(
        views[n].observed is Observed.UNREACHABLE for n in demand.held if n in views
    ):
        kept = [views[name].host for name in counted(placement.keep, views) if views[name].reachable]
        assert len(set(kept)) == len(kept)


@given(situations())
@settings(deadline=None)
def test_copies_share_a_zone_only_when_no_other_takes_one(situation):
    demand, views = situation
    policy = CopiesPolicy("p", 3, "zone")
    for _ in range(4):
        placement = policy.place(demand, views)
        demand = performed(demand, placement)
    zones = {views[name].zone for name in counted(demand.held, views)}
    if len(zones) < placement.owed:
        free = [b for b in views.values() if b.takes and b.name not in {*demand.held, *demand.avoid}]
        free = [b for b in free if b.free is None]  # as to the others: room is tested by itself
        hosts = {views[name].host for name in counted(demand.held, views)}
        assert not [b for b in free if b.zone not in zones and b.host not in hosts]


@given(situations())
@settings(deadline=None)
def test_what_is_new_and_what_is_kept_is_no_more_than_needed(situation):
    demand, views = situation
    placement = CopiesPolicy("p", 2).place(demand, views)
    hosts = {views[name].host for name in counted(demand.held, views)}
    waiting = set(demand.pending) & set(placement.keep)
    assert len(placement.add) + len(waiting) <= max(0, placement.owed - len(hosts))


# --- choosing --------------------------------------------------------------------------------------------


def test_shares_follow_the_weights():
    weights = {"a1": 1.0, "b1": 2.0, "c1": 5.0}
    views = {name: BackendView(name, name, name, weight=weight) for name, weight in weights.items()}
    policy = CopiesPolicy("p", 1)
    wins = dict.fromkeys(weights, 0)
    for number in range(10_000):
        (winner,) = policy.place(Demand(seed=f"seed {number}"), views).add
        wins[winner] += 1
    for name, weight in weights.items():
        assert wins[name] / 10_000 == pytest.approx(weight / 8, abs=0.02)


def test_a_new_backend_takes_only_its_share():
    before = cluster("a1", "b1", "c1")
    after = cluster("a1", "b1", "c1", "d1")
    policy = CopiesPolicy("p", 1)
    for number in range(300):
        (old,) = policy.place(Demand(seed=str(number)), before).add
        (new,) = policy.place(Demand(seed=str(number)), after).add
        assert new in (old, "d1")


def test_a_full_backend_gets_nothing_and_a_nearly_full_one_less():
    room = {"total": 1000, "free": 100}
    policy = CopiesPolicy("p", 1)
    views = cluster(("a1", room), ("b1", {"total": 1000, "free": 1000}))
    winners = [policy.place(Demand(str(n), size=50), views).add[0] for n in range(1000)]
    assert 60 < winners.count("a1") < 170  # one eighth against eight
    assert place(views, size=95, copies=1).add == ("b1",)  # 95 and the reserve of 10 do not fit into 100
    assert place(cluster(("a1", room)), size=95, copies=1).add == ()
    assert place(cluster(("a1", room)), size=90, copies=1).add == ("a1",)
    assert place(cluster(("a1", {"observed": Observed.FULL})), copies=1).add == ()


def test_it_is_the_file_that_says_how_many():
    views = cluster("a1", "b1", "c1")
    assert len(place(views, copies=2).add) == 2
    placement = CopiesPolicy("p", 2).place(Demand("s", copies=3), views)
    assert (len(placement.add), placement.owed) == (3, 3)


def test_hosts_that_are_too_few():
    views = cluster("a1", "a1.x", "b1")
    placement = place(views, copies=3)
    assert sorted(views[name].host for name in placement.add) == ["a1", "b1"]
    assert (placement.owed, placement.possible, placement.enough) == (3, 2, False)
    assert place(views, ["a1", "b1"], copies=3) == msgspec.structs.replace(
        placement, keep=("a1", "b1"), add=(), drop=()
    )


def test_zones_first_and_hosts_when_zones_are_too_few():
    views = cluster("a1", "a2", "a3", "b1")
    placement = place(views, copies=3, spread="zone")
    assert sorted(views[name].zone for name in placement.add) == ["a", "a", "b"]
    assert sorted(views[name].zone for name in placement.add[:2]) == ["a", "b"]
    assert place(views, placement.add, copies=3, spread="zone").enough

    views |= cluster("c1")
    wider = place(views, placement.add, copies=3, spread="zone")
    assert (wider.add, wider.drop, wider.enough) == (("c1",), (), False)
    trimmed = place(views, (*placement.add, "c1"), copies=3, spread="zone")
    assert trimmed.enough
    assert [views[name].zone for name in trimmed.drop] == ["a"]


def test_a_zone_that_does_not_come_back_is_no_zone():
    views = cluster("a1", "a2", "b1", ("c1", {"state": DEAD}))
    assert place(views, ["a1", "a2", "b1"], copies=3, spread="zone").enough


def test_a_zone_that_is_away_is_stood_in_for():
    views = cluster("a1", "a2", "b1", away("c1"))
    placement = place(views, ["a1", "b1"], copies=3, spread="zone")
    assert (placement.add, placement.enough) == (("a2",), False)
    assert place(views, ["a1", "a2", "b1"], copies=3, spread="zone").drop == ()
    assert place(cluster("a1", "a2", "b1", "c1"), ["a1", "a2", "b1"], copies=3, spread="zone").add == ("c1",)


# --- states of backends ----------------------------------------------------------------------------------


def test_drain_copies_first_and_drops_then():
    views = cluster("a1", ("b1", {"state": DRAIN}), "c1")
    first = place(views, ["a1", "b1"])
    assert (first.keep, first.add, first.drop, first.enough) == (("a1", "b1"), ("c1",), (), False)
    assert place(views, ["a1", "b1"], ["c1"]).drop == ()
    then = place(views, ["a1", "b1", "c1"])
    assert (then.keep, then.drop, then.enough) == (("a1", "c1"), ("b1",), True)


def test_dead_ones_are_made_up_and_given_up():
    views = cluster("a1", ("b1", {"state": DEAD, "observed": Observed.UNREACHABLE}), "c1")
    assert place(views, ["a1", "b1"]).add == ("c1",)
    assert place(views, ["a1", "b1", "c1"]).drop == ("b1",)


def test_down_ones_count_and_wait():
    views = cluster("a1", away("b1", state=DOWN), "c1")
    placement = place(views, ["a1", "b1"])
    assert (placement.add, placement.drop, placement.enough) == ((), (), True)
    assert place(views, ["a1", "b1", "c1"]).drop == ()  # nobody there to remove it, and the others suffice


def test_unreachable_ones_count_as_long_as_there_is_patience():
    patient = cluster("a1", away("b1", patient=True), "c1")
    assert place(patient, ["a1", "b1"]).enough
    assert place(patient, ["a1"], ["b1"]).add == ()

    impatient = cluster("a1", away("b1"), "c1")
    placement = place(impatient, ["a1", "b1"])
    assert (placement.keep, placement.add, placement.enough) == (("a1", "b1"), ("c1",), False)
    assert place(impatient, ["a1"], ["b1"]).drop == ("b1",)
    assert place(impatient, ["a1", "b1", "c1"]).drop == ()
    back = place(cluster("a1", "b1", "c1"), ["a1", "b1", "c1"])
    assert (len(back.keep), len(back.drop)) == (2, 1)


def test_nothing_is_dropped_for_a_copy_that_is_only_expected_back():
    views = cluster("a1", away("b1", patient=True), ("c1", {"state": DRAIN}))
    placement = place(views, ["a1", "b1", "c1"])
    assert (placement.drop, placement.enough) == ((), True)


def test_surplus_goes_from_the_least_sure():
    assert place(cluster("a1", ("b1", {"state": READONLY}), "c1"), ["a1", "b1", "c1"]).drop == ("b1",)
    twice = place(cluster("a1", "a1.x", "b1"), ["a1", "a1.x", "b1"])
    assert len(twice.drop) == 1
    assert twice.drop[0].startswith("a1")


def test_two_on_one_host_count_once_and_stay_until_the_second_is_elsewhere():
    views = cluster("a1", "a1.x", "b1")
    placement = place(views, ["a1", "a1.x"])
    assert (placement.add, placement.drop, placement.enough) == (("b1",), (), False)


def test_readonly_ones_are_possible_only_where_they_hold():
    views = cluster("a1", ("b1", {"state": READONLY}))
    assert place(views).possible == 1
    placement = place(views, ["a1", "b1"])
    assert (placement.possible, placement.enough) == (2, True)


def test_an_unknown_backend_keeps_what_it_may_have():
    views = cluster("a1", "b1")
    assert place(views, ["a1", "gone"]).add == ("b1",)
    placement = place(views, ["a1", "b1", "gone"])
    assert (placement.drop, placement.enough) == ((), True)


def test_a_host_with_an_absent_copy_is_the_last_choice():
    views = cluster("a1", away("b1"), "b1.x", "c1")
    for seed in range(10):
        assert place(views, ["a1", "b1"], seed=str(seed)).add == ("c1",)
    del views["c1"]
    assert place(views, ["a1", "b1"]).add == ("b1.x",)


# --- what is under way -----------------------------------------------------------------------------------


def test_copies_under_way_are_waited_for():
    views = cluster("a1", "b1", "c1")
    placement = place(views, ["a1"], ["c1"])
    assert (placement.keep, placement.add, placement.drop, placement.enough) == (("a1", "c1"), (), (), False)


@pytest.mark.parametrize(("absent", "present"), ["bc", "cb"])
def test_the_copy_under_way_to_a_server_that_answers_is_the_one_to_wait_for(absent, present):
    views = cluster("a", away(absent, patient=True), present)
    for seed in range(10):
        assert place(views, ["a"], ["b", "c"], seed=str(seed)).drop == (absent,)


def test_a_copy_that_is_there_is_not_under_way():
    placement = place(cluster("a1", "b1"), ["a1", "b1"], ["b1"])
    assert (placement.keep, placement.drop) == (("a1", "b1"), ())


def test_copies_under_way_that_nobody_needs_go():
    views = cluster("a1", "b1", "c1")
    assert place(views, ["a1", "b1"], ["c1"]).drop == ("c1",)
    assert place(cluster("a1", "a1.x", "b1"), ["a1"], ["a1.x"]).drop == ("a1.x",)


@pytest.mark.parametrize("state", [READONLY, DRAIN, DOWN, DEAD])
def test_copies_under_way_to_where_they_cannot_be_made_go(state):
    placement = place(cluster("a1", ("b1", {"state": state}), "c1"), ["a1"], ["b1"])
    assert (placement.add, placement.drop) == (("c1",), ("b1",))


def test_after_a_failure_the_copy_is_made_elsewhere():
    views = cluster("a1", "b1", "c1")
    placement = place(views, ["a1"], ["b1"], avoid=frozenset({"b1"}))
    assert (placement.keep, placement.add, placement.drop) == (("a1",), ("c1",), ("b1",))
    assert place(cluster("a1", "b1"), ["a1"], ["b1"], avoid=frozenset({"b1"})).add == ()
