"""Limits of a daemon and a node as processes: open files, and clients behind a proxy."""

from __future__ import annotations

import resource
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.integration.asking import ask
from tests.servers.daemon import TWISTD, Daemon, configuration
from tests.servers.nginx import NginxServer
from tests.servers.ports import free_port
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.servers

EVERYBODY = (
    '[domain.default]\nhosts = ["*"]\nanonymous = ["read", "list", "write"]\nallow_anonymous_write = true\n'
)


def limited(daemon: Daemon, limit: str) -> float:
    text = ask("GET", f"{daemon.admin}/-/metrics").body.decode()
    (line,) = [
        line for line in text.splitlines() if line.startswith(f'dragonbelly_limited_total{{limit="{limit}"')
    ]
    return float(line.split()[1])


def run_with(files: str, command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Run where the system gives so many open files at most."""
    return subprocess.run(
        ["sh", "-c", f'ulimit {files} && exec "$@"', "sh", *command],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def says_so(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 1, done
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if "dragonbelly: " in line]
    for part in parts:
        assert part in line
    assert "Traceback" not in done.stdout + done.stderr


def test_a_daemon_that_may_not_have_so_many_open_says_so(tmp_path: Path) -> None:
    file = tmp_path / "dragonbelly.toml"
    backend = '[backend.a]\nkind = "dav"\nurl = "http://a.test"\n'
    here = configuration("redis://127.0.0.1:1", {}, free_port(), free_port(), backend)
    file.write_text(f"[limits]\nconnections = 500\n{here}")
    command = [str(TWISTD), "--pidfile=", "-n", "dragonbelly", "--config", str(file)]
    done = run_with("-n 1200", command, tmp_path)
    says_so(done, "[limits] connections = 500", "1256 open files", "may have 1200", "LimitNOFILE")


def test_a_node_that_may_not_have_so_many_open_says_so(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    command = [str(TWISTD), "--pidfile=", "-n", "dragonbelly-node", "--root", "root", "--secret-file", "secret"]
    command += ["--listen", f"tcp:{free_port()}:interface=127.0.0.1", "--connections", "500"]
    says_so(run_with("-n 1200", command, tmp_path), "--connections 500", "1256 open files")


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """One that is told its clients' addresses in the PROXY protocol."""
    with RedisServer() as redis, NginxServer() as store:
        daemon = Daemon(redis.url, {"one": store}, EVERYBODY + "[limits]\nconnections_per_address = 2\n")
        file = daemon.directory / "dragonbelly.toml"
        file.write_text(file.read_text().replace('listen = ["tcp:', 'listen = ["haproxy:tcp:'))
        with daemon:
            yield daemon


class TestBehindAProxy:
    def connect(self, daemon: Daemon, client: str, said: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", daemon.public), timeout=20)
        connection.sendall(f"PROXY TCP4 {client} 192.0.2.99 1 80\r\n".encode() + said)
        return connection

    def test_each_counts_for_himself(self, daemon: Daemon) -> None:
        get = b"GET /none HTTP/1.1\r\nHost: h\r\n\r\n"
        others = [self.connect(daemon, f"192.0.2.{n}", get) for n in range(1, 6)]
        for other in others:
            assert other.recv(65536).startswith(b"HTTP/1.1 404 ")
        mine = []
        for _ in range(3):
            mine.append(self.connect(daemon, "192.0.2.1", get))
            assert mine[-1].recv(65536).startswith(b"HTTP/1.1 404 ")
        # The first and the second of three and the one from before had to go, the oldest first.
        assert others[0].recv(65536) == b""
        assert mine[0].recv(65536) == b""
        for connection in (*others[1:], *mine[1:]):
            connection.sendall(get)
            assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")
        assert limited(daemon, "connections_per_address") == 2
        for connection in (*others, *mine):
            connection.close()

    def test_who_says_who_he_is_slowly_or_not_at_all(self, daemon: Daemon) -> None:
        silent = [socket.create_connection(("127.0.0.1", daemon.public), timeout=20) for _ in range(5)]
        nonsense = socket.create_connection(("127.0.0.1", daemon.public), timeout=20)
        nonsense.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        with suppress(ConnectionResetError):
            assert nonsense.recv(65536) == b""
        nonsense.close()
        for connection in silent:
            connection.close()


def test_a_daemon_makes_room_for_its_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        with (
            RedisServer() as redis,
            NginxServer() as store,
            Daemon(redis.url, {"one": store}, "[limits]\nconnections = 1500\n") as daemon,
        ):
            assert psutil.Process(daemon.running.pid).rlimit(psutil.RLIMIT_NOFILE) == (3256, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
