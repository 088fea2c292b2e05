"""A world that is stopped at the end of each test, and leaves nothing."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.builders import World


@pytest.fixture
def make_world() -> Iterator[Callable[..., World]]:
    """Makes worlds (``World``'s arguments); the daemons made before ``start`` run when it is called."""
    made: list[World] = []

    def make(*args: Any, **how: Any) -> World:
        made.append(World(*args, **how))
        return made[-1]

    yield make
    for world in made:
        world.check()
        world.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """Three servers, two copies owed, one daemon."""
    return make_world().start()
