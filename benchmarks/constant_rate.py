"""
Requests at a constant rate, and how long each took, measured from the moment at which it was due.

A generator that waits for answers before it sends the next request leaves out the requests that would have
waited longest (coordinated omission).  Here every request has its time; one that finds all connections busy
waits, and its waiting counts.  One process, 32 connections, one request at a time on each, as with wrk2.

Run: ``python -m benchmarks.constant_rate HOST:PORT RATE SECONDS [--first 0] [--size 200000] [--once]``; a line
of JSON says what came of it.  A rate of 0 sends as fast as answers come, until ``size`` paths were each asked
for once: to warm a cache.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from benchmarks import paths
from benchmarks.connections import PATIENCE, Pool, status, wait
from benchmarks.quantiles import quantile

CONNECTIONS = 32


@dataclass(frozen=True)
class Schedule:
    """``total`` requests, ``rate`` of them a second (0: all at once), from the moment 0 on; in s."""

    rate: float
    total: int

    def due(self, n: int) -> float:
        """When the request of that number is due."""
        return n / self.rate if self.rate else 0.0


@dataclass(frozen=True)
class Latencies:
    """In ms.  ``late`` is the generator's own part: how late it sent though a connection was idle, p99."""

    requests: int
    seconds: float
    p50: float
    p90: float
    p99: float
    p999: float
    worst: float
    late: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def drive(
    pool: Pool,
    requests: Iterator[bytes],
    schedule: Schedule,
    clock: Callable[[], float],
    expected: int = 302,
) -> Latencies:
    """
    Send all of the schedule and wait for the answers.

    :raises RuntimeError: an answer of another status, or some missing ``PATIENCE`` seconds after the end.
    """
    latencies: list[float] = []
    lateness: list[float] = []

    def answered(due: object, answer: bytes) -> None:
        assert isinstance(due, float)
        latencies.append(clock() - began - due)
        if status(answer) != expected:
            raise RuntimeError(f"expected {expected}, found {answer[:300]!r}")

    sent, began, crowded = 0, clock(), False
    end = began + schedule.due(schedule.total) + PATIENCE
    while len(latencies) < schedule.total:
        now = clock()
        while sent < schedule.total and pool.idle and (due := schedule.due(sent)) <= now - began:
            pool.send(next(requests), due)
            if not crowded:
                lateness.append(now - began - due)
            sent += 1
        crowded = not pool.idle
        if schedule.rate and now > end:
            raise RuntimeError(f"{schedule.total - len(latencies)} of {schedule.total} requests got no answer")
        seconds = PATIENCE if crowded or sent == schedule.total else schedule.due(sent) - (clock() - began)
        wait(pool.all, max(0.0, seconds), answered)
    return Latencies(
        requests=schedule.total,
        seconds=clock() - began,
        **{
            name: 1000 * quantile(latencies, share)
            for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("worst", 1.0))
        },
        late=1000 * quantile(lateness or [0.0], 0.99),
    )


def gets(host: str, first: int, size: int, once: bool, skip: int = 0) -> Iterator[bytes]:
    """Endless: as ``wrk.lua`` makes them."""
    rest = f" HTTP/1.1\r\nHost: {host}\r\n\r\n"
    step = paths.step(size)
    at = step * skip % size
    chance = random.Random(20240229).random
    while True:
        n = first + (at if once else int(chance() * size))
        at = (at + step) % size
        yield f"GET /{paths.name(n)}{rest}".encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("server")
    parser.add_argument("rate", type=float)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--size", type=int, default=200_000)
    parser.add_argument("--once", action="store_true", help="each path once")
    parser.add_argument("--skip", type=int, default=0, help="so many of those were asked for before")
    arguments = parser.parse_args()
    host, _, port = arguments.server.rpartition(":")
    rate, size = arguments.rate, arguments.size
    total = int(rate * arguments.seconds) if rate else size
    once = arguments.once or not rate
    if once and arguments.skip + total > size:
        parser.error(f"{total} requests for {size - arguments.skip} paths that are each asked for once")
    pool = Pool((host, int(port)), CONNECTIONS)
    gc.disable()
    found = drive(
        pool,
        gets(arguments.server, arguments.first, size, once, arguments.skip),
        Schedule(rate, total),
        time.perf_counter,
    )
    pool.close()
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
