"""
Many files in Redis at once: the very keys and values that as many commits would leave.

All are live, with all the good replicas that they are owed, and nothing is due.  Several processes send whole
batches of commands.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import socket
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import hiredis

from benchmarks import paths
from dragonbelly.ids import ulid
from dragonbelly.model import Path, Record, Replica, ReplicaState, Version, VersionState
from dragonbelly.state import accounts
from dragonbelly.state.keys import Keys

NOW = 1_700_000_000

#: Files in one batch of commands: large enough for few replies, small enough not to hold Redis up.
BATCH = 5_000

#: The partitions of a store, unless its configuration says otherwise.
PARTITIONS = 64


@dataclass(frozen=True)
class Kind:
    """What files to make: each has ``copies`` replicas on some of the backends."""

    backends: tuple[str, ...] = ("one", "two", "three")
    copies: int = 3
    domain: str = paths.DOMAIN

    def file(self, n: int) -> tuple[Path, Record]:
        """The file of a number, always the same: live, all copies good, not thin."""
        digest = hashlib.sha256(b"%d" % n).digest()
        # Chance enough, and a hundred times as fast as seeding a generator for each.
        chance = int.from_bytes(digest)
        first = chance % len(self.backends)
        backends = (self.backends * 2)[first : first + self.copies]
        version = Version(
            id=ulid(NOW + n % 1_000_000, lambda bits: chance >> 256 - bits),
            state=VersionState.LIVE,
            since=NOW + n % 1_000_000,
            size=chance >> 232,
            sha256=digest,
            replicas=tuple(Replica(backend, ReplicaState.GOOD, NOW) for backend in backends),
            content_type="image/jpeg",
        )
        return Path(self.domain, paths.name(n)), Record((version,))


def commands(kind: Kind, numbers: Sequence[int]) -> Iterator[tuple[str | bytes | int, ...]]:
    """What to tell Redis for a batch of files."""
    keys = Keys(PARTITIONS)
    records: list[str | bytes] = ["MSET"]
    listed: defaultdict[int, list[str | int]] = defaultdict(list)
    use: defaultdict[tuple[int, str], int] = defaultdict(int)
    for n in numbers:
        path, record = kind.file(n)
        entry = accounts.entry(path, accounts.ABSENT, record)
        q = keys.partition(path)
        records += [keys.record(path), entry.value]
        listed[q] += [0, path.member]
        for backend, more in entry.use.items():
            use[q, f"{backend}:bytes"] += more.bytes
            use[q, f"{backend}:objects"] += more.objects
    yield tuple(records)
    for q, members in listed.items():
        yield ("ZADD", keys.ls(q), *members)
    for (q, field), amount in use.items():
        yield ("HINCRBY", keys.use(q), field, amount)


def send(path: str, batch: Sequence[tuple[str | bytes | int, ...]], connection: socket.socket) -> None:
    """:raises RuntimeError: Redis refused one of them."""
    connection.sendall(b"".join(map(hiredis.pack_command, batch)))  # type: ignore[arg-type]  # its stub
    reader = hiredis.Reader()
    left = len(batch)
    while left:
        reader.feed(connection.recv(1 << 16))
        while left and (reply := reader.gets()) is not False:
            if isinstance(reply, Exception):
                raise RuntimeError(f"Redis at {path}: {reply}")
            left -= 1


def _work(path: str, kind: Kind, numbers: range) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        for start in range(0, len(numbers), BATCH):
            send(path, list(commands(kind, numbers[start : start + BATCH])), connection)


def fill(path: str, files: int, kind: Kind = Kind(), first: int = 0) -> float:
    """
    Put the files of the numbers ``first`` to ``first + files - 1`` into the Redis on a unix socket, which must
    not have them; files a second.
    """
    began = time.monotonic()
    processes = max(1, min(len(os.sched_getaffinity(0)), files // BATCH))
    parts = [
        range(first + n * files // processes, first + (n + 1) * files // processes) for n in range(processes)
    ]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.starmap(_work, [(path, kind, part) for part in parts])
    return files / (time.monotonic() - began)
