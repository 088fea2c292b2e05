"""
What is known and what is judged by it: acknowledged calls, what really is on the disks, and which fault is to
blame.  The parts of the oracle are built on this.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from dragonbelly.keys import key_of
from dragonbelly.model import BackendState, ClusterView, Path, Record, ReplicaState, Version

if TYPE_CHECKING:
    from dragonbelly.testing.simulation.clock import ProcessClock
    from dragonbelly.testing.simulation.world import World

R = ReplicaState

#: Records of the past that a slow answer may rest on.
PAST = 64


class Violation(AssertionError):
    """An invariant is broken; ``number`` is its number in the list, 0 for liveness and errors."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"invariant {number}: {text}" if number else text)
        self.number = number


#: What was acknowledged: when, which order of the path's versions it rests on, and which one (None: its end).
Floor = tuple[float, float, str | None]


@dataclass
class Upload:
    """What a client began: ``data`` is what it will send if it is honest, the rest what it announced."""

    path: Path
    data: bytes
    order: float
    size: int | None = None
    sha256: bytes | None = None
    create_only: bool = False
    if_match: str | None = None
    #: The client says at the end that it sent another size than it did.
    misclaimed: bool = False
    #: The client was told that it will never be the file.
    over: bool = False
    over_at: float = 0.0
    #: When the store knew it first, and whether it is so young that the store may have forgotten it since.
    began: float = 0.0
    forgettable: bool = False
    #: When the store took it in again, having forgotten it: what was deleted before may come back by that.
    revived: float = 0.0
    #: It was live with all the copies that it could have.
    satisfied: bool = False
    lived: bool = False
    #: It was live, and was deleted or expired: its predecessors are nobody's any more.
    ended: bool = False


@dataclass
class File:
    """
    ``floors`` are the acknowledged (time, order, id): no later reader sees anything older than ``order``; id is
    None for a deletion, after which nothing of that order is seen either.
    """

    past: deque[tuple[float, Record | None]] = field(default_factory=lambda: deque(maxlen=PAST))
    floors: list[Floor] = field(default_factory=list)
    #: The last end that each daemon acknowledged, by its clock, which is another after a restart.
    ended_by: dict[ProcessClock, Floor] = field(default_factory=dict)
    #: When something was begun that may end the file: a deletion, an expiry.
    ends: list[float] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    orders: int = 0


class Judge:
    """``violated`` is the first violation; the world looks at it after every step."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.uploads: dict[str, Upload] = {}
        self.files: dict[Path, File] = {path: File() for path in world.paths}
        self.violated: Violation | None = None
        #: By server and key: when a reader was sent there last.
        self.redirects: dict[tuple[str, str], float] = {}
        #: Servers and keys of what daemons removed.
        self.deleted: set[tuple[str, str]] = set()
        #: When another run of the store began to answer last.
        self.restarted_at = 0.0

    def fail(self, number: int, text: str) -> None:
        if self.violated is None:
            self.violated = Violation(number, text)

    def check(self, holds: bool, number: int, text: str) -> None:
        if not holds and self.violated is None:
            self.violated = Violation(number, text)

    @property
    def now(self) -> float:
        return float(self.world.clock.rightNow)

    # --- what is really there

    def intact(self, backend: str, key: str, id: str) -> bool:
        return self.world.servers[backend].really(key) == self.uploads[id].data

    def harmed(self, backend: str, key: str) -> bool:
        return key in self.world.servers[backend].harmed

    def excused(self, backend: str, key: str, id: str) -> bool:
        """Whether the object is right, or a fault is to blame."""
        return self.intact(backend, key, id) or self.harmed(backend, key)

    def lost(self, path: Path, version: Version) -> bool:
        """
        Whether no good copy of it is left anywhere; that this is a fault's doing is checked elsewhere.  One
        that was to be removed is kept, though there may be no place to copy it to.
        """
        return not any(
            self.intact(r.backend, key_of(path, version, r), version.id)
            for r in version.replicas
            if r.state is not R.CONDEMNED
        )

    def has_successor(self, id: str) -> bool:
        """Whether another version of the path took its place."""
        upload = self.uploads[id]
        return any(u.lived and u.path == upload.path and u.order > upload.order for u in self.uploads.values())

    # --- what is owed

    def hosts(self, version: Version, view: ClusterView) -> set[str]:
        """The hosts with a good copy, as the one who writes it knows what people said."""
        gone = (BackendState.DRAIN, BackendState.DEAD)
        return {
            self.world.servers[r.backend].host
            for r in version.in_state(R.GOOD)
            if view[r.backend].state not in gone
        }

    def satisfied(self, live: Version, view: ClusterView) -> bool:
        """Whether it has the copies that it is owed, or as many as there can be."""
        held = [r.backend for r in live.in_state(R.GOOD)]
        room = {
            b.host
            for b in view.values()
            if b.state in (BackendState.ALIVE, BackendState.DOWN)
            or (b.state is BackendState.READONLY and b.name in held)
        }
        return len(self.hosts(live, view)) >= min(self.world.owed(live), max(1, len(room)))


def sha(data: bytes) -> bytes:
    return sha256(data).digest()
