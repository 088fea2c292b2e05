"""
Everything on one machine without a configuration: a private Redis, three storage nodes, the daemon.

For trying it out and for development; the nodes and Redis are real, only the hosts are not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocol, IProtocolFactory
from twisted.logger import Logger
from twisted.python import usage
from zope.interface import implementer

from dragonbelly.config import loads
from dragonbelly.daemon import Daemon, make_daemon
from dragonbelly.data_directory import (
    make_node_secret,
    read_digest,
    see_that_it_is_free,
    take,
    write_digest,
)
from dragonbelly.errors import ConfigError, StartError
from dragonbelly.private_node import PrivateNode
from dragonbelly.private_redis import PrivateRedis, find_redis
from dragonbelly.reach import reach
from dragonbelly.secret import Secret
from dragonbelly.starting import (
    cannot_start,
    check_installation,
    endpoint,
    give_up,
    open_ports,
)
from dragonbelly.state.address import host_and_port
from dragonbelly.tokens import TOKEN, digest, make_secret, token_stanza
from dragonbelly.tuning import tune
from dragonbelly.web.draining import SHORT, SHORT_GRACE

NODES = ("store1", "store2", "store3")
LISTEN = "tcp:8080:interface=127.0.0.1"
ADMIN = "tcp:8081:interface=127.0.0.1"

#: How much later copies may be made while uploads come.
UPLOADS_FIRST = "30s"


class Embedded(Service):
    """
    The whole, with its data in ``directory``.  ``listen`` and ``admin`` are endpoint strings; a TCP one without
    an interface is on loopback.  Where others than this machine reach one, changes take a token, which is made
    at the first such start, or when ``new_token`` says so; ``host`` is what they call this machine.  Pages of
    ``origins`` may read and upload with ``fetch``.
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
        host: str | None = None,
        new_token: bool = False,
    ) -> None:
        self._reactor = reactor
        self._directory = directory.absolute()
        for where in (public or LISTEN, admin or ADMIN):
            try:
                endpoint(reactor, where)
            except StartError as error:
                give_up(f'{error} (one is "tcp:8080")')
        try:
            self._reach = reach(public or LISTEN, admin or ADMIN, host)
        except StartError as error:
            give_up(str(error))
        if new_token and not self._reach.takes_token:
            give_up("--new-token: nobody but this machine reaches it, and here it takes none")
        self._new_token = new_token
        self._token: Secret | None = None
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
            see_that_it_is_free(self._directory)
        except StartError as error:
            cannot_start(error, self._options)
        where = (self._reach.public, self._reach.admin)
        self._ports = open_ports(self._reactor, zip(where, self._sites, strict=True), self._options)

    def startService(self) -> None:
        if not self._ports:  # ``twist``, unlike ``twistd``, knows no privileges
            self.privilegedStartService()
        # All that is on the disk is made here, by the user to whom it will belong.
        try:
            check_installation()
            tune(self._reactor)
            self._lock = take(self._directory)
            binary = find_redis()
            token = self._digest() if self._reach.takes_token else None
            self._nodes = [self._make_node(name) for name in NODES]
            self._redis = PrivateRedis(self._reactor, binary, self._directory / "redis")
            config = loads(self._settings(self._redis.url, token), "the embedded configuration")
            self._daemon = make_daemon(self._reactor, config)
            self._daemon.on_open = self._greet
            sites: list[IProtocolFactory] = [self._daemon.public_site, self._daemon.admin_site]
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
        make_node_secret(secret_file)
        return PrivateNode(
            self._reactor,
            name,
            self._directory / name,
            secret_file,
            interface=self._reach.interface,
            host=self._reach.host if self._reach.others_read else self._reach.inside,
            inside=self._reach.inside,
            origins=self._origins,
        )

    def _secret_file(self, name: str) -> Path:
        return self._directory / f"{name}.secret"

    def _digest(self) -> str:
        """Of the token, which is made if there is none.  :raises StartError: it cannot be read."""
        kept = None if self._new_token else read_digest(self._directory)
        if kept is not None:
            return kept
        self._token = make_secret(TOKEN)
        return digest(self._token)

    def _settings(self, redis: str, token: str | None) -> str:
        """A configuration file, as a person would write it."""
        backends = "".join(
            f"[backend.{node.name}]\n"
            f'kind = "node"\n'
            f"url = {json.dumps(node.url)}\n"
            f"internal_url = {json.dumps(node.internal_url)}\n"
            f"secret = {{ file = {json.dumps(str(self._secret_file(node.name)))} }}\n"
            for node in self._nodes
        )
        origins = json.dumps(self._origins)
        # Copies on one machine are not what keeps files safe: they can wait.
        replication = f'[replication]\nuploads_first = "{UPLOADS_FIRST}"\n'
        # Whoever is on this machine may do everything, others may read.
        anonymous = ["read"] if self._reach.others_read else ["read", "list", "write"]
        domain = f'[domain.default]\nhosts = ["*"]\nanonymous = {json.dumps(anonymous)}\n'
        if token is not None:
            domain += token_stanza("owner", token, self._reach.scopes)
        listen = f"listen = [{json.dumps(self._reach.public)}]\nadmin = [{json.dumps(self._reach.admin)}]\n"
        http = f"[http]\n{listen}origins = {origins}\n"
        return f"[state]\nredis = {json.dumps(redis)}\n{http}{domain}{replication}{backends}"

    def _greet(self) -> None:
        reach = self._reach
        public = _url(self._ports[0], reach.public, reach.host if reach.others_read else "127.0.0.1")
        admin = _url(self._ports[1], reach.admin, reach.host if reach.others_operate else "127.0.0.1")
        put = f"curl -LT README.rst {public}/docs/README.rst"
        if reach.others_read:
            put = f"DRAGONBELLY_TOKEN=… dragonbelly put README.rst docs/README.rst --url {public}"
        for line in (
            f"files and API: {public}/    admin: {admin}/-/api/v1/status    data: {self._directory}",
            f"try: {put}",
            f"then: curl -L {public}/docs/README.rst",
            f"and: curl {public}/-/api/v1/files/docs/README.rst",
        ):
            self._log.info("{line}", line=line)
        token, self._token = self._token, None
        if token is not None:
            self._show(token)

    def _show(self, token: Secret) -> None:
        """Once, when all else was said; from now on only who read it has it."""
        write_digest(self._directory, digest(token))
        bar = "*" * 78
        for line in (
            bar,
            "  Others than this machine reach this.  They may read; whatever else takes this token:",
            "",
            f"      {token}",
            "",
            f"  It is for: {', '.join(self._reach.scopes)}.",
            "  It is shown this one time; --new-token makes another.",
            bar,
        ):
            self._log.warn("{line}", line=line)

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
            await self._daemon.drain(SHORT_GRACE, SHORT)
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


def _url(port: IListeningPort, where: str, host: str) -> str:
    address = port.getHost()
    if not hasattr(address, "port"):
        return str(getattr(address, "name", address))
    return f"{'https' if where.startswith('ssl:') else 'http'}://{host_and_port(host, address.port)}"
