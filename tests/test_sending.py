"""Bytes go at once where they can, and never before those that had to wait."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport

from dragonbelly.sending import Sender
from dragonbelly.sockets import ListeningSocket
from dragonbelly.testing import reactor
from tests.servers.ports import free_port

#: More than a socket takes.
LARGE = 8 * 1024 * 1024


class End(Protocol):
    def connectionMade(self) -> None:
        self.send = Sender(self.transport)


@pytest.fixture
def ends() -> Iterator[tuple[End, socket.socket]]:
    """What sends, and the socket that it sends to."""
    made: list[End] = []

    class Ends(Factory):
        noisy = False

        def buildProtocol(self, addr: object) -> End:
            made.append(End())
            return made[-1]

    port = free_port()
    listening = reactor.run(lambda: ListeningSocket(reactor.start(), f"tcp:{port}:interface=127.0.0.1"))
    reactor.run(lambda: listening.serve(Ends()))
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        while not made:
            reactor.run(lambda: None)
        yield made[0], connection
    reactor.run(listening.close)


def at_once(end: End, connection: socket.socket, data: bytes) -> bytes:
    """What is there before the reactor has another turn."""

    def send() -> bytes:
        end.send(data)
        connection.setblocking(False)
        try:
            return connection.recv(len(data))
        except BlockingIOError:
            return b""
        finally:
            connection.settimeout(20)

    return reactor.run(send)


def read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += connection.recv(1 << 20)
    return data


def test_it_goes_at_once(ends: tuple[End, socket.socket]) -> None:
    assert at_once(*ends, b"some bytes") == b"some bytes"


def test_what_waits_goes_first_and_then_it_goes_at_once_again(ends: tuple[End, socket.socket]) -> None:
    end, connection = ends
    pieces = [bytes([n]) * (LARGE // 4) for n in range(4)] + [b"the end"]

    def send() -> None:
        for piece in pieces:
            end.send(piece)

    reactor.run(send)
    whole = b"".join(pieces)
    assert read(connection, len(whole)) == whole
    reactor.run(lambda: None)
    assert at_once(end, connection, b"again") == b"again"


def test_a_connection_that_is_gone_takes_all_and_says_nothing(ends: tuple[End, socket.socket]) -> None:
    end, connection = ends
    assert end.transport is not None
    reactor.run(end.transport.abortConnection)
    with pytest.raises(ConnectionResetError):
        connection.recv(10)
    reactor.run(lambda: end.send(b"never"))


def test_what_is_no_socket_is_written_to() -> None:
    transport = StringTransport()
    Sender(transport)(b"some bytes")
    assert transport.value() == b"some bytes"
