"""A storage server and its disk: what really is there, and everything that such a server does wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

from twisted.internet.interfaces import IProtocol, IPushProducer
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from zope.interface import implementer

from dragonbelly.errors import BackendFull, BackendUnavailable, NoSuchObject
from dragonbelly.interfaces import IObjectBody
from dragonbelly.keys import MARKER
from dragonbelly.model import ObjectStat, Space, StoredKey

#: What a server can be like for a while.
DOWN, FROZEN, FULL, BROKEN, LYING, CUTTING, FLIPPING = (
    "refuses connections",
    "does not answer",
    "full, 507",
    "fails writes, 500",
    "lies: 201 and nothing stored",
    "truncates what it stores",
    "flips bits of what it stores",
)
MODES = (DOWN, FROZEN, FULL, BROKEN, LYING, CUTTING, FLIPPING)


class StorageServer:
    """
    ``disk`` holds the objects; ``digests``: whether it tells SHA-256.  ``mode`` is one of ``MODES`` or "".
    ``harmed`` are the keys whose object a fault changed or took away: nobody can be blamed for those.
    """

    def __init__(self, name: str, host: str, digests: bool) -> None:
        self.name = name
        self.host = host
        self.digests = digests
        self.mode = ""
        self.disk: dict[str, bytes] = {}
        self.harmed: set[str] = set()
        #: Those of them of which a look would have told that something is wrong.
        self.short: set[str] = set()
        self.arrived: dict[str, float] = {}
        self._unmounted: dict[str, bytes] | None = None
        self._backup: dict[str, bytes] = {}
        #: Whether what was removed may be there again.
        self.restored = False

    @property
    def url(self) -> str:
        return f"http://{self.name}.test/"

    # --- requests

    def put(self, key: str, data: bytes, now: float) -> None:
        """:raises BackendFull, BackendUnavailable: nothing was stored."""
        if self.mode == FULL:
            raise BackendFull(f"{self.name}: 507")
        if self.mode == BROKEN:
            raise BackendUnavailable(f"{self.name}: 500")
        harm = self.mode in (LYING, CUTTING, FLIPPING) and key != MARKER
        self.short.discard(key)
        there = self.disk.get(key)
        lacking = there is None or len(there) != len(data)  # else what lay there before passes for it
        if harm and ((self.mode == LYING and lacking) or (self.mode == CUTTING and data and there != data)):
            self.short.add(key)
        if self.mode == LYING and harm:
            self.harmed.add(key)
            return
        if harm and data:
            data = data[:-1] if self.mode == CUTTING else _flipped(data)
            self.harmed.add(key)
        elif self._unmounted is not None:
            self.harmed.add(key)  # it goes to the directory under the mount point
        else:
            self.harmed.discard(key)
        self.disk[key] = data
        self.arrived.setdefault(key, now)

    def get(self, key: str) -> bytes:
        """:raises NoSuchObject: it answers that there is nothing."""
        try:
            return self.disk[key]
        except KeyError:
            raise NoSuchObject(f"{self.name}: {key}") from None

    def stat(self, key: str) -> ObjectStat:
        data = self.get(key)
        return ObjectStat(len(data), sha256(data).digest() if self.digests else None)

    def delete(self, key: str) -> bool:
        """Whether there was anything."""
        return self.disk.pop(key, None) is not None

    def probe(self) -> Space:
        return Space(0, 1 << 30) if self.mode == FULL else Space(1 << 29, 1 << 30)

    async def keys(self, prefix: str) -> AsyncIterator[StoredKey]:
        directory = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        for key, data in list(self.disk.items()):
            if key.startswith(directory):
                yield StoredKey(key, len(data))

    # --- faults of the disk

    @property
    def mounted(self) -> bool:
        return self._unmounted is None

    def rot(self, key: str) -> None:
        self.disk[key] = _flipped(self.disk[key])
        self.harmed.add(key)

    def vanish(self, key: str) -> None:
        del self.disk[key]
        self.harmed.add(key)

    def unmount(self) -> None:
        if self._unmounted is None:
            self._unmounted, self.disk = self.disk, {}

    def mount(self) -> None:
        """What lies on the disk is what it was; what was written to the empty mount point is hidden."""
        if self._unmounted is not None:
            self.disk, self._unmounted = self._unmounted, None

    def back_up(self) -> None:
        self._backup = dict(self.disk)

    def restore(self) -> None:
        """The disk comes back as it was when it was backed up."""
        if MARKER in self._backup and self.mounted:
            self.harmed |= {key for key, _ in self.disk.items() ^ self._backup.items()}
            self.disk = dict(self._backup)
            self.restored = True

    def replace(self) -> None:
        """A new, empty disk."""
        self._unmounted = None
        self.harmed |= self.disk.keys()
        self.disk = {}

    def really(self, key: str) -> bytes | None:
        """What is on the disk, mounted or not."""
        return (self.disk if self._unmounted is None else self._unmounted).get(key)


def _flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:] if data else data


@implementer(IObjectBody, IPushProducer)
class Body:
    """An object on its way; ``size`` is what the server announces, and it may not all come."""

    def __init__(self, data: bytes, size: int) -> None:
        self.size = size
        self._data = data
        self._over = False
        self._protocol: Any = None

    def deliver(self, protocol: IProtocol) -> None:
        self._protocol = protocol
        protocol.makeConnection(self)  # type: ignore[arg-type]
        if self._data and not self._over:
            self._protocol.dataReceived(self._data)
        whole = len(self._data) == self.size
        self._end(ResponseDone() if whole else BackendUnavailable("the connection was lost"))

    def abandon(self) -> None:
        self._over = True

    def pauseProducing(self) -> None:
        """It came in one piece."""

    def resumeProducing(self) -> None:
        """It came in one piece."""

    def stopProducing(self) -> None:
        self._end(BackendUnavailable("the reader stopped"))

    loseConnection = abortConnection = stopProducing

    def _end(self, why: Exception) -> None:
        if not self._over and self._protocol is not None:
            self._over = True
            self._protocol.connectionLost(Failure(why))
