"""
Requests at a constant rate, and how long each took, measured from the moment at which it was due.

A generator that waits for answers before it sends the next request leaves out the requests that would have
waited longest (coordinated omission).  Here every request has its time; one that finds all connections busy
waits, and its waiting counts.  One process, 32 connections, one request at a time on each, as with wrk2.  What
sends is in C (``constant_rate.c``), and compiled when it is first used.
"""

from __future__ import annotations

import atexit
import random
import shutil
import subprocess
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks import paths
from benchmarks.pinning import cores, on
from benchmarks.quantiles import quantile

CONNECTIONS = 32

#: An answer that takes so long is taken for none, in s.
PATIENCE = 10.0

SOURCE = Path(__file__).with_suffix(".c")


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


@cache
def program() -> Path:
    """The compiled loop, which is gone when this process is."""
    directory = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    subprocess.run(
        ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", directory / SOURCE.stem, SOURCE], check=True
    )
    return directory / SOURCE.stem


def drive(
    server: tuple[str, int],
    requests: Iterable[bytes],
    rate: float,
    *,
    expected: int = 302,
    connections: int = CONNECTIONS,
    patience: float = PATIENCE,
) -> Latencies:
    """
    Send them, ``rate`` of them a second (0: as fast as answers come), and wait for the answers.

    :raises RuntimeError: an answer of another status, or none for ``patience`` seconds.
    """
    address, port = server
    words = map(str, (program(), address, port, connections, rate, expected, patience))
    with on(cores().load):
        done = subprocess.run([*words], input=b"".join(requests), capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace") or f"it ended with {done.returncode}")
    seconds, *times = array("d", done.stdout)
    latencies, lateness = times[::2], [late for late in times[1::2] if late >= 0]
    return Latencies(
        requests=len(latencies),
        seconds=seconds,
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
