"""The simulation itself: it repeats itself to the byte, and on these seeds every invariant holds."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dragonbelly.testing.simulation import simulate, simulate_all
from dragonbelly.testing.simulation.__main__ import main
from dragonbelly.testing.simulation.faults import FATES
from dragonbelly.testing.simulation.storage import MODES

#: Seeds that every run of the tests plays, in lots.
SEEDS, LOT = 300, 25

#: Seeds that failed since the simulation is what it is.  What earlier ones found, while their meaning still
#: changed, has tests of its own: see CHANGELOG and the tests of verify, health, plan, ledger, admin.
FAILED: tuple[int, ...] = (8767,)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, SEEDS, LOT))
def test_every_invariant_holds(first: int) -> None:
    calls = 0
    for outcome in simulate_all(range(first, first + LOT)):
        assert outcome.violation is None, _again(outcome.seed, outcome.violation)
        calls += outcome.calls
    assert calls >= 200 * LOT


def test_what_failed_once() -> None:
    for outcome in simulate_all(FAILED):
        assert outcome.violation is None, _again(outcome.seed, outcome.violation)


def _again(seed: int, violation: str | None) -> str:
    return f"seed {seed}: {violation}\nsee: python -m dragonbelly.testing.simulation --seed {seed} --trace"


@pytest.mark.timeout(300)
def test_the_same_seed_is_the_same_world() -> None:
    """To the byte, whatever the order of sets of text is."""
    for seed in (2, 17, 40, 91):
        traces = []
        for hash_seed in ("1", "2"):
            command = [sys.executable, "-m", "dragonbelly.testing.simulation", "--trace", "--seed", str(seed)]
            environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
            played = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
            assert played.returncode == 0, played.stdout[-2000:] + played.stderr[-2000:]
            traces.append(played.stdout)
        assert traces[0].count(b"\n") > 500
        assert traces[0] == traces[1], _first_difference(*traces)


def _first_difference(one: bytes, other: bytes) -> str:
    for n, lines in enumerate(zip(one.splitlines(), other.splitlines(), strict=False)):
        if lines[0] != lines[1]:
            return f"line {n}: {lines[0]!r} and {lines[1]!r}"
    return f"one has {len(one)} bytes, the other {len(other)}"


def test_a_trace_changes_nothing_and_another_seed_everything() -> None:
    traced, other = simulate(5, trace := []), simulate(6, another := [])
    assert simulate(5) == traced
    assert (traced.violation, other.violation) == (None, None)
    assert trace != another


def test_faults_of_every_kind_are_injected() -> None:
    """A fault that never happens finds nothing."""
    injected: set[str] = set()
    reached: set[str] = set()
    for outcome in simulate_all(range(200)):
        injected |= outcome.faults.keys()
        reached |= outcome.states.keys()
    expected = {
        *FATES,
        *(f"server {mode}" for mode in MODES),
        *(f"operator says {state}" for state in ("alive", "readonly", "drain", "down")),
        *("daemon killed", "daemon frozen", "daemon restarted", "clock step"),
        *(
            "store down",
            "store rolled back",
            "store out of memory",
            "wrong size claimed",
            "store connection cut",
            "news lost",
            "network cut",
            "carried out late",
        ),
        *("bits rot", "object vanishes", "disk unmounted", "disk replaced", "disk restored from a backup"),
        *("upload never sent", "upload late", "upload cut half-way", "upload sent twice", "transfer cut"),
    }
    assert injected == expected
    for state in ("good → suspect", "suspect → lost", "good → leaving", "leaving → condemned", "lost → good"):
        assert f"replica {state}" in reached
    for status in (
        "GET file 302",
        "GET file 404",
        "GET file 503",
        "POST api 409",
        "PUT file 412",
        "POST api 410",
    ):
        assert status in reached


# --- the command -----------------------------------------------------------------------------------------


def test_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "0:3", "--calls", "40"]) == 0
    said = capsys.readouterr().out
    assert "seeds            3 in" in said
    assert "faults injected" in said
    assert "violations       0" in said


def test_a_violation_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.simulation.mutations import MUTATIONS

    MUTATIONS["the grace"](monkeypatch)
    assert main(["--seeds", "0:40"]) == 1
    said = capsys.readouterr()
    assert "violations       1: seeds " in said.out
    seed = said.out.split("seeds ")[-1].split()[0]
    assert f"seed {seed}: invariant 3" in said.err
    assert main(["--seed", seed, "--trace"]) == 1
    assert "invariant 3" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "--seeds or --seed is needed"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--seeds", "5"], "FROM:TO was expected"),
        (["--seeds", "5:5"], "FROM:TO was expected"),
        (["--seed", "x"], "invalid int value"),
        (["--seeds", "0:2", "--trace"], "--trace goes with --seed"),
        (["--seed", "0", "--calls", "3"], "4 or more were expected"),
        (["--seed", "0", "--policy", "x"], "--policy: simulation: policy.one.kind"),
    ],
)
def test_mistakes(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err
