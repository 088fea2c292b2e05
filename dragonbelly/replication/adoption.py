"""Taking objects into the records that the store has forgotten."""

from __future__ import annotations

from dragonbelly.config.values import Config
from dragonbelly.events import Adopted, Event
from dragonbelly.interfaces import Snapshot
from dragonbelly.ledger import Ledger
from dragonbelly.model import Record
from dragonbelly.replication.objects import StoredObject, is_forgotten


class Adoption:
    """Makes the event, and commits it."""

    def __init__(self, ledger: Ledger, config: Config) -> None:
        self._ledger = ledger
        self._upload = config.upload

    async def adopt(self, backend: str, found: StoredObject, snapshot: Snapshot, since: float) -> bool:
        """
        Take an object in if its record, of which ``snapshot`` was read, may have known of it; whether it did.
        ``since`` is from when on versions may have been forgotten, unix s.

        :raises StateUnavailable:
        """
        if not is_forgotten(snapshot.record or Record(), backend, found, since):
            return False

        def events(record: Record) -> list[Event]:
            if not is_forgotten(record, backend, found, since):
                return []
            now = self._ledger.now
            deadline = int(now + self._upload.longest(found.size)) + 1
            return [Adopted(now, found.version, backend, found.generation, found.size, deadline)]

        after, _ = await self._ledger.commit(found.path, snapshot, events)
        version = after.record.version(found.version) if after.record is not None else None
        return version is not None and version.replica(backend) is not None
