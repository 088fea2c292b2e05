"""
The wires between a daemon and the rest of the world: every call that leaves a process passes here, and here
it meets its fate.  The store's wire keeps the order, as one connection does; calls to storage servers overtake
each other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from dragonbelly.errors import BackendRefused, BackendUnavailable, StateUnavailable
from dragonbelly.interfaces import IBackend, IObjectBody, IStateStore
from dragonbelly.model import ObjectStat, Space, StoredKey, Target
from dragonbelly.testing.simulation.clock import ProcessClock
from dragonbelly.testing.simulation.news import NewsWire
from dragonbelly.testing.simulation.storage import DOWN, FROZEN, Body, StorageServer

if TYPE_CHECKING:
    from dragonbelly.testing.simulation.process import Process
    from dragonbelly.testing.simulation.world import World

#: Seconds after which a call that got no answer has failed; a request that is stuck may still be carried out
#: within so many more.
TIMEOUT, LATE = 10.0, 30.0

#: What may happen to one call.
CRASH_BEFORE, CRASH_AFTER, LOST_REQUEST, LOST_REPLY, SLOW = (
    "crash before a call",
    "crash after a call",
    "request lost",
    "reply lost",
    "slow call",
)


#: What a store that is out of memory refuses.
WRITES = ("commit", "claim", "settle", "hasten", "set_meta", "set_operator_state", "confirm")


class _Reply:
    """What a caller waits for; ``Deferred.cancel`` and a broken connection end the wait."""

    def __init__(self, clock: ProcessClock) -> None:
        self._clock = clock
        self.deferred: Deferred[Any] = Deferred()

    def come(self, result: Any) -> None:
        self._clock.deliver(lambda: None if self.deferred.called else self.deferred.callback(result))


def _outcome(perform: Callable[[], Any]) -> Any:
    """What a server does, as a result or a ``Failure``."""
    try:
        return perform()
    except Exception:
        return Failure()


class StoreWire:
    """One daemon's connection to the store; provides ``IStateStore``."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        # Its own: the process may be another by the time an answer comes.
        self._clock = process.clock
        self._waiting: list[_Reply] = []
        self._last = 0.0
        self._run = world.store.run
        self.partitions = world.store.partitions
        self.identity = world.store.identity
        self.cut = False
        #: Since when it has not been cut.
        self.healthy_since = 0.0
        #: When news ceased to come without that being known, or the process to read them.
        self.silences: list[float] = []
        self._trackers: list[NewsWire] = []

    @property
    def run(self) -> str:
        return "" if self.cut else self._run

    def track(self) -> NewsWire:
        self._trackers.append(NewsWire(self._world, self, self._clock))
        return self._trackers[-1]

    def fall_silent(self, dead: bool) -> None:
        """No news come: the connection is dead, or the process is frozen."""
        self.silences.append(self._world.clock.rightNow)
        for tracker in self._trackers if dead else ():
            tracker.die()

    @property
    def lost(self) -> bool:
        """Whether nothing comes from the store any more, known or not."""
        return self.cut or self._world.store_down or self._world.store.run != self._run

    def break_off(self, seconds: float) -> None:
        """The connection is lost, and so are the replies that are under way."""
        if self.cut or self._clock.dead:
            return
        self.cut = True
        for tracker in self._trackers:
            tracker.lose()
        self._world.clock.callLater(seconds, self._clock.deliver, self._connect)
        waiting, self._waiting = self._waiting, []
        for reply in waiting:
            reply.come(Failure(StateUnavailable("the connection was lost")))

    def _connect(self) -> None:
        if self._world.store_down:
            self._world.clock.callLater(1.0, self._clock.deliver, self._connect)
            return
        self.cut = False
        self._run = self._world.store.run
        self._last = 0.0
        self.healthy_since = self._world.clock.rightNow
        for tracker in self._trackers:
            tracker.connect()

    def ask(self, name: str, what: str, arguments: tuple[Any, ...], of: Any = None) -> Deferred[Any]:
        """``of`` is whose method it is, if not the store's."""
        world, process = self._world, self._process
        if self._clock.dead:
            return self._clock.never()
        if self.cut:
            return fail(StateUnavailable("not connected"))
        fate = world.fate(process, what)
        if fate == CRASH_BEFORE:
            process.crash(self._clock)
            return self._clock.never()
        call = getattr(of or world.store, name)
        view = process.daemon.cluster.view if name == "commit" else {}
        refused = world.store_full and name in WRITES
        if not fate and not self._waiting and not refused and world.at_once():
            world.store.view = view
            return call(*arguments)  # type: ignore[no-any-return]
        reply = _Reply(self._clock)
        self._waiting.append(reply)
        now = world.clock.rightNow
        self._last = arrives = max(self._last, now + world.delay(5.0 if fate == SLOW else 0.05))
        run = self._run

        def perform() -> None:
            if world.store_full and name in WRITES:
                answered(Failure(StateUnavailable(f"{name}: OOM")))
                return
            if fate == LOST_REQUEST or world.store_down or world.store.run != run:
                self.break_off(world.delay(2.0))
                return
            world.store.view = view
            call(*arguments).addBoth(answered)

        def answered(result: Any) -> None:
            if fate == LOST_REPLY:
                self.break_off(world.delay(2.0))
            elif fate == CRASH_AFTER:
                process.crash(self._clock)
                reply.come(result)
            elif reply in self._waiting:
                self._answer(reply, result)

        world.clock.callLater(arrives - now, perform)
        return reply.deferred

    def _answer(self, reply: _Reply, result: Any) -> None:
        if reply in self._waiting:
            self._waiting.remove(reply)
            reply.come(result)


