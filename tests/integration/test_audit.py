"""What disks and a Redis that forgets do to files, found and repaired: nginx, Redis, twistd and the command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from secrets import randbits
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from dragonbelly.ids import ulid
from dragonbelly.keys import MARKER, storage_key
from dragonbelly.model import Path as FilePath
from tests.integration.asking import ask
from tests.integration.site import Site
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.servers

COMMAND = Path(sys.executable).with_name("dragonbelly")

FAST = '[audit]\nrate = 1000\nbandwidth = "1GiB"\n'


def begin(site: Site, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(COMMAND), "audit", "--now", "--url", site.daemon.admin, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(command: subprocess.Popen[str], status: int, seconds: float = 60) -> str:
    """What it said on stdout."""
    try:
        out, err = command.communicate(timeout=seconds)
    finally:
        command.kill()
        command.wait()
    assert command.returncode == status, (command.returncode, out, err)
    return out


def audit(site: Site, status: int, *arguments: str) -> str:
    return end(begin(site, *arguments), status)


def asked_for(site: Site) -> Any:
    """The round that was asked for."""
    return site.daemon.get_json("/-/api/v1/audit")["asked"]


def on_disk(site: Site, file: Any) -> list[Path]:
    """Where the copies of a file are."""
    return [
        site.stores[replica["backend"]].root / unquote(urlsplit(replica["url"]).path).removeprefix("/")
        for replica in file["replicas"]
    ]


def flip(path: Path) -> None:
    """One bit of it turns over."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def whole(site: Site, path: str, data: bytes, copies: int = 2) -> None:
    """Wait until every copy is."""

    def look() -> bool:
        file = site.file(path)
        good = [replica["state"] for replica in file["replicas"]] == ["good"] * copies
        return good and [disk.read_bytes() for disk in on_disk(site, file)] == [data] * copies

    site.eventually(f"{path} is whole", look, 30, path)


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(FAST, redis=RedisServer("appendonly yes", port=True)) as site:
        yield site


def test_a_copy_that_is_gone_cut_or_other_is_found_and_repaired(site: Site) -> None:
    files = {f"d/{how}.bin": os.urandom(100_000) for how in ("whole", "missing", "size", "digest")}
    for path, data in files.items():
        site.put(path, data)
    shown = {path: site.copied(path) for path in files}
    spoilt = {how: on_disk(site, shown[f"d/{how}.bin"])[0] for how in ("missing", "size", "digest")}
    spoilt["missing"].unlink()
    os.truncate(spoilt["size"], 99_999)
    flip(spoilt["digest"])

    found = [line.split() for line in audit(site, 1).splitlines()]
    assert sorted((what, path) for _, what, _, path, _ in found) == [
        (how, f"default/d/{how}.bin") for how in ("digest", "missing", "size")
    ]
    for path, data in files.items():
        whole(site, path, data)
        assert site.get(path) == data
    assert audit(site, 0) == ""
    site.settled()

    # The last one can be asked for again, and as JSON.
    last = subprocess.run(
        [COMMAND, "audit", "--json", "--url", site.daemon.admin],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert json.loads(last.stdout)["asked"]["copies"] == 8


def test_of_a_file_without_a_good_copy_every_byte_is_kept(site: Site) -> None:
    data = os.urandom(50_000)
    site.put("d/bad.bin", data)
    site.put("d/good.bin", data)
    site.copied("d/good.bin")
    disks = on_disk(site, site.copied("d/bad.bin"))
    for disk in disks:
        flip(disk)
    spoilt = {disk: disk.read_bytes() for disk in disks}

    found = audit(site, 1, "default/d/").splitlines()
    assert len(found) == 2
    assert all(line.endswith("default/d/bad.bin  damaged") for line in found), found
    answer = ask("GET", site.url("d/bad.bin"))
    assert answer.status == 503
    assert b"no copy of d/bad.bin is known to be good" in answer.body
    assert site.file("d/bad.bin")["damaged"] is True
    assert site.daemon.status()["damaged"] == 1
    assert b"\ndragonbelly_damaged_files 1.0\n" in ask("GET", f"{site.daemon.admin}/-/metrics").body
    # However long it lasts, and though the grace is over.
    time.sleep(3)
    audit(site, 1)
    assert {disk: disk.read_bytes() for disk in disks} == spoilt
    assert "default/d/bad.bin has no good copy left" in site.daemon.log()

    # Somebody brings one of them back.
    disks[0].write_bytes(data)
    audit(site, 1)
    whole(site, "d/bad.bin", data)
    assert site.get("d/bad.bin") == data
    assert site.daemon.status()["damaged"] == 0
    assert audit(site, 0) == ""


def test_it_goes_on_after_kill_9() -> None:
    with Site("[audit]\nrate = 60\n") as site:
        files = {f"d/{n}.txt": os.urandom(100) for n in range(150)}
        for path, data in files.items():
            site.put(path, data)
        for path in files:
            site.copied(path)
        command = begin(site, "--no-read", "--json")
        site.eventually(
            "some is done", lambda: (asked := asked_for(site)) is not None and 0 < asked["files"] < 150
        )
        site.daemon.kill()
        site.daemon.start()
        round = json.loads(end(command, 0))
        assert round["number"] == 1
        assert round["files"] >= 150
        assert round["copies"] >= 300
        assert round["objects"] >= 300
        assert site.daemon.log().count("audit 1 ended") == 1
        assert site.daemon.log().count("audit 1 of everything begins") == 1
        assert site.daemon.log().count("audit 1 of everything goes on") == 1


def born_before(site: Site, seconds: float) -> None:
    """As if the store had been new so long ago."""
    site.daemon.stop()
    identity = ulid(time.time() - seconds, randbits)
    site.redis.command("HSET", "db:meta", "store", identity)
    for store in site.stores.values():
        (store.root / MARKER).write_text(f"{identity}\n")
    site.daemon.start()


def test_an_object_that_nobody_knows_is_removed(site: Site) -> None:
    data = os.urandom(1000)
    site.put("d/file.bin", data)
    site.copied("d/file.bin")
    born_before(site, 10 * 86400)
    older, long_ago, young = (ulid(time.time() - age, randbits) for age in (11 * 86400, 86400, 60))
    root = site.stores["one"].root
    another_ones = root / storage_key(FilePath("default", "d/older.bin"), older)
    stray = root / storage_key(FilePath("default", "d/file.bin"), long_ago)
    recent = root / storage_key(FilePath("default", "d/file.bin"), young)
    foreign = root / "default/d/mine.txt"
    for path in (stray, recent, foreign, another_ones):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"whose is this?")

    (found,) = audit(site, 1).splitlines()
    assert found.split()[1:] == ["orphan", "one", "default/d/file.bin", "removed"]
    assert not stray.parent.exists()
    assert recent.exists()
    assert foreign.exists()
    assert another_ones.exists(), "it was there before the store was"
    assert (root / MARKER).exists()
    assert site.get("d/file.bin") == data
    shown = asked_for(site)
    assert shown["objects_foreign"] == 2
    log = site.daemon.log()
    assert log.count("belonged to nothing, and was removed") == 1

    ask("POST", f"{site.daemon.admin}/-/api/v1/backends/one/adopt", b"")
    site.eventually("it is a file", lambda: site.get("d/older.bin") == b"whose is this?")
    site.copied("d/older.bin")


