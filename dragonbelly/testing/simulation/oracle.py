"""
The oracle: it knows every acknowledged call, what is really on the disks and which fault is to blame for what,
and says which invariant is broken.

Nothing here asks the product what is right: states, orders, copies owed and grace are judged by rules of the
oracle's own.  It is told of each change of a record and of each object that is written or removed, at the very
moment when that happens.
"""

from __future__ import annotations

from dragonbelly.model import Path, Use
from dragonbelly.replication.epoch import SLACK
from dragonbelly.state import accounts
from dragonbelly.testing.simulation.commits import Commits
from dragonbelly.testing.simulation.readers import Readers
from dragonbelly.testing.simulation.removals import Removals


class Oracle(Commits, Removals, Readers):
    """The whole of it; what is left here is the store's own."""

    def restarted(self, since: float | None) -> None:
        """Another run of the store answers from now on; what was written from ``since`` on is lost."""
        self.restarted_at = self.now
        if since is None:
            return
        for path, file in self.files.items():
            record = self.world.record(path)
            file.floors = [floor for floor in file.floors if floor[0] < since]
            file.past.append((self.now, record))
            file.gone.difference_update(v.id for v in (record.versions if record is not None else ()))
        self.redirects.clear()  # the copies that they led to may be forgotten
        for upload in self.uploads.values():
            upload.over = upload.over and upload.over_at < since
            upload.forgettable = upload.forgettable or upload.began >= since - SLACK

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
