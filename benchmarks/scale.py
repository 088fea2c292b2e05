"""
What more files cost: rate, latency and memory at 10,000, 100,000, ... files, and what follows for 10⁹ on paper.

Run: ``python -m benchmarks.scale [--files 2000000] [--results DIR]``; 10,000,000 take 5 GiB of memory.  Readers
ask for any of the files at random, and next to nothing is cached (``cache = 1``), so that every answer takes a
look into Redis; beside that, for 10,000 of them that are cached.  scale.json and scale.svg say what came of it.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Self

import psutil

from benchmarks.chart import Line, lines
from benchmarks.machine import machine, versions
from benchmarks.paper import Paper
from benchmarks.paths import name
from benchmarks.pinning import cores
from benchmarks.record_memory import used_memory
from benchmarks.report import Report
from benchmarks.settings import Settings
from benchmarks.site import NONE, Site, answer, constant_rate, family, rss, warm
from benchmarks.turns import cpu_each, in_turns, rate
from benchmarks.wrk import Load, Requests, cpu_of, run
from tests.servers.daemon import Daemon
from tests.servers.process import Started

RESULTS = Path(__file__).with_name("results")

#: Files that are asked for where answers are cached.
FEW = 10_000

#: The latency is measured at this share of the rate that was found with the fewest files.
SHARE = 0.5


@dataclass(frozen=True)
class Size:
    """
    What was found with so many ``files``: ``filled`` and ``rate`` (nothing cached) and ``cached`` are a second;
    ``cpu`` and ``redis_cpu`` are µs of the daemon and of Redis for a redirect that is not cached; ``p50`` and
    ``p99`` are ms, ``memory`` is bytes of Redis a file, ``rss`` MiB of the daemon without a cache.
    """

    files: int
    filled: float
    memory: float
    rate: float
    cached: float
    cpu: float
    redis_cpu: float
    p50: float
    p99: float
    rss: float


def sizes(files: int) -> list[int]:
    """Powers of ten from 10,000 on, and ``files``."""
    found = [10**n for n in range(4, 10) if 10**n < files]
    return [*found, files]


class Scale(Started):
    """A store that grows, a daemon that caches nothing, and one that has what it is asked for."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._site = Site()
        #: Requests a second at which the latency is measured, once it is known.
        self.wanted = 0.0

    def start(self) -> Self:
        self._site.start()
        self._asking, self._caching = self._site.daemon(cache=NONE), self._site.daemon(cache=FEW)
        self._redis = [psutil.Process(self._site.redis.running.pid)]
        self._memory = 0
        return self

    def close(self) -> None:
        self._site.close()

    def at(self, files: int) -> Size:
        """With so many files: not fewer than before."""
        self.settings.say(f"--- {files:,} files: filling in")
        before = used_memory(self._site.redis)
        self._site.fill(files)
        # Only what this took: Redis also remembers who was told what (CLIENT TRACKING), up to a million keys.
        self._memory += used_memory(self._site.redis) - before
        answer(self._caching.url, f"/{name(0)}")
        warm(self._caching.url, Requests(size=FEW))
        spent: list[float] = []

        def asked(daemon: Daemon, size: int) -> Load:
            before = cpu_of(self._redis)
            load = run(daemon.url, Requests(size=size), self.settings.seconds, family(daemon))
            if daemon is self._asking:
                spent.append(1e6 * (cpu_of(self._redis) - before) / load.requests)
            return load

        contest = {
            "any, not cached": lambda: asked(self._asking, files),
            f"{FEW:,}, cached": lambda: asked(self._caching, FEW),
        }
        uncached, cached = in_turns(contest, self.settings).values()
        self.wanted = self.wanted or SHARE * rate(uncached)
        waits = [
            constant_rate(self._asking.url, Requests(size=files), self.wanted, self.settings.seconds)
            for _ in range(self.settings.rounds)
        ]
        return Size(
            files=files,
            filled=self._site.filled,
            memory=self._memory / files,
            rate=rate(uncached),
            cached=rate(cached),
            cpu=median(cpu_each(uncached)),
            redis_cpu=median(spent),
            p50=median(each.p50 for each in waits),
            p99=median(each.p99 for each in waits),
            rss=rss(self._asking),
        )


def table(found: Sequence[Size]) -> str:
    """As reStructuredText."""
    head = ("files", "bytes a file", "redirects/s", "µs of CPU", "of Redis", "p50, ms", "p99, ms", "cached: /s")
    rows = [
        (
            f"{size.files:,}",
            f"{size.memory:.0f}",
            f"{size.rate:,.0f}",
            f"{size.cpu:.0f}",
            f"{size.redis_cpu:.1f}",
            f"{size.p50:.2f}",
            f"{size.p99:.2f}",
            f"{size.cached:,.0f}",
        )
        for size in found
    ]
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    rule = "  ".join("=" * width for width in widths)
    text = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]
    return "\n".join([rule, text[0], rule, *text[1:], rule]) + "\n"


def chart(found: Sequence[Size], report: Report) -> str:
    panels = (
        ("Redirects a second, not cached", [(size.files, size.rate) for size in found]),
        ("p99 in ms", [(size.files, size.p99) for size in found]),
        ("Redis memory a file, bytes", [(size.files, size.memory) for size in found]),
    )
    return lines([Line(title, points) for title, points in panels], report.about, "files")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument(
        "--files", type=int, default=2_000_000, help="how many at the end; 10,000,000 take 5 GiB"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", file=sys.stderr, flush=True)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["python", "-m", "benchmarks.scale", *sys.argv[1:]]),
        pinning=str(cores()),
        machine=machine(),
        versions=versions(),
    )
    settings = Settings(seconds=arguments.seconds, rounds=arguments.rounds, say=say)
    with Scale(settings) as scale:
        found = [scale.at(files) for files in sizes(arguments.files)]
    last = found[-1]
    paper = Paper(10**9, bytes_a_file=last.memory, redis_cpu=last.redis_cpu, cpu=last.cpu)
    print(table(found))
    print(f"latency at {scale.wanted:,.0f} requests/s; pinned: {report.pinning}\n{report.about}\n")
    print("\n".join(paper.lines()))
    value = json.loads(report.json()) | {
        "wanted": scale.wanted,
        "sizes": [asdict(size) for size in found],
        "paper": paper.lines(),
    }
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "scale.json").write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    (arguments.results / "scale.svg").write_text(chart(found, report))


if __name__ == "__main__":
    main()
