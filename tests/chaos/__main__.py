"""``python -m tests.chaos --seconds 60 --seed 7``: breaks a whole site at random, and says what came of it."""

from __future__ import annotations

import argparse
import math
import signal
import sys
import time
from pathlib import Path
from random import SystemRandom
from tempfile import TemporaryDirectory
from types import FrameType

from tests.chaos.broken import GUARDS, without
from tests.chaos.running import run


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"a number above 0 was expected, not {text!r}")
    return number


def _at_least_one(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1 was expected, not {text!r}")
    return int(text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=_positive, default=60.0, help="how long things are broken (60)")
    parser.add_argument("--seed", type=int, default=None, help="of the schedule and of the clients (random)")
    parser.add_argument(
        "--runs", type=_at_least_one, default=1, help="so many runs, each with the next seed (1)"
    )
    parser.add_argument("--appendfsync", choices=("always", "everysec"), default="always", help="of Redis")
    parser.add_argument("--late", action="store_true", help="also uploads that come after their end")
    parser.add_argument("--pace", type=_positive, default=1.0, help="how many times as many faults (1)")
    parser.add_argument(
        "--without", choices=sorted(GUARDS), help="run a copy of the product without this guard"
    )
    options = parser.parse_args()
    # Everything that was started ends, however this ends.
    signal.signal(signal.SIGTERM, _terminated)
    seed = SystemRandom().randrange(1 << 31) if options.seed is None else options.seed
    wrong = 0
    with TemporaryDirectory(prefix="chaos-without-") as directory:
        package = None if options.without is None else without(options.without, Path(directory))
        for number in range(seed, seed + options.runs):
            began = time.monotonic()
            result = run(
                options.seconds,
                number,
                appendfsync=options.appendfsync,
                late=options.late,
                pace=options.pace,
                package=package,
            )
            print(f"{result.summary()}\ntook {time.monotonic() - began:.0f} s", flush=True)
            if result.problems:
                wrong += 1
                print(result.evidence(), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("ended early")
