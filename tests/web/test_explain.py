"""``GET explain``: which rule, which replica, what comes next, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from dragonbelly.config import loads
from dragonbelly.events import Condemned, Expired, Found, Leaving, Lost, Placed, Removed, Thin
from dragonbelly.model import Path, Record, VersionState
from dragonbelly.policies.rules import Rules
from dragonbelly.replication.plan import Plan, advance, demand, plan
from dragonbelly.state.accounts import encode
from dragonbelly.web.explain import Known, _move, explain, subject
from tests.builders import NOW, live, record, upload, version, vid, view
from tests.web.test_uploads_api import is_problem
from tests.web.wire import Said
from tests.web.world import World

V = VersionState

MakeWorld = Callable[..., World]

CONFIG = """
[domain.media]
hosts = ["media.example.com"]
anonymous = ["read", "list", "write"]
allow_anonymous_write = true
policy = "plain"
rules = [
    { match = "thumbs/**", policy = "cheap" },
    { type = "video/*", larger = "1MB", policy = "large" },
]
[domain.other]
hosts = ["*"]
anonymous = ["read", "list", "write"]
allow_anonymous_write = true
[policy.plain]
[policy.cheap]
copies = 1
[policy.large]
copies = 3
spread = "zone"
"""


def ask(world: World, path: str, domain: str = "", method: str = "GET") -> Said:
    more = f"&domain={domain}" if domain else ""
    return world.api(method, f"explain?path={path}{more}", admin=True)


def explained(world: World, path: str = "a") -> Any:
    said = ask(world, path)
    assert said.status == 200, said
    assert said.headers["content-type"] == "application/json"
    return said.json


def stored(world: World, name: str = "a") -> list[str]:
    """A file with its copies: where they are."""
    world.put(name, b"hello")
    world.download(name)
    world.replicate()
    return [replica.backend for replica in world.record(name).versions[0].replicas]


def of(what: list[Any], backend: str) -> Any:
    [found] = [each for each in what if each["backend"] == backend]
    return found


# --- as a pure function ----------------------------------------------------------------------------------


def of_record(
    there: Record,
    *servers: str,
    path: str = "a",
    due: float | None = None,
    keep: bool = False,
    weights: dict[str, float] | None = None,
) -> dict[str, Any]:
    backends = "".join(f'[backend.{name}]\nkind = "dav"\nurl = "http://{name}.test"\n' for name in "abc")
    config = loads(CONFIG + backends)
    policies = config.make_policies()
    rules, file = Rules(config, policies), Path("media", path)
    weights = weights or {}
    cluster = {name: replace(one, weight=weights.get(name, 1.0)) for name, one in view(*servers).items()}
    shown = subject(there)
    moves: list[Any] = []

    def make(now: Record) -> Plan:
        made = plan(now, cluster, lambda v: policies[ruling.policy], NOW, 900, keep=keep)
        moves.extend(made.moves)
        return made

    ruling = rules.ruling(file, shown.content_type, shown.size, shown.asked.policy)
    _, left = advance(there, make)
    return explain(
        Known(
            path=file,
            record=there,
            cluster=cluster,
            ruling=ruling,
            policy=config.policies[ruling.policy],
            placement=policies[ruling.policy].place(demand(shown), cluster),
            moves=tuple(moves),
            plan=left,
            due=due,
            now=NOW,
            url=lambda replica: f"http://{replica.backend}.test/",
        )
    )


class TestReaders:
    def test_good_copies_by_weight(self) -> None:
        shown = of_record(record(live("a:good", "b:good")), "a", "b")
        assert shown["get"] == {
            "status": 302,
            "why": "one of 2 at random, by weight: a good copy on a server that serves",
            "last_resort": False,
            "candidates": [
                {"backend": name, "url": f"http://{name}.test/", "tier": 0, "weight": 1.0, "chance": 0.5}
                for name in "ab"
            ],
            "looks_for": [],
        }
        assert [replica["readers"] for replica in shown["replicas"]] == [True, True]

    def test_the_chance_follows_the_weight(self) -> None:
        shown = of_record(record(live("a:good", "b:good")), "a", "b", weights={"b": 3.0})
        assert [(c["backend"], c["chance"]) for c in shown["get"]["candidates"]] == [("b", 0.75), ("a", 0.25)]

    @pytest.mark.parametrize(
        ("replica", "server", "why"),
        [
            ("b:good", "b:down", "the backend was taken down"),
            ("b:good", "b:away", "the backend does not answer"),
            ("b:good", "b:patient", "the backend does not answer"),
            ("b:good", "b:dead", "the backend is dead"),
            ("b:good", "c", "there is no backend b in the configuration"),
            ("b:missing", "b", "the copy is not made yet"),
            ("b:suspect", "b", "its bytes are doubted, and will be read again"),
            ("b:lost", "b", "it is known not to be there"),
            ("b:condemned", "b", "it is being removed"),
            ("b:leaving", "b", "it is surplus: there are good copies on other servers"),
        ],
    )
    def test_why_nobody_is_sent_there(self, replica: str, server: str, why: str) -> None:
        shown = of_record(record(live("a:good", replica)), "a", server)
        there = of(shown["replicas"], "b")
        assert (there["readers"], there["why_not"]) == (False, why)
        assert of(shown["replicas"], "a")["why_not"] is None
        assert shown["get"]["candidates"][0]["backend"] == "a"
        assert shown["get"]["candidates"][0]["chance"] == 1.0
        assert all(candidate["chance"] == 0 for candidate in shown["get"]["candidates"][1:])

    @pytest.mark.parametrize("word", ["drain", "readonly", "full"])
    def test_what_still_serves(self, word: str) -> None:
        shown = of_record(record(live("a:good", "b:good")), "a", f"b:{word}")
        assert of(shown["replicas"], "b")["readers"] is True

    @pytest.mark.parametrize(
        ("replica", "server", "why"),
        [
            ("a:leaving", "a", "surplus, and whole until its grace ends: there is no good copy"),
            ("a:good", "a:away", "its server does not answer: there is nothing better"),
            ("a:good", "a:down", "its server was taken down: there is nothing better"),
        ],
    )
    def test_the_last_resort(self, replica: str, server: str, why: str) -> None:
        shown = of_record(record(live(replica)), server)
        assert (shown["get"]["status"], shown["get"]["last_resort"]) == (302, True)
        assert shown["get"]["why"].startswith(why)
        assert of(shown["replicas"], "a")["readers"] is True

    def test_no_answer(self) -> None:
        shown = of_record(record(live("a:lost")), "a")
        assert (shown["get"]["status"], shown["damaged"]) == (503, True)
        assert shown["get"]["why"] == "no copy is known to be good"
        assert shown["get"]["candidates"] == []
        shown = of_record(record(live("a:good")), "a:dead")
        assert shown["get"]["why"] == "no server that holds a copy can be reached"
        shown = of_record(record(version(1, V.ABANDONED, "a:missing", upload=upload(reason="size"))), "a")
        assert (shown["get"]["status"], shown["get"]["why"]) == (404, "no version of it is live")
        assert shown["uploads"][0]["reason"] == "size"

    def test_former_versions(self) -> None:
        there = record(live("a:good", number=2), version(1, V.SUPERSEDED, "b:good"))
        shown = of_record(there, "a", "b")
        former = of(shown["replicas"], "b")
        assert (former["version"], former["version_state"], former["readers"]) == (vid(1), "superseded", False)
        assert former["why_not"] == "it is of a version that is not live"


class TestPolicy:
    @pytest.mark.parametrize(
        ("path", "version", "by", "name", "why"),
        [
            ("x", live("a:good"), "domain", "plain", "default of the domain media"),
            ("thumbs/x", live("a:good"), "rule", "cheap", 'domain.media.rules[0]: match = "thumbs/**"'),
            (
                "x",
                live("a:good", content_type="video/mp4", size=2_000_000),
                "rule",
                "large",
                'domain.media.rules[1]: type = "video/*", larger = "1MB"',
            ),
        ],
    )
    def test_what_decided(self, path: str, version: Any, by: str, name: str, why: str) -> None:
        policy = of_record(record(version), "a", "b", "c", path=path)["policy"]
        assert (policy["by"], policy["name"], policy["why"]) == (by, name, why)
        assert policy["kind"] == "copies"
        assert (policy["rule"] is not None) is (by == "rule")

    def test_the_rule_and_the_options_as_fields(self) -> None:
        there = record(live("a:good", content_type="video/mp4", size=2_000_000))
        shown = of_record(there, "a", "b", "c")
        assert shown["policy"]["options"] == {"copies": 3, "spread": "zone"}
        assert shown["policy"]["rule"] == {
            "index": 1,
            "text": 'type = "video/*", larger = "1MB"',
            "match": None,
            "type": "video/*",
            "larger": 1_000_000,
            "smaller": None,
        }
        assert shown["copies"] == {"owed": 3, "held": 1, "possible": 3, "enough": False, "asked": None}


class TestNext:
    def test_every_move_and_step_of_a_plan_has_words(self) -> None:
        there = record(
            live("a:good", "b:lost", number=3),
            version(2, V.UPLOADING, "c:missing", upload=upload(deadline=NOW)),
            version(1, V.SUPERSEDED, "b:good", since=NOW - 10_000),
        )
        shown = of_record(there, "a", "b", "c")
        assert [(move["do"], move["backend"]) for move in shown["next"]["moves"]] == [
            ("thin", None),
            ("place", "c"),
            ("condemn", "b"),
        ]
        assert {
            "do": "copy",
            "version": vid(3),
            "backend": "c",
            "from": ["a"],
            "text": "copy it to c, from a",
        } in (shown["next"]["steps"])
        assert [step["do"] for step in shown["next"]["steps"]] == ["copy", "verify"]
        assert shown["next"]["steps"][1]["final"] is True
        assert shown["next"]["changes"] == {"at": "2023-11-14T22:13:25Z", "in": 5}

    def test_a_check_and_a_removal(self) -> None:
        there = record(
            live("a:good", "b:suspect", number=2), version(1, V.DELETED, "c:good", since=NOW - 10_000)
        )
        steps = of_record(there, "a", "b", "c", path="thumbs/x")["next"]["steps"]
        assert [(step["do"], step["backend"]) for step in steps] == [("check", "b"), ("remove", "c")]

    def test_what_waits_and_why(self) -> None:
        shown = of_record(record(live("a:good", "b:missing")), "a", "b:patient")
        assert shown["next"]["waits"] == [
            {
                "version": vid(1),
                "backend": "b",
                "why": "a copy is to be made, and the server takes no files now",
            },
            {
                "version": vid(1),
                "backend": None,
                "why": "it has fewer good copies than it is owed, and no more can be made now",
            },
        ]

    def test_when(self) -> None:
        there = replace(record(live("a:good", "b:good")), tries=3)
        shown = of_record(there, "a", "b", due=12.5)["next"]
        assert (shown["due"]["in"], shown["tries"]) == (12.5, 3)
        assert shown["due"]["at"].endswith("Z")
        assert of_record(there, "a", "b")["next"]["due"] is None

    @pytest.mark.parametrize(
        ("event", "word"),
        [
            (Placed(NOW, vid(1), "a"), "place"),
            (Found(NOW, vid(1), "a", 0), "keep"),
            (Leaving(NOW, vid(1), "a", 0), "leave"),
            (Condemned(NOW, vid(1), "a", 0), "condemn"),
            (Lost(NOW, vid(1), "a", 0), "lose"),
            (Removed(NOW, vid(1), "a", 0), "forget"),
            (Expired(NOW, vid(1)), "expire"),
            (Thin(NOW, True), "thin"),
            (Thin(NOW, False), "enough"),
        ],
    )
    def test_moves(self, event: Any, word: str) -> None:
        shown = _move(event)
        assert shown["do"] == word
        assert shown["backend"] == getattr(event, "backend", None)
        assert shown["text"]


# --- on the admin listener -------------------------------------------------------------------------------


class TestResource:
    def test_a_file_that_is_well(self, world: World) -> None:
        held = stored(world)
        shown = explained(world)
        assert (shown["domain"], shown["path"], shown["state"]) == ("default", "a", "live")
        assert shown["version"] == world.record("a").versions[0].id
        assert shown["copies"] == {"owed": 2, "held": 2, "possible": 2, "enough": True, "asked": None}
        assert shown["policy"]["why"] == "default of the domain default"
        assert sorted(replica["backend"] for replica in shown["replicas"]) == sorted(held)
        assert [candidate["chance"] for candidate in shown["get"]["candidates"]] == [0.5, 0.5]
        urls = {candidate["url"] for candidate in shown["get"]["candidates"]}
        assert world.ask("GET", "/a").location in urls
        assert shown["next"] == {
            "moves": [],
            "steps": [],
            "waits": [],
            "due": None,
            "changes": None,
            "tries": 0,
        }

    def test_it_agrees_with_what_then_happens(self, world: World) -> None:
        world.put("a", b"hello")
        before = explained(world)
        assert [step["do"] for step in before["next"]["steps"]] == ["verify"]
        assert before["get"]["status"] == 404
        assert before["get"]["looks_for"] == [upload["upload"] for upload in before["uploads"]]
        assert before["next"]["due"] == {"at": before["next"]["due"]["at"], "in": 1.0}
        world.download("a")
        now = explained(world)
        [copy] = [step for step in now["next"]["steps"] if step["do"] == "copy"]
        [source] = [replica["backend"] for replica in now["replicas"] if replica["state"] == "good"]
        assert copy["from"] == [source]
        assert now["next"]["due"]["in"] == 0
        world.replicate()
        assert {r["backend"] for r in explained(world)["replicas"]} == {source, copy["backend"]}

    def test_what_follows_comes_before_the_steps(self, world: World) -> None:
        held = stored(world)
        assert world.api("PATCH", f"backends/{held[0]}", {"state": "drain"}, admin=True).status == 200
        shown = explained(world)
        assert [move["do"] for move in shown["next"]["moves"]] == ["thin", "place"]
        [copy] = shown["next"]["steps"]
        assert copy["backend"] == shown["next"]["moves"][1]["backend"]
        assert copy["backend"] not in held

    def test_it_changes_nothing(self, world: World) -> None:
        world.put("a", b"hello")
        before = world.store.memory.records["default/a"], dict(world.store.memory._due)
        explained(world)
        assert before == (world.store.memory.records["default/a"], dict(world.store.memory._due))
        assert all(not storage.asked for storage in world.stores)

    def test_tries_and_the_next_look_after_a_failure(self, world: World) -> None:
        held = stored(world)
        for name in sorted({"s1", "s2", "s3"} - {held[0]}):
            assert world.api("PATCH", f"backends/{name}", {"state": "drain"}, admin=True).status == 200
        world.store.memory.hasten([Path("default", "a")])
        world.replicate()
        shown = explained(world)
        assert shown["next"]["tries"] == 1
        assert 10 < shown["next"]["due"]["in"] < 20
        assert shown["next"]["waits"][-1]["why"].startswith("it has fewer good copies")

    def test_the_domain(self, make_world: MakeWorld) -> None:
        world = make_world(CONFIG)
        said = world.ask("PUT", "/thumbs/x", {"Host": "media.example.com", "Content-Length": "2"}, b"hi")
        assert said.status in (302, 307)
        assert ask(world, "thumbs/x").status == 404
        shown = ask(world, "/thumbs/x", "media")
        assert shown.json["policy"]["rule"]["index"] == 0
        assert is_problem(ask(world, "thumbs/x", "nobody"), 422, "domain")

    @pytest.mark.parametrize("path", ["", "a//b", "../x", "-/x", "a%00"])
    def test_a_path_that_is_none(self, world: World, path: str) -> None:
        assert is_problem(ask(world, path), 422, "path")

    def test_no_record(self, world: World) -> None:
        said = ask(world, "nothing/here")
        assert is_problem(said, 404)
        assert said.json["detail"].startswith("there is no record of nothing/here in the domain default")

    @pytest.mark.parametrize("value", [b"\xc1", b"junk"])
    def test_a_record_that_cannot_be_decoded(self, world: World, value: bytes) -> None:
        world.store.memory.records["default/a"] = value
        said = ask(world, "a")
        assert is_problem(said, 500)
        assert said.json["title"] == "Damaged record"
        assert "the record of 'default/a' cannot be decoded" in said.json["detail"]

    def test_a_record_without_versions(self, world: World) -> None:
        assert encode(Record()) == b""
        world.store.memory.records["default/a"] = b"\x93\x90\xc0\x00"
        assert is_problem(ask(world, "a"), 404)

    def test_while_the_store_is_away(self, world: World) -> None:
        stored(world)
        world.store.away = True
        assert is_problem(ask(world, "a"), 503)

    def test_what_it_refuses(self, world: World) -> None:
        assert is_problem(ask(world, "a", method="DELETE"), 405)
        assert is_problem(world.api("GET", "explain?path=a&x=1", admin=True), 422, "x")

    def test_not_on_the_public_listener(self, world: World) -> None:
        stored(world)
        assert is_problem(world.api("GET", "explain?path=a"), 404)