def test_a_redis_that_comes_back_older_than_it_was(site: Site, tmp_path: Path) -> None:
    """Nothing is removed before records and storage were compared, and what was promised is there again."""
    redis = site.redis
    old, new, data = os.urandom(3000), os.urandom(4000), os.urandom(5000)
    site.put("d/kept.bin", old)
    site.put("d/overwritten.bin", old)
    site.copied("d/kept.bin")
    site.copied("d/overwritten.bin")
    assert site.daemon.status()["epoch"]["agreed"] is True
    time.sleep(2)
    redis.command("CONFIG", "SET", "appendfsync", "always")
    shutil.copytree(redis.directory / "appendonlydir", tmp_path / "aof")

    versions = {}
    for path in ("d/overwritten.bin", "d/new.bin"):
        versions[path] = site.put(path, new if path == "d/overwritten.bin" else data)
        assert site.complete(path, versions[path]).status in (200, 202)
        site.copied(path)
    site.eventually("the old version is gone", lambda: len(_objects(site, "overwritten.bin")) == 2)
    before = site.disk()

    # One server does not answer: the comparison waits for it, and with it every removal.
    site.stores["three"].pause()
    redis.kill()
    shutil.rmtree(redis.directory / "appendonlydir")
    shutil.copytree(tmp_path / "aof", redis.directory / "appendonlydir")
    redis.start()
    site.eventually(
        "it is waited for", lambda: site.daemon.status()["epoch"]["waits_for"] == ["three"], within=30
    )
    assert ask("DELETE", site.url("d/kept.bin")).status == 204
    time.sleep(9)  # the grace, and what a store may forget, are over
    disk = site.disk()
    # More may have come: of what was on that server other copies are made.
    assert all(before[name] <= disk[name] for name in before)
    site.stores["three"].resume()
    site.eventually("they agree", lambda: site.daemon.status()["epoch"]["agreed"], within=40)

    whole(site, "d/overwritten.bin", new)
    whole(site, "d/new.bin", data)
    assert site.file("d/overwritten.bin")["version"] == versions["d/overwritten.bin"]
    assert site.get("d/new.bin") == data
    assert site.file("d/kept.bin") is None
    site.settled(60)
    log = site.daemon.log()
    assert "this is another run of Redis" in log
    assert "nothing is removed until these backends answer, too: three" in log
    assert "records and storage agree" in log


def _objects(site: Site, name: str) -> list[str]:
    return [key for keys in site.disk().values() for key in keys if key.endswith(f"/{name}")]
