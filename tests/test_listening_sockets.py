"""A socket that is open all the time, whoever serves it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from twisted.internet.protocol import Factory, Protocol

from dragonbelly.errors import StartError
from dragonbelly.sockets import ListeningSocket
from dragonbelly.testing import reactor
from tests.servers.ports import free_port
from tests.waiting import until


class Greeter(Factory):
    """Says its name, and keeps the connection."""

    noisy = False

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.connections: list[Protocol] = []

    def buildProtocol(self, addr: object) -> Protocol:
        greeter = self

        class Greeting(Protocol):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(greeter.name)
                self.transport.loseConnection()

        greeter.connections.append(made := Greeting())
        return made


@pytest.fixture(params=["tcp", "unix"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "unix":
        return f"unix:{tmp_path}/socket"
    return f"tcp:{free_port()}:interface=127.0.0.1"


@pytest.fixture
def opened(where: str) -> Iterator[ListeningSocket]:
    made = reactor.run(lambda: ListeningSocket(reactor.start(), where))
    yield made
    reactor.run(made.close)


def connect(where: str) -> socket.socket:
    if where.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        connection.connect(where.removeprefix("unix:"))
        return connection
    return socket.create_connection(("127.0.0.1", int(where.split(":")[1])), timeout=20)


def greeted(where: str) -> bytes:
    with connect(where) as connection:
        return connection.recv(100)


def test_one_after_the_other_serves_it(opened: ListeningSocket) -> None:
    where = opened.where
    with connect(where) as early:
        reactor.run(lambda: opened.serve(Greeter(b"one")))
        assert early.recv(100) == b"one"
    assert greeted(where) == b"one"
    reactor.run(lambda: opened.serve(Greeter(b"two")))
    assert {greeted(where) for _ in range(10)} == {b"two"}


def test_who_comes_between_waits(opened: ListeningSocket) -> None:
    reactor.run(lambda: opened.serve(Greeter(b"one")))
    reactor.run(opened.rest)
    with connect(opened.where) as waits:
        other = reactor.run(lambda: ListeningSocket(reactor.start(), opened.where, opened.fileno))
        reactor.run(lambda: other.serve(Greeter(b"another process")))
        assert waits.recv(100) == b"another process"
    # It is not the other's to close.
    reactor.run(other.close)
    reactor.run(lambda: opened.serve(Greeter(b"one again")))
    assert greeted(opened.where) == b"one again"


def test_it_takes_one_at_a_time(opened: ListeningSocket) -> None:
    """Else the first process to wake up would have all that came at once, and for as long as they stay."""
    greeter = Greeter(b"one")
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(opened.where)) for _ in range(5)]

        def look() -> list[int]:
            opened.serve(greeter)
            port = opened.port
            assert port is not None
            port.stopReading()
            taken = []
            for _ in range(3):
                port.doRead()
                taken.append(len(greeter.connections))
            port.startReading()
            return taken

        assert reactor.run(look) == [1, 2, 3]
        assert [connection.recv(100) for connection in connections] == [b"one"] * 5


def test_when_it_is_closed_nobody_is_there(where: str) -> None:
    made = reactor.run(lambda: ListeningSocket(reactor.start(), where))
    reactor.run(lambda: made.serve(Greeter(b"one")))
    assert greeted(where) == b"one"
    reactor.run(made.close)
    with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
        connect(where)
    # And it can be opened again.
    again = reactor.run(lambda: ListeningSocket(reactor.start(), where))
    reactor.run(lambda: again.serve(Greeter(b"again")))
    until(lambda: greeted(where) == b"again")
    reactor.run(again.close)


def test_what_is_taken(opened: ListeningSocket) -> None:
    with pytest.raises(StartError, match="cannot listen on"):
        reactor.run(lambda: ListeningSocket(reactor.start(), opened.where))


@pytest.mark.parametrize(
    "where", ["systemd:domain=INET:index=0", "haproxy:systemd:domain=INET:name=http", "systemd:domain=INET"]
)
def test_what_systemd_did_not_open(where: str) -> None:
    with pytest.raises(StartError, match="systemd handed no such socket over"):
        reactor.run(lambda: ListeningSocket(reactor.start(), where))
    with pytest.raises(StartError, match="at a start only"):
        reactor.run(lambda: ListeningSocket(reactor.start(), where, late=True))
