"""``twistd dragonbelly --config`` as operators start it, with the sample we ship; ``dragonbelly check``."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.asking import ask, curl, eventually, follow
from tests.servers.daemon import TWISTD, Daemon
from tests.servers.nginx import NginxServer
from tests.servers.ports import free_port
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.servers

SAMPLE = Path(__file__).parents[2] / "etc" / "dragonbelly.toml"
COMMAND = Path(sys.executable).with_name("dragonbelly")
SECRET = "the secret of the node that the sample names"
TOKEN = "the secret of a token"


def replaced(text: str, pattern: str, by: str) -> str:
    changed, found = re.subn(pattern, lambda _: by, text, flags=re.MULTILINE)
    assert found == 1, f"{pattern!r} is {found} times in the sample"
    return changed


class Installation:
    """The sample with our ports in the place of its own; started with ``twistd`` in a directory of its own."""

    def __init__(self, directory: Path, redis: RedisServer, stores: list[NginxServer], node: str) -> None:
        self.directory = directory
        self.public, self.admin = free_port(), free_port()
        self.pidfile, self.logfile = directory / "dragonbelly.pid", directory / "dragonbelly.log"
        text = SAMPLE.read_text()
        text = replaced(text, r"^#redis = .*$", f'redis = "{redis.url}"')
        text = replaced(text, r"^#listen = .*$", f'listen = ["tcp:{self.public}:interface=127.0.0.1"]')
        text = replaced(text, r"^#admin = .*$", f'admin = ["tcp:{self.admin}:interface=127.0.0.1"]')
        text = replaced(text, r'^url = "http://store1\..*$', f'url = "{stores[0].url}"')
        text = replaced(text, r'^internal_url = "http://10\.0\.0\.1.*$', f'internal_url = "{stores[0].url}"')
        text = replaced(text, r'^url = "http://store2\..*$', f'url = "{stores[1].url}"')
        for secret, store in zip(("change me", "change me, too"), stores, strict=True):
            text = replaced(
                text, f'^secure_link_secret = "{secret}"$', f'secure_link_secret = "{store.secret}"'
            )
        text = replaced(text, r'^url = "http://store3\..*$', f'url = "{node}"')
        text = replaced(text, r'^secret = "change me"$', f'secret = "{SECRET}"')
        for line in ("[[token]]", 'name = "shop"', 'scopes = ["read", "list", "write"]'):
            text = replaced(text, rf"^#     {re.escape(line)}$", line)
        text = replaced(text, r"^#     sha256 = .*$", f'sha256 = "{sha256(TOKEN.encode()).hexdigest()}"')
        self.config = directory / "dragonbelly.toml"
        self.config.write_text(text)

    def start(self, *options: str) -> subprocess.CompletedProcess[str]:
        """``twistd [options] dragonbelly --config …``, until that ends by itself: without ``-n`` it does so."""
        command = [str(TWISTD), f"--pidfile={self.pidfile}", f"--logfile={self.logfile}", *options]
        return subprocess.run(
            # Relative, as people write it: a daemon changes its directory.
            [*command, "dragonbelly", "--config", self.config.name],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.public}"

    def log(self) -> str:
        return self.logfile.read_text() if self.logfile.exists() else "(no log)"

    def ready(self) -> bool:
        return ask("GET", f"http://127.0.0.1:{self.admin}/-/health").status == 200

    def process(self) -> psutil.Process:
        return psutil.Process(int(self.pidfile.read_text()))

    def eventually(self, what: str, check: Any) -> Any:
        return eventually(what, check, evidence=self.log)

    def end(self) -> None:
        if self.pidfile.exists():
            self.process().kill()


def answers(port: int) -> bool:
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
    return True


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[NginxServer], str]]:
    """Two nginx, and the URL of a ``twistd dragonbelly-node``."""
    directory = tmp_path_factory.mktemp("node")
    (directory / "secret").write_text(SECRET)
    port = free_port()
    with NginxServer() as one, NginxServer() as two:
        options = ["--root", "files", "--listen", f"tcp:{port}:interface=127.0.0.1", "--secret-file", "secret"]
        node = subprocess.Popen(
            [TWISTD, "--pidfile=", "-n", "dragonbelly-node", *options],
            cwd=directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            eventually("the node listens", lambda: answers(port))
            yield [one, two], f"http://127.0.0.1:{port}"
        finally:
            node.kill()
            node.wait()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer("appendonly yes", port=True) as redis:
        yield redis


@pytest.fixture
def installation(
    tmp_path: Path, redis: RedisServer, servers: tuple[list[NginxServer], str]
) -> Iterator[Installation]:
    installation = Installation(tmp_path, redis, *servers)
    yield installation
    installation.end()


def test_the_sample_as_a_daemon_from_start_to_sigterm(installation: Installation, tmp_path: Path) -> None:
    started = installation.start()
    assert started.returncode == 0, started
    installation.eventually("it is ready", installation.ready)
    process = installation.process()
    assert "dragonbelly" in " ".join(process.cmdline())

    (file := tmp_path / "film.mp4").write_bytes(os.urandom(100_000))
    curl("--fail", "-H", f"Authorization: Bearer {TOKEN}", "-LT", str(file), f"{installation.url}/film.mp4")
    assert follow(f"{installation.url}/film.mp4").body == file.read_bytes()

    def copied() -> bool:
        answer = ask("GET", f"{installation.url}/-/api/v1/files/film.mp4")
        return answer.status == 200 and b'"held":2' in answer.body.replace(b" ", b"")

    installation.eventually("it has its copies", copied)

    process.terminate()
    process.wait(20)
    assert not installation.pidfile.exists()
    assert "Traceback" not in installation.log(), installation.log()
    with pytest.raises(OSError):
        installation.ready()

    # And again, on what was there.
    assert installation.start().returncode == 0
    installation.eventually("it is ready again", installation.ready)
    assert follow(f"{installation.url}/film.mp4").body == file.read_bytes()


def test_in_the_foreground_the_status_tells_that_a_redis_was_refused(
    tmp_path: Path, servers: tuple[list[str], str]
) -> None:
    with RedisServer("maxmemory-policy volatile-lru", port=True) as redis:
        installation = Installation(tmp_path, redis, *servers)
        ended = installation.start("-n")
        assert ended.returncode not in (0, None), installation.log()
        assert "noeviction" in installation.log()
        assert "volatile-lru" in installation.log()
        assert "Traceback" not in installation.log(), installation.log()
        assert not installation.pidfile.exists()


def test_as_a_daemon_the_log_tells_that_a_redis_was_refused(
    tmp_path: Path, servers: tuple[list[str], str]
) -> None:
    with RedisServer("maxmemory-policy volatile-lru", port=True) as redis:
        installation = Installation(tmp_path, redis, *servers)
        try:
            installation.start()
            installation.eventually("the log says why", lambda: "noeviction" in installation.log())
            installation.eventually("it is gone", lambda: not installation.pidfile.exists())
        finally:
            installation.end()


def test_as_a_daemon_a_port_in_use_is_told(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", installation.public)):
        ended = installation.start()
        assert ended.returncode != 0, ended
        told = ended.stdout + ended.stderr + installation.log()
        assert f"cannot listen on tcp:{installation.public}" in told, told
        assert not installation.pidfile.exists()


@pytest.mark.parametrize("options", [[], ["-n"]], ids=["daemon", "foreground"])
def test_a_mistake_in_the_configuration_is_one_line(installation: Installation, options: list[str]) -> None:
    installation.config.write_text(installation.config.read_text() + '\n[uplod]\nlapse = "1h"\n')
    ended = installation.start(*options)
    assert ended.returncode not in (0, None)
    assert "Traceback" not in ended.stdout + ended.stderr
    (line,) = ended.stderr.splitlines()
    assert "uplod" in line
    assert "did you mean upload?" in line
    assert not installation.pidfile.exists()


def test_no_such_configuration(tmp_path: Path) -> None:
    daemon = Daemon(arguments=["--config", str(tmp_path / "none.toml")])
    try:
        daemon.start(wait=False)
        assert daemon.process is not None
        assert daemon.process.wait(20) not in (0, None)
        (line,) = daemon.log().splitlines()
        assert "none.toml" in line
    finally:
        daemon.close()


def check(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "check", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


def test_check_says_what_the_sample_means() -> None:
    ended = check(SAMPLE)
    assert ended.returncode == 0, ended
    assert "backend  store1: dav on host store1, zone a" in ended.stdout
    assert "policy   large: copies, copies 3" in ended.stdout
    assert "change me" not in ended.stdout + ended.stderr


def test_check_says_what_is_wrong(installation: Installation) -> None:
    text = installation.config.read_text()
    installation.config.write_text(text.replace('kind = "node"', 'kind = "nod"'))
    ended = check(installation.config)
    assert ended.returncode == 2, ended
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"{installation.config}: backend.store3.kind:")
    assert "did you mean node?" in line
    assert ended.stdout == ""
