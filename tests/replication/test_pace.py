"""So often a second and no more."""

import pytest
from twisted.internet.task import Clock

from dragonbelly.replication.copy import SMALL, Relay, copy
from dragonbelly.replication.pace import GRAIN, Bandwidth, Pace
from dragonbelly.waiting import each
from tests.builders import NOW, FaultyBackend, begun, done
from tests.replication.test_copy import Body, Intake


@pytest.fixture
def clock():
    clock = Clock()
    clock.advance(NOW)
    return clock


def test_in_the_long_run(clock):
    pace = Pace(clock, 100)

    async def many():
        for _ in range(1000):
            await pace.spend(1)

    _, results = begun(many())
    clock.pump([0.01] * 980)
    assert not results
    clock.pump([0.01] * 30)
    assert results == [None]


def test_what_is_hardly_worth_it_is_made_up_for(clock):
    pace = Pace(clock, 100)
    waits = [pace.owe(1) for _ in range(10)]
    assert waits[:4] == [0.0] * 4
    assert waits[-1] == pytest.approx(0.1)
    assert all(wait == 0 or wait >= GRAIN for wait in waits)


def test_nothing_is_saved_up(clock):
    pace = Pace(clock, 100)
    clock.advance(1000)
    done(pace.spend(1))
    assert pace.owe(100) == pytest.approx(1.01)


def test_a_clock_that_is_set_back(clock):
    pace = Pace(clock, 100)
    pace.owe(10)
    clock.rightNow -= 3600
    assert pace.owe(10) == pytest.approx(0.1)


# --- copies

MB = 1_000_000


class Eager(Body):
    """Sends a piece whenever it may, as fast as it can."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.sent = 0
        self.held = False

    def go(self) -> None:
        while not self.held and self.sent < self.size:
            piece = b"x" * min(50_000, self.size - self.sent)
            self.sent += len(piece)
            self.send(piece)

    def pauseProducing(self) -> None:
        self.held = True

    def resumeProducing(self) -> None:
        self.held = False

    def stopProducing(self) -> None:
        self.held = True


@pytest.mark.parametrize("late", [0.0, 0.02], ids=["in time", "late timers"])
def test_one_large_copy_holds_its_bandwidth(clock, late):
    body = Eager(1000 * MB)
    allowance = Bandwidth(clock, 10 * MB, 0, "ab").between("a", "b")
    relay = Relay(body, None, None, allowance)
    relay.startProducing(Intake())
    for _ in range(int(4 / (0.001 + late))):
        body.go()
        clock.advance(0.001 + late)
    assert body.sent == pytest.approx(4 * 10 * MB, rel=0.05)
    relay.end()
    assert clock.getDelayedCalls() == []


def test_many_small_copies_hold_their_bandwidth(clock):
    data = b"x" * 4096
    source, target = FaultyBackend("a"), FaultyBackend("b")
    bandwidth = Bandwidth(clock, MB, 0, "ab")

    async def one(n):
        source.objects[str(n)] = data
        allowance = bandwidth.between("a", "b")
        how = {"size": 4096, "sha256": None, "content_type": None, "allowance": allowance}
        await copy(source, str(n), target, str(n), **how)

    begun(each(range(10_000), one, 16))
    for _ in range(400):
        clock.advance(0.01)
    assert len(target.objects) * 4096 == pytest.approx(4 * MB, rel=0.05)


def test_bandwidth_of_a_backend(clock):
    bandwidth = Bandwidth(clock, 100 * MB, MB, "abcd")
    assert bandwidth.between("a", "b").owe(MB) == pytest.approx(1, abs=0.1)
    assert bandwidth.between("c", "d").owe(MB) == pytest.approx(1, abs=0.1)
    assert bandwidth.between("c", "a").owe(MB) == pytest.approx(2, abs=0.1)
    assert Bandwidth(clock, 0, 0, "ab").between("a", "b") is None


def test_a_copy_that_ends_while_it_waits_leaves_no_timer(clock):
    body = Eager(10 * MB)
    relay = Relay(body, None, None, Bandwidth(clock, MB, 0, "ab").between("a", "b"))
    results = []
    relay.startProducing(Intake()).addErrback(results.append)
    body.go()
    assert clock.getDelayedCalls() != []
    body.end(OSError())
    assert len(results) == 1
    assert clock.getDelayedCalls() == []


def test_a_small_copy_waits_before_it_holds_a_connection(clock):
    source, target = FaultyBackend("a"), FaultyBackend("b")
    source.objects["k"] = b"x" * SMALL
    allowance = Bandwidth(clock, SMALL, 0, "ab").between("a", "b")
    how = {"size": SMALL, "sha256": None, "content_type": None, "allowance": allowance}
    begun(copy(source, "k", target, "k", **how))
    assert source.calls == []
    clock.advance(1)
    assert target.objects == source.objects
