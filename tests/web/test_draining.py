"""Connections that are to end: none loses an answer, and none stays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from dragonbelly.web.draining import STEP
from tests.web.wire import Connection
from tests.web.world import World


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.put("a", b"some bytes")
    yield world
    world.close()


def drain(world: World, grace: float = 1.0, longest: float = 10.0) -> list[Any]:
    """Empty until it is done."""
    done: list[Any] = []
    Deferred.fromCoroutine(world.daemon.drain(grace, longest)).addBoth(done.append)
    return done


def test_without_connections_there_is_nothing_to_wait_for(world: World) -> None:
    assert drain(world) == [None]


def test_the_next_answer_is_the_last(world: World) -> None:
    connection = Connection(world.public)
    for _ in range(3):  # prepared, by now
        assert "connection" not in connection.ask("GET", "/a").headers
    done = drain(world)
    assert not connection.closed
    said = connection.ask("GET", "/a")
    assert (said.status, said.headers["connection"]) == (302, "close")
    assert connection.closed
    world.clock.advance(STEP)
    assert done == [None]


def test_who_asks_for_nothing_is_closed_after_the_grace(world: World) -> None:
    connections = [Connection(world.public), Connection(world.admin)]
    done = drain(world)
    world.clock.pump([STEP] * int(0.9 / STEP))
    assert not any(connection.closed for connection in connections)
    world.clock.pump([STEP] * int(0.3 / STEP))
    assert all(connection.closed for connection in connections)
    for connection in connections:
        connection.settle()
    world.clock.advance(STEP)
    assert done == [None]


def waiting(world: World) -> Connection:
    """A client whose question Redis does not answer."""
    connection = Connection(world.public)
    world.store.stuck.add("get")
    connection.send("GET", "/b")
    world.store.stuck.clear()
    assert connection.heard() == []
    return connection


def test_who_waits_has_all_the_time_there_is(world: World) -> None:
    connection = Connection(world.public)
    for storage in world.stores:
        storage.slow = True
    world.api("POST", "uploads", {"path": "c", "size": 5})
    connection.send("GET", "/c")
    assert connection.heard() == []
    done = drain(world, grace=0.0)
    world.clock.pump([STEP] * 10)
    assert not connection.closed
    for storage in world.stores * len(world.stores):  # they are asked one after the other, in any order
        storage.answer()
    (said,) = connection.heard()
    assert (said.status, said.headers["connection"]) == (404, "close")
    connection.settle()
    world.clock.advance(STEP)
    assert done == [None]


def test_and_no_more(world: World) -> None:
    connection = waiting(world)
    done = drain(world, longest=2.0)
    world.clock.pump([STEP] * int(1.9 / STEP))
    assert not connection.closed
    assert done == []
    world.clock.pump([STEP] * 4)
    assert done == [None]
    assert connection.closed
    connection.settle()
    assert world.store.cancelled == 1


def test_in_a_hurry_after_all(world: World) -> None:
    """As when it is stopped while it drains."""
    connection = waiting(world)
    patient, hasty = drain(world, longest=60.0), drain(world, grace=0.0, longest=1.0)
    world.clock.pump([STEP] * int(1.2 / STEP))
    connection.settle()
    world.clock.advance(STEP)
    assert (patient, hasty) == ([None], [None])
