"""
A record in a real Redis that is none: its path alone is refused, everything else goes on, the log says it once,
and of what is stored nothing is removed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from secrets import randbits
from typing import Any

import pytest

from dragonbelly.ids import ulid
from dragonbelly.keys import storage_key
from dragonbelly.model import Path as FilePath
from dragonbelly.state.keys import Keys
from tests.hostile.records import BROKEN
from tests.integration.asking import Reply, ask
from tests.integration.site import Objects, Site
from tests.servers.redis import RedisServer
from tests.web.world import World

COMMAND = Path(sys.executable).with_name("dragonbelly")
KEYS = Keys(64)

#: Those that are tried on real servers.
REAL = ("text", "a negative size", "deep")

EXTRA = """
[audit]
rate = 1000
bandwidth = "1GiB"
[upload]
lapse = "1s"
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site(EXTRA, redis=RedisServer("appendonly yes", "appendfsync always")) as site:
        yield site


def of_path(site: Site, name: str) -> Objects:
    return {store: {key for key in keys if f"/{name}/" in key} for store, keys in site.disk().items()}


def damage(site: Site, path: str, value: bytes) -> None:
    site.redis.command("SET", KEYS.record(FilePath("default", path)), value)


def visit(site: Site, path: str) -> None:
    """Have the replicator look at it, and wait until it has."""
    due = KEYS.due(KEYS.partition(FilePath("default", path)))
    site.redis.command("ZADD", due, "0", f"default/{path}")

    def visited() -> bool:
        score = site.redis.command("ZSCORE", due, f"default/{path}").split(b"\r\n")[1]
        return float(score) > time.time() + 1800  # not the lease: it is settled for an hour

    site.eventually(f"{path} is visited", visited)


def audit(site: Site) -> str:
    ran = subprocess.run(
        [COMMAND, "audit", "--now", "--url", site.daemon.admin], stdout=subprocess.PIPE, timeout=60, check=False
    )
    return ran.stdout.decode()


def requests(site: Site, path: str) -> Iterator[Reply]:
    """Everything that a client can ask of a path."""
    api = f"{site.daemon.url}/-/api/v1"
    upload = ulid(time.time(), randbits)
    yield ask("GET", site.url(path))
    yield site.begin(path, b"other")
    yield site.begin(path, b"other", If_None_Match="*")
    yield ask("DELETE", site.url(path))
    yield ask("GET", f"{api}/files/{path}")
    yield ask("PATCH", f"{api}/files/{path}", b'{"copies": 1}')
    yield ask("DELETE", f"{api}/files/{path}")
    yield ask("POST", f"{api}/uploads", json.dumps({"path": path, "size": 1}).encode())
    yield site.complete(path, upload)
    yield ask("DELETE", f"{api}/uploads/{upload}?path={path}")
    yield ask("GET", f"{site.daemon.admin}/-/api/v1/explain?path={path}")


def said_of(site: Site, path: str) -> list[str]:
    """The lines of the log on it."""
    return [line for line in site.daemon.log().splitlines() if path in line]


@pytest.mark.parametrize("kind", BROKEN)
def test_any_of_them_is_left_as_it_is(kind: str) -> None:
    world = World()
    try:
        world.put("a", b"some bytes")
        world.store.memory.records["default/a"] = BROKEN[kind]
        for method, target in (("GET", "/a"), ("PUT", "/a"), ("DELETE", "/a"), ("GET", "/-/api/v1/files/a")):
            said = world.ask(method, target)
            assert (said.status, said.json["title"]) == (500, "Damaged record")
        world.replicate()
        world.replicate(86400)
        assert world.store.memory.records["default/a"] == BROKEN[kind]
        assert sum(len(storage.objects) for storage in world.stores) == 1 + len(world.stores)  # the markers
    finally:
        world.close()


