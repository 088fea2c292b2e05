"""
A whole world from a seed: daemons, a store, storage servers and clients, on one clock and one random source.

Three acts: clients and faults together; then everything is healed and must become well within a bounded time;
and for half of the seeds clients alone, after which it must be well again.  What differs from seed to seed is
more than dice: how many daemons and servers there are, which faults occur, how often calls are slow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine
from datetime import UTC, datetime
from functools import lru_cache
from random import Random
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from dragonbelly.config import Config, loads
from dragonbelly.interfaces import IBackend, IBackendFactory
from dragonbelly.keys import MARKER
from dragonbelly.metrics import Metrics
from dragonbelly.model import BackendState, Path, Record, Version
from dragonbelly.state import accounts
from dragonbelly.testing.simulation.books import WatchedStore
from dragonbelly.testing.simulation.clients import Client
from dragonbelly.testing.simulation.clock import Timeline
from dragonbelly.testing.simulation.faults import Faults
from dragonbelly.testing.simulation.judge import Upload
from dragonbelly.testing.simulation.liveness import late, unwell
from dragonbelly.testing.simulation.oracle import Oracle
from dragonbelly.testing.simulation.process import Process
from dragonbelly.testing.simulation.storage import StorageServer
from dragonbelly.web.api import PREFIX
from dragonbelly.web.message import Question
from dragonbelly.web.paths import split_target

#: How many clients there are at a time.
CLIENTS = 4

#: When every world begins, unix s.
BEGIN = 1_700_000_000.0

#: Seconds of whose writes a store may lose some: what ``appendfsync everysec`` promises.
EVERYSEC = 2.0

#: Seconds within which a file has its copies when nothing is wrong.
PROMPT = 40.0

#: Seconds within which a healed world must be well.
LIVENESS = 2400.0

PATHS = tuple(Path("media", name) for name in ("a.txt", "b.jpg", "d/c.bin", "d/d"))

_CONFIG = """
[domain.media]
hosts = ["*"]
anonymous = ["read", "list", "write"]
allow_anonymous_write = true
policy = "{policy}"

[policy.one]
kind = "{kind}"
copies = 1
[policy.two]
kind = "{kind}"
copies = 2
[policy.three]
kind = "{kind}"
copies = 3

[state]
stale = "10s"

[upload]
lapse = "30s"

[replication]
every = "5s"
lease = "20s"
patience = "30s"

[delete]
grace = "40s"

[audit]
every = "80s"
read_every = "160s"
rate = 1000

[health]
every = "20s"
timeout = "5s"
"""

_COPIES = {"one": 1, "two": 2, "three": 3}


class _Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A simulated backend has none: it is what its world says."""


@implementer(IBackendFactory)
class _Factory:
    """Hands each process its own wire to a server."""

    kind = "simulated"
    options = _Options

    def make(self, name: str, options: object, reactor: Any) -> IBackend:
        wire: IBackend = reactor.process.wires[name]
        return wire


@lru_cache(maxsize=64)
def _configuration(policy: str, hosts: tuple[str, ...], kind: str) -> Config:
    text = _CONFIG.format(policy=policy, kind=kind)
    for n, host in enumerate(hosts):
        text += f'\n[backend.s{n}]\nkind = "simulated"\nhost = "{host}"\n'
    return loads(text, "simulation", backends={"simulated": _Factory()})


@lru_cache(maxsize=1)
def _metrics() -> Metrics:
    """One for all: nobody here reads them, and they take long to make."""
    return Metrics()


