"""The benchmarks on real servers, with so little to do that it says nothing of their speed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psutil
import pytest

from benchmarks.__main__ import measure
from benchmarks.figure import Figure
from benchmarks.filling import Kind, fill
from benchmarks.paths import name
from benchmarks.references import LlhttpRedis
from benchmarks.references import fill as fill_references
from benchmarks.settings import Settings
from benchmarks.site import answer
from benchmarks.wrk import Requests, run
from dragonbelly.interfaces import Snapshot
from dragonbelly.model import Path
from dragonbelly.state.redis import RedisStore
from dragonbelly.testing import reactor
from tests.servers.nginx import NginxServer
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.servers

SETTINGS = Settings(files=200_000, hot=100, few=50, uploads=20, seconds=1, rounds=1)


#: A digest of all that Redis holds of a store, but for its meta: each key with its content in one order.
EVERYTHING = """
local function sorted(values, step)
  local found = {}
  for i = 1, #values, step do found[#found + 1] = table.concat(values, ' ', i, i + step - 1) end
  table.sort(found)
  return table.concat(found, ',')
end
local all = {}
for _, key in ipairs(redis.call('KEYS', 'db:*{*')) do
  local kind = redis.call('TYPE', key).ok
  local value
  if kind == 'string' then value = redis.call('GET', key)
  elseif kind == 'zset' then value = sorted(redis.call('ZRANGE', key, 0, -1, 'WITHSCORES'), 2)
  else value = sorted(redis.call('HGETALL', key), 2) end
  all[#all + 1] = key .. '=' .. value
end
return #all .. ' ' .. redis.sha1hex(sorted(all, 1))
"""


class TestFilling:
    @staticmethod
    def contents(server: RedisServer, files: int) -> tuple[Any, ...]:
        """All that a store knows of so many files."""
        store = RedisStore(reactor.start(), server.url)
        paths = [Kind().file(n)[0] for n in range(files)]

        async def read() -> tuple[Any, ...]:
            await store.ready()
            found = await store.get_many(paths)
            listed = await store.page(paths[0].domain, "", "", 2 * files)
            return found, listed, await store.use(), await store.counts()

        found: tuple[Any, ...] = reactor.run(read)
        reactor.run(store.close)
        return found

    def test_it_leaves_what_commits_leave(self) -> None:
        files = 300
        with RedisServer() as filled, RedisServer() as committed:
            fill(str(filled.socket), files)
            store = RedisStore(reactor.start(), committed.url)

            async def commit() -> None:
                await store.ready()
                for n in range(files):
                    path, record = Kind().file(n)
                    await store.commit(path, Snapshot(None, b""), record, None)

            reactor.run(commit)
            reactor.run(store.close)
            theirs = committed.command("EVAL", EVERYTHING, "0")
            # Records, and of each of 64 partitions the list and the use.
            assert int(theirs.split()[1]) == files + 2 * 64
            assert filled.command("EVAL", EVERYTHING, "0") == theirs

    def test_of_many_numbers_by_several_processes(self) -> None:
        files = 12_000
        with RedisServer() as server:
            fill(str(server.socket), 1_000)
            fill(str(server.socket), files - 1_000, first=1_000)
            snapshots, listed, use, counts = self.contents(server, files)
        assert all(snapshot.record.live for snapshot in snapshots)
        assert listed == [name(n) for n in range(files)]
        assert sum(each.objects for each in use.values()) == 3 * files
        assert (counts.files, counts.queued, counts.thin, counts.damaged) == (files, 0, 0, 0)


def test_wrk_asks_for_the_paths_that_are_filled_in() -> None:
    with NginxServer() as nginx:
        here = psutil.Process(nginx.running.pid)
        nginx.root.joinpath("0000").mkdir()
        for n in range(10):
            nginx.root.joinpath(name(n)).write_bytes(b"")
        load = run(nginx.url, Requests(size=10), 1, [here])
        assert load.requests > 0
        # All but the first ten are not there.
        with pytest.raises(RuntimeError, match="requests failed"):
            run(nginx.url, Requests(size=1_000_000, once=True), 1, [here])
        asked = {line.split('"')[1].split()[1] for line in nginx.requests()}
    assert {f"/{name(n)}" for n in range(10)} < asked
    assert all(Path("media", path[1:]).name == name(int(path[6:46])) for path in asked)


def test_llhttp_and_txredisapi_redirect_to_the_value() -> None:
    location = f"http://127.0.0.1:1/media/@01HF8X00000000000000000000/{name(0)}"
    with RedisServer() as redis:
        fill_references(redis, 20, location)
        with LlhttpRedis(redis, {"ETag": '"x"'}) as server:
            found = answer(server.url, f"/{name(17)}")
            answer(server.url, "/nothing", 404)
    assert found["Location"] == location.replace(name(0).partition("/")[2], name(17).partition("/")[2])
    assert found["ETag"] == '"x"'


def servers() -> list[list[str]]:
    """What we have started and not ended, but for what multiprocessing has for itself."""
    commands = [child.cmdline() for child in psutil.Process().children(recursive=True)]
    return [words for words in commands if not any("multiprocessing" in word for word in words)]


def test_rows_on_real_servers() -> None:
    before = servers()
    found = list(measure(frozenset({"latency", "put", "uploads"}), SETTINGS))
    assert servers() == before
    assert all(isinstance(one, Figure) and one.value > 0 for one in found)
    assert [one.row for one in found if one.ours] == ["latency", "latency", "put", "uploads"]


def test_how_often_a_daemon_is_behind() -> None:
    before = servers()
    [found] = measure(frozenset({"behind"}), replace(SETTINGS, deletes=50))
    assert servers() == before
    assert isinstance(found, Figure)
    assert (found.value, found.unit) == (0, "of 50")


def test_how_long_until_a_change_is_told() -> None:
    before = servers()
    typical, worst = list(measure(frozenset({"news"}), replace(SETTINGS, writes=100)))
    assert servers() == before
    assert isinstance(typical, Figure)
    assert isinstance(worst, Figure)
    assert 0 < typical.value <= worst.value
