"""``python -m tests.chaos --seconds 60 --seed 7``: breaks a whole site at random, and says what came of it."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from random import SystemRandom
from types import FrameType

from tests.chaos.running import run


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long things are broken (60)")
    parser.add_argument("--seed", type=int, default=None, help="of the schedule and of the clients (random)")
    parser.add_argument("--runs", type=int, default=1, help="so many runs, each with the next seed (1)")
    parser.add_argument("--appendfsync", choices=("always", "everysec"), default="always", help="of Redis")
    parser.add_argument("--late", action="store_true", help="also uploads that come after their end")
    parser.add_argument("--pace", type=float, default=1.0, help="how many times as many faults (1)")
    options = parser.parse_args()
    # Everything that was started ends, however this ends.
    signal.signal(signal.SIGTERM, _terminated)
    seed = SystemRandom().randrange(1 << 31) if options.seed is None else options.seed
    wrong = 0
    for number in range(seed, seed + options.runs):
        began = time.monotonic()
        result = run(
            options.seconds, number, appendfsync=options.appendfsync, late=options.late, pace=options.pace
        )
        print(result.summary(), flush=True)
        print(f"took {time.monotonic() - began:.0f} s", flush=True)
        if result.problems:
            wrong += 1
            print(result.evidence(), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("ended early")
