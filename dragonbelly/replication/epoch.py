"""
The gate before everything that cannot be undone: is this the Redis that we know?

A Redis that was killed, failed over or restored may come back older than it was.  Its records then speak of
objects that are gone, and know nothing of others that clients were promised; what follows from such records
must not be removed.  Another run of a server is another epoch: until its records and the storage were compared
(``replication.compare``), nothing is deleted, by any daemon.
"""

from __future__ import annotations

from dragonbelly.ids import created, is_ulid
from dragonbelly.interfaces import IClock, IStateStore

#: Fields of the meta.  ``RUN``: the run whose records agree with the storage.  ``BEAT``: unix s, written while
#: they agree and not otherwise: up to when the records that survived are complete.  ``SKIPPED``: backends that
#: were not there to be compared, as ``<name>=<since>``.
RUN, BEAT, SKIPPED = "epoch.run", "epoch.beat", "epoch.skipped"

#: Seconds by which the clocks of two daemons may differ, with all that lies between the making of an id and its
#: commit: at most.
SLACK = 60


class Epoch:
    """
    ``agreed`` is the gate; it is closed until the first ``look``.  ``grace`` is how long objects are kept that
    are not needed, in s: what was made longer before the last beat may have been removed for good by then, and
    bytes of it that came late are no forgotten file.
    """

    def __init__(self, store: IStateStore, clock: IClock, grace: float) -> None:
        self._store = store
        self._clock = clock
        self._slack = int(min(SLACK, grace))
        self._run = ""

    @property
    def agreed(self) -> bool:
        """Whether the server that is connected at this moment is the one whose records were compared."""
        return self._run != "" and self._run == self._store.run

    async def look(self) -> bool:
        """
        Whether somebody has compared them; on an empty store there is nothing to compare.

        :raises StateUnavailable:
        """
        run = self._store.run
        found = await self._store.meta(RUN)
        if found is None and await self.agree(run, None):
            found = run
        if found == run:
            self._run = run
        return self.agreed

    async def agree(self, run: str, old: str | None) -> bool:
        """Say that the records of ``run`` and the storage agree, unless another run answers by now."""
        if run == "" or run != self._store.run:
            return False
        return await self._store.set_meta(RUN, old, run)

    async def beat(self) -> None:
        """Say that all is well: only while it is."""
        old = await self._store.meta(BEAT)
        if self.agreed:
            await self._store.set_meta(BEAT, old, str(int(self._clock.seconds())))

    @property
    def born(self) -> float:
        """From when on versions may be this store's own, unix s."""
        identity = self._store.identity
        return created(identity) - SLACK if is_ulid(identity) else 0.0

    async def since(self) -> int | None:
        """From when on versions may have been forgotten, unix s; None: nobody ever said that all is well."""
        beat = await self._store.meta(BEAT)
        return None if beat is None else int(beat) - self._slack


def parse_skipped(skipped: str | None) -> dict[str, int]:
    """The meta's ``SKIPPED``: the backends, and from when on versions there may have been forgotten, unix s."""
    pairs = (item.rpartition("=") for item in (skipped or "").split())
    return {name: int(at) for name, _, at in pairs}
