"""
What every replication policy has to keep to, as tests: derive from ``PolicyContract``, say how your policy is
made, and let pytest (with hypothesis) collect the class.

    class TestMine(PolicyContract):
        def make_policy(self):
            return MyPolicy("mine")
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from dragonbelly.interfaces import IReplicationPolicy
from dragonbelly.model import BackendState, BackendView, ClusterView, Demand, Observed, Placement

#: Visits of a file after which nothing is left to do, once every step succeeds.
ROUNDS = 5

# The tests run on every class that derives from the contract; no test has to be quick.
inherited = settings(deadline=None, suppress_health_check=[HealthCheck.differing_executors])

BYTES = st.sampled_from([0, 1, 4_096, 10**9, 10**12])


@st.composite
def clusters(draw: st.DrawFn) -> ClusterView:
    """Up to nine backends on up to six hosts in up to four zones, in any state."""
    hosts = draw(st.lists(st.integers(0, 3), min_size=1, max_size=6))  # the zone of each
    cluster = {}
    for number in range(draw(st.integers(0, 9))):
        host = draw(st.integers(0, len(hosts) - 1))
        total = draw(st.none() | BYTES)
        name = f"b{number}"
        cluster[name] = BackendView(
            name,
            host=f"h{host}",
            zone=f"z{hosts[host]}",
            weight=draw(st.sampled_from([0.5, 1.0, 3.0])),
            state=draw(st.sampled_from([BackendState.ALIVE] * 5 + list(BackendState))),
            observed=draw(st.sampled_from([Observed.UP] * 5 + list(Observed))),
            free=None if total is None else draw(st.integers(0, total)),
            total=total,
            patient=draw(st.booleans()),
        )
    return cluster


@st.composite
def situations(draw: st.DrawFn) -> tuple[Demand, ClusterView]:
    """A cluster, and a version with some replicas there, or on a backend that is no longer configured."""
    cluster = draw(clusters())
    names = [*cluster, "gone"]
    roles = {name: draw(st.sampled_from(["", "", "held", "pending"])) for name in names}
    demand = Demand(
        seed=draw(st.text("0123456789ABCDEF", min_size=4, max_size=4)),
        size=draw(st.none() | BYTES),
        content_type=draw(st.sampled_from([None, "image/jpeg", "video/mp4"])),
        copies=draw(st.none() | st.integers(1, 5)),
        held=tuple(name for name in names if roles[name] == "held"),
        pending=tuple(name for name in names if roles[name] == "pending"),
        avoid=draw(st.frozensets(st.sampled_from(names), max_size=3)),
    )
    return demand, cluster


def counted(names: Iterable[str], cluster: ClusterView) -> set[str]:
    """Those whose replicas count."""
    return {name for name in names if name in cluster and cluster[name].counts}


def performed(demand: Demand, placement: Placement) -> Demand:
    """The demand once everything that was asked for is done: copies made, surplus removed."""
    held = (set(demand.held) | set(demand.pending) | set(placement.add)) - set(placement.drop)
    return msgspec.structs.replace(demand, held=tuple(sorted(held)), pending=())


class PolicyContract:
    """``make_policy`` gives the policy to be tested."""

    def make_policy(self) -> IReplicationPolicy:
        raise NotImplementedError

    def test_provides_the_interface(self) -> None:
        policy = self.make_policy()
        verifyObject(IReplicationPolicy, policy)
        assert isinstance(policy.name, str)

    def test_a_cluster_without_backends(self) -> None:
        placement = self.make_policy().place(Demand("seed", held=("gone",), pending=("lost",)), {})
        assert placement.add == ()
        assert "gone" in placement.keep
        assert placement.possible == 0
        assert not placement.enough

    @given(situations())
    @inherited
    def test_every_replica_stays_or_goes(self, situation: tuple[Demand, ClusterView]) -> None:
        demand, cluster = situation
        placement = self.make_policy().place(demand, cluster)
        replicas = {*demand.held, *demand.pending}
        assert sorted([*placement.keep, *placement.drop]) == sorted(replicas)
        assert len(set(placement.add)) == len(placement.add)
        assert replicas.isdisjoint(placement.add)

    @given(situations())
    @inherited
    def test_new_ones_go_where_they_are_taken(self, situation: tuple[Demand, ClusterView]) -> None:
        demand, cluster = situation
        for name in self.make_policy().place(demand, cluster).add:
            assert cluster[name].takes
            assert name not in demand.avoid

    @given(situations())
    @inherited
    def test_a_drop_leaves_what_is_owed(self, situation: tuple[Demand, ClusterView]) -> None:
        demand, cluster = situation
        placement = self.make_policy().place(demand, cluster)
        if set(demand.held) & set(placement.drop):
            # A copy that is dropped while some are missing would be asked back at the next look.
            assert placement.enough
            left = counted(set(demand.held) & set(placement.keep), cluster)
            assert len({cluster[name].host for name in left}) >= placement.owed

    @given(situations())
    @inherited
    def test_what_it_says_of_the_copies(self, situation: tuple[Demand, ClusterView]) -> None:
        demand, cluster = situation
        placement = self.make_policy().place(demand, cluster)
        assert 0 <= placement.possible <= placement.owed
        assert placement.owed >= 1
        if placement.enough:
            assert placement.add == ()
            assert placement.possible == placement.owed <= len(counted(demand.held, cluster))

    @given(situations())
    @inherited
    def test_it_is_stable(self, situation: tuple[Demand, ClusterView]) -> None:
        demand, cluster = situation
        policy = self.make_policy()
        for visit in range(ROUNDS):
            placement = policy.place(demand, cluster)
            if visit:
                assert placement.add == ()
            demand = performed(demand, placement)
        assert placement.add == placement.drop == ()

    @given(situations(), st.randoms(use_true_random=False))
    @inherited
    def test_order_makes_no_difference(self, situation: tuple[Demand, ClusterView], random: Random) -> None:
        demand, cluster = situation

        def shuffled(names: Iterable[str]) -> tuple[str, ...]:
            return tuple(sorted(names, key=lambda _: random.random()))

        other = msgspec.structs.replace(demand, held=shuffled(demand.held), pending=shuffled(demand.pending))
        first = self.make_policy().place(demand, cluster)
        again = self.make_policy().place(other, {name: cluster[name] for name in shuffled(cluster)})
        assert first.add == again.add
        assert sorted(first.keep) == sorted(again.keep)
        assert sorted(first.drop) == sorted(again.drop)
        assert (first.owed, first.possible, first.enough) == (again.owed, again.possible, again.enough)

    @given(situations())
    @inherited
    def test_it_gets_there_while_backends_fail(self, situation: tuple[Demand, ClusterView]) -> None:
        """Every backend refuses once; what was possible is there in the end, where there is room."""
        demand, cluster = situation
        well = {
            name: msgspec.structs.replace(b, state=BackendState.ALIVE, observed=Observed.UP, free=None)
            for name, b in cluster.items()
        }
        policy = self.make_policy()
        refused: set[str] = set()
        for _ in range(len(well) + ROUNDS):
            placement = policy.place(msgspec.structs.replace(demand, avoid=frozenset()), well)
            news = set(placement.add) | (set(demand.pending) & set(placement.keep))
            failing = news - refused
            refused |= failing
            held = (set(demand.held) - set(placement.drop)) | (news - failing)
            demand = msgspec.structs.replace(demand, held=tuple(sorted(held)), pending=())
        last = policy.place(msgspec.structs.replace(demand, avoid=frozenset()), well)
        assert len({well[name].host for name in demand.held if name in well}) >= last.possible
        assert last.add == last.drop == ()
