"""The connections of the public listeners: each begins in the fast lane (``lane.py``)."""

from __future__ import annotations

from math import inf
from typing import Any

from twisted.internet.interfaces import IAddress, IProtocolNegotiationFactory
from twisted.internet.protocol import ServerFactory
from zope.interface import implementer

from dragonbelly.config.limits import LimitsSection
from dragonbelly.config.values import Config
from dragonbelly.errors import ClientError
from dragonbelly.metrics import Metrics
from dragonbelly.model import Path
from dragonbelly.web.connections import Connections
from dragonbelly.web.files import Domains
from dragonbelly.web.guard import Guard
from dragonbelly.web.heads import LINE_COST, read_fields
from dragonbelly.web.lane import Lane
from dragonbelly.web.listener import HttpListener
from dragonbelly.web.manner import Manner, Stamp, header_line
from dragonbelly.web.paths import RESERVED, parse_name
from dragonbelly.web.prepared import Prepared
from dragonbelly.web.redirects import Redirects
from dragonbelly.web.site import Router

_RESERVED = RESERVED.encode()


@implementer(IProtocolNegotiationFactory)
class Lanes(ServerFactory):
    """
    Makes the connections of the public listeners.  ``site`` takes over what is not for here; both are counted
    together.
    """

    noisy = False

    def __init__(
        self,
        site: HttpListener,
        router: Router,
        domains: Domains,
        guard: Guard,
        redirects: Redirects,
        prepared: Prepared,
        config: Config,
        reactor: Any,
        metrics: Metrics,
    ) -> None:
        self.site = site
        self.router = router
        self.redirects = redirects
        self.prepared = prepared
        self.limits: LimitsSection = config.limits
        self.json_size = int(config.limits.json_size)
        #: So many requests of a connection are answered before the one that has to be its last.
        self.last = config.limits.requests_per_connection - 1
        self.connections: Connections = site.connections
        #: Whose time is that of redirects, and where connections have their timers.
        self.clock = self.reactor = reactor
        self.stamp = Stamp()
        self.limited = metrics.limit
        self.gets = metrics.answered("file_get", 302)
        self.heads = metrics.answered("file_head", 302)
        self._domains = domains
        self._guard = guard
        self._private = {name for name, domain in config.domains.items() if domain.private}

    def doStart(self) -> None:
        self.site.doStart()

    def doStop(self) -> None:
        self.site.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Lane:
        return Lane(self, addr)

    def acceptableProtocols(self) -> list[bytes]:
        return self.site.acceptableProtocols()

    def manner(self, block: bytes) -> Manner | None:
        """How requests with these headers are answered; None: not here."""
        fields = read_fields(block)
        if fields is None:
            return None
        manner = Manner(block, fields, int(self.limits.header_size) - LINE_COST - fields.size)
        if "authorization" in fields.headers or fields.length:
            return manner
        try:
            domain = self._domains.of_host(fields.host)
        except ClientError:
            return manner
        manner.domain = domain
        manner.lines = self.prepared.lines[domain]
        cors = self.router.cors.headers(fields.headers.get("origin"))
        manner.end = b"".join([*map(header_line, cors), b"Content-Length: 0\r\n\r\n"])
        return manner

    def file(self, domain: str, method: str, target: bytes) -> tuple[Path, float] | None:
        """
        Which file's readers this target is for, and until when (unix s) it may be.  None: somebody else has to
        look at it.
        """
        raw, _, query = target.partition(b"?")
        private = domain in self._private
        if raw.startswith(_RESERVED) or private != bool(query) or not self.router.open:
            return None
        try:
            path = Path(domain, parse_name(raw))
            permission = self._guard.permission(method, path, query) if private else None
        except ClientError:
            return None
        if private and permission is None:
            return None
        return path, permission.expires if permission is not None else inf
