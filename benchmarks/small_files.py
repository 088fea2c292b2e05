"""
Many small files through two storage nodes: put in, then replicated, with every check on.

Run: ``python -m benchmarks.small_files [--files 10000] [--size 4096]``.  nginx, Redis and the daemon are real
and on this machine; so is the client, and two cores are shared by all of them.
"""

from __future__ import annotations

import argparse
import http.client
import os
import threading
import time
from urllib.parse import urlsplit

from tests.servers.daemon import Daemon
from tests.servers.nginx import NginxServer
from tests.servers.redis import RedisServer

#: So slow that nothing is replicated until we say so.
HELD = '[replication]\nevery = "1h"\n'
GOING = '[replication]\nevery = "200ms"\nconcurrency = 16\nper_backend = 8\n'


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


def replicate(daemon: Daemon, files: int, timeout: float = 600) -> float:
    """Seconds until every file has all its copies."""
    started = time.monotonic()
    while True:
        status = daemon.status()
        if status["files"] == files and status["thin"]["files"] == 0 and status["objects"] == 2 * files:
            return time.monotonic() - started
        if time.monotonic() - started > timeout:
            raise TimeoutError(f"not replicated after {timeout} s: {status}")
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=4096)
    arguments = parser.parse_args()
    data = os.urandom(arguments.size)
    with RedisServer("appendonly yes") as redis, NginxServer() as one, NginxServer() as two:
        stores = {"one": one, "two": two}
        with Daemon(redis.url, stores, HELD) as holding:
            names = [f"bench/{n % 100:02}/{n}.bin" for n in range(arguments.files)]
            seconds = put_all(holding, names, data)
            print(
                f"put: {arguments.files} files of {arguments.size} bytes in {seconds:.1f} s, "
                f"{arguments.files / seconds:.0f} files/s"
            )
        with Daemon(redis.url, stores, GOING) as going:
            began = going.psutil().cpu_times()
            seconds = replicate(going, arguments.files)
            spent = going.psutil().cpu_times()
            cpu = spent.user + spent.system - began.user - began.system
            print(
                f"verified and replicated: {arguments.files} files in {seconds:.1f} s, "
                f"{arguments.files / seconds:.0f} files/s ({1000 * cpu / arguments.files:.2f} ms of CPU a file)"
            )


if __name__ == "__main__":
    main()
