"""A simulation that cannot fail proves nothing: each guard is taken away, and some invariant must break."""

from __future__ import annotations

import pytest

from dragonbelly.testing.simulation import simulate_all
from tests.simulation.mutations import MUTATIONS

#: Within so many seeds.
SEEDS = 2000


@pytest.mark.timeout(600)
@pytest.mark.parametrize("guard", MUTATIONS)
def test_without_it_something_breaks(guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS[guard](monkeypatch)
    for outcome in simulate_all(range(SEEDS)):
        if outcome.violation is not None:
            return
    pytest.fail(f"{SEEDS} seeds, and nobody misses it: {guard}")


def test_there_are_enough() -> None:
    assert len(MUTATIONS) >= 15
