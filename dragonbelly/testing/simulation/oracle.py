"""
The oracle: it knows every acknowledged call, what is really on the disks and which fault is to blame for what,
and says which invariant is broken.

Nothing here asks the product what is right: states, orders, copies owed and grace are judged by rules of the
oracle's own.  It is told of each change of a record and of each object that is written or removed, at the very
moment when that happens.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from dragonbelly.keys import key_of, parse_key
from dragonbelly.lifecycle import DIGEST, LAPSED, SIZE
from dragonbelly.model import (
    BackendState,
    ClusterView,
    Path,
    Record,
    Replica,
    ReplicaState,
    Version,
    VersionState,
)
from dragonbelly.replication.epoch import RUN
from dragonbelly.state import accounts

if TYPE_CHECKING:
    from dragonbelly.testing.simulation.process import Process
    from dragonbelly.testing.simulation.storage import StorageServer
    from dragonbelly.testing.simulation.world import World

R, V = ReplicaState, VersionState

#: Records of the past that a slow answer may rest on.
PAST = 64

_VERSION_MOVES = {
    # DELETED at once: it was over by its own terms when it came.
    V.UPLOADING: (V.LIVE, V.SUPERSEDED, V.ABANDONED, V.DELETED),
    V.LIVE: (V.SUPERSEDED, V.DELETED),
}


class Violation(AssertionError):
    """An invariant is broken; ``number`` is its number in the list, 0 for liveness and errors."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"invariant {number}: {text}" if number else text)
        self.number = number


#: What was acknowledged: when, which order of the path's versions it rests on, and which one (None: its end).
Floor = tuple[float, float, str | None]


@dataclass
class Upload:
    """What a client began: ``data`` is what it will send if it is honest, the rest what it announced."""

    path: Path
    data: bytes
    order: float
    size: int | None = None
    sha256: bytes | None = None
    create_only: bool = False
    if_match: str | None = None
    #: The client was told that it will never be the file.
    over: bool = False
    over_at: float = 0.0
    #: It was live with all the copies that it could have.
    satisfied: bool = False
    #: It was live, and was deleted or expired: its predecessors are nobody's any more.
    ended: bool = False


@dataclass
class File:
    """
    ``floors`` are the acknowledged (time, order, id): no later reader sees anything older than ``order``; id is
    None for a deletion, after which nothing of that order is seen either.
    """

    past: deque[tuple[float, Record | None]] = field(default_factory=lambda: deque(maxlen=PAST))
    floors: list[Floor] = field(default_factory=list)
    #: When something was begun that may end the file: a deletion, an expiry.
    ends: list[float] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    orders: int = 0