class World:
    """
    ``trace`` collects a line for everything that happens, None: nobody wants to know.  ``policy`` is the kind
    of the policies; it must have an option ``copies``, and keep them on distinct hosts.  ``calls`` are those of
    clients to daemons; ``faults`` and ``states`` count what was injected and what was reached.
    """

    grace, stale, skew, slack = 40.0, 10.0, 2.0, 12.0

    def __init__(
        self, seed: int, calls: int = 200, trace: list[str] | None = None, policy: str = "copies"
    ) -> None:
        self.seed = seed
        self.random = random = Random(seed)
        self.trace = trace
        self.calls = 0
        self.faults: Counter[str] = Counter()
        self.states: Counter[str] = Counter()
        self.clock = Timeline()
        self.clock.rightNow = BEGIN
        self.paths = PATHS[: random.choice((1, 2, 4, 4))]
        self.metrics = _metrics()
        self.pause = random.choice((0.1, 0.3, 0.6, 1.5))
        #: Seconds that replies and news of what is read take at most.
        self.lag = random.choice((0.05, 0.05, 1.0))
        #: How often clients read, for 43 other calls.
        self.reads = random.choice((40, 130, 400))
        self._policy = random.choice(("one", "two", "two", "two", "three"))
        servers = random.choice((2, 3, 4, 5))
        # Sometimes two servers share a host, and then a copy on both is one.
        hosts = [f"h{n}" for n in range(servers)]
        if servers > 2 and random.random() < 0.3:
            hosts[-1] = hosts[0]
        self.config = _configuration(self._policy, tuple(hosts), policy)
        self.servers = {
            f"s{n}": StorageServer(f"s{n}", host, random.random() < 0.3) for n, host in enumerate(hosts)
        }
        self.names = list(self.servers)
        self._haste = random.choice((0.7, 0.9, 0.98))
        self._announced: dict[str, Upload] = {}
        self._died: dict[str, float] = {}
        self.store_down = False
        #: Whether it refuses to write anything.
        self.store_full = False
        #: The one that is to be emptied at the end, where the others have room for three copies.
        spare = len(set(hosts)) == servers > 3
        self.drained = random.choice(self.names) if spare and random.random() < 0.4 else None
        self.oracle = Oracle(self)
        self.store = WatchedStore(self.clock, self.oracle.committed, undo=random.random() < 0.4)
        #: Whether the operator has done what he does at last.
        self.tidy = False
        self._faults = Faults(self)
        self.processes: list[Process] = []
        for n in range(random.choice((1, 1, 2, 2, 3))):
            self.processes.append(Process(self, f"d{n}"))
        self._calls = calls

    # --- what happens

    def run(self) -> None:
        """
        All three acts.

        :raises Violation: an invariant does not hold.
        """
        later = self._calls // 6 if self.random.random() < 0.5 else 0
        self._play(self._calls - later)
        self._heal()
        self._come_to_rest()
        if later:
            # In a world that is well nobody looks at all files: what is queued must not get lost.
            self._play(later)
            self._wait(PROMPT)
            if (why := late(self, PROMPT)) is not None:
                self.oracle.fail(0, f"in a world that is well {why}")
            self._come_to_rest()

    def _play(self, calls: int) -> None:
        """Let clients do so much."""
        clients = [Client(self, -(-calls // CLIENTS)) for _ in range(CLIENTS)]
        done = DeferredList([client.done for client in clients])
        while not done.called:
            self._step()
        self.oracle.books()

    def _come_to_rest(self) -> None:
        """Until all is well."""
        deadline = self.clock.rightNow + LIVENESS
        while (why := unwell(self)) is not None:
            if self.clock.rightNow > deadline:
                self.oracle.fail(0, f"{LIVENESS:g} s after all faults ended: {why}")
            self._wait(5.0)
        self.oracle.books()
        self._judge()

    def _wait(self, seconds: float) -> None:
        until = self.clock.rightNow + seconds
        while self.clock.rightNow < until:
            self._step()

    def close(self) -> None:
        """The end: whatever is still under way is never heard of again."""
        for process in self.processes:
            process.crash()

    def _step(self) -> None:
        """The next thing that happens, and whether all invariants still hold."""
        self.clock.step()
        self._judge()

    def _judge(self) -> None:
        if self.oracle.violated is not None:
            raise self.oracle.violated

    def _heal(self) -> None:
        self.note("all faults end")
        self._faults.on = False
        self.store_down = self.store_full = False
        for server in self.servers.values():
            server.mode = ""
            server.mount()
        for process in self.processes:
            process.skew = process.clock.skew = 0.0
            for wire in process.wires.values():
                wire.cut = False
            process.wake()
        self.spawn(self._tidy())

    async def _tidy(self) -> None:
        """What an operator does at last: everything back in service, and lost disks written off."""
        await self.sleep(10.0)
        for name in self.names:
            if MARKER not in self.servers[name].disk:
                await self.insist(name, BackendState.DEAD)
        await self.sleep(20.0)
        for name in self.names:
            await self.insist(name, BackendState.DRAIN if name == self.drained else BackendState.ALIVE)
        self.tidy = True

    @property
    def lasted(self) -> float:
        """Seconds."""
        return float(self.clock.rightNow) - BEGIN

    # --- what everybody asks

    def record(self, path: Path) -> Record | None:
        """What the store holds."""
        return accounts.decode(path, self.store.records.get(path.member, b""))

    def owed(self, version: Version) -> int:
        return version.asked.copies or _COPIES[self._policy]

    def expires(self, path: Path) -> bool:
        record = self.record(path)
        return record is not None and record.live is not None and record.live.asked.expires is not None

    def said(self, backend: str) -> BackendState:
        """What a person said of a backend."""
        return self.store._backends.get(backend, BackendState.ALIVE)

    def was_dead(self, backend: str) -> bool:
        """Whether it was called dead lately."""
        return backend in self._died

    def announce(self, upload: Upload) -> str:
        """A client is going to begin an upload: the number by which it is known again."""
        number = str(len(self._announced) + 1)
        self._announced[number] = upload
        return number

    def begun(self, path: Path, version: Version) -> Upload:
        """The announcement of a version that appeared in the store."""
        return self._announced[version.asked.attributes["n"]]

    def moment(self, seconds: float) -> str:
        """A time in the future, as HTTP clients write it."""
        at = datetime.fromtimestamp(int(self.clock.rightNow + seconds), UTC)
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")

    # --- chance

    def delay(self, most: float) -> float:
        """Mostly short, sometimes long."""
        return most * self.random.random() ** 3

    def at_once(self) -> bool:
        """Whether a call is answered before anything else happens."""
        return self.random.random() < self._haste

    def fate(self, process: Process, what: str) -> str:
        """What becomes of a call that leaves a process; mostly nothing."""
        faults = self._faults
        if self.trace is not None:
            self.note(f"{process.name} asks {what}")
        if not faults.on or not faults.fates or self.random.random() >= faults.rate:
            return ""
        fate = self.random.choice(faults.fates)
        self.count(fate)
        self.note(f"{fate}: {what}")
        return fate

    def on_the_way(self, server: StorageServer, key: str, data: bytes) -> bytes:
        """The bytes of an object as they reach a daemon."""
        faults = self._faults
        if not data or not faults.on or self.random.random() >= faults.rate:
            return data
        self.count("transfer cut")
        return data[: self.random.randrange(len(data))]

    # --- events

    def restart_store(self, seconds: float, writes: int = 0) -> None:
        """The store goes away, and another run of it comes back, without the last so many writes."""
        if self.store_down:
            return
        since = self.store.restart(writes, EVERYSEC)
        self.note("the store is down" + (f" and loses {writes} writes" if since else ""))
        self.store_down = True
        for process in self.processes:
            process.store.break_off(seconds)
        self.oracle.restarted(since)
        self.clock.callLater(seconds, setattr, self, "store_down", False)

    async def say(self, backend: str, state: BackendState) -> bool:
        """An operator tells some daemon what to think of a backend: whether it was accepted."""
        if state is BackendState.DEAD:
            self._died[backend] = self.clock.rightNow
        body = msgspec.json.encode({"state": state.name.lower()})
        target = split_target(f"{PREFIX}backends/{backend}".encode())
        process = self.random.choice(self.processes)
        answer = await process.ask(Question("PATCH", target, b"localhost", {}, len(body), body))
        self.note(f"{backend} is to be {state.name}: {answer.status if answer else 'no answer'}")
        return answer is not None and answer.status == 200

    async def insist(self, backend: str, state: BackendState) -> None:
        while not await self.say(backend, state):
            await self.sleep(5.0)

    # --- how it is told

    def note(self, what: str) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.clock.rightNow - BEGIN:10.4f} {what}")

    def count(self, fault: str) -> None:
        self.faults[fault] += 1

    def reached(self, state: str) -> None:
        self.states[state] += 1

    # --- time

    def sleep(self, seconds: float) -> Deferred[None]:
        return deferLater(self.clock, seconds)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        done = Deferred.fromCoroutine(work)
        done.addErrback(self.broke)
        return done

    def broke(self, failure: Failure) -> None:
        """The simulation itself has a bug, or an error passed through the product."""
        self.oracle.fail(0, failure.getTraceback())
