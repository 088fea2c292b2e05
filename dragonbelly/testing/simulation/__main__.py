"""
``python -m dragonbelly.testing.simulation``.  Exit status 0: every invariant held; 1: one did not (the seeds
are named); 2: the command line has a mistake.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence

from dragonbelly.errors import ConfigError
from dragonbelly.testing.simulation.run import CALLS, Outcome, simulate, simulate_all

try:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
except ImportError:
    sys.exit("the simulation shows its progress with rich: pip install 'dragonbelly[cli]'")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m dragonbelly.testing.simulation",
        description="Daemons, clients and faults in one process, from a seed; says which invariant breaks.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seeds", type=_seeds, metavar="FROM:TO", help="play these, without the last")
    which.add_argument("--seed", type=int, metavar="N", help="play one")
    parser.add_argument("--trace", action="store_true", help="with --seed: a line for everything that happens")
    parser.add_argument(
        "--calls", type=int, default=CALLS, metavar="N", help="of clients, each seed [%(default)s]"
    )
    parser.add_argument(
        "--policy", default="copies", metavar="KIND", help="of policies, a plugin's for one [%(default)s]"
    )
    parser.add_argument("--keep-going", action="store_true", help="do not end at the first violation")
    options = parser.parse_args(arguments)
    if options.seed is None and options.seeds is None:
        parser.error("--seeds or --seed is needed")  # not said by argparse: an unknown option is told first
    if options.trace and options.seed is None:
        parser.error("--trace goes with --seed")
    if options.calls < 4:
        parser.error("--calls: 4 or more were expected, one for each client")
    try:
        if options.seed is not None:
            return _one(options.seed, options.trace, options.calls, options.policy)
        return _many(options.seeds, options.calls, options.policy, options.keep_going)
    except ConfigError as error:
        parser.error(f"--policy: {error}")


def _seeds(text: str) -> range:
    match = re.fullmatch(r"([0-9]+):([0-9]+)", text)
    if match is None or int(match[1]) >= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r}: FROM:TO was expected, as in 0:1000")
    return range(int(match[1]), int(match[2]))


def _one(seed: int, traced: bool, calls: int, policy: str) -> int:
    trace: list[str] | None = [] if traced else None
    outcome = simulate(seed, trace, calls, policy)
    for line in trace or ():
        print(line)
    print(f"seed {seed}: {outcome.violation or 'every invariant held'}")
    return 1 if outcome.violation else 0


def _many(seeds: range, calls: int, policy: str, keep_going: bool) -> int:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    played: list[Outcome] = []
    began, cpu = time.monotonic(), time.process_time()
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=2) as progress:
        task = progress.add_task("seeds", total=len(seeds))
        for outcome in simulate_all(seeds, calls, policy):
            played.append(outcome)
            progress.advance(task)
            if outcome.violation:
                progress.console.print(
                    f"seed {outcome.seed}: {outcome.violation}", markup=False, highlight=False
                )
                if not keep_going:
                    break
    _summarize(played, time.monotonic() - began, time.process_time() - cpu)
    return 1 if any(outcome.violation for outcome in played) else 0


def _summarize(played: list[Outcome], seconds: float, cpu: float) -> None:
    faults: Counter[str] = Counter()
    states: Counter[str] = Counter()
    for outcome in played:
        faults += outcome.faults
        states += outcome.states
    bad = [str(outcome.seed) for outcome in played if outcome.violation]
    calls = sum(outcome.calls for outcome in played)
    hours = sum(outcome.seconds for outcome in played) / 3600
    print(f"seeds            {len(played)} in {seconds:.0f} s, {len(played) / cpu:.1f} for each second of CPU")
    print(f"client calls     {calls}, {calls / len(played):.0f} a seed")
    print(f"virtual time     {hours:.1f} h")
    print(f"faults injected  {sum(faults.values())}")
    for fault, n in faults.most_common():
        print(f"  {n:9} {fault}")
    print(f"states reached   {sum(states.values())}")
    for state, n in states.most_common():
        print(f"  {n:9} {state}")
    print(f"violations       {len(bad)}{': seeds ' + ', '.join(bad) if bad else ''}")


if __name__ == "__main__":
    sys.exit(main())
