"""A real Redis with replicas and sentinels: what a failover needs."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from contextlib import ExitStack
from typing import Self

from tests.servers.ports import free_port
from tests.servers.process import ServerProcess, Started
from tests.servers.redis import RedisServer, command_on, system_binary


class Sentinel(ServerProcess):
    """
    ``redis-server --sentinel`` that watches the master at ``port``: three of them agree that it is down when it
    did not answer for a second.
    """

    def __init__(self, name: str, port: int, *settings: str, quorum: int = 2) -> None:
        super().__init__()
        self.port = free_port()
        self.settings = [
            f"sentinel monitor {name} 127.0.0.1 {port} {quorum}",
            f"sentinel down-after-milliseconds {name} 1000",
            f"sentinel failover-timeout {name} 6000",
            f"sentinel parallel-syncs {name} 2",
            *settings,
        ]

    def start(self) -> Self:
        configuration = self.directory / "sentinel.conf"
        if not configuration.exists():  # it keeps what it learns there
            lines = [
                f"port {self.port}",
                "bind 127.0.0.1",
                f"dir {self.directory}",
                f"logfile {self.directory / 'log'}",
                *self.settings,
            ]
            configuration.write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen(
            [system_binary(), str(configuration), "--sentinel"], stdout=subprocess.DEVNULL
        )
        self.wait_until_it_answers()
        return self

    def command(self, *words: str) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            return command_on(connection, *words)

    def answers(self) -> bool:
        try:
            return self.command("PING").startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def master(self, name: str) -> int:
        """The port of the one that it names."""
        reply = self.command("SENTINEL", "get-master-addr-by-name", name)
        return int(reply.split(b"\r\n")[-2])


class WatchedRedis(Started):
    """
    A master, its replicas, and three sentinels; all on ports of 127.0.0.1.  ``settings`` are lines of every
    ``redis.conf``.  Stands in for a ``RedisServer`` where only the URL matters.
    """

    name = "main"

    def __init__(self, *settings: str, replicas: int = 2, sentinels: int = 3) -> None:
        settings = ("repl-diskless-sync-delay 0", *settings)  # else a replica waits 5 s for another
        self.first = RedisServer(*settings, port=True)
        follow = f"replicaof 127.0.0.1 {self.first.port}"
        self.replicas = [RedisServer(*settings, follow, port=True) for _ in range(replicas)]
        self.sentinels = [Sentinel(self.name, self.first.port) for _ in range(sentinels)]
        self._open = ExitStack()

    @property
    def servers(self) -> list[RedisServer]:
        return [self.first, *self.replicas]

    @property
    def url(self) -> str:
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"sentinel://{places}/{self.name}"

    def start(self) -> Self:
        with ExitStack() as opened:
            for server in [*self.servers, *self.sentinels]:
                opened.callback(server.close)
                server.start()
            self._open = opened.pop_all()
        self.until(lambda: acknowledging(self.first) == len(self.replicas), "the replicas are there")
        self.until(self._acquainted, "the sentinels know each other and the replicas")
        return self

    def close(self) -> None:
        self._open.close()

    def _acquainted(self) -> bool:
        wanted = (b"num-slaves", len(self.replicas)), (b"num-other-sentinels", len(self.sentinels) - 1)
        for sentinel in self.sentinels:
            words = sentinel.command("SENTINEL", "MASTER", self.name).split(b"\r\n")
            if any(int(words[words.index(field) + 2]) != number for field, number in wanted):
                return False
        return True

    @property
    def master(self) -> RedisServer:
        """The server that most sentinels take for the master now."""
        ports = sorted(sentinel.master(self.name) for sentinel in self.sentinels)
        return next(server for server in self.servers if server.port == ports[len(ports) // 2])

    def failed_over(self, old: RedisServer, within: float = 30) -> RedisServer:
        """The new master, as soon as the sentinels have made one."""
        self.until(lambda: self.master is not old and role(self.master) == "master", "a failover", within)
        return self.master

    def until(self, check: object, what: str, within: float = 20) -> None:
        deadline = time.monotonic() + within
        while not check():  # type: ignore[operator]
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {within:g} s: {what}\n{self.log()}")
            time.sleep(0.05)

    def log(self) -> str:
        return "\n".join(part.log()[-3000:] for part in [*self.servers, *self.sentinels])


def role(server: RedisServer) -> str:
    """``master`` or ``slave``; "" if it does not answer."""
    try:
        found = re.search(rb"role:(\w+)", server.command("INFO", "replication"))
    except OSError:
        return ""
    return found[1].decode() if found else ""


def acknowledging(server: RedisServer) -> int:
    """How many replicas it sends its writes to."""
    return server.command("INFO", "replication").count(b"state=online")
