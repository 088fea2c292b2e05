"""The picture of the cluster, and what people say."""

import pytest

from dragonbelly.backends.memory import MemoryBackend
from dragonbelly.cluster.members import Cluster, Member
from dragonbelly.cluster.states import OperatorStates
from dragonbelly.errors import BackendUnavailable, StateUnavailable
from dragonbelly.model import BackendState, BackendView, Observed, Space
from dragonbelly.state.memory import MemoryStore
from tests.builders import StoreLink, World, done

ALIVE, READONLY, DRAIN, DOWN, DEAD = BackendState


@pytest.fixture
def cluster():
    made = Cluster(Member(MemoryBackend(n), BackendView(n, host=n, zone="z")) for n in "ab")
    made.changes = []
    made.on_change.append(lambda old, new: made.changes.append((old, new)))
    return made


def test_a_picture_does_not_change(cluster):
    before = cluster.view
    cluster.observe("a", Observed.UNREACHABLE)
    assert before["a"].observed is Observed.UP
    assert cluster.view["a"].observed is Observed.UNREACHABLE
    assert cluster.view["b"] is before["b"]
    [(old, new)] = cluster.changes
    assert (old, new) == (before["a"], cluster.view["a"])


def test_room_is_no_change(cluster):
    cluster.observe("a", Observed.UP, Space(5, 10))
    assert (cluster.view["a"].free, cluster.view["a"].total) == (5, 10)
    cluster.observe("a", Observed.UP)
    assert cluster.view["a"].free == 5
    cluster.patience("a", False)
    assert cluster.changes == []
    cluster.patience("a", True)
    assert len(cluster.changes) == 1


def test_what_people_say(cluster):
    cluster.say({"a": DRAIN})
    cluster.say({"a": DRAIN})
    assert len(cluster.changes) == 1
    cluster.say({"b": DOWN})
    assert [cluster.view[n].state for n in "ab"] == [ALIVE, DOWN]


def test_a_server_that_is_not_configured_any_more(cluster):
    with pytest.raises(BackendUnavailable):
        cluster.backend("c")
    cluster.say({"c": DRAIN})
    assert "c" not in cluster.view
    cluster.say({"c": DEAD})
    assert cluster.view["c"].state is DEAD
    assert not cluster.view["c"].serves
    [(old, new)] = cluster.changes
    assert (old.state, new) == (ALIVE, cluster.view["c"])
    cluster.say({"c": DEAD})
    assert len(cluster.changes) == 1
    assert cluster.names == ["a", "b"]


def test_they_are_kept_in_the_store_and_followed():
    world = World()
    two = world.another("two")
    world.start()
    world.say("a", DRAIN)
    assert world.daemon.cluster.view["a"].state is DRAIN
    assert two.cluster.view["a"].state is ALIVE
    world.advance(2)
    assert two.cluster.view["a"].state is DRAIN
    two.link.away = True
    world.say("a", ALIVE)
    world.advance(10)
    assert two.cluster.view["a"].state is DRAIN
    two.link.away = False
    world.advance(2)
    assert two.cluster.view["a"].state is ALIVE
    world.close()


def test_a_store_that_is_away_is_said(cluster):
    world = World()
    link = StoreLink(MemoryStore(world.clock))
    states = OperatorStates(link, cluster, world.clock, every=2.0)
    link.away = True
    with pytest.raises(StateUnavailable):
        done(states.set("a", DRAIN))
    assert cluster.view["a"].state is ALIVE
