"""Is a replica what the record says?  Seen on the storage server; what is doubted is checked by its visit."""

from __future__ import annotations

import msgspec

from dragonbelly.cluster.health import Health
from dragonbelly.errors import BackendError, NoSuchObject
from dragonbelly.keys import key_of
from dragonbelly.ledger import Ledger
from dragonbelly.lifecycle import Doubted
from dragonbelly.model import Path, Replica, Version

#: What is wrong with a replica.
MISSING, SIZE, DIGEST = "missing", "size", "digest"


class Look(msgspec.Struct, frozen=True):
    """
    What was seen of a replica.  ``wrong`` is one of the words above, None if it is as it should be;
    ``unknown``: its server did not say, so nothing is known.
    """

    wrong: str | None = None
    unknown: bool = False
    sha256: bytes | None = None


class Replicas:
    """Looks, and commits doubts."""

    def __init__(self, ledger: Ledger, health: Health) -> None:
        self._ledger = ledger
        self._health = health

    async def stat(self, path: Path, version: Version, replica: Replica) -> Look:
        """Without its bytes, unless the server knows their digest."""
        try:
            backend = self._ledger.cluster.backend(replica.backend)
            stat = await backend.stat(key_of(path, version, replica))
        except NoSuchObject:
            return Look(MISSING) if await self._health.believed(replica.backend) else Look(unknown=True)
        except BackendError as error:
            self._health.doubt(replica.backend, error)
            return Look(unknown=True)
        return judge(version, stat.size, stat.sha256)

    async def doubt(self, path: Path, version: Version, replica: Replica) -> None:
        """
        Have it checked, at once: only its visit decides, and asks a server that answers properly otherwise.

        :raises StateUnavailable:
        """
        doubted = Doubted(self._ledger.now, version.id, replica.backend, replica.generation)
        await self._ledger.commit(
            path, await self._ledger.read(path), lambda record: [doubted] if record.versions else []
        )


def judge(version: Version, size: int, sha256: bytes | None) -> Look:
    """What an object of this size and digest (None: unknown) is to the version."""
    if size != version.size:
        return Look(SIZE)
    if sha256 is not None and version.sha256 not in (None, sha256):
        return Look(DIGEST)
    return Look(sha256=sha256)
