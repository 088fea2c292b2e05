"""One connection to a site, in memory: bytes go in, answers come out, and h11 judges every one of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import h11
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer


class Said(NamedTuple):
    """One answer; header names in lower case.  ``early`` are the statuses of the informational ones before."""

    status: int
    headers: dict[str, str]
    body: bytes
    early: tuple[int, ...] = ()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def location(self) -> str:
        return self.headers["location"]


def answers(data: bytes, methods: Sequence[str], closed: bool = False) -> list[Said]:
    """
    The answers to requests of ``methods``, in order; all of ``data`` has to be answers.

    :raises h11.RemoteProtocolError: that is no HTTP.
    """
    said = []
    for method in methods:
        if not data:
            break
        one, data = _answer(data, method, closed)
        said.append(one)
    assert not data, f"more was said than was asked for: {data!r}"
    return said


def _answer(data: bytes, method: str, closed: bool) -> tuple[Said, bytes]:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    early: list[int] = []
    head: h11.Response | None = None
    body = b""
    while True:
        event = client.next_event()
        if isinstance(event, h11.InformationalResponse):
            early.append(event.status_code)
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            names = [name for name, _ in head.headers]
            assert len(set(names)) == len(names), f"a header twice: {names}"
            headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
            return Said(head.status_code, headers, body, tuple(early)), client.trailing_data[0]
        else:
            assert event is h11.NEED_DATA and closed and head is not None, f"half an answer: {data!r}"
            client.receive_data(b"")
            closed = False


@implementer(ITCPTransport)
class Wire(StringTransport):
    """A TCP transport that keeps what is written, and does not forgive what a real one would drop."""

    half_closed = False
    aborted = False

    def write(self, data: bytes) -> None:
        assert not self.half_closed and not self.disconnecting, f"said after the end: {data!r}"
        super().write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()

    def unregisterProducer(self) -> None:
        # as real transports do, who do not mind if there is none
        self.producer = self.streaming = None

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def getTcpKeepAlive(self) -> bool:
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None: ...


class Connection:
    """A client's connection to ``site``."""

    def __init__(self, site: Any, wire: Wire | None = None) -> None:
        self.wire = wire or Wire()
        self.channel = site.buildProtocol(None)
        self.lost = False
        self._methods: list[str] = []
        self._read = 0
        self.channel.makeConnection(self.wire)

    @property
    def closed(self) -> bool:
        """Whether the server has ended the connection, for both sides."""
        return self.wire.disconnecting

    @property
    def said(self) -> bytes:
        """All that came."""
        said: bytes = self.wire.value()
        return said

    def feed(self, *pieces: bytes) -> None:
        """Send; what comes after the server has closed is lost, as it is on a socket."""
        for piece in pieces:
            if not self.closed:
                self.channel.dataReceived(piece)
            self.settle()

    def settle(self) -> None:
        """A connection that the server closes ends as soon as all is written, which here is at once."""
        if self.closed:
            self.leave()

    def shut_down(self) -> None:
        """The client says no more, and still listens."""
        if not self.closed:
            self.channel.readConnectionLost()
        self.settle()

    def leave(self) -> None:
        """The connection ends."""
        if not self.lost:
            self.lost = True
            self.channel.connectionLost(Failure(ConnectionDone()))

    def send(
        self, method: str, target: str | bytes, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> None:
        """A whole request; see ``request``."""
        self._methods.append(method)
        self.feed(request(method, target, headers, body))

    def heard(self) -> list[Said]:
        """The answers to ``send`` that came since this was called last."""
        data, self._read = self.said[self._read :], len(self.said)
        found = answers(data, self._methods, self.closed)
        del self._methods[: len(found)]
        return found

    def ask(
        self, method: str, target: str | bytes, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Said:
        """Send a request that is answered at once."""
        self.send(method, target, headers, body)
        (said,) = self.heard()
        return said


def request(
    method: str, target: str | bytes, headers: dict[str, str] | None = None, body: bytes = b""
) -> bytes:
    """
    The bytes of a request, with a ``Host`` and, where a body may be, its ``Content-Length``, unless ``headers``
    say something else; a header whose value is empty is left out.
    """
    given = {"Host": "localhost"}
    if body or method in ("PUT", "POST", "PATCH"):
        given["Content-Length"] = str(len(body))
    given |= headers or {}
    target = target.encode() if isinstance(target, str) else target
    lines = [b"%s %s HTTP/1.1" % (method.encode(), target)]
    lines += [f"{name}: {value}".encode() for name, value in given.items() if value]
    return b"\r\n".join([*lines, b"", body])
