"""``twistd --uid``: started by root for a port below 1024, it serves as somebody else."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from copy import copy
from pathlib import Path

import pytest

from dragonbelly.node.signature import sign
from tests.integration.asking import ask, curl, eventually, follow
from tests.privileges.installation import USER, Installed, Twistd, low_port
from tests.servers.ports import free_port
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.servers

SECRET = "a secret that root alone can read"


def node(installed: Installed, as_user: bool = False) -> Twistd:
    """Its files are where it makes them itself, in a directory of the user's."""
    port = low_port()
    server = Twistd(installed, port=port, as_user=as_user)
    server.arguments = ("dragonbelly-node", "--listen", f"tcp:{port}:interface=127.0.0.1")
    server.arguments += ("--root", str(server.home / "files"), "--secret-file", str(server.secret(SECRET)))
    return server


def embedded(installed: Installed) -> Twistd:
    server = Twistd(installed, port=low_port(), admin=low_port())
    server.arguments = ("dragonbelly", "--listen", f"tcp:{server.port}", "--admin", f"tcp:{server.admin}")
    server.arguments += ("--data", str(server.home / "data"))
    return server


def is_the_users_alone(server: Twistd) -> None:
    """Nothing of root is left: no thread of it or of its children, no group, no capability, no file."""
    threads = list(server.threads())
    for thread in threads:
        assert thread["Uid"].split() == [str(USER.pw_uid)] * 4, thread
        assert thread["Gid"].split() == [str(USER.pw_gid)] * 4, thread
        assert set(thread["Groups"].split()) <= {str(USER.pw_gid)}, thread
        assert {thread[kind] for kind in ("CapPrm", "CapEff", "CapAmb")} == {"0" * 16}, thread
    made = [path.lstat() for path in server.home.rglob("*")]
    assert {(file.st_uid, file.st_gid) for file in made} <= {(USER.pw_uid, USER.pw_gid)}


def put(url: str, key: str, data: bytes) -> None:
    stored = ask("PUT", f"{url}/{key}?{sign(SECRET.encode(), 'PUT', key, int(time.time()) + 60)}", data)
    assert stored.status == 201, stored


def ready(daemon: Twistd) -> bool:
    return ask("GET", f"http://127.0.0.1:{daemon.admin}/-/health").status == 200


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer("appendonly yes", port=True) as redis:
        yield redis


def test_a_node_below_1024(installed: Installed) -> None:
    with node(installed) as server:
        put(server.url, "d/k", b"bytes")
        assert ask("GET", f"{server.url}/d/k").body == b"bytes"
        # Files are written in threads: there are some by now.
        assert len(list(server.threads())) > 1
        is_the_users_alone(server)
        assert any(server.home.iterdir())
        assert server.stop() in (0, -15), server.log()
        assert "Traceback" not in server.log(), server.log()


@pytest.mark.parametrize("workers", [1, 2], ids=["one process", "two workers"])
def test_the_daemon_below_1024(installed: Installed, redis: RedisServer, workers: int) -> None:
    with node(installed) as store:
        daemon = Twistd(installed, port=low_port(), admin=low_port())
        config = daemon.secret("")
        config.write_text(
            f'[state]\nredis = "{redis.url}"\n'
            f'[http]\nlisten = ["tcp:{daemon.port}:interface=127.0.0.1"]\n'
            f'admin = ["tcp:{daemon.admin}:interface=127.0.0.1"]\nworkers = {workers}\n'
            f'[policy.default]\ncopies = 1\n[domain.all]\nhosts = ["*"]\nanonymous = ["read", "write"]\n'
            f'[backend.store1]\nkind = "node"\nurl = "{store.url}"\n'
            f'secret = {{ file = "{store.directory / "secret"}" }}\n'
        )
        daemon.arguments = ("dragonbelly", "--config", str(config))
        with daemon:
            eventually("it is ready", lambda: ready(daemon), evidence=daemon.log)
            (file := daemon.directory / "a.bin").write_bytes(os.urandom(100_000))
            curl("--fail", "-LT", str(file), f"{daemon.url}/a.bin")
            assert follow(f"{daemon.url}/a.bin").body == file.read_bytes()
            assert len(daemon.processes()) == (1 if workers == 1 else 1 + workers)
            is_the_users_alone(daemon)
            is_the_users_alone(store)
            # The configuration is root's alone: whoever reads it again is not.
            daemon.running.send_signal(signal.SIGHUP)
            eventually("it says so", lambda: "all goes on as before" in daemon.log(), evidence=daemon.log)
            assert "cannot be read: Permission denied" in daemon.log()
            assert follow(f"{daemon.url}/a.bin").body == file.read_bytes()
            assert daemon.stop() in (0, -15), daemon.log()
            assert "Traceback" not in daemon.log(), daemon.log()


