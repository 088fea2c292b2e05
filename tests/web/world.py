"""The daemon as ``twistd`` runs it, on a clock that stands still, a store and storage servers in memory."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from zope.interface import implementer

from dragonbelly.backends.memory import MemoryBackend
from dragonbelly.config import loads
from dragonbelly.daemon import Daemon
from dragonbelly.errors import StateUnavailable
from dragonbelly.interfaces import IBackend, IBackendFactory, ITracked, Snapshot, Told
from dragonbelly.metrics import Metrics
from dragonbelly.model import ObjectStat, Path, Record
from dragonbelly.state.memory import MemoryStore
from tests.web.wire import Connection, Said

NOW = 1_790_000_000.0

#: Nothing happens by itself while a test looks.
STILL = """
[replication]
every = "1h"
[health]
every = "1h"
"""


#: For a domain: no tokens needed.
EVERYBODY = 'anonymous = ["read", "list", "write"]\nallow_anonymous_write = true'


class Storage(MemoryBackend):
    """``asked`` are the keys of ``stat``; while ``slow``, its answers wait in ``waiting`` for ``answer``."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self.asked: list[str] = []
        self.slow = False
        self.waiting: list[tuple[str, Deferred[ObjectStat]]] = []

    def stat(self, key: str) -> Deferred[ObjectStat]:
        self.asked.append(key)
        if not self.slow:
            return super().stat(key)
        answer: Deferred[ObjectStat] = Deferred()
        self.waiting.append((key, answer))
        return answer

    def answer(self) -> None:
        """Answer all that wait, as things are now."""
        waiting, self.waiting = self.waiting, []
        for key, answer in waiting:
            super().stat(key).chainDeferred(answer)


class StorageOptions(msgspec.Struct, frozen=True):
    digests: bool = False
    capacity: int | None = None


@implementer(IBackendFactory)
class StorageFactory:
    kind = "memory"
    options = StorageOptions

    def make(self, name: str, options: object, reactor: object) -> IBackend:
        assert isinstance(options, StorageOptions)
        return Storage(name, capacity=options.capacity, digests=options.digests)


class Store:
    """
    A ``MemoryStore`` that can be cut off.  While ``away`` every call fails; so do those named in ``failing``;
    those named in ``stuck`` never answer, and are counted in ``cancelled`` when they are given up.
    """

    def __init__(self, clock: Clock) -> None:
        self.memory = MemoryStore(clock)
        self.away = False
        self.failing: set[str] = set()
        self.stuck: set[str] = set()
        self.cancelled = 0
        #: Raised instead of an answer, whatever is asked.
        self.broken: Exception | None = None

    @property
    def run(self) -> str:
        return "" if self.away else self.memory.run

    def track(self) -> Tracked:
        return Tracked(self)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.memory, name)
        if not callable(attribute):
            return attribute

        def call(*args: Any) -> Deferred[Any]:
            if self.broken is not None:
                return fail(self.broken)
            if name in self.failing or (self.away and name != "close"):
                return fail(StateUnavailable("the store does not answer"))
            if name in self.stuck:
                return Deferred(self._cancelled)
            answer: Deferred[Any] = attribute(*args)
            return answer

        return call

    def _cancelled(self, deferred: Deferred[Any]) -> None:
        self.cancelled += 1


