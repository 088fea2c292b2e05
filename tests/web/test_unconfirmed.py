"""The state store does what it is asked, and cannot say that it is safe: nobody is told that it is done."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.logger import LogEvent, capturedLogs, formatEvent

from dragonbelly.model import BackendState, VersionState
from tests.web.test_uploads_api import begin, begun, complete
from tests.web.wire import Said
from tests.web.world import World


def unsure(world: World) -> None:
    world.store.failing.add("confirm")


def sure(world: World) -> None:
    world.store.failing.discard("confirm")


def refused(said: Said) -> bool:
    assert said.status == 503, said
    assert int(said.headers["retry-after"]) > 0
    return True


def test_nothing_is_acknowledged(world: World) -> None:
    world.put("a", b"x")
    world.ask("GET", "/a")
    upload = begun(world, "b")
    unsure(world)
    answers: list[Callable[[], Said]] = [
        lambda: world.ask("PUT", "/new", None, b"x"),
        lambda: begin(world, "new"),
        lambda: complete(world, upload, "b"),
        lambda: world.api("DELETE", f"uploads/{upload}?path=b"),
        lambda: world.api("PATCH", "files/a", {"copies": 1}),
        lambda: world.api("PATCH", "files/a", {"copies": 1}),  # which is what it says by now
        lambda: world.ask("DELETE", "/a"),
        lambda: world.ask("DELETE", "/a"),
        lambda: world.api("DELETE", "files/a"),
        lambda: world.api("PATCH", "backends/s1", {"state": "drain"}, admin=True),
    ]
    for answer in answers:
        assert refused(answer())


def test_a_standstill_is_said_once(make_world: Callable[..., World]) -> None:
    world = make_world("[state]\nack_replicas = 1\n")

    def shown() -> tuple[object, object, int, float]:
        health = world.ask("GET", "/-/health", admin=True)
        world.ask("GET", "/-/metrics", admin=True)
        status = world.api("GET", "status", admin=True).json["unconfirmed"]
        return status, health.json["unconfirmed"], health.status, world.metric("writes_confirmed")

    def said(logs: list[LogEvent]) -> list[str]:
        return [text for event in logs if (text := formatEvent(event)).startswith("writes")]

    assert shown() == (None, None, 200, 1)
    with capturedLogs() as logs:
        unsure(world)
        for _ in range(3):
            world.daemon.standstill.tick()
        reason = "the store does not answer"
        assert shown() == (reason, reason, 200, 0)
        # That nothing answers at all is another matter, which others tell of.
        world.store.away = True
        world.daemon.standstill.tick()
        world.store.away = False
        assert said(logs) == [
            f"writes are answered with 503, files can be read: {reason} ([state] ack_replicas)"
        ]
        sure(world)
        for _ in range(3):
            world.daemon.standstill.tick()
        assert shown() == (None, None, 200, 1)
        assert said(logs)[1:] == ["writes are confirmed by the replicas again"]
        world.store.away = True
        world.daemon.standstill.tick()
        assert said(logs)[2:] == []


def test_nobody_asks_where_nothing_is_to_be_confirmed(world: World) -> None:
    unsure(world)
    world.clock.advance(3600 * 24)
    assert not world.daemon.standstill.running


def test_readers_do_not_wait_for_it(world: World) -> None:
    world.put("a", b"x")
    unsure(world)
    assert world.download("a") == b"x"
    assert world.api("GET", "files/a").status == 200
    assert world.api("GET", "files").status == 200


def test_a_delete_that_is_asked_for_again(world: World) -> None:
    """404 would say that the file is gone; if Redis fails over it may come back."""
    world.put("a", b"x")
    world.ask("GET", "/a")
    unsure(world)
    assert refused(world.ask("DELETE", "/a"))
    assert world.record("a").live is None, "it happened"
    assert refused(world.ask("DELETE", "/a"))
    sure(world)
    assert world.ask("DELETE", "/a").status == 404


def test_a_complete_that_is_asked_for_again(world: World) -> None:
    upload = begun(world)
    unsure(world)
    assert refused(complete(world, upload))
    assert world.record("a").live is not None, "it happened"
    assert refused(complete(world, upload))
    sure(world)
    said = complete(world, upload)
    assert (said.status, said.json["version"]) == (200, upload)


def test_a_complete_of_what_the_replicator_saw(world: World) -> None:
    upload = begun(world)
    unsure(world)
    world.replicate()
    assert world.record("a").live is not None
    assert refused(complete(world, upload))


def test_an_end_that_may_be_undone(world: World) -> None:
    """The upload would go on, and become a file that nobody expects."""
    upload = begun(world, data=None)
    unsure(world)
    assert refused(world.api("DELETE", f"uploads/{upload}?path=a"))
    assert refused(complete(world, upload))
    sure(world)
    assert complete(world, upload).status == 410
    assert world.api("DELETE", f"uploads/{upload}?path=a").status == 410


def test_uploads_do_not_pile_up(world: World) -> None:
    """A client that asks again and again is not shut out for it later."""
    unsure(world)
    for _ in range(30):
        assert refused(begin(world))
    sure(world)
    assert begin(world).status == 201
    assert len(world.record("a").versions) == 1


def test_replication_goes_on(world: World) -> None:
    """More copies do no harm, whatever becomes of the record."""
    world.put("a", b"x")
    unsure(world)
    for _ in range(5):
        world.replicate()
    assert len(world.record("a").live.replicas) == 2  # type: ignore[union-attr]
    assert sum(len(storage.objects) for storage in world.stores) >= 2


def test_a_state_of_a_backend_holds_all_the_same(world: World) -> None:
    unsure(world)
    assert refused(world.api("PATCH", "backends/s1", {"state": "drain"}, admin=True))
    world.daemon.states.tick()
    assert world.daemon.cluster.view["s1"].state is BackendState.DRAIN


@pytest.mark.parametrize("resource", ["complete", "delete"])
def test_another_server_answers_in_the_middle(world: World, resource: str) -> None:
    """It may not have what the first one said."""
    upload = begun(world)
    if resource == "delete":
        assert complete(world, upload).status == 200
    commit = world.store.memory.commit

    def then_fail_over(*args: object) -> object:
        world.store.memory.run = "2"
        return commit(*args)  # type: ignore[arg-type]

    world.store.memory.commit = then_fail_over  # type: ignore[method-assign, assignment]
    said = complete(world, upload) if resource == "complete" else world.ask("DELETE", "/a")
    assert refused(said)
    assert said.json["title"] == "Not confirmed"
    states = [version.state for version in world.record("a").versions]
    assert states == [VersionState.LIVE if resource == "complete" else VersionState.DELETED]
    if resource == "complete":
        assert complete(world, upload).status == 200
