"""What operators do: drain a backend, declare one dead, run several daemons."""

from __future__ import annotations

import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.reading import Readers
from tests.integration.site import Site
from tests.servers.daemon import Daemon

pytestmark = pytest.mark.servers

EXTRA = '[delete]\ngrace = "2s"\n'


def fill(site: Site, count: int) -> dict[str, bytes]:
    files = {f"f/{n % 7}/{n}.txt": f"file {n}".encode() * 50 for n in range(count)}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda path: site.put(path, files[path]), files))
    return files


def copies_made(daemon: Daemon) -> int:
    with urllib.request.urlopen(f"{daemon.admin}/-/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return int(sum(float(n) for n in re.findall(r"^dragonbelly_copies_total\{.*\} (\S+)$", text, re.MULTILINE)))


def all_have_two(site: Site) -> bool:
    settled = site.settled()
    return len(settled) == 100 and all(len(file["replicas"]) == 2 for file in settled)


def test_a_backend_is_drained_while_files_are_read() -> None:
    with Site(EXTRA) as site:
        files = fill(site, 200)
        assert len(site.settled()) == 200
        before = site.disk()
        assert len(before["two"]) > 50
        with Readers(site, files):
            site.daemon.set_backend("two", "drain")
            assert site.daemon.backend("two")["drained"] is False
            site.eventually("it is drained", lambda: site.daemon.backend("two")["drained"], within=40)
            told = site.daemon.backend("two")
            assert (told["state"], told["objects"], told["bytes"]) == ("drain", 0, 0)
        assert site.disk()["two"] == set()
        assert [
            str(p.relative_to(site.stores["two"].root)) for p in site.stores["two"].root.rglob("*.txt")
        ] == []
        settled = site.settled()
        assert len(settled) == 200
        assert all({r["backend"] for r in file["replicas"]} == {"one", "three"} for file in settled)
        # Nothing new goes there, until it is alive again.
        site.put("new.txt", b"new")
        site.copied("new.txt")
        assert site.disk()["two"] == set()
        site.daemon.set_backend("two", "alive")
        site.put("three.txt", b"three", Dragonbelly_Copies="3")
        site.copied("three.txt", 3)


def test_what_lay_on_a_dead_backend_is_made_again_elsewhere() -> None:
    with Site(EXTRA) as site:
        files = fill(site, 30)
        site.settled()
        site.stores["one"].kill()
        site.daemon.set_backend("one", "dead")
        site.eventually("nothing is recorded there", lambda: site.daemon.backend("one")["objects"] == 0)

        def whole() -> bool:
            for path in files:
                backends = {replica["backend"] for replica in site.file(path)["replicas"]}
                assert backends == {"two", "three"}
            return bool(site.daemon.status()["thin"]["files"] == 0)

        site.eventually("all copies are elsewhere", whole)
        for path, data in files.items():
            assert site.get(path) == data


def test_a_backend_that_is_down_for_a_while_is_left_alone_and_keeps_its_files() -> None:
    with Site(EXTRA) as site:
        files = fill(site, 20)
        site.settled()
        before = site.disk()
        site.daemon.set_backend("one", "down")
        for path, data in files.items():
            assert site.get(path) == data
        requests = [line for line in site.stores["one"].requests() if '"GET' in line and ".txt" in line]
        for path in files:
            site.get(path)
        after = [line for line in site.stores["one"].requests() if '"GET' in line and ".txt" in line]
        assert requests == after, "a reader was sent to a backend that was taken down"
        assert site.disk() == before
        site.daemon.set_backend("one", "alive")
        assert len(site.settled()) == 20


def test_a_readonly_backend_serves_and_takes_nothing() -> None:
    with Site(EXTRA) as site:
        fill(site, 10)
        site.settled()
        before = site.disk()["one"]
        site.daemon.set_backend("one", "readonly")
        site.put("new.txt", b"new")
        assert {r["backend"] for r in site.copied("new.txt")["replicas"]} == {"two", "three"}
        assert site.disk()["one"] == before
        assert len(site.settled()) == 11


def test_two_daemons_share_the_work() -> None:
    slow = EXTRA + '[replication]\nevery = "200ms"\nconcurrency = 4\nlease = "5s"\npatience = "1s"\n'
    with Site(slow) as site, site.another() as second:
        # All of the work at once: else the one that is a little faster may find each file first.
        for name in ("two", "three"):
            site.daemon.set_backend(name, "readonly")
        site.eventually("both know", lambda: second.backend("three")["state"] == "readonly")
        files = fill(site, 100)
        for name in ("two", "three"):
            site.daemon.set_backend(name, "alive")
        site.eventually("there are two copies", lambda: all_have_two(site), within=60)
        settled = site.settled()
        assert len(settled) == 100
        made = copies_made(site.daemon), copies_made(second)
        assert min(made) > 0, made
        assert sum(made) >= 100, made
        # Each tells what the other took in, and follows what was said to the other.
        for path in list(files)[:5]:
            assert second.file(path)["version"] == site.file(path)["version"]
        second.set_backend("three", "drain")
        site.eventually("both know", lambda: site.daemon.backend("three")["state"] == "drain")
        site.eventually("it is drained", lambda: site.daemon.backend("three")["drained"], within=40)
        second.set_backend("three", "alive")
        second.kill()
        assert len(site.settled()) == 100


def test_a_daemon_goes_on_alone_when_the_other_is_killed() -> None:
    with Site(EXTRA) as site, site.another() as second:
        fill(site, 60)
        second.kill()
        assert len(site.settled()) == 60
