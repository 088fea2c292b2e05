"""Is what is written to a record right?  Judged at the moment when the store takes it."""

from __future__ import annotations

from dragonbelly.events import DIGEST, LAPSED, SIZE
from dragonbelly.keys import key_of
from dragonbelly.model import (
    BackendState,
    ClusterView,
    Path,
    Record,
    Replica,
    ReplicaState,
    Use,
    Version,
    VersionState,
)
from dragonbelly.state import accounts
from dragonbelly.testing.simulation.judge import File, Judge, Upload, sha

R, V = ReplicaState, VersionState

_VERSION_MOVES = {
    # DELETED at once: it was over by its own terms when it came.
    V.UPLOADING: (V.LIVE, V.SUPERSEDED, V.ABANDONED, V.DELETED),
    V.LIVE: (V.SUPERSEDED, V.DELETED),
}


#: The books are looked at after so many commits.
BOOKS = 16


class Commits(Judge):
    """Invariants 2, 4, 5, 7, 8, 9, 10 and 12."""

    _commits = 0

    def committed(self, path: Path, before: bytes, after: bytes) -> None:
        """The store changed a record."""
        view = self.world.store.view
        was, now = accounts.decode(path, before), accounts.decode(path, after)
        file = self.files[path]
        file.past.append((self.now, now))
        self._commits += 1
        if self._commits % BOOKS == 0:
            self.books()
        old = {v.id: v for v in was.versions} if was is not None else {}
        versions = now.versions if now is not None else ()
        for version in reversed(versions):
            if version.id not in old:
                self._appeared(path, file, version, versions)
            elif version is not old[version.id]:
                self._moved(path, was or Record(), now or Record(), old[version.id], version, view)
        for id in sorted(old.keys() - {v.id for v in versions}):
            file.gone.add(id)
            self._vanished(path, file, old[id])
        live = [v for v in versions if v.state is V.LIVE]
        self.check(len(live) <= 1, 7, f"{path.name} has {len(live)} live versions")
        for version in versions:
            backends = [r.backend for r in version.replicas]
            self.check(len(set(backends)) == len(backends), 5, f"{path.name} has two replicas on one backend")
        if now is not None and live:
            self._copies(path, was, now, live[0], view)

    def _appeared(self, path: Path, file: File, version: Version, versions: tuple[Version, ...]) -> None:
        # What a backup kept, or a server that was called dead, may be taken for forgotten; so may what a server
        # holds that was not there when the store came back older.
        forgettable = version.id in self.uploads and self.uploads[version.id].forgettable
        kept = forgettable or any(
            self.world.servers[r.backend].restored or self.world.was_dead(r.backend) for r in version.replicas
        )
        self.check(kept or version.id not in file.gone, 8, f"version {version.id} of {path.name} came back")
        if version.id not in self.uploads:
            self.uploads[version.id] = self.world.begun(path, version)
            self.uploads[version.id].began = self.now
        elif (upload := self.uploads[version.id]).order:
            # The store had forgotten it, and what was announced with it, and which of its keys were used.
            upload.revived, upload.forgettable = self.now, True
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

    def _vanished(self, path: Path, file: File, version: Version) -> None:
        """A version that was live a moment ago and is gone was ended, and nothing was left of it anywhere."""
        if version.state is not V.LIVE:
            return
        self.uploads[version.id].ended = True
        ended = bool(file.ends) or self.has_successor(version.id)
        self.check(ended, 1, f"version {version.id} of {path.name} was live, and is gone")
        at = [r.backend for r in version.replicas]
        dead = all(self.world.was_dead(backend) for backend in at)
        self.check(dead, 1, f"version {version.id} of {path.name} is forgotten and was on {at}")

    def _moved(
        self, path: Path, was: Record, now: Record, old: Version, new: Version, view: ClusterView
    ) -> None:
        upload = self.uploads[new.id]
        what = f"version {new.id} of {path.name}"
        if new.state is not old.state:
            self.world.reached(f"{old.state.name.lower()} → {new.state.name.lower()}")
            self.check(
                new.state in _VERSION_MOVES.get(old.state, ()), 8, f"{what}: {old.state.name}, {new.state.name}"
            )
            upload.ended = upload.ended or new.state is V.DELETED
            upload.lived = upload.lived or new.state in (V.LIVE, V.DELETED)
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
                    upload.forgettable or (replica.backend, key) not in self.deleted,
                    2,
                    f"key {key} on {replica.backend} again",
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
        good = [(self.world.servers[r.backend], key_of(path, version, r)) for r in version.in_state(R.GOOD)]
        if not any(self.harmed(r.backend, key_of(path, version, r)) for r in version.replicas):
            return
        for server, key in good:
            data = server.disk.get(key)
            if data is not None and len(data) == version.size and version.sha256 in (None, sha(data)):
                self.uploads[version.id].data = data
                for other, its in good:
                    other.short.discard(its)
                    if other.mounted and other.disk.get(its) == data:
                        other.harmed.discard(its)

    def _given_up(self, what: str, path: Path, old: Version, new: Version, upload: Upload) -> None:
        """An upload that came whole and in time is not given up for not having come."""
        assert new.upload is not None
        if new.upload.reason not in (LAPSED, SIZE, DIGEST) or upload.misclaimed:
            return
        if upload.size not in (None, len(upload.data)) or upload.sha256 not in (None, sha(upload.data)):
            return  # the client announced something else
        for replica in old.in_state(R.MISSING):
            server, key = self.world.servers[replica.backend], key_of(path, old, replica)
            came = server.arrived.get(key)
            settled = came is not None and came < self.now - self.world.slack
            dead = self.world.said(replica.backend) is BackendState.DEAD
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
        self.world.reached(f"replica {was.state.name.lower()} → {now.state.name.lower()}")
        if now.state is R.GOOD and was.state is not R.LEAVING:
            told = key in self.world.servers[now.backend].short
            right = self.intact(now.backend, key, new.id) or (self.harmed(now.backend, key) and not told)
            self.check(right, 10, f"{where} is called good and is not")
        elif now.state is R.LOST:
            self.redirects.pop((now.backend, key), None)
            dead = (
                self.world.said(now.backend) is BackendState.DEAD
                or view[now.backend].state is BackendState.DEAD
            )
            self.check(
                dead or self.harmed(now.backend, key) or not self.intact(now.backend, key, new.id),
                9,
                f"{where} is called lost and is there",
            )
        elif now.state is R.CONDEMNED and new.state is V.LIVE:
            left = len(new.in_state(R.GOOD))
            bad = self.harmed(now.backend, key) or not self.intact(now.backend, key, new.id)
            if was.state in (R.GOOD, R.LEAVING) and not bad:
                self._dropped(where, path, new, view)
            elif was.state is not R.MISSING:  # found to be bad, and made room for another, in one commit
                self.redirects.pop((now.backend, key), None)
                self.check(left > 0, 4, f"{where} is removed and no good copy is left")
                self.check(bad or self.world.was_dead(now.backend), 9, f"{where} is removed and is good")
        elif now.state is R.LEAVING:
            self._dropped(where, path, new, view)

    def _dropped(self, where: str, path: Path, version: Version, view: ClusterView) -> None:
        hosts = self.hosts(version, view)
        self.check(
            len(hosts) >= self.world.owed(version),
            4,
            f"{where} is dropped, and {len(hosts)} of {self.world.owed(version)} copies stay",
        )

    def _copies(self, path: Path, was: Record | None, now: Record, live: Version, view: ClusterView) -> None:
        hosts, owed = len(self.hosts(live, view)), self.world.owed(live)
        if self.satisfied(live, view):
            self.uploads[live.id].satisfied = True
        before = was.live if was is not None else None
        news = before is None or before.id != live.id or before.in_state(R.GOOD) != live.in_state(R.GOOD)
        if now.thin_since is None and (news or (was is not None and was.thin_since is not None)):
            self.check(hosts >= owed, 5, f"{path.name} has copies on {hosts} hosts of {owed} and is not thin")

    # --- what is kept beside the records

    def books(self) -> None:
        """Invariant 12: what is kept beside the records follows from them exactly."""
        store = self.world.store
        use: dict[str, Use] = {}
        listed, thin, damaged = set(), {}, set()
        for member in store.records:
            record = self.world.record(Path.of_member(member))
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
