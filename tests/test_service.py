"""The daemon put together: what it leaves to chance is handed in, and its ports are opened first."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from twisted.application.service import MultiService
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock

from dragonbelly.config import Config, load
from dragonbelly.service import Listening
from tests.web.world import World

#: Files of a world, and how often one of them is asked for.
FILES, READERS = 5, 20


def said(random: Random | None) -> list[str]:
    """What clients see: the ids of their uploads, where they are sent, and when the replicator tries again."""
    world = World(stores=4, random=random)
    seen = [world.put(f"f{n}", b"x") for n in range(FILES)]
    world.replicate()
    seen += [world.ask("GET", f"/f{n % FILES}").location for n in range(READERS)]
    for storage in world.stores:
        storage.capacity = 0
    world.probe()
    world.api("PATCH", "files/f0", {"copies": 4})
    world.replicate()
    memory = world.store.memory
    seen.append(repr(memory._due["default/f0"].time))
    world.close()
    return seen


def test_of_the_same_chance_comes_the_same():
    assert said(Random(1)) == said(Random(1))


def test_of_another_chance_comes_something_else():
    one, other = said(Random(1)), said(Random(2))
    assert not set(one[:FILES]) & set(other[:FILES])
    assert one[FILES:-1] != other[FILES:-1]
    assert one[-1] != other[-1]


def test_it_has_its_own_unless_it_is_given_one():
    assert not set(said(None)[:FILES]) & set(said(None)[:FILES])


SAMPLE = Path(__file__).parents[1] / "etc" / "dragonbelly.toml"


class Sites(MultiService):
    """All that is to be listened for."""

    config: Config
    public_site = Factory()
    admin_site = Factory()


@pytest.mark.parametrize("runner", ["twistd", "twist"])
def test_ports_are_opened_once_whoever_runs_it(runner: str) -> None:
    memory: Any = MemoryReactorClock()
    sites = Sites()
    sites.config = load(SAMPLE)
    listening = Listening(memory, sites, ("tcp:80",), ("tcp:81",))  # type: ignore[arg-type]
    if runner == "twistd":  # as root, if that is who started it
        listening.privilegedStartService()
        assert len(memory.tcpServers) == 2
    listening.startService()
    assert [port for port, *_ in memory.tcpServers] == [80, 81]
