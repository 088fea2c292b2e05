"""One daemon as an operating system sees it: started, stopped, frozen, killed and started again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from dragonbelly.daemon import Daemon
from dragonbelly.testing.simulation.clock import Alarm, ProcessClock
from dragonbelly.testing.simulation.network import ServerWire, StoreWire
from dragonbelly.web.message import Answer, Question

if TYPE_CHECKING:
    from dragonbelly.testing.simulation.world import World

#: Files of up to so many bytes are copied as a whole, larger ones as they come: sizes of both sorts occur.
SMALL = 20

#: Seconds that a client waits for an answer.
PATIENCE = 10.0


class Process:
    """``daemon`` is the real one, on wires and a clock of its own; a new one after each start."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.skew = 0.0
        self.wires: dict[str, ServerWire] = {}
        self._graves: list[Daemon] = []
        self.start()

    def start(self) -> None:
        world = self.world
        world.note(f"{self.name} starts")
        self.clock = ProcessClock(world.clock, self.skew)
        self.store = StoreWire(world, self)
        self.wires = {name: ServerWire(world, self, server) for name, server in world.servers.items()}
        store: Any = self.store  # it has the store's methods by their names
        self.daemon = Daemon(_Reactor(self), world.config, store, world.metrics, self.name, world.random)
        self.daemon.replicator.small = SMALL
        self.daemon.startService()

    def crash(self, clock: ProcessClock | None = None) -> None:
        """
        SIGKILL, for the one that has this ``clock``.  What it was doing is neither ended nor answered; it is
        kept only lest it tidies up.
        """
        if clock in (None, self.clock) and not self.clock.dead:
            self.world.note(f"{self.name} is killed")
            self._end(self.clock)

    def stop(self) -> None:
        """SIGTERM, and the process ends when it is done."""
        clock = self.clock
        stopping = self.daemon.stopService()
        stopping.addBoth(lambda _: self._end(clock))

    def _end(self, clock: ProcessClock) -> None:
        """A supervisor starts what died, a while later."""
        if not clock.dead:
            clock.dead = True
            self._graves.append(self.daemon)
            self.world.clock.callLater(self.world.delay(15.0), self.start)

    def freeze(self) -> None:
        self.store.fall_silent(dead=False)
        self.clock.frozen = True

    def wake(self) -> None:
        if self.clock.frozen:
            self.clock.wake()

    @property
    def up(self) -> bool:
        return not self.clock.dead and not self.clock.frozen

    def ask(self, question: Question) -> Deferred[Answer | None]:
        """A client's request: the answer, or None if none came.  A frozen process takes it when it wakes."""
        answer: Deferred[Answer | None] = Deferred()
        if self.clock.dead:
            answer.callback(None)
            return answer

        def begin() -> None:
            asked = Deferred.fromCoroutine(router.answer(question))
            asked.addCallbacks(said, lambda _: None)
            answering.append(asked)

        def said(result: Answer) -> None:
            if not answer.called:
                answer.callback(result)
            if waiting:
                waiting.pop().cancel()

        def give_up() -> None:
            waiting.clear()
            if not answer.called:
                answer.callback(None)
                for asked in answering:  # the client departs, which cancels its work
                    clock.deliver(asked.cancel)

        clock, router = self.clock, self.daemon.admin
        answering: list[Deferred[Any]] = []
        waiting: list[Alarm] = []
        clock.deliver(begin)
        if not answer.called:
            waiting.append(self.world.clock.callLater(PATIENCE, give_up))
        return answer


class _Reactor:
    """What a daemon takes for its reactor: the time, and where backends are to be had."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.seconds = process.clock.seconds
        self.callLater = process.clock.callLater
        self.getDelayedCalls = process.clock.getDelayedCalls
