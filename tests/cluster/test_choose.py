"""Where a reader is sent."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from dragonbelly.cluster.choose import choose
from dragonbelly.model import BackendState, BackendView, Observed, Replica, ReplicaState
from dragonbelly.testing.policy import clusters
from tests.builders import live, view

R = ReplicaState


def chosen(version, cluster, chance=0.0):
    choice = choose(version, cluster, lambda: chance)
    return choice and (
        choice.best.backend,
        "".join(sorted(r.backend for r in choice.others)),
        choice.last_resort,
    )


def test_good_ones_on_servers_that_serve():
    version = live("a:good", "b:good", "c:good", "d:leaving", "e:good")
    cluster = view("a", "b:away", "c:drain", "d", "e:down")
    assert chosen(version, cluster) == ("a", "c", False)
    assert chosen(version, cluster, 0.99) == ("c", "a", False)


def test_every_state_in_which_a_server_serves():
    for word in ("", ":full", ":readonly", ":drain"):
        assert chosen(live("a:good"), view("a" + word)) == ("a", "", False)


def test_the_least_bad_one():
    version = live("a:good", "b:leaving", "c:good", "d:good")
    assert chosen(version, view("a:away", "b", "c:down", "d:dead")) == ("b", "a", True)
    assert chosen(version, view("a:away", "b:dead", "c:down", "d:dead")) == ("a", "", True)
    assert chosen(version, view("b:patient", "c:down", "d:dead")) == ("b", "", True)
    assert chosen(version, view("c:down", "d:dead")) == ("c", "", True)
    assert chosen(version, view("d:dead")) is None
    assert chosen(version, {}) is None


def test_taken_down_is_worse_than_away():
    both = BackendView("a", "h", "z", state=BackendState.DOWN, observed=Observed.UNREACHABLE)
    assert chosen(live("a:good", "b:good"), view(both, "b:away")) == ("b", "", True)
    assert chosen(live("a:good"), view(both)) == ("a", "", True)


def test_never_what_is_not_known_to_be_good():
    for state in ("missing", "suspect", "lost", "condemned"):
        assert chosen(live(f"a:{state}"), view("a")) is None
        assert chosen(live(f"a:{state}", "b:good"), view("a", "b:away")) == ("b", "", True)


def test_there_is_always_somewhere_else_to_go_if_any_server_may_have_it():
    """A server that came back and is not trusted yet may be the only one that answers."""
    assert chosen(live("a:good", "b:good"), view("a", "b:away")) == ("a", "b", False)
    assert chosen(live("a:good", "b:good", "c:good"), view("a", "b:away", "c")) == ("a", "c", False)
    assert chosen(live("a:good", "b:good"), view("a:away", "b:away")) == ("a", "b", True)
    assert chosen(live("a:good", "b:leaving", "c:good"), view("a", "b", "c:away")) == ("a", "b", False)
    assert chosen(live("a:good", "b:good"), view("a", "b:down")) == ("a", "", False)
    assert chosen(live("a:good", "b:good"), view("a:down", "b:down")) == ("a", "b", True)


def test_by_weight():
    cluster = {
        name: BackendView(name, name, "z", weight=weight)
        for name, weight in {"a": 1.0, "b": 2.0, "c": 5.0}.items()
    }
    version = live("a:good", "b:good", "c:good")
    random = Random(1).random
    wins = dict.fromkeys("abc", 0)
    for _ in range(8000):
        wins[choose(version, cluster, random).best.backend] += 1
    assert abs(wins["a"] - 1000) < 200
    assert abs(wins["b"] - 2000) < 300
    assert abs(wins["c"] - 5000) < 300


@given(clusters(), st.data(), st.floats(0, 1))
@settings(deadline=None)
def test_whatever_there_is(cluster, data, chance):
    names = [*cluster, "gone"]
    version = live()
    version = live(
        *(
            f"{n}:{data.draw(st.sampled_from(R)).name}"
            for n in data.draw(st.lists(st.sampled_from(names), unique=True))
        )
    )
    choice = choose(version, cluster, lambda: chance)

    def usable(replica: Replica) -> bool:
        backend = cluster.get(replica.backend)
        return (
            backend is not None
            and backend.state is not BackendState.DEAD
            and replica.state in (R.GOOD, R.LEAVING)
        )

    assert (choice is None) is not any(map(usable, version.replicas))
    if choice is None:
        return
    assert usable(choice.best)
    assert choice.best not in choice.others
    surely = [r for r in version.in_state(R.GOOD) if r.backend in cluster and cluster[r.backend].serves]
    assert choice.last_resort is not (choice.best in surely)
    assert choice.last_resort is not bool(surely)
    assert set(choice.others) <= set(filter(usable, version.replicas))
    if len(surely) > 1:
        assert {choice.best, *choice.others} == set(surely)
