"""
Everything on one machine without a configuration: a private Redis, three storage nodes, the daemon.

For trying it out and for development; the nodes and Redis are real, only the hosts are not.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocol, IProtocolFactory
from twisted.logger import Logger
from twisted.python import usage
from zope.interface import implementer

from dragonbelly.config import loads
from dragonbelly.errors import ConfigError, StartError
from dragonbelly.private_node import PrivateNode
from dragonbelly.private_redis import PrivateRedis, find_redis
from dragonbelly.service import Daemon, make_daemon
from dragonbelly.starting import cannot_start, endpoint, give_up, open_ports

NODES = ("store1", "store2", "store3")
LISTEN = "tcp:8080:interface=127.0.0.1"
ADMIN = "tcp:8081:interface=127.0.0.1"

#: How much later copies may be made while uploads come.
UPLOADS_FIRST = "30s"


class Embedded(Service):
    """
    The whole, with its data in ``directory``.  ``listen`` and ``admin`` are endpoint strings; a TCP one without
    an interface is on loopback, as the nodes are: readers elsewhere could not follow a redirect to them.
    Pages of ``origins`` may read and upload with ``fetch``.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        directory: Path,
        public: str | None = None,
        admin: str | None = None,
        options: usage.Options | None = None,
        origins: Sequence[str] = (),
    ) -> None:
        self._reactor = reactor
        self._directory = directory.absolute()
        self._public = _on_loopback(public or LISTEN)
        self._admin = _on_loopback(admin or ADMIN)
        for where in (self._public, self._admin):
            try:
                endpoint(reactor, where)
            except StartError as error:
                give_up(f'{error} (one is "tcp:8080")')
        self._options = options
        self._origins = tuple(origins)
        self._lock: IO[str] | None = None
        self._redis: PrivateRedis | None = None
        self._nodes: list[PrivateNode] = []
        self._sites = PendingSite(), PendingSite()
        self._ports: list[IListeningPort] = []
        self._daemon: Daemon | None = None
        self._starting: Deferred[None] | None = None

    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        try:
            # Or a second one would hear of a port that is taken, which helps nobody.
            _see_that_it_is_free(self._directory)
        except StartError as error:
            cannot_start(error, self._options)
        where = (self._public, self._admin)
        self._ports = open_ports(self._reactor, zip(where, self._sites, strict=True), self._options)

    def startService(self) -> None:
        if not self._ports:  # ``twist``, unlike ``twistd``, knows no privileges
            self.privilegedStartService()
        # All that is on the disk is made here, by the user to whom it will belong.
        try:
            self._lock = _take(self._directory)
            binary = find_redis()
            self._nodes = [self._make_node(name) for name in NODES]
            self._redis = PrivateRedis(self._reactor, binary, self._directory / "redis")
            config = loads(self._settings(self._redis.url), "the embedded configuration")
            self._daemon = make_daemon(self._reactor, config)
            self._daemon.on_open = self._greet
            sites = (self._daemon.public_site, self._daemon.admin_site)
            for pending, site in zip(self._sites, sites, strict=True):
                pending.become(site)
            for child in (*self._nodes, self._redis):
                child.startService()
        except (StartError, ConfigError) as error:
            cannot_start(error, self._options)
        except OSError as error:
            cannot_start(StartError(f"{self._directory}: {error.strerror or error}"), self._options)
        super().startService()
        self._starting = Deferred.fromCoroutine(self._start_daemon(self._redis, self._daemon))
        self._starting.addErrback(lambda failure: failure.trap(CancelledError) and None)

    async def _start_daemon(self, redis: PrivateRedis, daemon: Daemon) -> None:
        # It would wait by itself; but a log that begins with a Redis out of reach frightens people.
        await redis.listening()
        daemon.startService()

    def _make_node(self, name: str) -> PrivateNode:
        # Each has a secret of its own: what is signed for one node is worth nothing at the others.
        secret_file = self._secret_file(name)
        _make_secret(secret_file)
        return PrivateNode(self._reactor, name, self._directory / name, secret_file, origins=self._origins)

    def _secret_file(self, name: str) -> Path:
        return self._directory / f"{name}.secret"

    def _settings(self, redis: str) -> str:
        """A configuration file, as a person would write it."""
        backends = "".join(
            f"[backend.{node.name}]\n"
            f'kind = "node"\n'
            f"url = {json.dumps(node.url)}\n"
            f"secret = {{ file = {json.dumps(str(self._secret_file(node.name)))} }}\n"
            for node in self._nodes
        )
        origins = json.dumps(self._origins)
        # Copies on one machine are not what keeps files safe: they can wait.
        replication = f'[replication]\nuploads_first = "{UPLOADS_FIRST}"\n'
        # Whoever is on this machine may do everything.
        domain = '[domain.default]\nhosts = ["*"]\nanonymous = ["read", "list", "write"]\n'
        listen = f"listen = [{json.dumps(self._public)}]\nadmin = [{json.dumps(self._admin)}]\n"
        http = f"[http]\n{listen}origins = {origins}\n"
        return f"[state]\nredis = {json.dumps(redis)}\n{http}{domain}{replication}{backends}"

    def _greet(self) -> None:
        public, admin = (_url(port) for port in self._ports)
        for line in (
            f"files and API: {public}/    admin: {admin}/-/api/v1/status    data: {self._directory}",
            f"try: curl -LT README.rst {public}/docs/README.rst",
            f"then: curl -L {public}/docs/README.rst",
            f"and: curl {public}/-/api/v1/files/docs/README.rst",
        ):
            self._log.info("{line}", line=line)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        # One after the other: who uses something ends before it.
        if self._starting is not None:
            self._starting.cancel()
        ports, self._ports = self._ports, []
        for port in ports:
            await maybeDeferred(port.stopListening)
        if self._daemon is not None:
            await self._daemon.stopService()
        await gatherResults([node.stopService() for node in self._nodes])
        if self._redis is not None:
            await self._redis.stopService()
        if self._lock is not None:
            self._lock.close()


