"""
How long until what one daemon writes is told to another, which keeps what it has read.

    python -m benchmarks.invalidation [--writes 2000]

Two connections to a Redis on 127.0.0.1: one writes a record, the other has read it.  The time is that from
sending the write to hearing of it, so it contains the write itself.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from benchmarks.figure import Figure, Must, Row
from benchmarks.quantiles import quantile
from benchmarks.settings import Settings
from dragonbelly.errors import StateUnavailable
from dragonbelly.interfaces import ITracked
from dragonbelly.model import Path
from dragonbelly.state.redis import RedisStore
from dragonbelly.testing import reactor
from dragonbelly.testing.state import record
from tests.servers.redis import RedisServer

PATH = Path("media", "a")


async def measure(reader: RedisStore, writer: RedisStore, writes: int) -> list[float]:
    """Seconds, of each write."""
    await reader.ready()
    await writer.ready()
    tracked = reader.track()
    await _connected(tracked)
    took = []
    snapshot = await writer.get(PATH)
    for n in range(writes):
        await tracked.get(PATH)
        told: Deferred[None] = Deferred()
        tracked.changed = lambda member, told=told: told.callback(None)  # type: ignore[misc]
        began = time.perf_counter()
        written = writer.commit(PATH, snapshot, record(size=n), None)
        await told
        took.append(time.perf_counter() - began)
        snapshot = await written
    tracked.changed = lambda member: None
    return took


async def _connected(tracked: ITracked) -> None:
    while True:
        try:
            await tracked.get(PATH)
        except StateUnavailable:
            await deferLater(reactor.start(), 0.01)
        else:
            return


def figures(settings: Settings) -> Row:
    with RedisServer(port=True) as server:
        stores = [RedisStore(reactor.start(), server.url) for _ in range(2)]
        took = reactor.run(lambda: measure(stores[0], stores[1], settings.writes), timeout=300)
        for store in stores:
            reactor.run(store.close)
    milliseconds = [1000 * seconds for seconds in took]
    what = "a change is told to another daemon"
    note = f"{settings.writes:,} writes, one after the other, over TCP"
    yield Figure("news", f"{what}, median", median(milliseconds), "ms", must=Must("<=", 2), note=note)
    yield Figure("news", f"{what}, p99", quantile(milliseconds, 0.99), "ms", note=note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--writes", type=int, default=2000)
    for figure in figures(Settings(writes=parser.parse_args().writes)):
        print(figure)


if __name__ == "__main__":
    main()
