"""Running seeds: one after the other, each in a world of its own, with what came of it."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dragonbelly.testing.simulation.errors import be_quiet, watched
from dragonbelly.testing.simulation.judge import Violation
from dragonbelly.testing.simulation.world import World

#: Client calls of one seed.
CALLS = 200


@dataclass(frozen=True)
class Outcome:
    """
    What came of a seed.  ``violation`` says what is broken, None: nothing.  ``faults`` were injected and
    ``states`` reached, so many times each; ``seconds`` are of virtual time.
    """

    seed: int
    violation: str | None
    calls: int
    seconds: float
    faults: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)


def simulate(seed: int, trace: list[str] | None = None, calls: int = CALLS, policy: str = "copies") -> Outcome:
    """
    Play one seed; ``trace`` takes a line for everything that happens; ``policy`` as in ``World``.

    :raises ConfigError: there is no such kind of policy, or it has no option ``copies``.
    """
    be_quiet()
    world = World(seed, calls, trace, policy)
    violation = None
    try:
        with watched(lambda text: world.oracle.fail(0, f"an error was logged: {text}")):
            world.run()
    except Violation as error:
        violation = str(error)
        world.note(violation)
    finally:
        world.close()
    return Outcome(seed, violation, world.calls, world.lasted, world.faults, world.states)


def simulate_all(seeds: Iterable[int], calls: int = CALLS, policy: str = "copies") -> Iterator[Outcome]:
    """
    Play many seeds.  The garbage of a world is collected between two worlds and never within one: coroutines
    that are thrown away tidy up, and would do so at a moment that no seed decides.
    """
    collecting = gc.isenabled()
    gc.disable()
    gc.freeze()  # what is there already outlives all worlds, and need not be looked at
    try:
        for seed in seeds:
            yield simulate(seed, calls=calls, policy=policy)
            gc.collect(0)  # all that it made is young
    finally:
        gc.unfreeze()
        if collecting:
            gc.enable()
