"""Values and whole small worlds for tests: short to say, with everything else as it would be."""

from __future__ import annotations

import copy
from collections.abc import Callable, Coroutine
from hashlib import sha256
from random import Random
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from dragonbelly.backends.memory import MemoryBackend, _Intake
from dragonbelly.config import Config, loads
from dragonbelly.daemon import Daemon as RealDaemon
from dragonbelly.errors import StateUnavailable
from dragonbelly.ids import ulid
from dragonbelly.interfaces import IBackendFactory, Snapshot
from dragonbelly.keys import key_of
from dragonbelly.ledger import Announced
from dragonbelly.metrics import Metrics
from dragonbelly.model import (
    BackendState,
    BackendView,
    ClusterView,
    Observed,
    Path,
    Record,
    Replica,
    ReplicaState,
    Terms,
    Upload,
    Use,
    Version,
    VersionState,
)
from dragonbelly.state import accounts
from dragonbelly.state.memory import MemoryStore

R, V = ReplicaState, VersionState

#: Where every test's time begins, unix s.
NOW = 1_700_000_000

PATH = Path("media", "a/photo.jpg")
DATA = b"the bytes of a file"


def vid(number: int) -> str:
    """The id of version ``number``: the higher, the later it was made."""
    return f"01J{number:023d}"


def replicas(*said: str) -> tuple[Replica, ...]:
    """``"a:good"``, ``"b:leaving@1700000000"`` (since), ``"b.2:missing"`` (generation)."""
    made = []
    for text in said:
        where, _, state = text.partition(":")
        name, _, generation = where.partition(".")
        word, _, since = state.partition("@")
        made.append(Replica(name, R[word.upper()], int(since or 0), int(generation or 0)))
    return tuple(made)


def upload(**changes: Any) -> Upload:
    return Upload(**{"deadline": NOW + 3600, **changes})


def version(number: int, state: VersionState, *said: str, **changes: Any) -> Version:
    fields: dict[str, Any] = {"since": NOW, "size": len(DATA), "sha256": sha256(DATA).digest()}
    if state in (V.UPLOADING, V.ABANDONED):
        fields["upload"] = upload()
    made = replicas(*said)
    fields["removals"] = max((r.generation for r in made), default=0)
    return Version(vid(number), state, replicas=made, **{**fields, **changes})


def live(*said: str, number: int = 1, **changes: Any) -> Version:
    return version(number, V.LIVE, *said, **changes)


def record(*versions: Version, **changes: Any) -> Record:
    """``versions`` newest first, as they are kept."""
    return Record(tuple(versions), **changes)


def view(*said: str | BackendView) -> ClusterView:
    """``"a"``, ``"b:drain"``, ``"c:away"``, ``"c:patient"``, ``"d:full"``; each on a host of its own."""
    views = {}
    for text in said:
        if isinstance(text, BackendView):
            views[text.name] = text
            continue
        name, _, word = text.partition(":")
        changes: dict[str, Any] = {}
        match word:
            case "away":
                changes = {"observed": Observed.UNREACHABLE}
            case "patient":
                changes = {"observed": Observed.UNREACHABLE, "patient": True}
            case "full":
                changes = {"observed": Observed.FULL}
            case _ if word:
                changes = {"state": BackendState[word.upper()]}
        views[name] = BackendView(name, host=f"host-{name}", zone="z", **changes)
    return views


# --- storage servers and a store that misbehave ----------------------------------------------------------