@implementer(IProtocolFactory)
class PendingSite:
    """What a port is opened with before there is anything to serve; it ``become``s that before clients come."""

    def __init__(self) -> None:
        self._site: Any = None

    def become(self, site: IProtocolFactory) -> None:
        self._site = site
        site.doStart()

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        return self._site.buildProtocol(addr)  # type: ignore[no-any-return]

    def doStart(self) -> None:
        """That comes with the site."""

    def doStop(self) -> None:
        if self._site is not None:
            self._site.doStop()


def _on_loopback(where: str) -> str:
    """:raises SystemExit: it is another interface."""
    if not where.startswith(("tcp:", "tcp4:", "tcp6:")):
        return where
    if "interface=" not in where:
        return f"{where}:interface=127.0.0.1"
    interface = where.partition("interface=")[2].partition(":")[0]
    if not (interface.startswith("127.") or interface in ("localhost", "\\:\\:1")):
        give_up(
            f"without --config everything stays on this machine: {where} is not on loopback "
            "(write a configuration to serve others; see etc/dragonbelly.toml)"
        )
    return where


def _url(port: IListeningPort) -> str:
    host = port.getHost()
    if not hasattr(host, "port"):
        return str(getattr(host, "name", host))
    return f"http://127.0.0.1:{host.port}"


def _take(directory: Path) -> IO[str]:
    """The lock of the directory, held until it is closed.  :raises StartError: somebody else has it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("a+")
    except OSError as error:
        raise StartError(f"{directory} cannot be written: {error.strerror}") from error
    try:
        _lock(lock, directory)
    except StartError:
        lock.close()
        raise
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _see_that_it_is_free(directory: Path) -> None:
    """Makes nothing.  :raises StartError: somebody else has the lock of the directory."""
    with suppress(OSError), (directory / "lock").open() as lock:
        _lock(lock, directory)


def _lock(lock: IO[str], directory: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        raise StartError(
            f"{directory} is in use by another Dragonbelly (process {holder}); stop it, or give another --data"
        ) from None


def _make_secret(path: Path) -> None:
    """The secret that a node's URLs are signed with; made at the first start."""
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(32) + "\n")
        fresh.replace(path)
