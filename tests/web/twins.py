"""Two equal worlds, and one client of both: what he sends goes to the fast lane here, to the slow one there."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import quote

from prometheus_client import generate_latest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred

from dragonbelly.signing import Permission, SigningKey, signed_query
from dragonbelly.web.message import Answer, Question
from tests.web.test_door import DOMAINS, KEY, KEYS, TOKENS
from tests.web.wire import Connection, Wire
from tests.web.world import NOW, World

APP = "https://app.example.com"
SETTINGS = f'[http]\norigins = ["{APP}"]\n%s{DOMAINS}{TOKENS}{KEYS}'
OPEN = b"Host: open.test\r\n"
PRIVATE = b"Host: private.test\r\n"

#: What is stored in the domain ``open``, in two copies; in ``private`` it is ``secret``.
FILES = ("a", "b c/é", "x" * 200)


def signed(name: str, method: Any = "GET", key: SigningKey = KEY, expires: int = int(NOW) + 3600) -> bytes:
    permission = Permission(method, "private", name, expires)
    return f"/{name}?{signed_query(key, permission)}".encode()


class Twins:
    """
    The worlds, with ``settings``, and ``http`` in the section of that name.  Whatever differs between the lanes
    is an ``AssertionError`` as soon as it does.
    """

    def __init__(
        self, settings: str = "", *, http: str = "", stored: bool = True, wire: Callable[..., Wire] = Wire
    ) -> None:
        self._wire = wire
        #: Unless a test asked more of the one than of the other.
        self.alike = True
        settings = SETTINGS % http + settings
        self.worlds = [World(settings, lane=lane, random=Random(7)) for lane in ("fast", "slow")]
        if stored:
            self.each(_fill)

    def each(self, do: Callable[[World], Any]) -> None:
        first, second = (do(world) for world in self.worlds)
        assert first == second, (first, second)

    def connect(self, host: str = "192.0.2.1") -> Client:
        return Client(*(self._connect(world, host) for world in self.worlds))

    def _connect(self, world: World, host: str) -> Connection:
        return Connection(world.public, self._wire(peerAddress=IPv4Address("TCP", host, 1)))

    def advance(self, seconds: float) -> None:
        self.each(lambda world: world.clock.advance(seconds))

    def think_about(self, path: bytes) -> None:
        """Questions for this file wait in ``thinking`` for ``answer``."""
        self.thinking: list[Deferred[None]] = []

        def slow_down(world: World) -> None:
            files = world.daemon.public._files
            answer = files.answer

            async def slowly(question: Question) -> Answer:
                if question.target.path == path:
                    self.thinking.append(Deferred())
                    await self.thinking[-1]
                return await answer(question)

            files.answer = slowly  # type: ignore[method-assign]

        self.each(slow_down)

    def answer(self) -> None:
        thinking, self.thinking = self.thinking, []
        assert thinking
        for each in thinking:
            each.callback(None)

    def end(self) -> None:
        """Both counted the same, and nothing is left."""
        self.each(lambda world: len(world.daemon.public_site.connections))
        assert len(self.worlds[0].daemon.public_site.connections) == 0
        if self.alike:
            self.each(counted)
        self.each(lambda world: world.close())


class Client:
    """A connection to each."""

    def __init__(self, fast: Connection, slow: Connection) -> None:
        self.fast, self.slow = fast, slow
        self.compare()

    @property
    def handed_over(self) -> bool:
        return self.fast.channel.channel is not None

    @property
    def said(self) -> bytes:
        return self.fast.said

    @property
    def statuses(self) -> list[int]:
        lines = self.said.splitlines()
        return [int(line.split()[1]) for line in lines if line.startswith(b"HTTP/1.1 ")]

    @property
    def closed(self) -> bool:
        return self.fast.closed

    def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.fast.feed(piece)
            self.slow.feed(piece)
            self.compare()

    def settle(self) -> None:
        self.compare()
        self.fast.settle()
        self.slow.settle()

    def shut_down(self) -> None:
        """He says no more, and still listens."""
        self.fast.shut_down()
        self.slow.shut_down()
        self.compare()

    def leave(self) -> None:
        self.fast.leave()
        self.slow.leave()
        self.compare()

    def compare(self) -> None:
        assert self.fast.said == self.slow.said, (self.fast.said, self.slow.said)
        for state in ("closed", "lost"):
            assert getattr(self.fast, state) == getattr(self.slow, state), state
        for state in ("aborted", "half_closed"):
            assert getattr(self.fast.wire, state) == getattr(self.slow.wire, state), state


def counted(world: World) -> dict[str, float]:
    """What the metrics say, but for how long things took."""
    lines = generate_latest(world.metrics.registry).decode().splitlines()
    samples = (line.rpartition(" ") for line in lines if line.startswith("dragonbelly_"))
    return {name: float(value) for name, _, value in samples if "seconds" not in name and "created" not in name}


def _fill(world: World) -> None:
    for name in FILES:
        said = world.ask("PUT", f"/{quote(name)}", {"Host": "open.test"}, b"hello")
        world.upload(said.location, b"hello")
        assert world.ask("GET", f"/{quote(name)}", {"Host": "open.test"}).status == 302
    token = {"Host": "private.test", "Authorization": "Bearer writer"}
    said = world.ask("PUT", "/secret", token, b"hush")
    world.upload(said.location, b"hush")
    assert world.ask("GET", "/secret", token).status == 302
    world.replicate()
    # Begun, and never sent.
    assert world.ask("PUT", "/begun", {"Host": "open.test"}, b"hello").status == 307