class FaultyBackend(MemoryBackend):
    """
    A backend in memory that also fails on purpose.

    ``failing[call]`` is the error that every such call fails with; ``held[call]``, when there, keeps the calls
    until ``release``; ``lies``: it says that it stored and did not; ``calls`` is what it was asked.
    """

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self.failing: dict[str, Exception] = {}
        self.held: dict[str, list[Deferred[None]]] = {}
        self.lies = False
        self.calls: list[tuple[str, str]] = []
        self.closed = False

    def asked(self, *calls: str) -> list[tuple[str, str]]:
        """What it was asked of these, without the questions of the probes."""
        return [(call, key) for call, key in self.calls if call in calls and not key.startswith(".dragonbelly")]

    def hold(self, call: str) -> None:
        self.held[call] = []

    def release(self, call: str) -> None:
        """Let the calls that are held go on; later ones are not held."""
        for waiting in self.held.pop(call):
            if not waiting.called:
                waiting.callback(None)

    def _through(self, call: str, key: str, go_on: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        self.calls.append((call, key))
        if call in self.failing:
            return fail(self.failing[call])
        if call in self.held and not key.startswith(".dragonbelly"):
            waiting: Deferred[Any] = Deferred()
            self.held[call].append(waiting)
            waiting.addCallback(lambda _: go_on())
            return waiting
        return go_on()

    def stat(self, key: str) -> Deferred[Any]:
        return self._through("stat", key, lambda: MemoryBackend.stat(self, key))

    def read(self, key: str) -> Deferred[Any]:
        return self._through("read", key, lambda: MemoryBackend.read(self, key))

    def delete(self, key: str) -> Deferred[Any]:
        return self._through("delete", key, lambda: MemoryBackend.delete(self, key))

    def probe(self) -> Deferred[Any]:
        return self._through("probe", "", lambda: MemoryBackend.probe(self))

    def write(self, key: str, body: IBodyProducer, content_type: str | None = None) -> Deferred[Any]:
        if self.lies and not key.startswith(".dragonbelly"):
            return self._through("write", key, lambda: body.startProducing(_Intake(body.length)))
        return self._through("write", key, lambda: MemoryBackend.write(self, key, body, content_type))

    def corrupt(self, key: str) -> None:
        """One bit of the object turns over."""
        data = self.objects[key]
        self.objects[key] = bytes([data[0] ^ 1]) + data[1:]

    def close(self) -> Deferred[None]:
        self.closed = True
        return super().close()


class NoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    capacity: int | None = None
    digests: bool = False


@implementer(IBackendFactory)
class FaultyFactory:
    """Hands out the world's backends: two daemons of one world talk to the same ones."""

    kind = "memory"
    options = NoOptions

    def __init__(self) -> None:
        self.made: dict[str, FaultyBackend] = {}

    def make(self, name: str, options: object, reactor: object) -> FaultyBackend:
        assert isinstance(options, NoOptions)
        if name not in self.made:
            self.made[name] = FaultyBackend(name, capacity=options.capacity, digests=options.digests)
        return self.made[name]


class StoreLink:
    """
    One daemon's way to the store.  ``away``: it does not answer.  ``lost`` replies to commits get lost after
    the commit was made.  ``before_commit`` is called before each: for those who interfere.
    """

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.away = False
        self.lost = 0
        self.before_commit: Callable[[Path], None] = lambda path: None
        self.commits = 0

    @property
    def run(self) -> str:
        return "" if self.away else self.store.run

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)
        if not callable(method):
            return method

        def call(*args: Any) -> Deferred[Any]:
            if self.away and name != "close":
                return fail(StateUnavailable("the store is away"))
            result: Deferred[Any] = method(*args)
            return result

        return call

    def commit(self, path: Path, old: Snapshot, new: Record | None, due: float | None) -> Deferred[Snapshot]:
        if self.away:
            return fail(StateUnavailable("the store is away"))
        self.before_commit(path)
        self.commits += 1
        committed = self.store.commit(path, old, new, due)
        if self.lost:
            self.lost -= 1
            committed.addCallback(lambda _: fail(StateUnavailable("the reply was lost")))
        return committed


# --- a world ---------------------------------------------------------------------------------------------

CONFIG = """
[domain.media]
hosts = ["*"]
anonymous = ["read", "list", "write"]
allow_anonymous_write = true

[policy.default]
copies = {copies}

[policy.three]
copies = 3

[http]
cache = 1000

[state]
stale = "60s"

[upload]
lapse = "10m"
max_size = "1MiB"

[replication]
every = "1s"
concurrency = {concurrency}
per_backend = {per_backend}
uploads_first = "{uploads_first}"
lease = "60s"
patience = "60s"

[delete]
grace = "{grace}"
"""


