"""
The state store in memory: the model that the simulation runs on.

It keeps encoded bytes, so that nobody shares a value with it and a field that cannot be stored fails here
too; every answer comes through a Deferred that has already fired.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from dragonbelly.errors import BadRecord, Conflict
from dragonbelly.interfaces import Claim, Counts, IStateStore, ITracked, Snapshot, Told
from dragonbelly.model import FORMAT, BackendState, Path, Record, Use
from dragonbelly.state import accounts
from dragonbelly.state.boundary import answers
from dragonbelly.state.keys import partition


class _Due(NamedTuple):
    """When, in unix s, and the how manieth move of any due time made it so."""

    time: float
    move: int

    @property
    def token(self) -> bytes:
        return f"{self.time!r}#{self.move}".encode()


@implementer(ITracked)
class MemoryTracked:
    """All that is read is true, and what changes is told in the same moment."""

    def __init__(self, store: MemoryStore, clock: IReactorTime) -> None:
        self.changed: Callable[[str | None], None] = lambda member: None
        self._store = store
        self._clock = clock

    @property
    def proven(self) -> float:
        return self._clock.seconds()

    @property
    def until(self) -> float:
        return self._clock.seconds() + 1.0

    def ask(self, path: Path, told: Told) -> None:
        self.get(path).addCallbacks(told, lambda failure: told(failure.value))

    def after(self, act: Callable[[], None]) -> None:
        act()  # nothing comes together

    def get(self, path: Path) -> Deferred[Snapshot]:
        return self._store.get(path)


@implementer(IStateStore)
class MemoryStore:
    """
    ``clock`` is the store's time.  ``records`` are the raw values by ``<domain>/<path>``, open to those who
    want to damage one.
    """

    def __init__(self, clock: IReactorTime, partitions: int = 64) -> None:
        self.partitions = partitions
        self.identity = "memory"
        self.run = "1"
        self.records: dict[str, bytes] = {}
        self._clock = clock
        self._listed: set[str] = set()
        self._thin: dict[str, int] = {}
        self._damaged: set[str] = set()
        self._due: dict[str, _Due] = {}
        self._use: dict[str, Use] = {}
        self._backends: dict[str, BackendState] = {}
        self._meta: dict[str, str] = {"format": str(FORMAT), "partitions": str(partitions)}
        self._moves = 0
        self._first = 0
        self._tracked: list[MemoryTracked] = []

    @answers
    def ready(self) -> None:
        return None

    @answers
    def get(self, path: Path) -> Snapshot:
        return self._snapshot(path)

    def track(self) -> ITracked:
        tracked = MemoryTracked(self, self._clock)
        self._tracked.append(tracked)
        return tracked

    @answers
    def get_many(self, paths: Sequence[Path]) -> list[Snapshot | None]:
        found: list[Snapshot | None] = []
        for path in paths:
            try:
                found.append(self._snapshot(path))
            except BadRecord:
                found.append(None)
        return found

    @answers
    def commit(self, path: Path, old: Snapshot, new: Record | None, due: float | None) -> Snapshot:
        entry = accounts.entry(path, old.token, new)
        member = path.member
        if self.records.get(member, accounts.ABSENT) != old.token:
            raise Conflict(self._snapshot(path))
        if entry.value:
            self.records[member] = entry.value
        else:
            self.records.pop(member, None)
        (self._listed.add if entry.listed else self._listed.discard)(member)
        if entry.thin_since is None:
            self._thin.pop(member, None)
        else:
            self._thin[member] = entry.thin_since
        (self._damaged.add if entry.damaged else self._damaged.discard)(member)
        self._use = accounts.add(self._use, entry.use)
        if due is not None:
            self._move(member, self._clock.seconds() + due)
        elif not entry.value:
            self._due.pop(member, None)
        for tracked in self._tracked:
            tracked.changed(member)
        return accounts.snapshot(path, entry.value)

    @answers
    def claim(self, limit: int, lease: float) -> list[Claim]:
        # Like Redis, whose order is by partition and starts somewhere else every time.
        overdue = sorted(
            self._overdue(), key=lambda member: (self._turn(member), self._due[member].time, member)
        )
        self._first += 1
        until = self._clock.seconds() + lease
        return [Claim(Path.of_member(m), self._move(m, until).token) for m in overdue[: max(0, limit)]]

    @answers
    def settle(self, claim: Claim, due: float | None) -> Claim | None:
        member = claim.path.member
        now = self._due.get(member)
        if now is None or now.token != claim.token:
            return None
        if due is None:
            del self._due[member]
            return Claim(claim.path, b"")
        self._move(member, self._clock.seconds() + due)
        return Claim(claim.path, self._due[member].token)

    @answers
    def hasten(self, paths: Sequence[Path]) -> None:
        for path in paths:
            self._move(path.member, 0.0)

    @answers
    def due(self, path: Path) -> float | None:
        due = self._due.get(path.member)
        return None if due is None else max(0.0, due.time - self._clock.seconds())

    @answers
    def walk(self, cursor: str | None, limit: int) -> tuple[list[Path], str | None]:
        return _some(self.records, cursor, limit)

    @answers
    def waiting(self, cursor: str | None, limit: int) -> tuple[list[Path], str | None]:
        return _some({*self._due, *self._thin}, cursor, limit)

    @answers
    def damaged(self, limit: int) -> list[Path]:
        return [Path.of_member(member) for member in sorted(self._damaged)[: max(0, limit)]]

    @answers
    def page(self, domain: str, prefix: str, after: str, limit: int) -> list[str]:
        start, past = Path(domain, prefix).member, Path(domain, after).member
        # Code points sort as their UTF-8 bytes do.
        members = sorted(member for member in self._listed if member.startswith(start) and member > past)
        return [Path.of_member(member).name for member in members[: max(0, limit)]]

    @answers
    def use(self) -> dict[str, Use]:
        return dict(self._use)

    @answers
    def counts(self) -> Counts:
        return Counts(
            files=len(self._listed),
            queued=len(self._due),
            overdue=len(self._overdue()),
            thin=len(self._thin),
            thin_since=min(self._thin.values(), default=None),
            damaged=len(self._damaged),
        )

    @answers
    def operator_states(self) -> dict[str, BackendState]:
        return dict(self._backends)

    @answers
    def set_operator_state(self, name: str, state: BackendState) -> None:
        self._backends[name] = state

    @answers
    def meta(self, field: str) -> str | None:
        return self._meta.get(field)

    @answers
    def set_meta(self, field: str, old: str | None, new: str) -> bool:
        if self._meta.get(field) != old:
            return False
        self._meta[field] = new
        return True

    @answers
    def confirm(self) -> None:
        return None

    @answers
    def close(self) -> None:
        return None

    def _snapshot(self, path: Path) -> Snapshot:
        return accounts.snapshot(path, self.records.get(path.member, accounts.ABSENT))

    def _overdue(self) -> list[str]:
        now = self._clock.seconds()
        return [member for member, due in self._due.items() if due.time <= now]

    def _turn(self, member: str) -> int:
        return (partition(member, self.partitions) - self._first) % self.partitions

    def _move(self, member: str, time: float) -> _Due:
        self._moves += 1
        self._due[member] = due = _Due(time, self._moves)
        return due


def _some(
    members: set[str] | dict[str, bytes], cursor: str | None, limit: int
) -> tuple[list[Path], str | None]:
    """The members after ``cursor``, which is the last one handed out."""
    ordered = sorted(members)
    start = bisect_right(ordered, cursor) if cursor is not None else 0
    found = ordered[start : start + max(1, limit)]
    more = start + len(found) < len(ordered)
    return [Path.of_member(member) for member in found], found[-1] if more else None
