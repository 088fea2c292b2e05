"""May this object be removed?  Judged when a daemon asks for it, and again when the server does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragonbelly.keys import key_of, parse_key
from dragonbelly.model import ClusterView, Record, ReplicaState, Version, VersionState
from dragonbelly.replication.epoch import RUN
from dragonbelly.testing.simulation.judge import Judge

if TYPE_CHECKING:
    from dragonbelly.testing.simulation.process import Process
    from dragonbelly.testing.simulation.storage import StorageServer

R, V = ReplicaState, VersionState


class Removals(Judge):
    """Invariants 1, 3, 4, 11 and 14."""

    def wants_to_delete(self, process: Process, server: StorageServer, key: str) -> None:
        """A daemon decides to remove an object."""
        agreed = self.world.store._meta.get(RUN) == self.world.store.run
        what = f"{process.name} removes {key} from {server.name}"
        self.check(agreed, 14, f"{what} before records and storage were compared")

    def deletes(self, process: Process, server: StorageServer, key: str, view: ClusterView) -> None:
        """A daemon's removal is carried out; ``view`` is how it saw the cluster when it decided that."""
        parsed = parse_key(key)
        if parsed is None:
            return self.fail(4, f"{process.name} removes {key} from {server.name}")
        path, id, generation = parsed
        self.deleted.add((server.name, key))
        data = server.disk.get(key)
        record = self.world.record(path)
        version = record.version(id) if record is not None else None
        what = f"{process.name} removes {key} from {server.name}"
        if version is not None:
            self._needed(what, server, record or Record(), version, generation, view)
        if data is None or id not in self.uploads:
            return None
        led = self.redirects.get((server.name, key))
        if led is not None and not self.harmed(server.name, key):
            over = self.now >= led + self.world.grace - self.world.slack / 2
            dead = self.world.was_dead(server.name)
            self.check(over or dead, 3, f"{what} {self.now - led:.0f} s after a reader was sent there")
        if version is None:
            floors = self.files[path].floors
            acknowledged = bool(floors) and floors[-1][2] == id and not self.uploads[id].ended
            self.check(not acknowledged or self.has_successor(id), 1, f"{what}, which is the file")
        elif version.state is V.LIVE and self.intact(server.name, key, id):
            others = [(r.backend, key_of(path, version, r)) for r in version.in_state(R.GOOD, R.LEAVING)]
            rest = [o for o in others if o != (server.name, key) and self.excused(*o, id)]
            self.check(bool(rest), 4, f"{what}, the last copy")
        return None

    def _needed(
        self,
        what: str,
        server: StorageServer,
        record: Record,
        version: Version,
        generation: int,
        view: ClusterView,
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
        given_up = replica is None or not counted or replica.state in (R.CONDEMNED, R.MISSING)
        if version.state is V.SUPERSEDED and live is not None and not given_up:
            had = self.satisfied(live, view) or any(
                (other.satisfied or other.ended) and other.path == upload.path and other.order > upload.order
                for other in self.uploads.values()
            )
            self.check(had, 3, f"{what} before a successor has the copies it is owed")