def _asker(name: str) -> Any:
    what = f"store {name}"

    def method(self: StoreWire, *arguments: Any) -> Deferred[Any]:
        return self.ask(name, what, arguments)

    method.__name__ = name
    return method


for _name in IStateStore.names():
    if not hasattr(StoreWire, _name) and callable(IStateStore[_name]):
        setattr(StoreWire, _name, _asker(_name))


@implementer(IBackend)
class ServerWire:
    """One daemon's way to one storage server."""

    def __init__(self, world: World, process: Process, server: StorageServer) -> None:
        self._world = world
        self._process = process
        # Its own: the process may be another by the time an answer comes.
        self._clock = process.clock
        self._server = server
        self.name = server.name
        self.download_base: str | None = None
        self.link_expires: float | None = None
        #: Whether the network between the two is broken.
        self.cut = False

    # --- without I/O

    def download_url(self, key: str, expires: int | None = None) -> str:
        return self._server.url + key

    def upload_target(
        self, key: str, *, size: int | None = None, content_type: str | None = None, expires: int | None = None
    ) -> Target:
        return Target("PUT", self._server.url + key)

    # --- calls

    def stat(self, key: str) -> Deferred[ObjectStat]:
        return self._ask(f"stat {key}", lambda: self._server.stat(key))

    def read(self, key: str) -> Deferred[IObjectBody]:
        def body() -> Body:
            data = self._server.get(key)
            return Body(self._world.on_the_way(self._server, key, data), len(data))

        return self._ask(f"read {key}", body)

    def write(self, key: str, body: IBodyProducer, content_type: str | None = None) -> Deferred[None]:
        intake = _Intake()
        produced = body.startProducing(intake)

        def send(_: object) -> Deferred[None]:
            data = bytes(intake.data)
            return self._ask(f"write {key} {len(data)}", lambda: self._write(key, data, int(body.length)))

        produced.addCallback(send)
        return produced  # type: ignore[no-any-return]

    def _write(self, key: str, data: bytes, length: int) -> None:
        if len(data) != length:
            raise BackendRefused(f"{len(data)} bytes came of {length}")
        self._server.put(key, data, self._world.clock.rightNow)

    def delete(self, key: str) -> Deferred[None]:
        view = self._process.daemon.cluster.view

        def perform() -> None:
            self._world.oracle.deletes(self._process, self._server, key, view)
            self._server.delete(key)

        self._world.oracle.wants_to_delete(self._process, self._server, key)
        return self._ask(f"delete {key}", perform)

    def probe(self) -> Deferred[Space]:
        return self._ask("probe", self._server.probe)

    async def keys(self, prefix: str = "") -> AsyncIterator[StoredKey]:
        found = await self._ask(f"keys {prefix}", lambda: self._server.keys(prefix))
        async for key in found:
            yield key

    def close(self) -> Deferred[None]:
        return succeed(None)

    # --- what becomes of them

    def _ask(self, what: str, perform: Callable[[], Any]) -> Deferred[Any]:
        world, process, server = self._world, self._process, self._server
        if self._clock.dead:
            return self._clock.never()
        if server.mode == DOWN:
            return fail(BackendUnavailable(f"{server.name}: connection refused"))
        if self.cut or server.mode == FROZEN:
            return self._stuck(perform)
        fate = world.fate(process, what if world.trace is None else f"{server.name} {what}")
        if not fate and world.at_once():
            try:
                return succeed(perform())
            except Exception as error:
                return fail(error)
        if fate == CRASH_BEFORE:
            process.crash(self._clock)
            return self._clock.never()
        if fate == LOST_REQUEST:
            return self._stuck(perform)
        reply = _Reply(self._clock)

        def arrive() -> None:
            if server.mode in (DOWN, FROZEN):
                reply.come(Failure(BackendUnavailable(f"{server.name}: connection lost")))
                return
            result = _outcome(perform)
            if fate == CRASH_AFTER:
                process.crash(self._clock)
            if fate == LOST_REPLY:
                reply.come(Failure(BackendUnavailable(f"{server.name}: no answer")))
            else:
                world.clock.callLater(world.delay(0.1), reply.come, result)

        world.clock.callLater(world.delay(8.0 if fate == SLOW else 0.1), arrive)
        return reply.deferred

    def _stuck(self, perform: Callable[[], Any]) -> Deferred[Any]:
        """No answer comes; a request that had been sent may be carried out much later."""
        world, reply = self._world, _Reply(self._clock)
        world.clock.callLater(
            TIMEOUT, reply.come, Failure(BackendUnavailable(f"{self.name}: no answer in {TIMEOUT:g} s"))
        )
        if world.random.random() < 0.2:
            world.count("carried out late")
            world.clock.callLater(world.delay(LATE), _outcome, perform)
        return reply.deferred


class _Intake:
    """Takes a body; implements ``IConsumer`` as far as our producers ask."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """It is always ready for more."""

    def unregisterProducer(self) -> None:
        """It is always ready for more."""


implementer(IConsumer)(_Intake)
