"""
The oracle: it knows every acknowledged call, what is really on the disks and which fault is to blame for what,
and says which invariant is broken.

Nothing here asks the product what is right: states, orders, copies owed and grace are judged by rules of the
oracle's own.  It is told of each change of a record and of each object that is written or removed, at the very
moment when that happens.
"""

from __future__ import annotations

from dragonbelly.replication.epoch import SLACK
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
            file.ended_by.clear()
            file.past.append((self.now, record))
            file.gone.difference_update(v.id for v in (record.versions if record is not None else ()))
        self.redirects.clear()  # the copies that they led to may be forgotten
        for upload in self.uploads.values():
            upload.over = upload.over and upload.over_at < since
            upload.forgettable = upload.forgettable or upload.began >= since - SLACK
