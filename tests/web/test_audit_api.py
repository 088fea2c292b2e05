"""The audit, for operators; and how a file without a good copy is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.logger import LogEvent, capturedLogs, formatEvent

from dragonbelly.keys import key_of
from dragonbelly.model import Path
from tests.web.test_uploads_api import is_problem
from tests.web.wire import Connection, Said
from tests.web.world import World

MakeWorld = Callable[..., World]


def ask(world: World, **body: Any) -> Said:
    return world.api("POST", "audit", body, admin=True)


def seen(world: World) -> Any:
    said = world.api("GET", "audit", admin=True)
    assert said.status == 200, said
    return said.json


def stored(world: World, name: str = "a", data: bytes = b"hello") -> None:
    world.put(name, data)
    world.download(name)
    world.replicate()


def corrupt(world: World, name: str = "a", copies: int = 1) -> list[str]:
    """Other bytes in so many copies: where."""
    (version,) = world.record(name).versions
    for replica in version.replicas[:copies]:
        objects = world.storage(replica.backend).objects
        key = key_of(Path("default", name), version, replica)
        objects[key] = objects[key][::-1]
    return [replica.backend for replica in version.replicas[:copies]]


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world("[audit]\nrate = 10000\nbandwidth = '1GiB'\n")


def test_a_round_and_what_it_found(world: World) -> None:
    stored(world)
    (bad,) = corrupt(world)
    assert seen(world)["asked"] is None
    said = ask(world)
    assert said.status == 202
    assert said.json["asked"]["number"] == 1
    assert said.json["asked"]["ended"] is None
    world.clock.advance(5)
    asked = seen(world)["asked"]
    (finding,) = asked.pop("findings")
    assert asked == {
        "number": 1,
        "prefix": "",
        "read": True,
        "started": asked["started"],
        "ended": asked["ended"],
        "called_off": False,
        "files": 1,
        "files_total": 1,
        "copies": 2,
        "copies_unknown": 0,
        "bytes": 10,
        "damaged": 0,
        "backends_walked": ["s1", "s2", "s3"],
        "backends_skipped": [],
        "objects": 2,
        "objects_foreign": 3,
        "found": 1,
    }
    assert finding == {
        "domain": "default",
        "path": "a",
        "backend": bad,
        "what": "digest",
        "version": world.record("a").versions[0].id,
        "at": finding["at"],
        "outcome": "doubted",
    }
    world.replicate()
    world.replicate(10)
    assert seen(world)["asked"]["findings"][0]["outcome"] == "repaired"
    assert world.metric("audit_findings_total", what="digest") == 1
    assert world.metric("audited_replicas_total") == 2
    assert world.metric("audited_bytes_total") == 10


def test_the_regular_one(world: World) -> None:
    assert seen(world)["regular"]["number"] == 0


def test_of_a_part(world: World) -> None:
    stored(world, "a/1")
    stored(world, "b/1")
    for prefix, shown in (("default/a", "default/a"), ("/default/a", "default/a"), ("default", "default/")):
        assert ask(world, prefix=prefix, read=False).json["asked"]["prefix"] == shown
        world.clock.advance(10)
        assert seen(world)["asked"]["files"] == (2 if shown == "default/" else 1)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"prefix": "elsewhere/a"}, "prefix"),
        ({"prefix": 1}, "prefix"),
        ({"raed": 1}, "raed"),
        ({"prefix": "default/\u00e4 b/../"}, "prefix"),
        ({"prefix": "default/a//"}, "prefix"),
        ({"prefix": "default//a"}, "prefix"),
        ({"prefix": "default/a\n"}, "prefix"),
        ({"prefix": "default/-/"}, "prefix"),
        ({"prefix": "default/" + 1100 * "a/"}, "prefix"),
    ],
)
def test_mistakes(world: World, body: dict[str, Any], field: str) -> None:
    is_problem(ask(world, **body), 422, field)
    assert seen(world)["asked"] is None


@pytest.mark.parametrize(
    "prefix", ["a", "a/", "a/.", "a/..", "-", ".", "a b/\u00e4", "a/@01ARZ3NDEKTSV4RRFFQ69G5FAV", 255 * "a"]
)
def test_what_a_path_may_begin_with(world: World, prefix: str) -> None:
    assert ask(world, prefix=f"default/{prefix}").status == 202


def test_a_refused_field_has_a_phrase(world: World) -> None:
    connection = Connection(world.admin)
    connection.ask("POST", "/-/api/v1/audit", None, b'{"raed": 1}')
    assert connection.said.startswith(b"HTTP/1.1 422 Unprocessable Content\r\n")
    connection.leave()


def test_a_prefix_without_its_domain(world: World) -> None:
    assert ask(world, prefix="/media/2024/").json["detail"] == (
        "a prefix begins with a domain, as in default/media/2024/; 'media' is none, there are: default"
    )


def test_one_at_a_time_and_called_off(make_world: MakeWorld) -> None:
    world = make_world("[audit]\nrate = 0.1\n")
    stored(world)
    assert ask(world).status == 202
    said = ask(world)
    is_problem(said, 409)
    assert "under way" in said.json["detail"]
    assert world.api("DELETE", "audit", admin=True).status == 204
    assert seen(world)["asked"]["called_off"]
    assert ask(world).status == 202
    assert world.api("DELETE", "audit", admin=True).status == 204
    assert world.api("DELETE", "audit", admin=True).status == 204, "there is none"


def test_not_for_everybody(world: World) -> None:
    assert world.api("GET", "audit").status == 404
    assert world.api("POST", "audit", {}).status == 404
    is_problem(world.api("PUT", "audit", {}, admin=True), 405)


def test_while_the_store_is_away(world: World) -> None:
    world.store.away = True
    is_problem(ask(world), 503)
    is_problem(world.api("GET", "audit", admin=True), 503)


def test_a_file_without_a_good_copy(world: World) -> None:
    stored(world)
    corrupt(world, copies=2)
    assert world.api("GET", "files/a").json["damaged"] is False
    assert ask(world).status == 202
    world.clock.advance(5)
    world.replicate()
    said = world.ask("GET", "/a")
    is_problem(said, 503)
    assert said.json["title"] == "No good copy"
    assert said.json["detail"] == "no copy of a is known to be good"
    shown = world.api("GET", "files/a").json
    assert shown["damaged"] is True
    assert {replica["state"] for replica in shown["replicas"]} <= {"suspect", "lost", "missing"}
    assert world.api("GET", "status", admin=True).json["damaged"] == 1
    assert {f["outcome"] for f in seen(world)["asked"]["findings"]} == {"damaged"}
    world.ask("GET", "/-/metrics", admin=True)
    assert world.metric("damaged_files") == 1
    stored(world, "b")
    assert [(f["path"], f["damaged"]) for f in world.api("GET", "files").json["files"]] == [
        ("a", True),
        ("b", False),
    ]
    assert damaged(world) == {
        "total": 1,
        "files": [
            {
                "domain": "default",
                "path": "a",
                "version": shown["version"],
                "size": 5,
                "replicas": [{"backend": r["backend"], "state": r["state"]} for r in shown["replicas"]],
            }
        ],
    }


def damaged(world: World, query: str = "") -> Any:
    said = world.api("GET", f"damaged{query}", admin=True)
    assert said.status == 200, said
    return said.json


def test_some_of_the_files_without_a_good_copy(world: World) -> None:
    for name in "abc":
        stored(world, name)
        corrupt(world, name, copies=2)
    assert ask(world).status == 202
    world.clock.advance(5)
    world.replicate()
    assert {file["path"] for file in damaged(world)["files"]} == {"a", "b", "c"}
    some = damaged(world, "?limit=2")
    assert (some["total"], len(some["files"])) == (3, 2)
    is_problem(world.api("GET", "damaged?limit=10001", admin=True), 422, "limit")
    is_problem(world.api("POST", "damaged", {}, admin=True), 405)
    assert world.api("GET", "damaged").status == 404, "on the public listener"


def test_the_log_says_what_became_of_the_copies(world: World) -> None:
    stored(world)
    bad, gone = (replica.backend for replica in world.record("a").versions[0].replicas)
    corrupt(world, copies=1)
    objects = world.storage(gone).objects
    (key,) = (key for key in objects if key.endswith("/a"))
    kept = objects.pop(key)

    def said(logs: list[LogEvent]) -> list[str]:
        return [text for event in logs if " good copy " in (text := formatEvent(event))]

    with capturedLogs() as logs:
        ask(world)
        world.clock.advance(5)
        world.replicate()
    left = "default/a has no good copy left: the one on"
    # The one before it was not the last.
    assert set(said(logs)) <= {f"{left} {bad} has other bytes", f"{left} {gone} is gone"}
    assert said(logs)
    assert len(set(said(logs))) == len(said(logs))
    objects[key] = kept
    with capturedLogs() as logs:
        ask(world)
        world.clock.advance(5)
        world.replicate()
        world.replicate(10)
    assert said(logs) == ["default/a has a good copy again"]
    assert damaged(world) == {"total": 0, "files": []}


def logged(logs: list[LogEvent]) -> list[str]:
    return [text for event in logs if (text := formatEvent(event)).startswith("audit ")]


def test_none_begins_before_records_and_storage_agree(world: World) -> None:
    stored(world)
    assert seen(world)["waits"] is None
    world.storage("s1").away = True
    world.probe()
    world.store.memory.run = "2"
    world.daemon.comparison.tick()
    waits = "until records and storage were compared (s1 does not answer)"
    with capturedLogs() as logs:
        assert ask(world).status == 202
        for _ in range(5):
            world.daemon.asked_audit.tick()
        assert logged(logs) == [f"audit 1 waits {waits}"]
    assert (seen(world)["waits"], seen(world)["asked"]["files"]) == (waits, 0)
    world.storage("s1").away = False
    for _ in range(10):
        world.probe()
    world.daemon.comparison.tick()
    assert seen(world)["waits"] is None
    world.daemon.asked_audit.tick()
    world.clock.advance(5)
    assert seen(world)["asked"]["files"] == 1


def test_none_begins_while_several_do_not_answer(world: World) -> None:
    world.store.memory.run = "2"
    world.storage("s1").away = world.storage("s3").away = True
    world.probe()
    world.daemon.comparison.tick()
    assert seen(world)["waits"] == "until records and storage were compared (s1, s3 do not answer)"


def test_that_one_was_called_off_is_logged(make_world: MakeWorld) -> None:
    world = make_world("[audit]\nrate = 0.1\n")
    stored(world)
    with capturedLogs() as logs:
        ask(world, prefix="default")
        world.clock.advance(1)
        world.api("DELETE", "audit", admin=True)
        for _ in range(60):
            world.clock.advance(1)
    assert logged(logs) == [
        "audit 1 of default/, all bytes, begins",
        "audit 1 of default/ was called off: 0 copies of 0 files, 0 findings",
        "audit 1 ends here: it was called off",
    ]


def test_calling_off_while_somebody_notes_how_far_it_is(make_world: MakeWorld) -> None:
    world = make_world("[audit]\nrate = 0.1\n")
    stored(world)
    ask(world)
    set_meta, notes = world.store.memory.set_meta, []

    def meanwhile(field: str, old: str | None, new: str) -> Any:
        if field == "audit.asked" and not notes:
            notes.append(new)
            assert old is not None
            set_meta(field, old, old.replace('"objects":0', '"objects":1'))
        return set_meta(field, old, new)

    world.store.memory.set_meta = meanwhile  # type: ignore[method-assign]
    assert world.api("DELETE", "audit", admin=True).status == 204
    assert notes
    assert seen(world)["asked"]["called_off"]


def test_whether_records_and_storage_agree(world: World) -> None:
    stored(world)
    epoch = world.api("GET", "status", admin=True).json["epoch"]
    assert (epoch["agreed"], epoch["waits_for"], epoch["skipped"]) == (True, [], [])
    world.ask("GET", "/-/metrics", admin=True)
    assert world.metric("epoch_agreed") == 1
    world.storage("s1").away = True
    world.probe()
    world.store.memory.run = "2"
    world.daemon.comparison.tick()
    epoch = world.api("GET", "status", admin=True).json["epoch"]
    assert epoch == {
        "agreed": False,
        "records": 1,
        "objects": epoch["objects"],
        "doubted": 0,
        "adopted": 0,
        "waits_for": ["s1"],
        "skipped": [],
    }
    world.ask("GET", "/-/metrics", admin=True)
    assert world.metric("epoch_agreed") == 0
