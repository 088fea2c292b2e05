"""
How much memory Redis needs for a file: paths of 55 bytes with two good replicas each, on two of eight backends.

Run: ``python -m benchmarks.record_memory [--files 100000]``.
"""

from __future__ import annotations

import argparse
import time

from twisted.internet.defer import gatherResults

from benchmarks.figure import Figure, Must, Row, number
from benchmarks.filling import Kind, fill
from benchmarks.settings import Settings
from dragonbelly.interfaces import Snapshot
from dragonbelly.state.redis import RedisStore
from dragonbelly.testing import reactor
from tests.servers.redis import RedisServer

KIND = Kind(backends=tuple(f"store{n}" for n in range(1, 9)), copies=2)

#: Commits under way at a time, and how many are made to see how fast it goes.
AT_ONCE, COMMITS = 100, 10_000


async def commit(store: RedisStore, numbers: range) -> float:
    """The files of these numbers, one commit each; commits a second."""
    began = time.monotonic()
    for start in range(0, len(numbers), AT_ONCE):
        some = [KIND.file(n) for n in numbers[start : start + AT_ONCE]]
        await gatherResults([store.commit(path, Snapshot(None, b""), record, None) for path, record in some])
    return len(numbers) / (time.monotonic() - began)


def used_memory(server: RedisServer) -> int:
    """Bytes."""
    lines = server.command("INFO", "memory").decode().splitlines()
    return int(next(line.split(":")[1] for line in lines if line.startswith("used_memory:")))


def figures(settings: Settings) -> Row:
    files = settings.memory_files
    with RedisServer() as server:
        store = RedisStore(reactor.start(), server.url)
        reactor.run(store.ready)
        before = used_memory(server)
        fill(str(server.socket), files, KIND)
        used = used_memory(server) - before
        path, _ = KIND.file(0)
        length = len(reactor.run(lambda: store.get(path)).token)
        rate = reactor.run(lambda: commit(store, range(files, files + COMMITS)), timeout=600)
        reactor.run(store.close)
    yield Figure(
        "memory",
        f"Redis memory a file, path {len(path.member.encode())} bytes, two replicas, index",
        used / files,
        "bytes",
        must=Must("<=", 440),
        note=f"{files:,} files; a record is {length} bytes; "
        f"{number(rate)} commits a second, {AT_ONCE} at once, from one process",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--files", type=int, default=100_000)
    for figure in figures(Settings(memory_files=parser.parse_args().files)):
        print(figure)


if __name__ == "__main__":
    main()
