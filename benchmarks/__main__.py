"""
What Dragonbelly can do on this machine, beside what others do with the same requests in the same run.

Without --only all rows but "cli" are measured, and the results are kept as newest.json and newest.svg.  Nothing
is passed or failed: "wanted" is where we want to be, and "so" whether we are.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import behind, cli_put, copies, idle, invalidation, record_memory, slow_clients
from benchmarks import settings as amounts
from benchmarks.figure import Figure, Row, Skipped
from benchmarks.machine import machine, versions
from benchmarks.pinning import cores
from benchmarks.redirects import Redirects
from benchmarks.report import Report, show
from benchmarks.settings import Settings
from benchmarks.uploads import Uploads

RESULTS = Path(__file__).with_name("results")

#: The rows, in the order in which they are measured, and what each tells.
ROWS: Mapping[str, str] = {
    "get": "redirects a second: cached, signed, cold, and the references",
    "latency": "how long a redirect takes at half of the highest rate",
    "many": "redirects a second with many files in the store, and with few",
    "workers": "redirects a second of two workers, and of one",
    "rss": "the daemon's memory with answers cached",
    "put": "PUTs a second that are redirected",
    "uploads": "whole uploads a second by the API",
    "copy": "small files that the replicator copies in a second",
    "copy_large": "how fast it copies large files",
    "memory": "Redis memory a file",
    "news": "how long until a change is told to other daemons",
    "behind": "how often a daemon tells of what was deleted at another one",
    "idle": "what a daemon costs that has nothing to do",
    "slow": "what slow clients cost the others",
    "cli": "a directory of small files with dragonbelly put",
}

#: Rows that share their servers.
REDIRECTS = frozenset({"get", "latency", "many", "workers", "rss"})
UPLOADS = frozenset({"put", "uploads"})

#: The others, each by itself.
ALONE: Mapping[str, Callable[[Settings], Row]] = {
    "copy": copies.small,
    "copy_large": copies.large,
    "memory": record_memory.figures,
    "news": invalidation.figures,
    "behind": behind.figures,
    "idle": idle.figures,
    "slow": slow_clients.figures,
    "cli": cli_put.figures,
}

#: Those that take long and are in no table: by name only.
LONG = frozenset({"cli"})


def measure(rows: frozenset[str], settings: Settings) -> Row:
    """All figures of these rows; the servers are gone when it ends, however it does."""
    if rows & REDIRECTS:
        with Redirects(settings, rows) as redirects:
            yield from of(redirects, rows & REDIRECTS, settings)
    if rows & UPLOADS:
        with Uploads(settings) as uploads:
            yield from of(uploads, rows & UPLOADS, settings)
    for row, figures in ALONE.items():
        if row in rows:
            settings.say(f"--- {row}: {ROWS[row]}")
            yield from figures(settings)


def of(measuring: object, rows: frozenset[str], settings: Settings) -> Row:
    """The figures of the rows that are methods of it, in their order."""
    for row in ROWS:
        if row in rows:
            settings.say(f"--- {row}: {ROWS[row]}")
            yield from getattr(measuring, row)()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="rows:\n" + "\n".join(f"  {name:10} {what}" for name, what in ROWS.items()),
    )
    parser.add_argument(
        "--only", metavar="ROW,ROW", help="these rows, and nothing is kept unless --results says where"
    )
    parser.add_argument("--quick", action="store_true", help="shorter, with fewer files: for a first look")
    parser.add_argument("--rounds", type=int, help="how often each is measured, in turns with the others")
    parser.add_argument("--seconds", type=int, help="how long each time")
    parser.add_argument("--files", type=int, help="how many files are in Redis")
    parser.add_argument(
        "--results", type=Path, help=f"where newest.json and newest.svg go [benchmarks/{RESULTS.name}]"
    )
    arguments = parser.parse_args()
    rows = frozenset(arguments.only.split(",")) if arguments.only else frozenset(ROWS) - LONG
    if unknown := rows - set(ROWS):
        parser.error(f"there is no row {', '.join(sorted(unknown))}, only {', '.join(ROWS)}")

    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", file=sys.stderr, flush=True)

    settings = replace(amounts.QUICK if arguments.quick else amounts.Settings(), say=say)
    given = {name: value for name in ("rounds", "seconds", "files") if (value := getattr(arguments, name))}
    settings = replace(settings, **given)
    report = Report(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        pinning=str(cores()),
        machine=machine(),
        versions=versions(),
    )
    # So that the servers are ended as with Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    say(f"pinned: {report.pinning}; {report.about}")
    found = list(measure(rows, settings))
    report = replace(
        report,
        figures=tuple(one for one in found if isinstance(one, Figure)),
        skipped=tuple(one for one in found if isinstance(one, Skipped)),
    )
    show(report, sys.stdout)
    where = arguments.results or (RESULTS if rows >= set(ROWS) - LONG and not arguments.quick else None)
    if where is not None:
        report.write(where)
        say(f"written: newest.json and newest.svg in {where}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
