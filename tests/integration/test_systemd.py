"""Sockets that systemd opens: ``listen = ["systemd:…"]``, with one process and with workers."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import pytest

from tests.integration.asking import ask, curl, eventually
from tests.integration.site import Site
from tests.servers.daemon import Daemon
from tests.servers.nginx import NginxServer
from tests.servers.process import listens
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.servers

WORKERS = pytest.mark.parametrize("workers", [1, 2], ids=["one process", "two workers"])

#: What systemd does (sd_listen_fds(3)): the sockets from 3 on, and for which process they are.
HAND_OVER = (
    "import os, sys\n"
    "names, *command = sys.argv[1:]\n"
    "count = len(names.split(':'))\n"
    "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': str(count), 'LISTEN_FDNAMES': names}\n"
    "os.execv(command[0], command)\n"
)


class Activated(Daemon):
    """Started with ``sockets``, by the names that they are given."""

    sockets: dict[str, socket.socket]

    def start(self, wait: bool = True) -> Self:
        # Copies at 3, 4 …: in the child these numbers are free, so they are taken in a process between.  It
        # first copies all to numbers that are surely free: each of ours may be one that is written to.
        numbers = [one.fileno() for one in self.sockets.values()]
        place = (
            "import fcntl, os, sys\n"
            f"copies = [fcntl.fcntl(n, fcntl.F_DUPFD_CLOEXEC, 50) for n in {numbers!r}]\n"
            "for i, n in enumerate(copies): os.dup2(n, 3 + i)\n"
        )
        command = [sys.executable, "-c", place + HAND_OVER, ":".join(self.sockets), *self.program]
        self.spawn(
            [*command, "dragonbelly", *self.arguments],
            pass_fds=[one.fileno() for one in self.sockets.values()],
            process_group=0,
        )
        if wait:
            self.wait_until_it_answers(20)
        return self


class SystemdSite(Site):
    """The daemon gets what it listens on from somebody else."""

    sockets: dict[str, socket.socket]

    def another(self) -> Daemon:
        return Activated(self.redis.url, self.stores, self.extra, http=self.http)


@contextmanager
def activated(listen: str, sockets: dict[str, socket.socket], workers: int) -> Iterator[SystemdSite]:
    with ExitStack() as stack:
        for one in sockets.values():
            stack.enter_context(one)
        stores = {name: NginxServer() for name in ("one", "two")}
        site = SystemdSite(http=f"workers = {workers}", redis=RedisServer("appendonly yes"), stores=stores)
        assert isinstance(site.daemon, Activated)
        site.daemon.sockets = sockets
        site.change(f"tcp:{site.daemon.public}:interface=127.0.0.1", listen)
        first = next(iter(sockets.values()))
        if first.family == socket.AF_INET:
            site.daemon.public = first.getsockname()[1]
        yield stack.enter_context(site)


def server(family: Any = socket.AF_INET, where: Any = ("127.0.0.1", 0)) -> socket.socket:
    return socket.create_server(where, family=family, backlog=100)


@WORKERS
def test_a_socket_by_its_number(workers: int) -> None:
    ours = server()
    with activated("systemd:domain=INET:index=0", {"unknown": ours}, workers) as site:
        site.put("a", b"some bytes")
        assert site.get("a") == b"some bytes"
        site.hang_up()
        assert site.get("a") == b"some bytes"
        site.change("index=0", "name=unknown")
        assert "at a start only" in site.hang_up("all goes on as before")
        assert site.get("a") == b"some bytes"
        assert site.daemon.stop() in (0, -15)
        # It is systemd's, which listens on, and starts the service again when somebody comes.
        assert listens(site.daemon.public)
        site.change("name=unknown", "index=0")
        site.daemon.start()
        assert site.get("a") == b"some bytes"
        assert "Traceback" not in site.daemon.log(), site.daemon.log()


@WORKERS
def test_sockets_by_their_names(workers: int) -> None:
    path = f"{os.getpid()}-{workers}.sock"
    with activated(
        'systemd:domain=INET:name=four", "systemd:domain=UNIX:name=local", "systemd:domain=INET6:name=six',
        {
            "four": server(),
            "local": server(socket.AF_UNIX, (local := f"/tmp/dragonbelly-{path}")),
            "six": (six := server(socket.AF_INET6, ("::1", 0))),
        },
        workers,
    ) as site:
        try:
            assert ask("GET", site.url("a")).status == 404
            assert ask("GET", f"http://[::1]:{six.getsockname()[1]}/a").status == 404
            assert curl("--unix-socket", local, "-w", "%{http_code}", "http://localhost/a").endswith(b"404")
            site.daemon.stop()
            assert os.path.exists(local)  # noqa: PTH110
        finally:
            os.unlink(local)  # noqa: PTH108


@WORKERS
def test_systemd_socket_activate(workers: int) -> None:
    """systemd's own tool: it starts the service when the first client comes."""
    with RedisServer() as redis, NginxServer() as one, NginxServer() as two:
        daemon = Daemon(redis.url, {"one": one, "two": two}, http=f"workers = {workers}")
        try:
            file = daemon.directory / "dragonbelly.toml"
            text = file.read_text()
            file.write_text(
                text.replace(f"tcp:{daemon.public}:interface=127.0.0.1", "systemd:domain=INET:name=http")
            )
            activate = ["systemd-socket-activate", f"--listen=127.0.0.1:{daemon.public}", "--fdname=http"]
            daemon.program = [*activate, *daemon.program]
            daemon.start(wait=False)
            eventually(
                "it is started", lambda: ask("GET", f"{daemon.url}/a").status == 404, evidence=daemon.log
            )
            assert daemon.answers()
            assert len(daemon.psutil().children()) == (workers if workers > 1 else 0)
            assert daemon.stop() in (0, -15)
        finally:
            daemon.close()


def test_a_socket_that_nobody_handed_over() -> None:
    with RedisServer() as redis, NginxServer() as one, NginxServer() as two:
        daemon = Daemon(redis.url, {"one": one, "two": two})
        try:
            file = daemon.directory / "dragonbelly.toml"
            text = file.read_text()
            file.write_text(
                text.replace(f"tcp:{daemon.public}:interface=127.0.0.1", "systemd:domain=INET:index=0")
            )
            daemon.start(wait=False)
            assert daemon.running.wait(20) not in (0, None)
            assert "systemd:domain=INET:index=0: systemd handed no such socket over" in daemon.log()
            assert "Traceback" not in daemon.log(), daemon.log()
        finally:
            daemon.close()
