"""Who began how many uploads that are not over, so that nobody fills the records with what never comes."""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.defer import Deferred

from dragonbelly.config.limits import LimitsSection
from dragonbelly.errors import StateUnavailable, TooManyRequests
from dragonbelly.events import Abandoned, Deleted, Event, Verified
from dragonbelly.ledger import Announced, Ledger
from dragonbelly.model import Path, Record, Version, VersionState
from dragonbelly.web.addresses import Addresses
from dragonbelly.web.callers import Caller

#: Uploads that are remembered, of all clients together: about 30 MB.  The oldest are forgotten first, for
#: forgetting lets one more in, and refusing would shut out those who did nothing.
REMEMBERED = 100_000

#: Records that are read when a client is at its limit, and seconds until they are read again.
LOOK = 500
LOOK_AGAIN = 1.0

#: A new version, and where it may be uploaded to.
Begun = tuple[Version, list[tuple[str, str]]]


class Owner:
    """Whose uploads are counted together.  ``limit`` is the option that says how many there may be."""

    __slots__ = ("beginning", "limit", "looked", "most", "uploads")

    def __init__(self, limit: str, most: int) -> None:
        self.limit, self.most = limit, most
        self.beginning = 0
        #: By id, the oldest first: the path, and when it lapses.
        self.uploads: OrderedDict[str, tuple[Path, int]] = OrderedDict()
        self.looked = float("-inf")

    @property
    def full(self) -> bool:
        return len(self.uploads) + self.beginning >= self.most


class OpenUploads:
    """
    Begins uploads, and counts those that this daemon began.  Most end by this daemon too, which ``happened``
    tells; what others saw end is found out in the records, and only when somebody is at the limit.
    """

    def __init__(self, ledger: Ledger, limits: LimitsSection) -> None:
        self._ledger = ledger
        self._limits = limits
        self._addresses = Addresses(limits.exempt)
        self._owners: dict[str, Owner] = {}
        self._owner_of: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._owner_of)

    async def accept(self, caller: Caller, path: Path, announced: Announced) -> Begun:
        """
        As ``Ledger.accept``.

        :raises TooManyRequests: the caller has too many that are not over.
        """
        key, limit, most = self._counted(caller)
        if key is None or not most:
            return await self._ledger.accept(path, announced)
        owner = self._owners.get(key)
        if owner is not None and owner.full:
            await self._look(owner)
            if owner.full:
                raise TooManyRequests(
                    f"{most} uploads were begun and are not over: complete or abort some",
                    retry_after=int(LOOK_AGAIN) + 1,
                    limit=limit,
                )
        owner = self._owners.setdefault(key, Owner(limit, most))
        owner.beginning += 1
        begun: Deferred[Begun] = Deferred()
        # Goes on when the client leaves: it may be begun then, and would not be counted.
        Deferred.fromCoroutine(self._begin(key, owner, path, announced)).chainDeferred(begun)
        return await begun

    async def _begin(self, key: str, owner: Owner, path: Path, announced: Announced) -> Begun:
        try:
            version, places = await self._ledger.accept(path, announced)
            assert version.upload is not None
            owner.uploads[version.id] = (path, version.upload.deadline)
            self._owner_of[version.id] = key
        finally:
            owner.beginning -= 1
            self._forget_if_empty(key, owner)
        while len(self._owner_of) > REMEMBERED:
            self._over(next(iter(self._owner_of)))
        return version, places

    def happened(self, event: Event, record: Record | None) -> None:
        """Something was committed, by whatever part of this daemon; ``record`` is what came of it."""
        if not isinstance(event, Verified | Abandoned | Deleted):
            return
        if not isinstance(event, Deleted):
            self._over(event.id)
        for version in record.versions if record is not None else ():
            if version.state is not VersionState.UPLOADING:
                self._over(version.id)

    def _counted(self, caller: Caller) -> tuple[str | None, str, int]:
        if caller.token is not None:
            return f"token {caller.token.name}", "open_uploads", self._limits.open_uploads
        address = None if caller.trusted else self._addresses.of(caller.address)
        return address, "open_uploads_per_address", self._limits.open_uploads_per_address

    async def _look(self, owner: Owner) -> None:
        """See which of an owner's uploads are over: by time, or because another daemon ended them."""
        now = self._ledger.seconds
        if now - owner.looked < LOOK_AGAIN:
            return
        owner.looked = now
        for id, (_, deadline) in list(owner.uploads.items()):
            if deadline <= now:
                self._over(id)
        if not owner.full:
            return
        oldest = [(id, path) for id, (path, _) in list(owner.uploads.items())[:LOOK]]
        try:
            snapshots = await self._ledger.store.get_many([path for _, path in oldest])
        except StateUnavailable:
            return
        for (id, _), snapshot in zip(oldest, snapshots, strict=True):
            record = snapshot.record if snapshot is not None else None
            version = record.version(id) if record is not None else None
            if version is None or version.state is not VersionState.UPLOADING:
                self._over(id)
            elif id in owner.uploads:  # it may have ended while we read
                owner.uploads.move_to_end(id)  # the next look is at others

    def _over(self, id: str) -> None:
        key = self._owner_of.pop(id, None)
        if key is not None:
            owner = self._owners[key]
            del owner.uploads[id]
            self._forget_if_empty(key, owner)

    def _forget_if_empty(self, key: str, owner: Owner) -> None:
        if not owner.uploads and not owner.beginning:
            self._owners.pop(key, None)
