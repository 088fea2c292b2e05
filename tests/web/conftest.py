from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.web.world import World


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("lanes") and "lane" in metafunc.fixturenames:
        metafunc.parametrize("lane", ["fast", "slow"], indirect=True)


@pytest.fixture
def lane(request: pytest.FixtureRequest) -> str:
    """Where connections to public listeners begin."""
    return str(getattr(request, "param", "fast"))


@pytest.fixture
def make_world(lane: str) -> Iterator[Callable[..., World]]:
    """Makes worlds, which are closed in the end."""
    worlds: list[World] = []

    def make(*args: Any, **kwargs: Any) -> World:
        worlds.append(World(*args, lane=lane, **kwargs))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
