"""Faults at random on a world with two daemons, from a seed; then all is healed, and all must be there."""

from __future__ import annotations

from random import Random

import pytest

from dragonbelly.errors import BackendError, BackendFull, BackendUnavailable, ClientError
from dragonbelly.keys import MARKER, key_of
from dragonbelly.ledger import Announced
from dragonbelly.lifecycle import Doubted
from dragonbelly.model import BackendState, Path, ReplicaState, Terms, VersionState
from tests.builders import World, done

R, V = ReplicaState, VersionState

PATHS = [Path("media", f"d/f{n}") for n in range(4)]
NAMES = "abcd"
SEEDS = range(12)
STEPS = 80


class Chaos:
    """
    ``sent`` are the bytes of each version that came whole, ``last`` the version that every path must end with
    (None: deleted, or nothing was sent since).
    """

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = Random(seed)
        self.sent: dict[str, bytes] = {}
        self.last: dict[Path, str | None] = dict.fromkeys(PATHS)
        self.unsure: set[Path] = set()
        self.copies: dict[Path, int] = {}
        self.crashes = 0

    @property
    def ledger(self):
        up = [daemon for daemon in self.world.daemons if daemon.replicator.running and not daemon.link.away]
        return self.random.choice(up).ledger if up else None

    def step(self) -> None:
        actions = [
            (12, self.put),
            (3, self.delete),
            (3, self.change),
            (8, self.fault),
            (8, self.heal),
            (3, self.corrupt),
            (3, self.say),
            (4, self.store),
            (1, self.crash),
            (14, lambda: self.world.advance(self.random.choice([0.5, 1, 5, 20, 70]))),
        ]
        weights, calls = zip(*actions, strict=True)
        self.random.choices(calls, weights)[0]()

    # --- clients

    def put(self) -> None:
        path = self.random.choice(PATHS)
        if (ledger := self.ledger) is None:
            return
        data = self.random.randbytes(self.random.choice([0, 10, 100_000]))
        try:
            version, _ = done(ledger.accept(path, Announced(size=len(data))))
        except ClientError:
            return  # at 503 nobody knows; nothing was sent in any case
        self.sent[version.id] = data
        if self.random.random() < 0.15:
            data = data[1:] + b"more"  # not what was announced
        for target in range(len(version.replicas)):
            try:
                self.world.send(version, data, path, target)
            except BackendError:
                continue
            if data == self.sent[version.id]:
                self.last[path] = version.id
                self.copies.pop(path, None)
            return

    def delete(self) -> None:
        path = self.random.choice(PATHS)
        if (ledger := self.ledger) is None:
            return
        try:
            done(ledger.delete(path))
        except ClientError as error:
            if error.status == 503:
                self.unsure.add(path)
            return
        self.last[path] = None

    def change(self) -> None:
        path = self.random.choice(PATHS)
        if (ledger := self.ledger) is None:
            return
        copies = self.random.randint(1, 4)
        try:
            changed = done(ledger.change(path, lambda _: Terms(copies=copies)))
        except ClientError:
            self.copies.pop(path, None)
            return
        assert changed.record.live.terms == Terms(copies=copies)

    # --- faults

    def fault(self) -> None:
        backend = self.world.backends[self.random.choice(NAMES)]
        match self.random.randrange(5):
            case 0:
                backend.away = True
            case 1:
                backend.failing["write"] = self.random.choice([BackendFull("?"), BackendUnavailable("?")])
            case 2:
                backend.failing[self.random.choice(["read", "stat", "delete"])] = BackendUnavailable("?")
            case 3:
                backend.lies = True
            case 4:
                backend.held.setdefault("write", [])

    def heal(self) -> None:
        backend = self.world.backends[self.random.choice(NAMES)]
        backend.away = backend.lies = False
        backend.failing.clear()
        if "write" in backend.held:
            backend.release("write")

    def corrupt(self) -> None:
        """
        A disk fault that is tolerated: another good copy is left.  Somebody sees it at once, as an audit would;
        of one that nobody has seen yet the good copy may be dropped.
        """
        path = self.random.choice(PATHS)
        record = self.world.record(path)
        if self.world.daemon.link.away or self.world.daemon.link.lost:
            return
        if record is None or record.live is None or record.live.sha256 is None or not record.live.size:
            return
        good = [r for r in record.live.in_state(R.GOOD) if self.world.bytes_of(record.live, r.backend, path)]
        whole = [
            r for r in good if self.world.bytes_of(record.live, r.backend, path) == self.sent[record.live.id]
        ]
        if len(whole) < 2:
            return
        bad = self.random.choice(whole)
        backend = self.world.backends[bad.backend]
        if self.random.random() < 0.5:
            backend.corrupt(key_of(path, record.live, bad))
        else:
            del backend.objects[key_of(path, record.live, bad)]
        snapshot = done(self.world.store.get(path))
        doubted = Doubted(self.world.now, record.live.id, bad.backend, bad.generation)
        done(self.world.daemon.ledger.happened(path, snapshot, [doubted]))
        done(self.world.store.hasten([path]))

    def say(self) -> None:
        states = self.world.daemon.states
        drained = [n for n, v in self.world.daemon.cluster.view.items() if v.state is not BackendState.ALIVE]
        name = self.random.choice(drained or NAMES)
        state = (
            BackendState.ALIVE if drained else self.random.choice([BackendState.DRAIN, BackendState.READONLY])
        )
        if not self.world.daemon.link.away:
            done(states.set(name, state))

    def store(self) -> None:
        link = self.random.choice(self.world.daemons).link
        if link.away and self.random.random() < 0.8:
            link.away = False
        elif self.random.random() < 0.5:
            link.away = True
        else:
            link.lost = self.random.randint(1, 3)

    def crash(self) -> None:
        """The second daemon; another takes its place.  What it had begun never ends."""
        two = self.world.daemons[-1]
        for backend in self.world.backends.values():
            if "write" in backend.held:
                backend.release("write")
        two.crash()
        self.crashes += 1
        self.world.another(f"two {self.crashes}").start()

    # --- what must hold

    def check(self) -> None:
        self.world.check()
        for path in PATHS:
            record = self.world.record(path)
            if record is None or (live := record.live) is None:
                continue
            held = [
                self.world.bytes_of(live, r.backend, path) for r in live.replicas if r.state is not R.MISSING
            ]
            assert self.sent[live.id] in held, "the last copy is gone"

    def end(self) -> None:
        world = self.world
        for backend in world.backends.values():
            backend.away = backend.lies = False
            backend.failing.clear()
            if "write" in backend.held:
                backend.release("write")
        for daemon in world.daemons:
            if daemon.replicator.running:
                daemon.link.away, daemon.link.lost = False, 0
        for name in NAMES:
            world.say(name, BackendState.ALIVE)
        world.advance(700, step=1)  # damping, lapses
        for _ in range(4):
            done(world.store.hasten(PATHS))
            world.advance(100, step=1)
        world.advance(130, step=1)
        self.check()

    def check_end(self) -> None:
        world = self.world
        expected = {name: {MARKER} for name in NAMES}
        for path in PATHS:
            record = world.record(path)
            live = record.live if record is not None else None
            if path not in self.unsure:
                assert (live and live.id) == self.last[path], path
            if live is None:
                assert record is None
                continue
            assert [v.id for v in record.versions] == [live.id]
            assert {r.state for r in live.replicas} == {R.GOOD}
            assert record.thin_since is None
            assert len(live.replicas) == (live.asked.copies or 2)
            for replica in live.replicas:
                expected[replica.backend].add(key_of(path, live, replica))
                assert world.bytes_of(live, replica.backend, path) == self.sent[live.id]
        assert {name: set(world.backends[name].objects) for name in NAMES} == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_chaos(make_world, seed):
    world = make_world(NAMES)
    world.another("two")
    world.start()
    chaos = Chaos(world, seed)
    for _ in range(STEPS):
        chaos.step()
        chaos.check()
    chaos.end()
    chaos.check_end()
