"""The store of the simulation: the memory model, watched, and able to come back older than it was."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from dragonbelly.interfaces import Claim, Snapshot
from dragonbelly.model import BackendState, ClusterView, Path, Record
from dragonbelly.state.memory import MemoryStore

#: Writes that can be undone, at most.
UNDO = 30

#: What of a ``MemoryStore`` is data.
_DATA = ("records", "_listed", "_thin", "_damaged", "_due", "_use", "_backends", "_meta")


class WatchedStore(MemoryStore):
    """
    ``watch(path, before, after)`` is told of each change of a record, as raw values; ``view`` is the picture of
    the cluster that its writer had when it sent it.
    """

    def __init__(self, clock: Clock, watch: Callable[[Path, bytes, bytes], None], undo: bool) -> None:
        super().__init__(clock)
        self.view: ClusterView = {}
        self._watch = watch
        self._undo: deque[tuple[float, dict[str, Any]]] | None = deque(maxlen=UNDO) if undo else None

    @property
    def can_undo(self) -> bool:
        return self._undo is not None

    def _remember(self) -> None:
        if self._undo is not None:
            self._undo.append((self._clock.seconds(), self._copy()))

    def _copy(self) -> dict[str, Any]:
        return {name: getattr(self, name).copy() for name in _DATA}

    def restart(self, writes: int = 0, seconds: float = 0.0) -> float | None:
        """
        Another run of the server, without the last ``writes`` writes of the last ``seconds``; when the first of
        those was made, None if nothing was lost.
        """
        self.run = str(int(self.run) + 1)
        lost = [(at, data) for at, data in self._undo or () if at >= self._clock.seconds() - seconds]
        if self._undo is not None:
            self._undo.clear()
        if not writes or not lost:
            return None
        since, data = lost[-min(writes, len(lost))]
        for name, value in data.items():
            setattr(self, name, value)
        return since

    # --- the writes

    def commit(self, path: Path, old: Snapshot, new: Record | None, due: float | None) -> Deferred[Snapshot]:
        self._remember()
        member = path.member
        before = self.records.get(member, b"")
        committed = super().commit(path, old, new, due)
        after = self.records.get(member, b"")
        if after != before:
            self._watch(path, before, after)
        return committed

    def claim(self, limit: int, lease: float) -> Deferred[list[Claim]]:
        if self._due:
            self._remember()
        return super().claim(limit, lease)

    def settle(self, claim: Claim, due: float | None) -> Deferred[Claim | None]:
        self._remember()
        return super().settle(claim, due)

    def set_operator_state(self, name: str, state: BackendState) -> Deferred[None]:
        self._remember()
        return super().set_operator_state(name, state)

    def set_meta(self, field: str, old: str | None, new: str) -> Deferred[bool]:
        self._remember()
        return super().set_meta(field, old, new)
