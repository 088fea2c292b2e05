"""What goes to Redis, byte by byte; and how long its replies are waited for."""

from __future__ import annotations

from typing import Any

import pytest
import txredisapi
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from dragonbelly.state.protocol import Argument, RedisProtocol


@pytest.mark.parametrize(
    "command",
    [("PING",), ("SET", b"k\r\n\0\xff", "é"), ("EVALSHA", "", b"", 0, -5, 2**62, "x" * 100_000)],
)
def test_commands_are_written_as_txredisapi_writes_them(command: tuple[Argument, ...]) -> None:
    plain = txredisapi.RedisProtocol(charset=None)
    assert RedisProtocol(Clock(), 1.0)._build_command(*command) == plain._build_command(*command)


def test_what_is_no_text_is_not_written() -> None:
    with pytest.raises(UnicodeEncodeError):
        RedisProtocol(Clock(), 1.0)._build_command("GET", "\udcff")


class Asking:
    """A connection whose replies may take two seconds."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.protocol = RedisProtocol(self.clock, 2.0)
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)
        self.told: list[Any] = []

    def ask(self, name: str = "") -> None:
        def told(reply: Any) -> None:
            self.told.append(name + (type(reply).__name__ if isinstance(reply, Exception) else reply.decode()))

        self.protocol.ask(told, "ECHO", name)

    def wait(self, seconds: float) -> None:
        self.clock.pump([0.25] * int(seconds * 4))


@pytest.fixture
def asking() -> Asking:
    return Asking()


def test_replies_are_told_in_order_as_they_come(asking: Asking) -> None:
    for name in "abc":
        asking.ask(name)
    asking.protocol.dataReceived(b"+1\r\n-ERR no\r\n+")
    assert asking.told == ["a1", "bResponseError"]
    asking.protocol.dataReceived(b"3\r\n")
    assert asking.told == ["a1", "bResponseError", "c3"]


def test_no_reply_in_time_ends_the_connection_and_all_are_told(asking: Asking) -> None:
    asking.ask("a")
    asking.wait(1)
    asking.ask("b")
    asking.wait(0.75)
    assert asking.told == []
    asking.wait(0.25)
    assert asking.told == ["aTimeoutError", "bTimeoutError"]
    assert asking.transport.disconnected


def test_each_has_its_time(asking: Asking) -> None:
    asking.ask("a")
    asking.wait(1.25)
    asking.ask("b")
    asking.protocol.dataReceived(b"+1\r\n")
    asking.wait(1.75)
    assert asking.told == ["a1"]
    asking.wait(0.75)  # up to a beat more
    assert asking.told == ["a1", "bTimeoutError"]


def test_who_slept_gives_the_replies_their_time(asking: Asking) -> None:
    asking.ask("a")
    asking.clock.advance(3600)
    asking.wait(1.25)
    assert asking.told == []
    asking.wait(0.25)
    assert asking.told == ["aTimeoutError"]


def test_what_is_read_in_the_turn_in_which_it_is_over_counts(asking: Asking) -> None:
    asking.ask("a")
    asking.clock.callLater(2.0, asking.protocol.dataReceived, b"+1\r\n")
    asking.wait(4)
    assert asking.told == ["a1"]
    assert not asking.transport.disconnected


def test_no_timer_while_nothing_is_asked(asking: Asking) -> None:
    assert asking.clock.getDelayedCalls() == []
    asking.ask("a")
    asking.protocol.dataReceived(b"+1\r\n")
    asking.wait(0.5)
    assert asking.clock.getDelayedCalls() == []


def test_a_connection_that_is_lost(asking: Asking) -> None:
    asking.ask("a")
    given_up = asking.protocol.execute_command("PING")
    given_up.addErrback(lambda failure: failure.trap(txredisapi.RedisError))
    asking.protocol.connectionLost(Failure(ConnectionDone()))
    assert asking.told == ["aConnectionError"]
    assert given_up.called
    assert asking.clock.getDelayedCalls() == []
    with pytest.raises(txredisapi.ConnectionError):
        asking.ask("b")


def test_who_does_not_wait_any_more_does_not_shift_the_replies(asking: Asking) -> None:
    given_up = asking.protocol.execute_command("PING")
    given_up.addErrback(lambda _: None)
    given_up.cancel()
    asking.ask("a")
    asking.protocol.dataReceived(b"+PONG\r\n+1\r\n+nobody asked\r\n")
    assert asking.told == ["a1"]


def test_what_cannot_be_written_does_not_shift_the_replies(asking: Asking) -> None:
    with pytest.raises(UnicodeEncodeError):
        asking.protocol.execute_command("GET", "\udcff")
    asking.ask("a")
    asking.protocol.dataReceived(b"+1\r\n")
    assert asking.told == ["a1"]


def test_what_was_told_before_nonsense_came_is_seen_to(asking: Asking) -> None:
    done: list[str] = []

    def told(reply: bytes) -> None:
        assert asking.protocol.after is not None
        asking.protocol.after.append(lambda: done.append(reply.decode()))

    asking.protocol.ask(told, "PING")
    with pytest.raises(txredisapi.InvalidData):
        asking.protocol.dataReceived(b"+PONG\r\nnonsense\r\n")
    assert done == ["PONG"]
    assert asking.protocol.after is None


def test_what_is_asked_in_one_turn_is_one_write(asking: Asking) -> None:
    for name in "ab":
        asking.ask(name)
    assert asking.transport.value() == b""
    asking.clock.advance(0)
    assert asking.transport.value() == b"".join(
        b"*2\r\n$4\r\nECHO\r\n$1\r\n%b\r\n" % name for name in (b"a", b"b")
    )
    asking.ask("c")
    asking.clock.advance(0)
    assert asking.transport.value().endswith(b"c\r\n")


def test_nothing_is_sent_after_the_end(asking: Asking) -> None:
    asking.ask("a")
    asking.protocol.abort()
    asking.ask("b")
    asking.clock.advance(0)
    assert asking.transport.value() == b""
    asking.ask("c")
    asking.protocol.connectionLost(Failure(ConnectionDone()))
    assert asking.clock.getDelayedCalls() == []
    assert asking.told == ["aConnectionError", "bConnectionError", "cConnectionError"]
