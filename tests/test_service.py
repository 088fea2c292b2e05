"""The daemon put together: what it leaves to chance is handed in, and its ports are opened first."""

from __future__ import annotations

from random import Random

import pytest

from dragonbelly.config import Source
from dragonbelly.listening import Listening
from dragonbelly.testing import reactor
from tests.integration.asking import ask
from tests.servers.ports import free_port
from tests.servers.process import listens
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


SETTINGS = """
[state]
redis = "unix:///nowhere/redis.sock"
[http]
listen = ["tcp:{}:interface=127.0.0.1"]
admin = ["tcp:{}:interface=127.0.0.1"]
[backend.s1]
kind = "dav"
url = "http://127.0.0.1:1"
"""


@pytest.mark.parametrize("runner", ["twistd", "twist"])
def test_ports_are_opened_once_whoever_runs_it(runner: str) -> None:
    ports = free_port(), free_port()
    source = Source("a file", SETTINGS.format(*ports))
    services: list[Listening] = []

    async def start() -> None:
        services.append(Listening(reactor.start(), lambda: (source, source.config())))
        if runner == "twistd":  # as root, if that is who started it
            services[0].privilegedStartService()
            assert all(map(listens, ports))
        services[0].startService()

    async def stop() -> None:
        await services[0].stopService()

    reactor.run(start)
    # Its Redis is away, and clients are told so.
    assert [ask("GET", f"http://127.0.0.1:{port}/a").status for port in ports] == [503, 503]
    reactor.run(stop)
    assert not any(map(listens, ports))