@pytest.mark.servers
@pytest.mark.parametrize("kind", REAL)
def test_a_record_that_is_none(site: Site, kind: str) -> None:
    name = kind.replace(" ", "-")
    path, beside = f"{name}/bad", f"{name}/good"
    for each in (path, beside):
        site.put(each, b"some bytes")
        site.copied(each)
    value = BROKEN[kind]
    damage(site, path, value)
    before = of_path(site, name)

    site.eventually("the daemon has heard of it", lambda: ask("HEAD", site.url(path)).status != 302)
    for reply in requests(site, path):
        assert reply.status == 500, reply
        problem = json.loads(reply.body)
        assert problem["title"] == "Damaged record"
        assert f"the record of 'default/{path}' cannot be decoded" in problem["detail"]
        assert "Location" not in reply.headers
    assert ask("HEAD", site.url(path)).status == 500
    visit(site, path)
    assert site.get(beside) == b"some bytes"
    site.put(beside, b"other bytes")
    site.eventually("it is overwritten", lambda: site.get(beside) == b"other bytes")
    listed: Any = site.daemon.get_json(f"/-/api/v1/files?prefix={name}/")
    assert [file["path"] for file in listed["files"]] == [beside]
    assert site.daemon.status()["files"]

    for command in ("info", "explain"):
        ran = subprocess.run(
            [COMMAND, command, path], env=environment(site), capture_output=True, timeout=60, check=False
        )
        assert ran.returncode != 0
        assert f"the record of 'default/{path}' cannot be decoded".encode() in ran.stderr
        assert b"Traceback" not in ran.stderr

    [line] = said_of(site, path)
    assert "cannot be decoded" in line
    assert site.redis.command("GET", KEYS.record(FilePath("default", path))).endswith(value + b"\r\n")
    after = of_path(site, name)
    assert all(key in after[store] for store in before for key in before[store] if key.endswith("/bad"))


def environment(site: Site) -> dict[str, str]:
    return {"DRAGONBELLY_URL": site.daemon.url, "DRAGONBELLY_ADMIN_URL": site.daemon.admin, "LANG": "C.UTF-8"}


@pytest.mark.servers
def test_nothing_of_it_is_ever_removed() -> None:
    """Not by audits, which remove an orphan beside it; not by a comparison, nor by a sweep; all say it once."""
    with Site(EXTRA, redis=RedisServer("appendonly yes", "appendfsync always")) as site:
        site.put("d/bad", b"some bytes")
        site.copied("d/bad")
        # The store is old, and so is all that lies there.
        site.daemon.stop()
        identity = ulid(time.time() - 10 * 86400, randbits)
        site.redis.command("HSET", "db:meta", "store", identity)
        for store in site.stores.values():
            (store.root / ".dragonbelly/backend").write_text(f"{identity}\n")
        damage(site, "d/bad", b"junk")
        for name in ("bad", "nobody"):
            old = site.stores["one"].root / storage_key(
                FilePath("default", f"d/{name}"), ulid(time.time() - 86400, randbits)
            )
            old.parent.mkdir(parents=True)
            old.write_bytes(b"whose is this?")
        before = {store: {key for key in keys if key.endswith("/bad")} for store, keys in site.disk().items()}
        assert sum(map(len, before.values())) == 3
        site.daemon.start()

        first = audit(site)
        assert ["orphan", "one", "default/d/nobody", "removed"] in [
            line.split()[1:] for line in first.splitlines()
        ]
        assert "record" in first
        assert "default/d/bad" in first
        audit(site)
        site.redis.kill()
        site.redis.start()
        site.eventually("they agree", lambda: site.daemon.status()["epoch"]["agreed"], within=40)
        audit(site)
        visit(site, "d/bad")
        visit(site, "d/bad")
        assert ask("GET", site.url("d/bad")).status == 500
        disk = site.disk()
        assert {store: {key for key in keys if key.endswith("/bad")} for store, keys in disk.items()} == before
        [line] = said_of(site, "d/bad")
        assert "cannot be decoded" in line
        # It is mended, or made anew, by a person; then it is a file like any other.
        site.redis.command("DEL", KEYS.record(FilePath("default", "d/bad")))
        for store in site.stores:
            assert ask("POST", f"{site.daemon.admin}/-/api/v1/backends/{store}/adopt", b"").status < 300
        site.eventually("it is a file", lambda: site.get("d/bad") == b"some bytes", within=40)