class Oracle:
    """``violated`` is the first violation; the world looks at it after every step."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.uploads: dict[str, Upload] = {}
        self.files: dict[Path, File] = {path: File() for path in world.paths}
        self.violated: Violation | None = None
        #: What clients announce before the store has seen it, by path: taken over at the commit.
        self.announced: dict[str, Upload] = {}
        self._redirects: dict[tuple[str, str], float] = {}
        self._deleted: set[tuple[str, str]] = set()
        self._restarted = 0.0

    def fail(self, number: int, text: str) -> None:
        if self.violated is None:
            self.violated = Violation(number, text)

    def check(self, holds: bool, number: int, text: str) -> None:
        if not holds and self.violated is None:
            self.violated = Violation(number, text)

    @property
    def _now(self) -> float:
        return float(self._world.clock.rightNow)

    # --- what is really there

    def intact(self, backend: str, key: str, id: str) -> bool:
        return self._world.servers[backend].really(key) == self.uploads[id].data

    def harmed(self, backend: str, key: str) -> bool:
        return key in self._world.servers[backend].harmed

    def excused(self, backend: str, key: str, id: str) -> bool:
        """Whether the object is right, or a fault is to blame."""
        return self.intact(backend, key, id) or self.harmed(backend, key)

    def lost(self, path: Path, version: Version) -> bool:
        """
        Whether no good copy of it is left anywhere; that this is a fault's doing is checked elsewhere.  One
        that was to be removed is kept, though there may be no place to copy it to.
        """
        return not any(
            self.intact(r.backend, key_of(path, version, r), version.id)
            for r in version.replicas
            if r.state is not R.CONDEMNED
        )

    # --- the store

    def restarted(self, since: float | None) -> None:
        """Another run of the store answers from now on; what was written from ``since`` on is lost."""
        self._restarted = self._now
        if since is None:
            return
        for path, file in self.files.items():
            record = self._world.record(path)
            file.floors = [floor for floor in file.floors if floor[0] < since]
            file.past.append((self._now, record))
            file.gone.difference_update(v.id for v in (record.versions if record is not None else ()))
        for upload in self.uploads.values():
            upload.over = upload.over and upload.over_at < since

    # --- commits

    def committed(self, path: Path, before: bytes, after: bytes) -> None:
        """The store changed a record."""
        view = self._world.store.view
        was, now = accounts.decode(path, before), accounts.decode(path, after)
        file = self.files[path]
        file.past.append((self._now, now))
        old = {v.id: v for v in was.versions} if was is not None else {}
        versions = now.versions if now is not None else ()
        for version in reversed(versions):
            if version.id not in old:
                self._appeared(path, file, version, versions)
            elif version is not old[version.id]:
                self._moved(path, was or Record(), now or Record(), old[version.id], version, view)
        file.gone.update(id for id in old if all(v.id != id for v in versions))
        live = [v for v in versions if v.state is V.LIVE]
        self.check(len(live) <= 1, 7, f"{path.name} has {len(live)} live versions")
        for version in versions:
            backends = [r.backend for r in version.replicas]
            self.check(len(set(backends)) == len(backends), 5, f"{path.name} has two replicas on one backend")
        if now is not None and live:
            self._copies(path, was, now, live[0], view)

    def _appeared(self, path: Path, file: File, version: Version, versions: tuple[Version, ...]) -> None:
        # What a backup kept, or a server that was called dead, may be taken for forgotten.
        kept = any(
            self._world.servers[r.backend].restored or self._world.was_dead(r.backend) for r in version.replicas
        )
        self.check(kept or version.id not in file.gone, 8, f"version {version.id} of {path.name} came back")
        if version.id not in self.uploads:
            self.uploads[version.id] = self._world.begun(path, version)
        elif (upload := self.uploads[version.id]).order:
            # The store had forgotten it, and what was announced with it.
            upload.size = upload.sha256 = upload.if_match = None
            upload.create_only = False
        upload, newer = self.uploads[version.id], versions[: versions.index(version)]
        if not newer:
            file.orders += 1
            upload.order = file.orders
        else:
            older = versions[len(newer) + 1 :]
            above = self.uploads[newer[-1].id].order
            upload.order = (above + (self.uploads[older[0].id].order if older else above - 1)) / 2

    def _moved(
        self, path: Path, was: Record, now: Record, old: Version, new: Version, view: ClusterView
    ) -> None:
        upload = self.uploads[new.id]
        what = f"version {new.id} of {path.name}"
        if new.state is not old.state:
            self._world.reached(f"{old.state.name.lower()} → {new.state.name.lower()}")
            self.check(
                new.state in _VERSION_MOVES.get(old.state, ()), 8, f"{what}: {old.state.name}, {new.state.name}"
            )
            upload.ended = upload.ended or new.state is V.DELETED
            if old.state is V.UPLOADING and new.state in (V.LIVE, V.SUPERSEDED):
                self._became_live(what, path, was, now, new, upload)
            elif new.state is V.ABANDONED:
                self._given_up(what, path, old, new, upload)
        if old.state is not V.UPLOADING and old.sha256 is None and new.sha256 is not None:
            self._take_for_the_file(path, new)
        if old.state is not V.UPLOADING:
            self.check(
                new.size == old.size and old.sha256 in (None, new.sha256), 2, f"{what} changed its bytes"
            )
        held = {r.backend: r for r in old.replicas}
        for replica in new.replicas:
            before = held.get(replica.backend)
            if before is not None and before.generation == replica.generation and before != replica:
                self._replica_moved(what, path, old, new, before, replica, view)
            elif before is None or before.generation != replica.generation:
                key = key_of(path, new, replica)
                self.check(
                    (replica.backend, key) not in self._deleted, 2, f"key {key} on {replica.backend} again"
                )

    def _became_live(
        self, what: str, path: Path, was: Record, now: Record, new: Version, upload: Upload
    ) -> None:
        if upload.sha256 is None:
            # Nobody can tell that other bytes arrived than were sent.
            self._take_for_the_file(path, new)
        self.check(not upload.over, 8, f"{what} was over, and became {new.state.name}")
        self.check(upload.size in (None, new.size), 8, f"{what}: {new.size} bytes, {upload.size} announced")
        known = new.sha256 is None or new.sha256 == upload.sha256
        self.check(upload.sha256 is None or known, 8, f"{what} has not the digest announced")
        if new.state is not V.LIVE:
            return
        live = was.live
        self.check(not upload.create_only or live is None, 8, f"{what} was to create only")
        self.check(
            upload.if_match is None or (live is not None and live.id == upload.if_match),
            8,
            f"{what} was to replace {upload.if_match} only",
        )
        newer = now.versions[: now.versions.index(new)]
        self.check(all(v.state is not V.LIVE for v in newer), 7, f"{what} is live below a newer live one")

    def _take_for_the_file(self, path: Path, version: Version) -> None:
        """What a fault made of the only copy before anybody knew its digest is the file from now on."""
        good = [(self._world.servers[r.backend], key_of(path, version, r)) for r in version.in_state(R.GOOD)]
        if not any(self.harmed(r.backend, key_of(path, version, r)) for r in version.replicas):
            return
        for server, key in good:
            data = server.disk.get(key)
            if data is not None and len(data) == version.size and version.sha256 in (None, _sha(data)):
                self.uploads[version.id].data = data
                for other, its in good:
                    if other.mounted and other.disk.get(its) == data:
                        other.harmed.discard(its)

    def _given_up(self, what: str, path: Path, old: Version, new: Version, upload: Upload) -> None:
        """An upload that came whole and in time is not given up for not having come."""
        assert new.upload is not None
        if new.upload.reason not in (LAPSED, SIZE, DIGEST):
            return
        if upload.size not in (None, len(upload.data)) or upload.sha256 not in (None, _sha(upload.data)):
            return  # the client announced something else
        for replica in old.in_state(R.MISSING):
            server, key = self._world.servers[replica.backend], key_of(path, old, replica)
            came = server.arrived.get(key)
            settled = came is not None and came < self._now - self._world.slack
            dead = self._world.said(replica.backend) is BackendState.DEAD
            if settled and not dead and self.intact(replica.backend, key, new.id):
                self.check(
                    self.harmed(replica.backend, key) or not server.mounted,
                    9,
                    f"{what} lies on {replica.backend} and was given up: {new.upload.reason}",
                )

    def _replica_moved(
        self, what: str, path: Path, old: Version, new: Version, was: Replica, now: Replica, view: ClusterView
    ) -> None:
        key, where = key_of(path, new, now), f"{what} on {now.backend}"
        self._world.reached(f"replica {was.state.name.lower()} → {now.state.name.lower()}")
        if now.state is R.GOOD and was.state is not R.LEAVING:
            told = key in self._world.servers[now.backend].short
            right = self.intact(now.backend, key, new.id) or (self.harmed(now.backend, key) and not told)
            self.check(right, 10, f"{where} is called good and is not")
        elif now.state is R.LOST:
            dead = (
                self._world.said(now.backend) is BackendState.DEAD
                or view[now.backend].state is BackendState.DEAD
            )
            self.check(
                dead or self.harmed(now.backend, key) or not self.intact(now.backend, key, new.id),
                9,
                f"{where} is called lost and is there",
            )
        elif now.state is R.CONDEMNED and new.state is V.LIVE:
            left = len(new.in_state(R.GOOD))
            if was.state in (R.GOOD, R.LEAVING):
                self._dropped(where, path, new, view)
            elif was.state in (R.SUSPECT, R.LOST):
                self.check(left > 0, 4, f"{where} is removed and no good copy is left")
                bad = self.harmed(now.backend, key) or not self.intact(now.backend, key, new.id)
                self.check(bad or self._world.was_dead(now.backend), 9, f"{where} is removed and is good")
            else:
                self.check(was.state is R.MISSING, 4, f"{where} is removed while {was.state.name}")
        elif now.state is R.LEAVING:
            self._dropped(where, path, new, view)

    def _dropped(self, where: str, path: Path, version: Version, view: ClusterView) -> None:
        hosts = self._hosts(version, view)
        self.check(
            len(hosts) >= self._world.owed(version),
            4,
            f"{where} is dropped, and {len(hosts)} of {self._world.owed(version)} copies stay",
        )

    def _hosts(self, version: Version, view: ClusterView) -> set[str]:
        """The hosts with a good copy, as the one who writes it knows what people said."""
        gone = (BackendState.DRAIN, BackendState.DEAD)
        return {
            self._world.servers[r.backend].host
            for r in version.in_state(R.GOOD)
            if view[r.backend].state not in gone
        }

    def _satisfied(self, live: Version, view: ClusterView) -> bool:
        """Whether it has the copies that it is owed, or as many as there can be."""
        held = [r.backend for r in live.in_state(R.GOOD)]
        room = {
            b.host
            for b in view.values()
            if b.state in (BackendState.ALIVE, BackendState.DOWN)
            or (b.state is BackendState.READONLY and b.name in held)
        }
        return len(self._hosts(live, view)) >= min(self._world.owed(live), max(1, len(room)))

    def _copies(self, path: Path, was: Record | None, now: Record, live: Version, view: ClusterView) -> None:
        hosts, owed = len(self._hosts(live, view)), self._world.owed(live)
        if self._satisfied(live, view):
            self.uploads[live.id].satisfied = True
        before = was.live if was is not None else None
        news = before is None or before.id != live.id or before.in_state(R.GOOD) != live.in_state(R.GOOD)
        if now.thin_since is None and (news or (was is not None and was.thin_since is not None)):
            self.check(hosts >= owed, 5, f"{path.name} has copies on {hosts} hosts of {owed} and is not thin")

    # --- objects

    def wants_to_delete(self, process: Process, server: StorageServer, key: str) -> None:
        """A daemon decides to remove an object."""
        agreed = self._world.store._meta.get(RUN) == self._world.store.run
        what = f"{process.name} removes {key} from {server.name}"
        self.check(agreed, 14, f"{what} before records and storage were compared")

    def deletes(self, process: Process, server: StorageServer, key: str, begun: float) -> None:
        """A daemon's removal, begun then, is carried out."""
        parsed = parse_key(key)
        if parsed is None:
            return self.fail(4, f"{process.name} removes {key} from {server.name}")
        path, id, generation = parsed
        self._deleted.add((server.name, key))
        data = server.disk.get(key)
        record = self._world.record(path)
        version = record.version(id) if record is not None else None
        what = f"{process.name} removes {key} from {server.name}"
        if version is not None:
            self._needed(what, process, server, record or Record(), version, generation)
        if data is None or id not in self.uploads:
            return None
        led = self._redirects.get((server.name, key))
        if led is not None and not self.harmed(server.name, key):
            over = self._now >= led + self._world.grace - self._world.slack / 2
            dead = self._world.was_dead(server.name)
            self.check(over or dead, 3, f"{what} {self._now - led:.0f} s after a reader was sent there")
        if version is None:
            current, live = self.files[path].floors, record.live if record is not None else None
            acknowledged = bool(current) and current[-1][2] == id and not self.uploads[id].ended
            overwritten = live is not None and self.uploads[live.id].order > self.uploads[id].order
            self.check(overwritten or not acknowledged, 1, f"{what}, which is the file")
        elif version.state is V.LIVE and self.intact(server.name, key, id):
            others = [r for r in version.in_state(R.GOOD, R.LEAVING) if r.backend != server.name]
            rest = [r for r in others if self.excused(r.backend, key_of(path, version, r), id)]
            self.check(bool(rest), 4, f"{what}, the last copy")
        return None

    def _needed(
        self,
        what: str,
        process: Process,
        server: StorageServer,
        record: Record,
        version: Version,
        generation: int,
    ) -> None:
        replica = version.replica(server.name)
        counted = replica is not None and replica.generation == generation
        if counted and replica is not None and version.state in (V.LIVE, V.UPLOADING):
            self.check(
                replica.state in (R.CONDEMNED, R.LOST),
                11,
                f"{what}, which is {replica.state.name} in the record",
            )
        live, upload = record.live, self.uploads[version.id]
        given_up = replica is None or replica.state in (R.CONDEMNED, R.MISSING)
        if version.state is V.SUPERSEDED and live is not None and not given_up:
            had = self._satisfied(live, process.daemon.cluster.view) or any(
                (other.satisfied or other.ended) and other.path == upload.path and other.order > upload.order
                for other in self.uploads.values()
            )
            self.check(had, 3, f"{what} before a successor has the copies it is owed")

    # --- readers

    def begins(self, path: Path) -> list[Floor]:
        """What was acknowledged when a read began."""
        return list(self.files[path].floors)

    def aborted(self, id: str, begun: float) -> None:
        """The client was told that its upload is over."""
        if begun > self._restarted:
            self.uploads[id].over, self.uploads[id].over_at = True, self._now

    def deletion_begins(self, path: Path) -> int:
        self.files[path].ends.append(self._now)
        return self.files[path].orders

    def deletion_unknown(self, path: Path) -> None:
        """Nobody knows whether it was done or will be: a frozen daemon takes its requests when it wakes."""
        self.files[path].ends.append(float("inf"))

    def deletion_acknowledged(self, path: Path, order: int, begun: float) -> None:
        self._raise(path, order, None, begun)

    def live_acknowledged(self, path: Path, id: str, begun: float) -> None:
        self._raise(path, self.uploads[id].order, id, begun)

    def _raise(self, path: Path, order: float, id: str | None, begun: float) -> None:
        if begun <= self._restarted:
            return  # it rests on what the store may have lost meanwhile
        floors = self.files[path].floors
        if not floors or order > floors[-1][1] or (order == floors[-1][1] and id is None):
            floors.append((self._now, order, id))

    def redirected(
        self,
        process: Process,
        path: Path,
        url: str,
        others: list[str],
        floors: list[Floor],
        begun: float,
    ) -> None:
        """A reader that began then was sent to ``url``; ``others`` hold the same bytes."""
        lag = self._lag(process, begun)
        for each in (url, *others):
            server, _, key = each.removeprefix("http://").partition(".test/")
            if server not in self._world.servers:
                return self.fail(13, f"GET {path.name} leads to {each}")
            parsed = parse_key(key)
            if parsed is None or parsed[0] != path:
                return self.fail(6, f"GET {path.name} leads to {each}")
            self._led(path, server, key, parsed[1], parsed[2], floors, begun, lag)
        return None

    def _led(
        self,
        path: Path,
        server: str,
        key: str,
        id: str,
        generation: int,
        floors: list[Floor],
        begun: float,
        lag: float,
    ) -> None:
        what = f"GET {path.name} leads to {id} on {server}"
        order = self.uploads[id].order
        known = [f for f in floors if f[0] <= begun - lag]
        if known:
            _, floor, live = known[-1]
            self.check(
                order > floor or (order == floor and live == id), 7, f"{what}, and newer is acknowledged"
            )
        self.check(
            self._was_good(path, id, server, generation, begun - lag), 6, f"{what}, which is no good copy"
        )
        if not lag:
            self.live_acknowledged(path, id, begun)
            if self._is_good(path, id, server):  # one that is leaving is read from only for want of another
                self._redirects[server, key] = self._now
            self.check(self.excused(server, key, id), 6, f"{what}, and other bytes are there")

    def _is_good(self, path: Path, id: str, backend: str) -> bool:
        record = self._world.record(path)
        version = record.version(id) if record is not None else None
        replica = version.replica(backend) if version is not None else None
        return replica is not None and replica.state is R.GOOD

    def _was_good(self, path: Path, id: str, backend: str, generation: int, since: float) -> bool:
        """Whether the record said so at some time since."""
        past = self.files[path].past
        for n in range(len(past) - 1, -1, -1):
            record = past[n][1]
            live = record.live if record is not None else None
            if live is not None and live.id == id:
                replica = live.replica(backend)
                if (
                    replica is not None
                    and replica.generation == generation
                    and replica.state in (R.GOOD, R.LEAVING)
                ):
                    return True
            if past[n][0] < since:
                break
        return False

    def not_found(self, process: Process, path: Path, floors: list[Floor], begun: float) -> None:
        """A reader that began then was told that there is no such file."""
        known = [f for f in floors if f[0] <= begun - self._lag(process, begun)]
        if known and known[-1][2] is not None:
            ended = any(end >= known[-1][0] - self._world.slack for end in self.files[path].ends)
            self.check(ended, 1, f"GET {path.name}: 404, and {known[-1][2]} is acknowledged")

    def _lag(self, process: Process, begun: float) -> float:
        """By how much a daemon's answers may be old: only while its link to the store is cut."""
        store = process.store
        if store.cut or store.healthy_since > begun - self._world.slack:
            return self._world.stale + self._world.slack
        return 0.0

    # --- all of it

    def books(self) -> None:
        """Invariant 12: what is kept beside the records follows from them exactly."""
        store = self._world.store
        use: dict[str, accounts.Use] = {}
        listed, thin, damaged = set(), {}, set()
        for member in store.records:
            record = self._world.record(Path.of_member(member))
            assert record is not None
            use = accounts.add(use, accounts.footprint(record))
            if record.live is not None:
                listed.add(member)
            if record.thin_since is not None:
                thin[member] = record.thin_since
            if record.damaged:
                damaged.add(member)
        self.check(store._use == use, 12, f"use is {store._use}, the records come to {use}")
        self.check(store._listed == listed, 12, "the index is not that of the records")
        self.check(store._thin == thin, 12, "thin is not that of the records")
        self.check(store._damaged == damaged, 12, "damaged is not that of the records")


def _sha(data: bytes) -> bytes:
    return sha256(data).digest()
