"""What people said of the backends, kept in the store, followed by every daemon."""

from __future__ import annotations

from dragonbelly.cluster.members import Cluster
from dragonbelly.interfaces import IClock, IStateStore
from dragonbelly.model import BackendState
from dragonbelly.state.promise import Promise
from dragonbelly.ticking import TickingService


class OperatorStates(TickingService):
    """Reads them every so often; a change made through this daemon is seen by it at once."""

    def __init__(self, store: IStateStore, cluster: Cluster, clock: IClock, every: float) -> None:
        super().__init__(clock, every)
        self._store = store
        self._cluster = cluster

    async def work(self) -> None:
        self._cluster.say(await self._store.operator_states())

    async def set(self, name: str, state: BackendState) -> None:
        """:raises StateUnavailable: unknown whether it was set, or will stay so."""
        async with Promise(self._store):
            await self._store.set_operator_state(name, state)
        await self.work()
