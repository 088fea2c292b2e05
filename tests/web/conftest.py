from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.web.world import World


@pytest.fixture
def make_world() -> Iterator[Callable[..., World]]:
    """Makes worlds, which are closed in the end."""
    worlds: list[World] = []

    def make(*args: Any, **kwargs: Any) -> World:
        worlds.append(World(*args, **kwargs))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
