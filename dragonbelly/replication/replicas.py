"""Is a replica what the record says?  Seen on the storage server; what is doubted is checked by its visit."""

from __future__ import annotations

import msgspec
from twisted.internet.interfaces import IDelayedCall

from dragonbelly.cluster.health import Health
from dragonbelly.errors import BackendError, NoSuchObject
from dragonbelly.events import Doubted, Event, Hashed
from dragonbelly.interfaces import IBackend, IClock
from dragonbelly.keys import key_of
from dragonbelly.ledger import Ledger
from dragonbelly.model import Path, Record, Replica, ReplicaState, Version
from dragonbelly.replication.copy import Digest
from dragonbelly.replication.pace import Pace

#: What is wrong with a replica.
MISSING, SIZE, DIGEST = "missing", "size", "digest"

#: The replicas that readers are sent to, or may be.
COUNTED = (ReplicaState.GOOD, ReplicaState.LEAVING)


class Look(msgspec.Struct, frozen=True):
    """
    What was seen of a replica.  ``wrong`` is one of the words above, None if it is as it should be;
    ``unknown``: its server did not say, so nothing is known.  ``sha256`` is that of its bytes, if anybody told.
    """

    wrong: str | None = None
    unknown: bool = False
    sha256: bytes | None = None


class Replicas:
    """Looks, and commits what follows."""

    def __init__(self, ledger: Ledger, health: Health) -> None:
        self._ledger = ledger
        self._health = health

    async def stat(self, path: Path, version: Version, replica: Replica) -> Look:
        """Without its bytes, unless the server knows their digest."""
        try:
            stat = await self._backend(replica).stat(key_of(path, version, replica))
        except BackendError as error:
            return await self._failed(replica, error)
        return _judge(version, stat.size, stat.sha256)

    async def read(self, path: Path, version: Version, replica: Replica, pace: Pace, clock: IClock) -> Look:
        """All its bytes, no faster than ``pace`` (bytes a second)."""
        try:
            body = await self._backend(replica).read(key_of(path, version, replica))
            if body.size != version.size:
                body.abandon()
                return Look(SIZE)
            digest = _Slowly(pace, clock)
            body.deliver(digest)
            await digest.done
        except BackendError as error:
            return await self._failed(replica, error)
        return _judge(version, digest.size, digest.sha256.digest())

    def _backend(self, replica: Replica) -> IBackend:
        return self._ledger.cluster.backend(replica.backend)

    async def _failed(self, replica: Replica, error: BackendError) -> Look:
        if isinstance(error, NoSuchObject) and await self._health.believed(replica.backend):
            return Look(MISSING)
        self._health.doubt(replica.backend, error)
        return Look(unknown=True)

    async def doubt(self, path: Path, version: Version, replica: Replica) -> bool:
        """
        Have it checked, at once: only its visit decides, and asks a server that answers properly otherwise.
        False: the record does not count on it any more, and nothing is wrong.

        :raises StateUnavailable:
        """
        doubted = Doubted(self._ledger.now, version.id, replica.backend, replica.generation)
        return await self._say(path, doubted)

    async def hashed(self, path: Path, version: Version, replica: Replica, sha256: bytes) -> None:
        """Nobody had said yet what the version's digest is."""
        await self._say(path, Hashed(self._ledger.now, version.id, replica.backend, replica.generation, sha256))

    async def _say(self, path: Path, event: Doubted | Hashed) -> bool:
        counted = False

        def events(record: Record) -> list[Event]:
            nonlocal counted
            live = record.live
            replica = live.replica(event.backend) if live is not None and live.id == event.id else None
            counted = (
                replica is not None and replica.generation == event.generation and replica.state in COUNTED
            )
            return [event] if counted else []

        await self._ledger.commit(path, await self._ledger.read(path), events)
        return counted


def _judge(version: Version, size: int, sha256: bytes | None) -> Look:
    """What an object of this size and digest (None: unknown) is to the version."""
    if size != version.size:
        return Look(SIZE)
    if sha256 is not None and version.sha256 not in (None, sha256):
        return Look(DIGEST, sha256=sha256)
    return Look(sha256=sha256)


class _Slowly(Digest):
    """Pauses the sender for as long as what came takes."""

    def __init__(self, pace: Pace, clock: IClock) -> None:
        super().__init__()
        self._pace = pace
        self._clock = clock
        self._resuming: IDelayedCall | None = None
        self.done.addBoth(self._over)

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        wait = self._pace.owe(len(data))
        if wait and self._resuming is None and not self.done.called:
            self.transport.pauseProducing()  # type: ignore[union-attr]
            self._resuming = self._clock.callLater(wait, self._resume)

    def _resume(self) -> None:
        self._resuming = None
        self.transport.resumeProducing()  # type: ignore[union-attr]

    def _over(self, result: object) -> object:
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None
        return result