def configuration(
    factory: FaultyFactory,
    backends: str = "abc",
    *,
    copies: int = 2,
    grace: str = "2m",
    concurrency: int = 16,
    per_backend: int = 4,
    uploads_first: str = "0s",
    more: str = "",
) -> Config:
    text = CONFIG.format(
        copies=copies,
        grace=grace,
        concurrency=concurrency,
        per_backend=per_backend,
        uploads_first=uploads_first,
    )
    for name in backends:
        text += f'\n[backend.{name}]\nkind = "memory"\nhost = "host-{name}"\n'
    return loads(text + more, backends={"memory": factory})


class Steady(Random):
    """Ids differ by it; what is drawn in seconds or by lot is always the middle."""

    def random(self) -> float:
        return 0.5


class Daemon(RealDaemon):
    """
    One daemon of a world, as ``twistd`` runs it, with a link of its own to the store.  ``impatient`` and
    ``returned`` are the backends of which it said so.
    """

    def __init__(self, world: World, name: str, config: Config) -> None:
        self.link = StoreLink(world.store)
        self.impatient: list[str] = []
        self.returned: list[tuple[str, bool]] = []
        store: Any = self.link
        super().__init__(world.clock, config, store, Metrics(), name, world.random)

    def start(self) -> Daemon:
        self.startService()
        assert self.public.open
        return self

    def stop(self) -> None:
        """As asked to: nothing of it may be left."""
        if self.running:
            done(self.stopService())

    def crash(self) -> None:
        """Without a word: it never runs again, and what it was waiting for never comes."""
        self.link.away = True
        self.running = 0
        for part in self.services:
            part._loop.stop()
            part.running = 0
        for part in (self.comparison, self.audit, self.asked_audit):
            if part._working is not None:
                part._working.cancel()  # they renew their leases meanwhile

    def _impatient(self, backend: str) -> None:
        self.impatient.append(backend)
        super()._impatient(backend)

    def _returned(self, backend: str, long: bool) -> None:
        self.returned.append((backend, long))
        super()._returned(backend, long)


