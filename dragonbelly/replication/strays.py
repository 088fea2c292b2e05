"""
Objects that no record knows, found and removed: bytes that came when nobody waited for them any more, and what
a daemon left that died between a write and its commit.

A record is written before the first byte of what it knows, so an object without one stays without.  Still each
is looked up twice, some time apart, and the second time right before it is removed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.task import deferLater
from twisted.logger import Logger

from dragonbelly.cluster.health import Health
from dragonbelly.config.values import Config
from dragonbelly.errors import BackendError, BadRecord
from dragonbelly.interfaces import IBackend, IClock, Snapshot
from dragonbelly.ledger import Ledger
from dragonbelly.model import Record
from dragonbelly.replication.adoption import Adoption
from dragonbelly.replication.audit_round import ORPHAN, REMOVED, Finding, Round
from dragonbelly.replication.epoch import SKIPPED, parse_skipped
from dragonbelly.replication.objects import StoredObject, is_foreign, is_orphan, lots
from dragonbelly.replication.pace import Pace
from dragonbelly.replication.plan import SETTLED

#: Orphans that wait for their second look, at most.
WAITING = 500


class Strays:
    """Walks one backend at a time.  ``on_removed(backend)`` hears of each orphan."""

    _log = Logger()

    def __init__(
        self,
        ledger: Ledger,
        health: Health,
        config: Config,
        clock: IClock,
        pace: Pace,
        on_removed: Callable[[str], None],
    ) -> None:
        self._ledger = ledger
        self._store = ledger.store
        self._health = health
        self._config = config
        self._clock = clock
        self._pace = pace
        self._on_removed = on_removed
        self._adoption = Adoption(ledger, config)

    async def walk(
        self, name: str, round: Round, go_on: Callable[[], None], note: Callable[[], Awaitable[None]]
    ) -> bool:
        """
        Go through what lies on a backend under the round's prefix; whether it was walked to its end.  ``go_on``
        raises when we may not; ``note`` is told from time to time that it goes on.

        :raises StateUnavailable:
        """
        if not await self._health.believed(name):
            return False
        backend = self._ledger.cluster.backend(name)
        orphans: list[StoredObject] = []
        try:
            async for ours, foreign in lots(backend, round.prefix.rpartition("/")[0]):
                await self._pace.spend(len(ours) + len(foreign))
                go_on()
                mine = [found for found in ours if found.path.domain in self._config.domains]
                mine = [found for found in mine if found.path.member.startswith(round.prefix)]
                if not round.prefix:
                    round.foreign += len(foreign) + len(ours) - len(mine)
                round.objects += len(mine)
                snapshots = await self._store.get_many([found.path for found in mine])
                for found, snapshot in zip(mine, snapshots, strict=True):
                    if snapshot is None:
                        self._ledger.unreadable.met(found.path)
                        continue
                    go_on()
                    if is_foreign(snapshot.record or Record(), found, self._ledger.epoch.born):
                        round.foreign += 1
                    elif self._is_orphan(name, found, snapshot):
                        orphans.append(found)
                    else:
                        await self._adoption.adopt(name, found, snapshot, float("inf"))
                if len(orphans) >= WAITING:
                    await self._remove(name, backend, orphans, round, go_on)
                    orphans = []
                await note()
            await self._remove(name, backend, orphans, round, go_on)
        except BackendError as error:
            self._health.doubt(name, error)
            return False
        return True

    def _is_orphan(self, name: str, found: StoredObject, snapshot: Snapshot) -> bool:
        kept = self._config.upload.longest(found.size) + self._config.delete.grace + SETTLED
        return is_orphan(snapshot.record or Record(), name, found, self._ledger.now - kept)

    async def _remove(
        self, name: str, backend: IBackend, orphans: list[StoredObject], round: Round, go_on: Callable[[], None]
    ) -> None:
        if not orphans:
            return
        await deferLater(self._clock, SETTLED)
        if name in parse_skipped(await self._store.meta(SKIPPED)) or not await self._health.believed(name):
            return
        for found in orphans:
            await self._pace.spend(1)
            if not await _is_alone(backend, found):
                self._log.warn("{key} on {name} is nobody's, and not alone: left", key=found.key, name=name)
                round.foreign += 1
                continue
            try:
                snapshot = await self._ledger.read(found.path)
            except BadRecord:
                continue
            if not self._is_orphan(name, found, snapshot):
                continue
            await self._store.confirm()
            go_on()
            await backend.delete(found.key)
            self._on_removed(name)
            self._log.info("{key} on {name} belonged to nothing, and was removed", key=found.key, name=name)
            now = self._ledger.now
            round.add(Finding(found.path.member, ORPHAN, now, name, found.version, REMOVED))


async def _is_alone(backend: IBackend, found: StoredObject) -> bool:
    """Whether nothing else lies in its directory, which is removed with it."""
    async for stored in backend.keys(found.key.rpartition("/")[0]):
        if stored.key != found.key:
            return False
    return True
