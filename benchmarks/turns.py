"""Measuring several servers in turns, so that whatever else happens on the machine happens to all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median

from benchmarks.settings import Settings
from benchmarks.wrk import Load

#: By name, what measures it once.
Contest = Mapping[str, Callable[[], Load]]


def in_turns(contest: Contest, settings: Settings) -> dict[str, list[Load]]:
    """Each of them once, and again, as many rounds as there are to be."""
    found: dict[str, list[Load]] = {name: [] for name in contest}
    for n in range(settings.rounds):
        for name, measure in contest.items():
            load = measure()
            found[name].append(load)
            settings.say(
                f"round {n + 1}: {name}: {load.rate:,.0f}/s, {load.cpu_each:.1f} µs of CPU each, "
                f"{100 * load.busy:.0f} % of a core"
            )
    return found


def rates(loads: list[Load]) -> list[float]:
    return [load.rate for load in loads]


def rate(loads: list[Load]) -> float:
    return median(rates(loads))


def cpu_each(loads: list[Load]) -> list[float]:
    return [load.cpu_each for load in loads]


def cost(loads: list[Load]) -> str:
    """What a request costs the server, in words: this holds where a rate is only that of a busy machine."""
    each, busy = median(cpu_each(loads)), median(load.busy for load in loads)
    return f"{each:.1f} µs of CPU each, {100 * busy:.0f} % of a core"