@implementer(ITracked)
class Tracked:
    """Tells what changes while the store is not away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._readers: dict[MemoryStore, ITracked] = {}
        self.changed: Callable[[str | None], None] = lambda member: None
        self.proven = 0.0

    @property
    def _memory(self) -> Any:
        """Of the store as it is now: a test may hand in another."""
        memory = self._store.memory
        if memory not in self._readers:
            self._readers[memory] = memory.track()
            self._readers[memory].changed = self._changed
        return self._readers[memory]

    @property
    def until(self) -> float:
        if self._store.away or self._store.broken is not None:
            return 0.0
        self.proven = self._memory.proven
        return self._memory.until  # type: ignore[no-any-return]

    def after(self, act: Callable[[], None]) -> None:
        self._memory.after(act)

    def ask(self, path: Path, told: Told) -> None:
        self.get(path).addCallbacks(told, lambda failure: told(failure.value))

    def get(self, path: Path) -> Deferred[Snapshot]:
        if self.until and "get" not in self._store.failing | self._store.stuck:
            return self._memory.get(path)  # type: ignore[no-any-return]
        return fail(StateUnavailable("nobody tells"))

    def _changed(self, member: str | None) -> None:
        self.changed(member if self.until else None)


class World:
    """
    ``settings`` is a piece of a configuration; there are ``stores`` storage servers called ``s1``, ``s2``, …
    with ``options``, two copies are owed.  ``public`` and ``admin`` are the sites; connections to ``public``
    begin in the ``lane``, fast or slow.  ``random`` is what the daemon leaves to chance.
    """

    def __init__(
        self,
        settings: str = "",
        *,
        stores: int = 3,
        options: str = "",
        opened: bool = True,
        random: Random | None = None,
        lane: str = "fast",
    ) -> None:
        self.clock = Clock()
        self.clock.rightNow = NOW
        names = [f"s{n}" for n in range(1, stores + 1)]
        backends = "".join(f'[backend.{name}]\nkind = "memory"\n{options}\n' for name in names)
        if "[domain." not in settings:
            backends += f'[domain.default]\nhosts = ["*"]\n{EVERYBODY}\n'
        self.config = loads(STILL + settings + "\n" + backends, backends={"memory": StorageFactory()})
        self.store = Store(self.clock)
        self.metrics = Metrics()
        store: Any = self.store
        self.daemon = Daemon(self.clock, self.config, store, self.metrics, "test", random)
        self.public: Any = self.daemon.public_site
        self.admin = self.daemon.admin_site
        if lane == "slow":
            self.public = self.public.site
        if opened:
            self.daemon.startService()
            for name in names:
                self.storage(name).asked.clear()

    def close(self) -> None:
        """Stop; nothing may be left on the clock."""
        self.store.away, self.store.broken = False, None
        self.store.failing.clear()
        self.store.stuck.clear()
        if self.daemon.running:
            stopped: list[Any] = []
            self.daemon.stopService().addBoth(stopped.append)
            assert stopped == [None]
        assert self.clock.getDelayedCalls() == []

    # --- clients

    def ask(
        self,
        method: str,
        target: str | bytes,
        headers: dict[str, str] | None = None,
        body: bytes | object = b"",
        *,
        admin: bool = False,
    ) -> Said:
        """One request on a connection of its own; a ``body`` that is no bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        connection = Connection(self.admin if admin else self.public)
        try:
            return connection.ask(method, target, headers, data)
        finally:
            connection.leave()

    def api(self, method: str, resource: str, body: object = b"", *, admin: bool = False) -> Said:
        return self.ask(method, f"/-/api/v1/{resource}", None, body, admin=admin)

    def put(self, name: str, data: bytes, headers: dict[str, str] | None = None) -> str:
        """Upload by PUT and redirect; the version."""
        said = self.ask("PUT", f"/{name}", headers, data)
        assert said.status in (302, 307), said
        self.upload(said.location, data)
        return said.headers["dragonbelly-upload"]

    def upload(self, url: str, data: bytes) -> None:
        """What a client does with the URL it was sent to."""
        self.storage_of(url).client_put(url, data)

    def download(self, name: str) -> bytes:
        said = self.ask("GET", f"/{name}")
        assert said.status == 302, said
        return self.storage_of(said.location).client_get(said.location)

    # --- behind

    def storage(self, name: str) -> Storage:
        backend = self.daemon.cluster.backend(name)
        assert isinstance(backend, Storage)
        return backend

    def storage_of(self, url: str) -> Storage:
        return self.storage(url.removeprefix("http://").partition(".test/")[0])

    @property
    def stores(self) -> list[Storage]:
        return [self.storage(name) for name in self.daemon.cluster.names]

    def record(self, name: str, domain: str = "default") -> Record:
        record = self.store.memory._snapshot(Path(domain, name)).record
        assert record is not None
        return record

    def replicate(self, seconds: float = 2.0) -> None:
        """Let time pass, and the replicator do what is due then."""
        self.clock.advance(seconds)
        self.daemon.replicator.tick()

    def probe(self) -> None:
        """See how the storage servers are."""
        self.daemon.health.round()

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"dragonbelly_{name}", labels) or 0.0
