"""Redirects that a daemon keeps, and what another one writes meanwhile: twistd, Redis and nginx, all real."""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType

import pytest

from dragonbelly.state.tracking import BELIEVED
from tests.integration.asking import ask, eventually
from tests.integration.site import Site
from tests.servers.daemon import Daemon
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.servers


#: Instead of a version.
NOBODY_KNOWS = "503"


class Reader:
    """A client that keeps its connection to a daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", daemon.public, timeout=20)

    def __enter__(self) -> Reader:
        self._connection.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def send(self, path: str) -> None:
        self._connection.request("GET", f"/{path}")

    def version(self) -> str | None:
        """That of the answer; None: there is no such file; NOBODY_KNOWS."""
        answer = self._connection.getresponse()
        answer.read()
        if answer.status == 503:
            return NOBODY_KNOWS
        assert answer.status in (302, 404), answer.status
        return (answer.headers["ETag"] or "").strip('"') or None

    def get(self, path: str) -> str | None:
        self.send(path)
        return self.version()


@pytest.fixture
def two() -> Iterator[tuple[Site, Daemon]]:
    """Two daemons on one Redis."""
    with Site(redis=RedisServer("appendonly yes", "appendfsync always")) as site:
        other = site.another()
        try:
            other.start()
            yield site, other
        finally:
            other.close()


def stored(site: Site, path: str, data: bytes) -> str:
    """Written through the site's daemon, and acknowledged by it; the version."""
    version = site.put(path, data)
    assert site.complete(path, version).status == 200
    return version


def kept(reader: Reader, path: str, version: str) -> None:
    """Have the daemon keep it: it is told of changes by now, and has answered again."""
    eventually("it is there", lambda: reader.get(path) == version)
    for _ in range(3):
        assert reader.get(path) == version


def test_what_another_daemon_writes(two: tuple[Site, Daemon]) -> None:
    site, other = two
    with Reader(site.daemon) as near, Reader(other) as far:
        for n in range(12):
            version = stored(site, "a.txt", f"{n}".encode())
            assert near.get("a.txt") == version, "a daemon knows at once what it wrote itself"
            kept(far, "a.txt", version)
        assert ask("DELETE", site.url("a.txt")).status == 204
        assert near.get("a.txt") is None
        eventually("the other one knows", lambda: far.get("a.txt") is None)
        for _ in range(20):
            assert far.get("a.txt") is None, "it does not come back"
    site.settled()


def test_who_asks_once_a_delete_was_answered(two: tuple[Site, Daemon]) -> None:
    """
    Redis tells of a write before it answers that, and news are heard before requests that came since: so a
    daemon with much to do, where both wait for the same turn, is not behind either.
    """
    site, other = two
    names = [f"f{n}.txt" for n in range(600)]
    versions = {name: stored(site, name, b"old") for name in names}
    load = ["wrk", "-t1", "-c32", "-d60s", f"{other.url}/{names[-1]}"]
    with Reader(other) as far, subprocess.Popen(load, stdout=subprocess.DEVNULL) as running:
        try:
            for name in names[:-1]:
                kept(far, name, versions[name])
                assert ask("DELETE", site.url(name)).status == 204
                assert far.get(name) is None
            assert running.poll() is None
        finally:
            running.kill()


@pytest.mark.parametrize("news", ["wait for it", "are late"])
def test_a_daemon_that_was_frozen_meanwhile(news: str) -> None:
    """What it reads first when it wakes may be the requests that wait for it, and not the news."""
    redis = RedisServer("appendonly yes", "appendfsync always", port=True)
    with Site(redis=redis) as site, Proxy(redis.port) as proxy:
        far = f'[state]\nredis = "redis://127.0.0.1:{proxy.port}/0"\nstale = "1s"\n'
        with Daemon(redis.url, site.stores, far) as other:
            _frozen(site, other, proxy, late=news == "are late")


def _frozen(site: Site, other: Daemon, proxy: Proxy, late: bool) -> None:
    names = [f"f{n}.txt" for n in range(20)]
    versions = {name: stored(site, name, b"old") for name in names}
    with ExitStack() as opened:
        readers = {name: opened.enter_context(Reader(other)) for name in names}
        for name, reader in readers.items():
            kept(reader, name, versions[name])
        other.pause()
        over = time.monotonic() + BELIEVED
        if late:
            proxy.deafen()
        for name in names[:10]:
            versions[name] = stored(site, name, b"new")
        for name in names[10:]:
            assert ask("DELETE", site.url(name)).status == 204
        for name, reader in readers.items():
            reader.send(name)
        time.sleep(max(0.0, over - time.monotonic()))  # so long it may believe what it has
        other.resume()
        eventually("it is awake", lambda: ask("GET", f"{other.admin}/-/health").status in (200, 503))
        proxy.thaw()
        true = {name: versions[name] if name in names[:10] else None for name in names}
        for name, reader in readers.items():
            assert reader.version() in (true[name], NOBODY_KNOWS if late else true[name])
            eventually("it is known", lambda reader=reader, name=name: reader.get(name) == true[name])


def test_a_redis_that_was_started_again(two: tuple[Site, Daemon]) -> None:
    site, other = two
    with Reader(other) as far:
        for end in (site.redis.kill, site.redis.stop):
            old = stored(site, "a.txt", b"old")
            kept(far, "a.txt", old)
            end()
            site.redis.start()
            site.eventually("the one goes on", site.daemon.answers)
            new = site.eventually("it is written", lambda: _written(site))
            site.eventually("the other one knows", lambda new=new: far.get("a.txt") == new)
            for _ in range(20):
                assert far.get("a.txt") == new
    for daemon in (site.daemon, other):
        assert "Traceback" not in daemon.log(), daemon.log()


def _written(site: Site) -> str:
    begun = site.begin("a.txt", b"new")
    assert begun.status in (302, 307)
    assert ask("PUT", begun.headers["Location"], b"new").status == 201
    version = begun.headers["Dragonbelly-Upload"]
    assert site.complete("a.txt", version).status == 200
    return version


def test_connections_that_tell_what_changes_are_killed_all_the_time(two: tuple[Site, Daemon]) -> None:
    site, other = two
    with Reader(other) as far:
        for n in range(12):
            version = stored(site, "a.txt", f"{n}".encode())
            site.redis.command("CLIENT", "KILL", "TYPE", "pubsub")
            eventually("the other one knows", lambda version=version: far.get("a.txt") == version)
            assert far.get("a.txt") == version