def test_without_a_configuration_too(installed: Installed) -> None:
    with embedded(installed) as server:
        eventually("it is ready", lambda: ready(server), evidence=server.log)
        (file := server.directory / "a.bin").write_bytes(os.urandom(100_000))
        curl("--fail", "-LT", str(file), f"{server.url}/a.bin")
        assert follow(f"{server.url}/a.bin").body == file.read_bytes()
        # The daemon, Redis, three nodes.
        assert len(server.processes()) == 5
        is_the_users_alone(server)
        assert any(server.home.iterdir())
        assert server.stop() in (0, -15), server.log()
        assert "Traceback" not in server.log(), server.log()


def test_where_the_user_may_write_nothing(installed: Installed) -> None:
    with_node, without = node(installed), embedded(installed)
    try:
        for server in (with_node, without):
            os.chown(server.home, 0, 0)
        assert f"cannot store files in {with_node.home}/files: Permission denied" in with_node.refused()
        assert f"{without.home}/data cannot be written: Permission denied" in without.refused()
        for server in (with_node, without):
            assert list(server.home.iterdir()) == [], "root made something"
    finally:
        with_node.close()
        without.close()


def test_an_installation_that_the_user_cannot_read(installed: Installed, tmp_path: Path) -> None:
    """What is imported late would fail, and be taken for something else: a name that cannot be looked up."""
    closed = tmp_path / "roots_own"
    closed.mkdir(mode=0o700)
    (closed / "packages").symlink_to(installed.environment["PYTHONPATH"])
    roots = copy(installed)
    roots.environment = {**installed.environment, "PYTHONPATH": str(closed / "packages")}
    daemon = Twistd(roots, port=low_port())
    config = daemon.secret(
        f'[http]\nlisten = ["tcp:{daemon.port}:interface=127.0.0.1"]\nadmin = []\n'
        f'[backend.s1]\nkind = "node"\nurl = "http://127.0.0.1:1"\nsecret = "{SECRET}"\n'
        "[policy.default]\ncopies = 1\n"
    )
    daemon.arguments = ("dragonbelly", "--config", str(config))
    servers = daemon, node(roots), embedded(roots)
    try:
        for server in servers:
            words = server.refused()
            assert f"{closed}/packages/dragonbelly/" in words
            assert f"cannot be read by the user {USER.pw_uid}" in words
    finally:
        for server in servers:
            server.close()


def test_a_secret_that_the_user_cannot_read(installed: Installed) -> None:
    """Started by the user, nobody has read it before."""
    server = node(installed, as_user=True)
    try:
        assert f"cannot read the secret file {server.directory}/secret: Permission denied" in server.refused()
    finally:
        server.close()


def test_a_configuration_that_the_user_cannot_read(installed: Installed) -> None:
    server = Twistd(installed, port=free_port(), as_user=True)
    try:
        config = server.secret("")
        server.arguments = ("dragonbelly", "--config", str(config))
        words = server.refused()
        assert str(config) in words
        assert "Permission denied" in words
    finally:
        server.close()
