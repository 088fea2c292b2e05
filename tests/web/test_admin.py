"""What operators ask: backends and their states, figures, health, metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dragonbelly import __version__
from dragonbelly.ids import ulid
from dragonbelly.interfaces import Counts
from dragonbelly.keys import MARKER, storage_key
from dragonbelly.metrics import Metrics
from dragonbelly.model import BackendState, Use
from dragonbelly.model import Path as FilePath
from tests.web.test_uploads_api import is_problem
from tests.web.wire import Said
from tests.web.world import World

MakeWorld = Callable[..., World]


def get(world: World, resource: str) -> Any:
    said = world.api("GET", resource, admin=True)
    assert said.status == 200, said
    assert said.headers["content-type"] == "application/json"
    assert said.headers["cache-control"] == "no-store"
    return said.json


def say(world: World, name: str, state: object) -> Said:
    return world.api("PATCH", f"backends/{name}", {"state": state}, admin=True)


def stored(world: World, name: str = "a", data: bytes = b"hello") -> list[str]:
    """A file with its copies: where they are."""
    world.put(name, data)
    world.download(name)
    world.replicate()
    return [replica.backend for replica in world.record(name).versions[0].replicas]


class TestBackends:
    def test_all(self, make_world: MakeWorld) -> None:
        world = make_world(options="capacity = 1000")
        held = stored(world)
        world.probe()
        backends = get(world, "backends")["backends"]
        assert [backend["name"] for backend in backends] == ["s1", "s2", "s3"]
        for backend in backends:
            there = backend["name"] in held
            marker = len(world.storage(backend["name"]).objects[MARKER])
            assert backend == {
                "name": backend["name"],
                "host": backend["name"],
                "zone": "default",
                "weight": 1.0,
                "state": "alive",
                "observed": "up",
                "reason": None,
                "objects": int(there),
                "bytes": 5 * there,
                "free": 1000 - marker - 5 * there,
                "total": 1000,
                "drained": False,
            }
            assert get(world, f"backends/{backend['name']}") == backend

    def test_why_one_is_away(self, world: World) -> None:
        stored(world)
        world.storage("s1").away = True
        world.probe()
        shown = get(world, "backends/s1")
        assert (shown["observed"], shown["reason"]) == ("unreachable", "s1: does not answer")
        # What is seen now, and not what was seen first.
        world.storage("s1").away = False
        world.storage("s1").objects[MARKER] = b"another store\n"
        world.probe()
        reason = get(world, "status")["backends"][0]["reason"]
        assert "its files belong to the state store 'another store'" in reason
        assert get(world, "backends/s2")["reason"] is None
        world.storage("s1").objects[MARKER] = world.storage("s2").objects[MARKER]
        for _ in range(10):
            world.probe()
        shown = get(world, "backends/s1")
        assert (shown["observed"], shown["reason"]) == ("up", None)

    @pytest.mark.parametrize("state", ["alive", "readonly", "drain", "down", "dead"])
    def test_a_person_says(self, world: World, state: str) -> None:
        said = say(world, "s2", state)
        assert (said.status, said.json["state"]) == (200, state)
        assert get(world, "backends/s2")["state"] == state
        assert get(world, "backends/s1")["state"] == "alive"
        assert world.daemon.cluster.view["s2"].state is BackendState[state.upper()]
        assert say(world, "s2", "alive").json["state"] == "alive"

    def test_one_that_is_dead_is_alive_again_when_all_is_written_off(self, world: World) -> None:
        held, _ = stored(world)
        assert say(world, held, "dead").status == 200
        refused = say(world, held, "alive")
        assert is_problem(refused, 409)
        assert "1 objects to go" in refused.json["detail"]
        for _ in range(3):
            world.daemon.sweeper.tick()
            world.replicate(5)

        assert get(world, f"backends/{held}")["objects"] == 0
        assert say(world, held, "alive").json["state"] == "alive"
        assert world.download("a") == b"hello"

    def test_also_when_another_daemon_was_told_a_moment_ago(self, world: World) -> None:
        held, _ = stored(world)
        world.store.memory.set_operator_state(held, BackendState.DEAD)
        assert world.daemon.cluster.view[held].state is BackendState.ALIVE  # as far as this one knows
        for state in ("alive", "readonly", "drain", "down"):
            assert is_problem(say(world, held, state), 409)
        assert say(world, held, "dead").status == 200
        for _ in range(3):
            world.daemon.sweeper.tick()
            world.replicate(5)
        # That it may be alive again another daemon is told, and this one would refuse it for what it knows.
        world.store.memory.set_operator_state(held, BackendState.ALIVE)
        assert world.daemon.cluster.view[held].state is BackendState.DEAD
        assert say(world, held, "drain").json["state"] == "drain"

    def test_drained(self, world: World) -> None:
        held, other = stored(world)
        assert say(world, held, "drain").json["drained"] is False
        for _ in range(5):
            world.replicate(3600)
        shown = get(world, f"backends/{held}")
        assert (shown["objects"], shown["drained"]) == (0, True)
        assert get(world, f"backends/{other}")["drained"] is False
        assert world.download("a") == b"hello"

    @pytest.mark.parametrize(
        ("method", "name", "body", "status", "field"),
        [
            ("GET", "s4", b"", 404, None),
            ("GET", "", b"", 404, None),
            ("GET", "x/s1", b"", 404, None),
            ("GET", "S1", b"", 404, None),
            ("GET", "s%31", b"", 404, None),
            ("PATCH", "s4", {"state": "dead"}, 404, None),
            ("PATCH", "s1", {"state": "sleepy"}, 422, "state"),
            ("PATCH", "s1", {"state": 1}, 422, "state"),
            ("PATCH", "s1", {"state": None}, 422, "state"),
            ("PATCH", "s1", {}, 422, "state"),
            ("PATCH", "s1", {"state": "down", "weight": 2}, 422, "weight"),
            ("PATCH", "s1", b"{", 400, None),
            ("PUT", "s1", {"state": "down"}, 405, None),
            ("DELETE", "s1", b"", 405, None),
        ],
    )
    def test_what_it_refuses(
        self, world: World, method: str, name: str, body: object, status: int, field: str | None
    ) -> None:
        assert is_problem(world.api(method, f"backends/{name}", body, admin=True), status, field)
        assert all(view.state is BackendState.ALIVE for view in world.daemon.cluster.view.values())

    def test_what_lies_there_is_taken_in(self, world: World) -> None:
        key = storage_key(FilePath("default", "found"), ulid(world.clock.seconds(), lambda bits: 7))
        world.storage("s1").objects[key] = b"there it is"
        said = world.api("POST", "backends/s1/adopt", admin=True)
        assert said.status == 202
        assert "adopted" in said.json
        world.clock.advance(1)
        assert world.api("GET", "files/found").json["size"] == len(b"there it is")
        assert world.api("POST", "backends/none/adopt", admin=True).status == 404
        assert world.api("GET", "backends/s1/adopt", admin=True).status == 405
        assert world.api("POST", "backends/s1/adopt").status == 404

    def test_one_that_left_the_configuration(self, make_world: MakeWorld) -> None:
        larger, world = make_world(), make_world(stores=1)
        held = stored(larger)
        world.store.memory.records = dict(larger.store.memory.records)
        world.store.memory._use = dict(larger.store.memory._use)
        gone = next(name for name in held if name != "s1")
        recorded = world.api("GET", f"backends/{gone}", admin=True)
        assert is_problem(recorded, 404)
        assert recorded.json["objects"] == 1
        assert is_problem(say(world, gone, "drain"), 422, "state")
        said = say(world, gone, "dead")
        assert (said.status, said.json["state"]) == (200, "dead")
        assert get(world, f"backends/{gone}")["objects"] == 1

    def test_while_the_store_is_away(self, world: World) -> None:
        world.store.away = True
        assert is_problem(world.api("GET", "backends", admin=True), 503)
        assert is_problem(say(world, "s1", "down"), 503)


class TestStatus:
    def test_the_whole_in_figures(self, world: World) -> None:
        stored(world, "a", b"hello")
        stored(world, "b", b"hi")
        status = get(world, "status")
        assert status["version"] == __version__
        assert (status["files"], status["objects"], status["bytes"]) == (2, 4, 14)
        assert status["thin"] == {"files": 0, "oldest": None, "oldest_age": None}
        assert status["queue"] == {"depth": 0, "overdue": 0}
        assert status["backends"] == get(world, "backends")["backends"]

    def test_thin_files(self, make_world: MakeWorld) -> None:
        world = make_world(stores=1)
        stored(world)
        world.clock.advance(100)
        status = get(world, "status")
        assert status["thin"] == {"files": 1, "oldest": "2026-09-21T14:13:20Z", "oldest_age": 102}
        assert status["queue"]["depth"] == 1

    def test_while_the_store_is_away(self, world: World) -> None:
        world.store.away = True
        assert is_problem(world.api("GET", "status", admin=True), 503)


class TestHealth:
    def health(self, world: World) -> Said:
        return world.ask("GET", "/-/health", admin=True)

    def test_well(self, world: World) -> None:
        said = self.health(world)
        assert said.status == 200
        assert said.json == {
            "status": "ok",
            "version": __version__,
            "store": "up",
            "unconfirmed": None,
            "backends_serving": 3,
            "backends": 3,
            "workers": 0,
        }
        assert world.ask("HEAD", "/-/health", admin=True).headers == said.headers

    def test_one_server_is_enough(self, world: World) -> None:
        world.storage("s1").away = world.storage("s3").away = True
        world.probe()
        said = self.health(world)
        assert (said.status, said.json["backends_serving"]) == (200, 1)

    def test_none_is_not(self, world: World) -> None:
        for storage in world.stores:
            storage.away = True
        world.probe()
        said = self.health(world)
        assert (said.status, said.json["status"], said.json["store"]) == (503, "unavailable", "up")

    def test_the_store_is_away(self, world: World) -> None:
        world.store.away = True
        said = self.health(world)
        assert (said.status, said.json["status"], said.json["store"]) == (503, "unavailable", "away")

    def test_it_is_not_open_yet(self, make_world: MakeWorld) -> None:
        world = make_world(opened=False)
        said = self.health(world)
        assert (said.status, said.json["status"]) == (503, "unavailable")

    def test_methods(self, world: World) -> None:
        assert is_problem(world.ask("POST", "/-/health", admin=True), 405)
        assert is_problem(world.ask("DELETE", "/-/metrics", admin=True), 405)


class TestMetrics:
    #: What an operator is promised, by the name of the family.
    PROMISED = (
        "dragonbelly_requests",
        "dragonbelly_redirects",
        "dragonbelly_last_resorts",
        "dragonbelly_copies",
        "dragonbelly_copied_bytes",
        "dragonbelly_backend_failures",
        "dragonbelly_queue_depth",
        "dragonbelly_thin_files",
        "dragonbelly_thin_oldest_seconds",
        "dragonbelly_redis_seconds",
        "dragonbelly_backend_state",
    )

    def families(self, world: World) -> dict[str, Any]:
        said = world.ask("GET", "/-/metrics", admin=True)
        assert said.status == 200
        assert said.headers["content-type"].startswith("text/plain; version=")
        return {family.name: family for family in text_string_to_metric_families(said.body.decode())}

    def value(self, world: World, name: str, **labels: str) -> float:
        (family,) = (
            family for key, family in self.families(world).items() if name.removesuffix("_total") == key
        )
        values = [sample.value for sample in family.samples if sample.name == name and sample.labels == labels]
        assert len(values) == 1, (labels, family.samples)
        return float(values[0])

    def test_what_is_promised(self, world: World) -> None:
        families = self.families(world)
        assert set(self.PROMISED) <= set(families)
        assert all(family.documentation for family in families.values())

    def test_requests_by_kind_and_status(self, world: World) -> None:
        world.put("a", b"x")
        world.download("a")
        for _ in range(3):
            world.ask("GET", "/b")
        world.api("GET", "files/b")
        world.ask("BREW", "/a")
        world.ask("STEEP", "/a")
        world.ask("GET", "*")
        world.ask("POST", "/-/api/v1/uploads", {"Content-Length": "1000000"})
        for kind, status, count in [
            ("file_put", "307", 1),
            ("file_get", "302", 1),
            ("file_get", "404", 3),
            ("file_other", "405", 2),
            ("bad_get", "400", 1),
            ("bad_post", "413", 1),
            ("api_get", "404", 1),
        ]:
            assert self.value(world, "dragonbelly_requests_total", kind=kind, status=status) == count

    def test_what_the_replicator_does(self, world: World) -> None:
        _, copy = stored(world)
        assert self.value(world, "dragonbelly_copies_total", backend=copy) == 1
        assert self.value(world, "dragonbelly_copied_bytes_total", backend=copy) == 5

    def test_thin_files(self, make_world: MakeWorld) -> None:
        world = make_world(stores=1)
        stored(world)
        world.clock.advance(98)
        assert self.value(world, "dragonbelly_files") == 1
        assert self.value(world, "dragonbelly_thin_files") == 1
        assert self.value(world, "dragonbelly_thin_oldest_seconds") == 100
        assert self.value(world, "dragonbelly_queue_depth") == 1

    def test_backends(self, world: World) -> None:
        say(world, "s1", "readonly")
        world.storage("s2").away = True
        world.probe()
        assert self.value(world, "dragonbelly_backend_state", backend="s1", state="readonly") == 1
        assert self.value(world, "dragonbelly_backend_state", backend="s1", state="alive") == 0
        assert self.value(world, "dragonbelly_backend_observed", backend="s2", observed="unreachable") == 1
        assert self.value(world, "dragonbelly_backend_failures_total", backend="s2", reason="probe") == 1

    def test_while_the_store_is_away(self, world: World) -> None:
        stored(world)
        assert self.value(world, "dragonbelly_store_up") == 1
        world.store.away = True
        assert self.value(world, "dragonbelly_store_up") == 0
        assert self.value(world, "dragonbelly_files") == 1

    def test_what_has_left_a_backend_is_no_longer_counted(self, world: World) -> None:
        held = stored(world)
        assert self.value(world, "dragonbelly_backend_bytes", backend=held[0]) == 5
        world.ask("DELETE", "/a")
        world.replicate(3600)
        assert world.store.memory.records == {}
        assert self.value(world, "dragonbelly_backend_bytes", backend=held[0]) == 0
        assert self.value(world, "dragonbelly_backend_objects", backend=held[0]) == 0


def test_a_backend_that_left_and_holds_nothing_is_forgotten() -> None:
    metrics = Metrics()
    counts = Counts(files=0, queued=0, overdue=0, thin=0, thin_since=None)
    metrics.set_store(counts, {"gone": Use(5, 1), "s1": Use(5, 1)}, 0.0)
    assert metrics.registry.get_sample_value("dragonbelly_backend_bytes", {"backend": "gone"}) == 5
    metrics.set_store(counts, {"s1": Use(5, 1)}, 0.0)
    assert metrics.registry.get_sample_value("dragonbelly_backend_bytes", {"backend": "gone"}) is None
    assert metrics.registry.get_sample_value("dragonbelly_backend_bytes", {"backend": "s1"}) == 5


def test_the_public_listener_has_none_of_it(world: World) -> None:
    for target in (
        "/-/health",
        "/-/metrics",
        "/-/api/v1/status",
        "/-/api/v1/backends",
        "/-/api/v1/backends/s1",
    ):
        for method in ("GET", "PATCH"):
            assert is_problem(world.ask(method, target), 404)


def test_the_admin_listener_has_all_of_it(world: World) -> None:
    said = world.ask("PUT", "/a", None, b"x", admin=True)
    world.upload(said.location, b"x")
    assert world.ask("GET", "/a", admin=True).location == said.location
    assert world.api("GET", "files/a", admin=True).status == 200
    assert len(world.api("GET", "files", admin=True).json["files"]) == 1
