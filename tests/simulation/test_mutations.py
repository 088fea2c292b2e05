"""A simulation that cannot fail proves nothing: each guard is taken away, and some invariant must break."""

from __future__ import annotations

from itertools import chain

import pytest

from dragonbelly.testing.simulation import simulate_all
from tests.simulation.mutations import MUTATIONS

#: Within so many seeds.
SEEDS = 2000

#: Where to look first, for those that take long to find: only a hint, the others follow.
HINTS = {"settle only what is still ours": 1555}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("guard", MUTATIONS)
def test_without_it_something_breaks(guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS[guard](monkeypatch)
    hint = (HINTS[guard],) if guard in HINTS else ()
    for outcome in simulate_all(chain(hint, range(SEEDS))):
        if outcome.violation is not None:
            return
    pytest.fail(f"{SEEDS} seeds, and nobody misses it: {guard}")


def test_there_are_enough() -> None:
    assert len(MUTATIONS) >= 15
