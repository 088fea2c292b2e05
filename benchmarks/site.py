"""The real servers of a run: Redis, three storage servers, and daemons in front of them, each on its core."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import islice
from typing import Any, Self
from urllib.parse import urlsplit

import psutil

from benchmarks import filling, paths
from benchmarks.constant_rate import Latencies, drive, gets
from benchmarks.pinning import cores, on
from benchmarks.wrk import Requests
from dragonbelly.config.values import HttpSection
from tests.servers.daemon import Daemon
from tests.servers.nginx import NginxServer
from tests.servers.node import NodeServer
from tests.servers.process import Started
from tests.servers.redis import RedisServer

BACKENDS = ("one", "two", "three")

#: The same for all daemons of a site, or they would look at every file again.  Nothing is replicated or
#: audited: what is filled in has no objects.  All other intervals are those of a daemon that is not under test.
PLACEMENT = f"""
[domain.{paths.DOMAIN}]
hosts = ["*"]
anonymous = ["read", "list", "write"]
allow_anonymous_write = true
[policy.default]
copies = 3
[replication]
every = "1h"
[delete]
grace = "15m"
[audit]
every = "0s"
[health]
every = "2s"
timeout = "1.5s"
"""

#: ``[http] cache`` of a daemon that has to ask Redis for nearly everything, in the lane that asks nobody
#: otherwise.
NONE = 1

NODE_SECRET = "a secret of 32 bytes that is known"


def knows(option: str) -> bool:
    """Whether this version has the option in ``[http]``."""
    return option in HttpSection.__struct_fields__


class Site(Started):
    """
    Redis with three nginx; daemons are added by ``daemon``, then files by ``fill``: a daemon takes a storage
    server without its marker, though records say that files are there, for one whose disk is
    gone.  ``settings`` are Redis'.
    """

    def __init__(self, *settings: str) -> None:
        self._settings = settings
        self._stack = ExitStack()
        self.files = 0
        self.filled = 0.0

    def start(self) -> Self:
        self.redis = self.add(RedisServer(*self._settings))
        self.stores = {name: self.add(NginxServer()) for name in BACKENDS}
        return self

    def close(self) -> None:
        self._stack.close()

    def add(self, server: Any, to: frozenset[int] | None = None) -> Any:
        """Start a server on the cores of the rest, or on these; it ends with the site."""
        with on(cores().rest if to is None else to):
            return self._stack.enter_context(server)

    def daemon(self, extra: str = "", **http: int) -> Daemon:
        """One more; ``http`` are options of that section."""
        lines = "".join(f"{option} = {value}\n" for option, value in http.items())
        to = cores().server | cores().load if http.get("workers", 1) > 1 else cores().server
        daemon: Daemon = self.add(Daemon(self.redis.url, self.stores, PLACEMENT + extra, http=lines), to)
        return daemon

    def nodes(self) -> str:
        """Three storage nodes instead of the nginx, as lines of a configuration: their links are signed."""
        lines = ""
        for name in BACKENDS:
            node = self.add(NodeServer(NODE_SECRET, "--private"))
            lines += f'[backend.{name}]\nkind = "node"\nurl = "{node.url}"\n'
            lines += f'secret = "{NODE_SECRET}"\nprivate = true\n'
        return lines

    def links(self) -> str:
        """The nginx, as lines of a configuration that has links to read signed, too."""
        return "".join(
            f'[backend.{name}]\nkind = "dav"\n{store.options_in_toml}private = true\n'
            for name, store in self.stores.items()
        )

    def fill(self, files: int, kind: filling.Kind = filling.Kind(BACKENDS)) -> None:
        """Until there are those of the numbers 0 to ``files - 1``."""
        if files > self.files:
            self.filled = filling.fill(str(self.redis.socket), files - self.files, kind, self.files)
            self.files = files


def family(daemon: Daemon) -> list[psutil.Process]:
    """The processes of a daemon: its own, and its workers."""
    process = daemon.psutil()
    return [process, *process.children(recursive=True)]


def rss(daemon: Daemon) -> float:
    """MiB."""
    return float(sum(process.memory_info().rss for process in family(daemon))) / 2**20


def answer(url: str, path: str, expected: int = 302, method: str = "GET") -> Mapping[str, str]:
    """
    The headers that a request is answered with.

    :raises RuntimeError: another status than was expected: what is measured would be something else.
    """
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.request(method, path, headers={"Content-Length": "0"} if method == "PUT" else {})
    found = connection.getresponse()
    body = found.read()
    connection.close()
    if found.status != expected:
        raise RuntimeError(f"{method} {url}{path}: expected {expected}, found {found.status}: {body[:300]!r}")
    return dict(found.headers)


def constant_rate(url: str, requests: Requests, rate: float, seconds: float) -> Latencies:
    """
    So many GETs a second for so long; a rate of 0: each of the paths once, as fast as it goes.

    :raises RuntimeError: requests failed, or there were too few paths to ask for each once.
    """
    host = urlsplit(url).netloc
    address, _, port = host.rpartition(":")
    total = int(rate * seconds) if rate else requests.size
    if requests.once and requests.skip + total > requests.size:
        raise RuntimeError(f"{total} requests for {requests.size - requests.skip} paths, to ask for each once")
    asked = gets(host, requests.first, requests.size, requests.once, requests.skip)
    try:
        return drive((address, int(port)), islice(asked, total), rate)
    except RuntimeError as error:
        raise RuntimeError(f"{requests} at {rate:g}/s to {url}: {error}") from None


def warm(url: str, requests: Requests) -> None:
    """Ask for each of the paths twice: the first time it is read, the second time its request line is kept."""
    for _ in range(2):
        constant_rate(url, Requests("GET", requests.first, requests.size, once=True), 0, 0)
