"""Twenty seconds of chaos, and that it finds what is wrong."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from dragonbelly.keys import key_of
from dragonbelly.model import Path as FilePath
from dragonbelly.model import ReplicaState
from tests.chaos.broken import GUARDS, without
from tests.chaos.clients import Clients
from tests.chaos.history import LOST, WRONG_BYTES
from tests.chaos.running import Result, run
from tests.chaos.schedule import DAEMONS, STORES, schedule
from tests.chaos.site import ChaosSite
from tests.waiting import until

pytestmark = pytest.mark.servers


#: The same every time, so that a failure is the code's; ``make chaos`` takes another each time.
SEED = 11


def some_seed() -> int:
    return int.from_bytes(os.urandom(3), "big")


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_and_nothing_is_left_over() -> None:
    result = run(20, SEED)
    assert not result.problems, f"{result.summary()}\n{result.evidence()}"
    counts = result.clients.counts
    assert counts.acknowledged["uploads"] > 20, result.summary()
    assert counts.calls["GET"] - counts.get_errors.total() > 100, result.summary()
    assert result.faults.done.total() > 5, result.summary()
    assert result.ending.files > 5, result.summary()
    assert result.availability == 1


def settled_copies(site: ChaosSite, clients: Clients) -> list[tuple[str, list[Path]]]:
    """Paths that have their file, and where its copies are on the disks: as many as owed, so that they stay."""
    found = []
    for path in clients.history.paths:
        record = site.record(path)
        if record is not None and len(record.versions) == 1 and record.live is not None:
            replicas = record.live.replicas
            if [replica.state for replica in replicas] == [ReplicaState.GOOD, ReplicaState.GOOD]:
                keys = [key_of(FilePath("default", path), record.live, replica) for replica in replicas]
                copies = zip(replicas, keys, strict=True)
                found.append((path, [site.stores[replica.backend].root / key for replica, key in copies]))
    return found


def problems(result: Result) -> dict[str, set[str]]:
    """The kinds of what is wrong, by path."""
    kinds: dict[str, set[str]] = {}
    for problem in result.problems:
        kinds.setdefault(problem.path, set()).add(problem.kind)
    return kinds


def test_it_finds_a_file_that_is_gone_and_one_that_is_another() -> None:
    hurt: list[str] = []

    def sabotage(site: ChaosSite, clients: Clients) -> None:
        until(lambda: len(settled_copies(site, clients)) >= 2)
        (gone, all_copies), (other, copies), *_ = settled_copies(site, clients)
        hurt.extend([gone, other])
        for copy in all_copies:
            copy.unlink()
        copies[0].write_bytes(bytes(copies[0].stat().st_size))

    result = run(3, some_seed(), faults=False, bound=1, sabotage=sabotage)
    gone, other = hurt
    assert LOST in problems(result)[gone]
    assert WRONG_BYTES in problems(result)[other]
    assert gone in result.evidence(1000)
    assert "not settled" in problems(result)[""]
    right = set(problems(result)) - {gone, other, ""}
    assert not any(problems(result)[path] & {LOST, WRONG_BYTES} for path in right), result.evidence()
    assert result.kept is not None
    assert (result.kept / "journal").is_file()


@pytest.mark.parametrize("guard", ["size of uploads", "a delete ends uploads"])
def test_it_finds_that_a_guard_is_missing(guard: str, tmp_path: Path) -> None:
    result = run(4, some_seed(), faults=False, bound=1, package=without(guard, tmp_path))
    assert result.count(WRONG_BYTES) > 0, result.summary()


@pytest.mark.parametrize("guard", GUARDS)
def test_the_guards_are_where_they_are_taken_out(guard: str, tmp_path: Path) -> None:
    without(guard, tmp_path)


@pytest.mark.parametrize("seed", range(50))
def test_a_schedule_is_the_same_for_the_same_seed_and_keeps_its_word(seed: int) -> None:
    faults = schedule(30, seed)
    assert faults == schedule(30, seed)
    assert faults != schedule(30, seed + 1)
    assert all(0 < f.at < 30 and f.at + f.lasts <= 30 for f in faults)
    silent = [f for f in faults if f.kind.startswith("stop") and f.target in DAEMONS]
    for one, other in pairwise(silent):
        assert one.at + one.lasts < other.at
    for target in (*DAEMONS, *STORES):
        mine = [f for f in faults if f.target == target]
        assert all(a.at + a.lasts < b.at for a, b in pairwise(mine))
    assert not any(f.kind == "fill" for f in schedule(30, seed, fill=False))
