"""Redis away at start, away later, back with what it had written."""

from __future__ import annotations

import urllib.error
from typing import Any

import pytest

from tests.integration.asking import ask, follow
from tests.integration.site import Site
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.servers

EXTRA = '[state]\nredis = "{url}"\nreply_timeout = "500ms"\nstale = "1m"\n'


def site_of(redis: RedisServer) -> Site:
    return Site(EXTRA.format(url=redis.url), redis=redis)


def health(site: Site) -> tuple[int, Any]:
    answer = ask("GET", f"{site.daemon.admin}/-/health")
    return answer.status, answer.body


@pytest.mark.parametrize("tcp", [False, True], ids=["unix socket", "TCP"])
def test_a_daemon_waits_for_a_redis_that_is_away_at_start(tcp: bool) -> None:
    with site_of(RedisServer("appendonly yes", port=tcp)) as site:
        site.put("before.txt", b"before")
        assert site.get("before.txt") == b"before"
        site.daemon.stop()
        site.redis.stop()
        site.daemon.start(wait=False)
        site.eventually("it says so", lambda: site.daemon.log().count("waiting for the state store") == 1)
        site.eventually("its health says so", lambda: health(site)[0] == 503)
        assert b'"store":"away"' in health(site)[1].replace(b" ", b"")
        answer = ask("GET", site.url("before.txt"))
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert site.daemon.process is not None
        assert site.daemon.process.poll() is None, "it waits, and does not end"
        site.redis.start()
        site.eventually("it is ready by itself", site.daemon.answers)
        assert site.get("before.txt") == b"before"
        assert len(site.settled()) == 1


@pytest.mark.parametrize("failure", ["kill", "pause"])
def test_files_read_lately_are_found_while_redis_is_away(failure: str) -> None:
    with site_of(RedisServer("appendonly yes", "appendfsync always")) as site:
        for path in ("read.txt", "forgotten.txt"):
            site.put(path, path.encode())
            site.copied(path)
        site.settled()
        # A daemon that has read only one of them.
        site.daemon.stop()
        site.daemon.start()
        assert site.get("read.txt") == b"read.txt"

        site.redis.kill() if failure == "kill" else site.redis.pause()
        site.eventually("its health says so", lambda: health(site)[0] == 503)
        assert site.get("read.txt") == b"read.txt"
        assert ask("HEAD", site.url("read.txt")).status == 302
        for answer in (
            ask("GET", site.url("forgotten.txt")),
            ask("GET", site.url("never.txt")),
            site.begin("new.txt", b"new"),
            ask("DELETE", site.url("read.txt")),
        ):
            assert answer.status == 503, answer
            assert int(answer.headers["Retry-After"]) > 0
        assert site.get("read.txt") == b"read.txt"

        site.redis.start() if failure == "kill" else site.redis.resume()
        site.eventually("it goes on by itself", lambda: health(site)[0] == 200)
        for path in ("read.txt", "forgotten.txt"):
            answer = follow(site.url(path))
            # The DELETE that nobody answered may have reached a Redis that was only stopped.
            gone = failure == "pause" and path == "read.txt" and answer.status == 404
            assert gone or answer.body == path.encode(), answer
        site.put("after.txt", b"after")
        assert site.get("after.txt") == b"after"
        site.settled()


def test_nothing_acknowledged_is_lost_when_redis_is_killed_and_comes_back_with_its_file() -> None:
    with site_of(RedisServer("appendonly yes", "appendfsync always")) as site:
        files = {}
        for n in range(30):
            path = f"f/{n}.txt"
            try:
                site.put(path, path.encode())
                assert site.get(path) == path.encode()
            except (OSError, AssertionError):
                continue  # not acknowledged
            finally:
                if n in (10, 20):
                    site.redis.kill()
                    site.redis.start()
                    site.eventually("it goes on", site.daemon.answers)
            files[path] = path.encode()
        assert len(files) > 20
        settled = {file["path"] for file in site.settled()}
        assert settled >= set(files)
        for path, data in files.items():
            assert site.get(path) == data


def test_a_redis_that_may_evict_is_refused() -> None:
    with RedisServer("maxmemory-policy allkeys-lru") as redis:
        site = Site(EXTRA.format(url=redis.url), redis=redis)
        daemon = site.another()
        try:
            daemon.start(wait=False)
            assert daemon.process is not None
            assert daemon.process.wait(20) != 0
            assert "noeviction" in daemon.log()
            assert "Traceback" not in daemon.log(), daemon.log()
            with pytest.raises(urllib.error.URLError):
                daemon.status()
        finally:
            daemon.close()
            for store in site.stores.values():
                store.close()
            site.daemon.close()


def test_a_redis_that_may_evict_is_taken_if_the_configuration_says_so() -> None:
    redis = RedisServer("maxmemory-policy allkeys-lru")
    with Site(EXTRA.format(url=redis.url) + "require_noeviction = false\n", redis=redis) as site:
        site.put("a.txt", b"a")
        assert site.get("a.txt") == b"a"
        assert site.daemon.log().count('appendonly is "no"') == 1
