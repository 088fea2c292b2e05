"""The records read last, for when Redis is away."""

from __future__ import annotations

from collections import OrderedDict

from dragonbelly.interfaces import Snapshot
from dragonbelly.model import Path


class RecentRecords:
    """
    Up to ``size`` snapshots, least recently used first out; none is handed out that was true ``age`` seconds
    ago or longer.  While Redis answers nobody looks here.
    """

    def __init__(self, size: int, age: float) -> None:
        self._size, self._age = size, age
        self._snapshots: OrderedDict[Path, tuple[float, Snapshot]] = OrderedDict()

    def put(self, path: Path, snapshot: Snapshot, now: float) -> None:
        if snapshot.record is None:
            # Not kept: whoever asks for what is not there would push out what is.
            self._snapshots.pop(path, None)
            return
        self._snapshots[path] = (now, snapshot)
        self._snapshots.move_to_end(path)
        while len(self._snapshots) > self._size:
            self._snapshots.popitem(last=False)

    def get(self, path: Path, now: float) -> Snapshot | None:
        at, snapshot = self._snapshots.get(path, (0.0, None))
        return snapshot if snapshot is not None and 0 <= now - at < self._age else None
