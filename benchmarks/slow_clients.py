"""
What clients that dawdle cost the others: ``python -m benchmarks.slow_clients [--slow 2000] [--seconds 5]``.

Half of them open a connection and say nothing, half send a byte of a header a second; who is cut off comes
again.  Meanwhile one honest client sends GETs on a connection that it keeps.  Redis, nginx and the daemon are
real and on this machine, and so are all clients.
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.synchronize
import resource
import selectors
import socket
import time
import urllib.error
import urllib.request
from contextlib import suppress

from benchmarks.figure import Figure, Must, Reference, Row
from benchmarks.settings import Settings
from tests.servers.daemon import Daemon
from tests.servers.nginx import NginxServer
from tests.servers.redis import RedisServer

HEADER = b"GET /a HTTP/1.1\r\nHost: localhost\r\n" + b"X-Slow: slow\r\n" * 100

#: Of the honest client's requests, that must be left to it.
LEAST = 0.80

#: Times a second that some of the slow ones say something.
PARTS = 20


def dawdle(port: int, number: int, ready: multiprocessing.synchronize.Event) -> None:
    """Until killed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, number + 100) if hard > 0 else number + 100, hard))
    selector = selectors.DefaultSelector()
    said: dict[socket.socket, int] = {}

    def connect(drips: bool) -> None:
        connection = socket.create_connection(("127.0.0.1", port))
        selector.register(connection, selectors.EVENT_READ, drips)
        if drips:
            said[connection] = 0

    for n in range(number):
        connect(n % 2 == 0)
    ready.set()
    while True:
        # Spread over the second, as those of many clients are.
        for part in range(PARTS):
            until = time.monotonic() + 1 / PARTS
            for connection in list(said)[part::PARTS]:
                with suppress(OSError):  # cut off: the selector tells
                    connection.send(HEADER[said[connection] : said[connection] + 1])
                    said[connection] += 1
            while (left := until - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    gone = key.fileobj
                    assert isinstance(gone, socket.socket)
                    selector.unregister(gone)
                    gone.close()
                    said.pop(gone, None)
                    connect(key.data)


def requests(port: int, seconds: float) -> int:
    """How many GETs are answered, one after the other."""
    answered = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            while time.monotonic() < end:
                connection.sendall(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answer = b""
                while b"\r\n\r\n" not in answer:  # a redirect has no body
                    answer += connection.recv(65536)
                assert answer.startswith(b"HTTP/1.1 302 "), answer
                answered += 1
                if b"\r\nConnection: close" in answer:
                    break
    return answered


class Load:
    """Requests, and what they cost the daemon, in seconds of CPU and of time."""

    def __init__(self) -> None:
        self.requests, self.cpu, self.seconds = 0, 0.0, 0.0

    def measure(self, daemon: Daemon, seconds: float) -> None:
        process = daemon.psutil()
        began, before = time.monotonic(), process.cpu_times()
        self.requests += requests(daemon.public, seconds)
        after = process.cpu_times()
        self.seconds += time.monotonic() - began
        self.cpu += after.user + after.system - before.user - before.system

    @property
    def cost(self) -> str:
        return f"{1e6 * self.cpu / self.requests:.0f} µs of CPU each"


def put(daemon: Daemon) -> None:
    asked = urllib.request.Request(f"{daemon.url}/a", b"x", method="PUT")
    try:
        urllib.request.urlopen(asked)
    except urllib.error.HTTPError as error:
        urllib.request.urlopen(urllib.request.Request(error.headers["Location"], b"x", method="PUT"))
    while daemon.file("a") is None:
        time.sleep(0.1)


def figures(settings: Settings) -> Row:
    alone, beside = Load(), Load()
    context = multiprocessing.get_context("spawn")
    with RedisServer() as redis, NginxServer() as store, Daemon(redis.url, {"one": store}) as daemon:
        put(daemon)
        requests(daemon.public, 1)
        # In turns, for the machine may be busy with something else.
        for _ in range(settings.rounds):
            alone.measure(daemon, settings.seconds)
            ready = context.Event()
            slow = context.Process(target=dawdle, args=(daemon.public, settings.dawdling, ready), daemon=True)
            slow.start()
            ready.wait(60)
            beside.measure(daemon, settings.seconds)
            slow.kill()
            slow.join()
            time.sleep(1)
    yield Figure(
        "slow",
        f"GETs on one connection beside {settings.dawdling:,} slow clients",
        beside.requests / beside.seconds,
        "/s",
        reference=Reference("alone", alone.requests / alone.seconds),
        must=Must(">=", LEAST),
        note=f"alone {alone.cost}, beside them {beside.cost}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--slow", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    settings = Settings(dawdling=arguments.slow, seconds=arguments.seconds, rounds=arguments.rounds)
    for figure in figures(settings):
        print(figure)


if __name__ == "__main__":
    main()