class World:
    """
    A store, some storage servers, and the daemons that share them, all on one clock that stands still until
    ``advance``.  ``daemon`` is the first; ``reads`` are the bytes of every accepted upload.
    """

    def __init__(self, backends: str = "abc", **how: Any) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.store = MemoryStore(self.clock)
        self.factory = FaultyFactory()
        self.random = Steady(4)
        self.config = configuration(self.factory, backends, **how)
        self.config.make_backends(self.clock)
        self.backends = self.factory.made
        self.daemons: list[Daemon] = []
        self.daemon = self.another("one")

    def another(self, name: str, config: Config | None = None) -> Daemon:
        daemon = Daemon(self, name, config or self.config)
        self.daemons.append(daemon)
        return daemon

    def start(self) -> World:
        for daemon in self.daemons:
            daemon.start()
        return self

    def close(self) -> None:
        """Stop everything; what is left is a bug."""
        for backend in self.backends.values():
            backend.held.clear()
        for daemon in self.daemons:
            daemon.stop()
        assert self.clock.getDelayedCalls() == []

    def make_id(self, now: float) -> str:
        return ulid(now, self.random.getrandbits)

    def advance(self, seconds: float, step: float = 0.5) -> None:
        """Let time go on, in steps small enough that no tick is missed."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)

    @property
    def now(self) -> int:
        return int(self.clock.seconds())

    # --- a store that forgets

    def save(self) -> dict[str, Any]:
        """All that the store holds now."""
        held = {name: value for name, value in vars(self.store).items() if name not in ("_clock", "_tracked")}
        return copy.deepcopy(held)

    def roll_back(self, saved: dict[str, Any]) -> None:
        """The server died, and another run of it came back with what was saved."""
        runs = int(self.store.run)
        vars(self.store).update(copy.deepcopy(saved))
        self.store.run = str(runs + 1)

    # --- what clients do

    def put(self, data: bytes = DATA, path: Path = PATH, **announced: Any) -> Version:
        """Ask for an upload and send the bytes to the first target."""
        accepted = self.accept(path, **{"size": len(data), **announced})
        self.send(accepted, data, path)
        return accepted

    def accept(self, path: Path = PATH, **announced: Any) -> Version:
        accepted, _ = done(self.daemon.ledger.accept(path, Announced(**announced)))
        return accepted

    def send(self, accepted: Version, data: bytes = DATA, path: Path = PATH, target: int = 0) -> None:
        replica = accepted.replicas[target]
        backend = self.backends[replica.backend]
        backend.client_put(backend.upload_target(key_of(path, accepted, replica)).url, data)

    def delete(self, path: Path = PATH) -> None:
        done(self.daemon.ledger.delete(path))

    def change(self, path: Path = PATH, **terms: Any) -> None:
        done(self.daemon.ledger.change(path, lambda _: Terms(**terms)))

    def say(self, name: str, state: BackendState) -> None:
        done(self.daemon.states.set(name, state))

    def file(self, data: bytes = DATA, path: Path = PATH, **announced: Any) -> Version:
        """A file with all its copies."""
        id = self.put(data, path, **announced).id
        self.advance(3)
        record = self.record(path)
        assert record is not None
        found = record.version(id)
        assert found is not None
        assert found.state is V.LIVE
        return found

    # --- what there is

    def record(self, path: Path = PATH) -> Record | None:
        return accounts.decode(path, self.store.records.get(path.member, b""))

    def live(self, path: Path = PATH) -> Version:
        record = self.record(path)
        assert record is not None
        assert record.live is not None
        return record.live

    def held(self, path: Path = PATH) -> str:
        """The names of the backends with a good replica of the live version, sorted."""
        return "".join(sorted(r.backend for r in self.live(path).in_state(R.GOOD)))

    def objects(self, path: Path = PATH) -> str:
        """The names of the backends on which anything of the path lies, once for each object, sorted."""
        directory, _, name = path.member.rpartition("/")
        return "".join(
            sorted(
                backend.name
                for backend in self.backends.values()
                for key in backend.objects
                if key.startswith(f"{directory}/@") and key.endswith(f"/{name}")
            )
        )

    def bytes_of(self, version: Version, name: str, path: Path = PATH) -> bytes | None:
        """What really lies where the record says that ``version`` lies on ``name``."""
        replica = version.replica(name)
        assert replica is not None
        return self.backends[name].objects.get(key_of(path, version, replica))

    def key(self, version: Version, name: str, path: Path = PATH) -> str:
        replica = version.replica(name)
        assert replica is not None
        return key_of(path, version, replica)

    def check(self) -> None:
        """What must hold whenever nothing is under way: the books, and good copies that are really good."""
        use: dict[str, Use] = {}
        thin = {}
        for member in self.store.records:
            path = Path.of_member(member)
            record = self.record(path)
            assert record is not None
            use = accounts.add(use, accounts.footprint(record))
            if record.thin_since is not None:
                thin[member] = record.thin_since
        assert done(self.store.use()) == use
        assert self.store._thin == thin


def done(work: Coroutine[Any, Any, Any] | Deferred[Any]) -> Any:
    """The result of something that needs no time."""
    waiting = Deferred.fromCoroutine(work) if isinstance(work, Coroutine) else work
    results: list[Any] = []
    waiting.addBoth(results.append)
    assert results, "it is still waiting"
    if hasattr(results[0], "raiseException"):
        results[0].raiseException()
    return results[0]


def begun(work: Coroutine[Any, Any, Any]) -> tuple[Deferred[Any], list[Any]]:
    """Something that takes time, and its results once there are any (a ``Failure`` is one)."""
    waiting = Deferred.fromCoroutine(work)
    results: list[Any] = []
    waiting.addBoth(results.append)
    return waiting, results
