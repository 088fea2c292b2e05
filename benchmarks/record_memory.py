"""
How much memory Redis needs for a file: 100,000 records of paths of 55 bytes with two good replicas each.

    python benchmarks/record_memory.py [FILES]

Starts a redis-server of its own (from PATH).
"""

from __future__ import annotations

import hashlib
import random
import sys
import time
from pathlib import Path as FilePath

from twisted.internet.defer import gatherResults

from dragonbelly.ids import ulid
from dragonbelly.interfaces import Snapshot
from dragonbelly.model import Path, Record, Replica, ReplicaState, Version, VersionState
from dragonbelly.state.redis import RedisStore
from dragonbelly.testing import reactor

sys.path.insert(0, str(FilePath(__file__).resolve().parent.parent))
from tests.servers.redis import RedisServer

AT_ONCE = 100
NOW = 1_700_000_000


def file(n: int, random_bits: random.Random) -> tuple[Path, Record]:
    """One file as it is when all is done: live, two good copies, not thin."""
    digest = hashlib.sha256(str(n).encode()).digest()
    name = f"{n // 1000:04d}/{digest.hex()[:40]}.jpg"
    backends = random_bits.sample([f"store{k}" for k in range(1, 9)], 2)
    version = Version(
        id=ulid(NOW + n, random_bits.getrandbits),
        state=VersionState.LIVE,
        since=NOW + n,
        size=random_bits.randrange(1 << 24),
        sha256=digest,
        replicas=tuple(Replica(backend, ReplicaState.GOOD, NOW + n) for backend in backends),
        content_type="image/jpeg",
    )
    return Path("media", name), Record((version,))


async def fill(store: RedisStore, files: int) -> float:
    """Seconds taken."""
    source = random.Random(0)
    began = time.monotonic()
    for start in range(0, files, AT_ONCE):
        some = [file(n, source) for n in range(start, min(files, start + AT_ONCE))]
        await gatherResults([store.commit(path, Snapshot(None, b""), record, None) for path, record in some])
    return time.monotonic() - began


def used_memory(server: RedisServer) -> int:
    lines = server.command("INFO", "memory").decode().splitlines()
    return int(next(line.split(":")[1] for line in lines if line.startswith("used_memory:")))


def main() -> None:
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with RedisServer() as server:
        store = RedisStore(reactor.start(), server.url)
        reactor.run(store.ready)
        before = used_memory(server)
        seconds = reactor.run(lambda: fill(store, files), timeout=600)
        used = used_memory(server) - before
        sample = reactor.run(lambda: store.get(file(0, random.Random(0))[0]))
        reactor.run(store.close)
    path, _ = file(0, random.Random(0))
    print(f"path {len(path.member.encode())} bytes, record {len(sample.token)} bytes")
    print(f"{files} files: {used} bytes of used_memory, {used / files:.0f} bytes a file")
    print(f"{files / seconds:.0f} commits a second ({AT_ONCE} at once)")


if __name__ == "__main__":
    main()
