"""
Many small files through two storage servers: put in, verified, and replicated, with every check on.

Run: ``python -m benchmarks.small_files [--files 10000] [--size 4096]``.  nginx, Redis and the daemon are real
and on this machine; so is the client, and two cores are shared by all of them.

"verified and replicated" is what the replicator does for uploads that nobody asked for since they came;
"replicated" is the copies alone, of files that a reader or ``complete`` has verified: read, hashed, written,
and seen there, 16 at a time in one process.
"""

from __future__ import annotations

import argparse
import http.client
import os
import threading
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.servers.daemon import Daemon
from tests.servers.nginx import NginxServer
from tests.servers.redis import RedisServer

#: So slow that nothing is replicated until we say so.
HELD = '[replication]\nevery = "1h"\n'
GOING = '[replication]\nevery = "200ms"\nconcurrency = 16\nper_backend = 16\nbandwidth = "%s"\n'


def put_all(daemon: Daemon, names: list[str], data: bytes, threads: int = 4) -> float:
    """PUT, follow the redirect, PUT there; seconds."""

    def work(mine: list[str]) -> None:
        connections: dict[str, http.client.HTTPConnection] = {}

        def send(netloc: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, str]:
            connection = connections.setdefault(netloc, http.client.HTTPConnection(netloc, timeout=30))
            connection.request("PUT", path, body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.headers.get("Location", "")

        for name in mine:
            # The body goes to the storage node alone, as with ``Expect: 100-continue``.
            status, location = send(
                f"127.0.0.1:{daemon.public}", f"/{name}", data, {"Content-Type": "application/octet-stream"}
            )
            assert status == 307, status
            where = urlsplit(location)
            status, _ = send(where.netloc, f"{where.path}?{where.query}", data, {})
            assert status == 201, status

    started = time.monotonic()
    workers = [threading.Thread(target=work, args=(names[n::threads],)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.monotonic() - started


def read_all(daemon: Daemon, names: list[str]) -> None:
    """GET each, which verifies it: a reader is sent only to what was seen."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.public, timeout=30)
    for name in names:
        connection.request("GET", f"/{name}")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 302, answer.status


def wait_for_copies(redis: RedisServer, files: int, timeout: float = 600) -> float:
    """Seconds until so many files have all their copies."""
    started = time.monotonic()
    # Redis is asked, and not the daemon: its status costs it so much that it would be a part of the figure.
    while (done := whole_files(redis)) < files:
        if time.monotonic() - started > timeout:
            raise TimeoutError(f"{done} of {files} files have their copies after {timeout} s")
        time.sleep(0.05)
    return time.monotonic() - started


def whole_files(redis: RedisServer) -> int:
    """How many files are listed, and not thin."""
    script = """
    local files = 0
    for q = 0, 63 do
      local key = 'db:{' .. q .. '}:'
      files = files + redis.call('ZCARD', key .. 'ls') - redis.call('ZCARD', key .. 'thin')
    end
    return files
    """
    return int(redis.command("EVAL", script, "0").removeprefix(b":"))


class Work(NamedTuple):
    """``files`` in ``seconds``, for ``cpu`` seconds of the daemon's."""

    files: int
    seconds: float
    cpu: float

    def __str__(self) -> str:
        return (
            f"{self.files} files in {self.seconds:.1f} s, {self.files / self.seconds:.0f} files/s "
            f"({1000 * self.cpu / self.files:.2f} ms of CPU a file)"
        )


class Figures(NamedTuple):
    """What ``measure`` found; ``put`` is the client's rate, files/s."""

    put: float
    verified_and_replicated: Work
    replicated: Work


def measure(files: int = 10_000, size: int = 4096, bandwidth: str = "0B") -> Figures:
    """``files`` files of ``size`` bytes each way; ``bandwidth`` limits the copies."""
    data = os.urandom(size)
    with RedisServer("appendonly yes") as redis, NginxServer() as one, NginxServer() as two:
        stores = {"one": one, "two": two}

        def replicated(total: int) -> Work:
            with Daemon(redis.url, stores, GOING % bandwidth) as going:
                began = going.psutil().cpu_times()
                seconds = wait_for_copies(redis, total)
                spent = going.psutil().cpu_times()
                assert going.status()["objects"] == 2 * total
            return Work(files, seconds, spent.user + spent.system - began.user - began.system)

        def names(directory: str) -> list[str]:
            return [f"{directory}/{n % 100:02}/{n}.bin" for n in range(files)]

        with Daemon(redis.url, stores, HELD) as holding:
            put = files / put_all(holding, names("unseen"), data)
        both = replicated(files)
        with Daemon(redis.url, stores, HELD) as holding:
            put_all(holding, names("seen"), data)
            read_all(holding, names("seen"))
        return Figures(put, both, replicated(2 * files))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=4096, help="bytes")
    arguments = parser.parse_args()
    print(f"files of {arguments.size} bytes")
    figures = measure(arguments.files, arguments.size)
    print(f"put: {figures.put:.0f} files/s")
    print(f"verified and replicated: {figures.verified_and_replicated}")
    print(f"replicated: {figures.replicated}")


if __name__ == "__main__":
    main()
