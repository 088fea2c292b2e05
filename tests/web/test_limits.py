"""What one client may take: the rules, on connections that are made up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.task import Clock

from dragonbelly.config.limits import LimitsSection
from dragonbelly.web.addresses import Addresses
from dragonbelly.web.channel import GIVE_WAY
from dragonbelly.web.connections import Connections, Seat
from dragonbelly.web.throttle import Throttle
from tests.web.echo import make_echo
from tests.web.wire import Connection, Wire

LOOPBACK = ("127.0.0.0/8", "::1")


# --- addresses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::7", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::7", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::7%eth0", "fe80::/64"),
        ("127.0.0.1", None),
        ("127.9.9.9", None),
        ("::ffff:127.0.0.1", None),
        ("::1", None),
        ("", None),
        ("no address", None),
    ],
)
def test_whom_an_address_stands_for(host: str, key: str | None) -> None:
    assert Addresses(LOOPBACK).of(host) == key


def test_networks_that_are_exempt() -> None:
    addresses = Addresses(["10.0.0.0/8", "2001:db8::/32"])
    assert [addresses.of(host) for host in ("10.1.2.3", "2001:db8::1", "127.0.0.1")] == [
        None,
        None,
        "127.0.0.1",
    ]


# --- connections -----------------------------------------------------------------------------------------


class Table:
    """Connections that are names; ``gone`` are those that had to give way."""

    def __init__(self, **limits: Any) -> None:
        self.limited: list[str] = []
        self.gone: list[str] = []
        self.connections = Connections(LimitsSection(**limits), self.limited.append)
        self.seats: dict[str, Seat] = {}

    def enter(self, name: str, address: str = "192.0.2.1") -> bool:
        table = self

        class Made:
            def give_way(self) -> None:
                table.gone.append(name)

        seat = self.connections.enter(Made(), address)
        if seat is not None:
            self.seats[name] = seat
        return seat is not None

    def work(self, *names: str) -> None:
        """A request of each, and its answer."""
        for name in names:
            self.connections.busy(self.seats[name])
            self.connections.idle(self.seats[name])


def test_the_longest_idle_one_makes_room() -> None:
    table = Table(connections=3)
    assert all(table.enter(name, f"192.0.2.{n}") for n, name in enumerate("abc"))
    table.work("a")
    assert table.enter("d", "192.0.2.9")
    assert table.gone == ["b"]
    assert table.enter("e", "192.0.2.9")
    assert table.gone == ["b", "c"]
    assert table.limited == ["connections"] * 2
    assert len(table.connections) == 3


def test_who_is_worked_for_stays() -> None:
    table = Table(connections=2)
    table.enter("a")
    table.enter("b")
    table.connections.busy(table.seats["a"])
    assert table.enter("c")
    assert table.gone == ["b"]
    table.connections.busy(table.seats["c"])
    assert not table.enter("d")
    assert table.gone == ["b"]
    table.connections.leave(table.seats["a"])
    assert table.enter("d")


def test_an_address_makes_room_for_itself() -> None:
    table = Table(connections=100, connections_per_address=2)
    table.enter("other", "192.0.2.2")
    for name in "abcd":
        assert table.enter(name)
    assert table.gone == ["a", "b"]
    assert table.limited == ["connections_per_address"] * 2
    table.connections.busy(table.seats["c"])
    table.connections.busy(table.seats["d"])
    assert not table.enter("e")
    assert table.enter("more", "192.0.2.2")


def test_who_is_exempt_is_counted_in_all_only() -> None:
    table = Table(connections=3, connections_per_address=1)
    assert all(
        table.enter(name, address) for name, address in zip("abc", ["127.0.0.1", "", "::1"], strict=True)
    )
    assert table.gone == []
    assert table.enter("d", "127.0.0.1")
    assert table.gone == ["a"]


def test_no_limit_by_address() -> None:
    table = Table(connections=10, connections_per_address=0)
    assert all(table.enter(name) for name in "abcdefghij")
    assert table.gone == []


@given(st.lists(st.tuples(st.sampled_from(["enter", "busy", "idle", "leave"]), st.integers(0, 9)), max_size=60))
def test_nothing_is_lost_or_counted_twice(moves: list[tuple[str, int]]) -> None:
    table = Table(connections=5, connections_per_address=2)
    entered = 0
    for move, n in moves:
        if move == "enter":
            table.enter(f"{entered}", f"192.0.2.{n % 4}")
            entered += 1
        elif table.seats:
            seat = list(table.seats.values())[n % len(table.seats)]
            getattr(table.connections, move)(seat)
        connections = table.connections
        assert len(connections) <= 5
        assert set(connections._idle) <= connections._taken
        shares = connections._shares.values()
        assert all(1 <= len(share.taken) <= 2 and set(share.idle) <= share.taken for share in shares)
        assert set().union(*(share.taken for share in shares)) == connections._taken
    for seat in table.seats.values():
        table.connections.leave(seat)
    assert len(table.connections) == len(table.connections._idle) == len(table.connections._shares) == 0


class TestOnAListener:
    """The same with connections that are real but for the wire."""

    @pytest.fixture(autouse=True)
    def _site(self) -> None:
        self.clock = Clock()
        self.limited: list[str] = []
        limits = LimitsSection(connections=3, connections_per_address=2)
        self.site, _ = make_echo(self.clock, limits, self.limited.append)

    def connect(self, host: str) -> Connection:
        return Connection(self.site, Wire(peerAddress=IPv4Address("TCP", host, 1)))

    def test_the_idle_ones_of_an_address(self) -> None:
        first, second = self.connect("192.0.2.1"), self.connect("192.0.2.1")
        assert first.ask("GET", "/refuse").status == 200
        third = self.connect("192.0.2.1")
        second.settle()
        assert (first.closed, second.closed, third.closed) == (False, True, False)
        assert not second.wire.aborted
        for connection in (first, third):
            assert connection.ask("GET", "/refuse").status == 200
            connection.leave()
        assert len(self.site.connections) == 0
        assert self.clock.getDelayedCalls() == []

    @pytest.mark.parametrize("target", ["/refuse?later", "/buffer", "/stream"])
    def test_which_are_idle(self, target: str) -> None:
        """One whose small body drips is; one that is worked on, or sends its file, is not."""
        busy = [self.connect("192.0.2.1") for _ in range(2)]
        for connection in busy:
            connection.feed(b"PUT %b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na" % target.encode())
            if target.startswith("/refuse"):
                connection.feed(b"bc")
        third = self.connect("192.0.2.1")
        third.settle()
        assert third.closed == (target != "/buffer")
        assert busy[0].closed == (target == "/buffer")
        if target == "/refuse?later":
            self.clock.advance(1)
            assert not any(connection.closed for connection in busy)
            assert not self.connect("192.0.2.1").closed

    def test_who_does_not_let_go_is_cut_off(self) -> None:
        first = self.connect("192.0.2.1")
        others = [self.connect("192.0.2.1") for _ in range(2)]
        # Not settled: there is something left to write that nobody reads.
        assert first.closed
        self.clock.advance(GIVE_WAY)
        assert first.wire.aborted
        for connection in (first, *others):
            connection.leave()
        assert self.clock.getDelayedCalls() == []

    def test_unix_sockets_have_no_address(self) -> None:
        made = [Connection(self.site, Wire(peerAddress=UNIXAddress(None))) for _ in range(3)]
        assert not any(connection.closed for connection in made)

    def test_one_that_lingers_makes_room(self) -> None:
        lingering = self.connect("192.0.2.1")
        lingering.feed(b"PUT /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 999999\r\n\r\n")
        assert not lingering.closed
        for _ in range(2):
            self.connect("192.0.2.1")
        lingering.settle()
        assert lingering.closed


# --- requests a second -----------------------------------------------------------------------------------


class TestThrottle:
    def test_so_many_at_once_and_then_at_the_rate(self) -> None:
        throttle = Throttle(10, 3)
        assert [throttle.take("a", 100.0) for _ in range(4)] == [0, 0, 0, pytest.approx(0.1)]
        assert throttle.take("b", 100.0) == 0
        assert throttle.take("a", 100.1) == 0
        assert throttle.take("a", 100.1) == pytest.approx(0.1)

    def test_it_fills_up_and_not_more(self) -> None:
        throttle = Throttle(10, 3)
        for _ in range(3):
            throttle.take("a", 100.0)
        assert [throttle.take("a", 200.0) == 0 for _ in range(5)] == [True] * 3 + [False] * 2

    def test_no_limit(self) -> None:
        throttle = Throttle(0, 1)
        assert not any(throttle.take("a", 100.0) for _ in range(1000))

    def test_it_is_bounded_and_forgets_who_was_away_for_the_longest(self) -> None:
        throttle = Throttle(1, 1, table=2)
        for key in "abac":
            throttle.take(key, 100.0)
        assert len(throttle._full) == 2
        assert [throttle.take(key, 100.0) == 0 for key in "acb"] == [False, False, True]

    def test_a_clock_that_is_set_back_shuts_nobody_out_for_long(self) -> None:
        throttle = Throttle(1, 5)
        throttle.take("a", 1_000_000.0)
        assert throttle.take("a", 100.0) <= 1
        assert throttle.take("a", 101.0) == 0

    @given(st.integers(1, 50), st.integers(1, 20), st.lists(st.floats(0, 3), max_size=200))
    def test_never_more_than_the_bucket_allows(self, rate: int, burst: int, waits: list[float]) -> None:
        throttle, now, taken = Throttle(rate, burst), 1000.0, 0
        for wait in waits:
            now += wait
            left = throttle.take("a", now)
            taken += left == 0
            assert taken <= burst + rate * (now - 1000.0) + 1e-3
            if left:
                assert throttle.take("a", now + left + 1e-6) == 0
                taken += 1
                now += left + 1e-6
