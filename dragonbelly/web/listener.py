"""What makes the connections of one set of listeners, which are counted together."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.web import http
from zope.interface import implementer

from dragonbelly.config.limits import LimitsSection
from dragonbelly.web.channel import Channel
from dragonbelly.web.connections import Connections, Limited


@implementer(IProtocolNegotiationFactory)
class HttpListener(http.HTTPFactory):
    noisy = False
    connections: Connections

    def acceptableProtocols(self) -> list[bytes]:
        """What a TLS listener agrees to; without it clients that ask (browsers, curl) would be turned away."""
        return [b"http/1.1"]

    def log(self, request: http.Request) -> None:
        """Requests are counted, not logged: a line for each would cost more than the answer."""


def make_factory(
    request_factory: Any,
    reactor: Any,
    limits: LimitsSection | None = None,
    limited: Limited = lambda limit: None,
) -> HttpListener:
    """
    A factory of such connections, which are counted together.  ``limited`` is told the name of each limit that
    refuses or closes something.
    """
    limits = limits or LimitsSection()
    factory = HttpListener(timeout=limits.idle, reactor=reactor)
    factory.connections = connections = Connections(limits, limited)

    def build() -> Channel:
        channel = Channel()
        channel.requestFactory = request_factory
        channel.limits, channel.connections, channel.limited = limits, connections, limited
        # twisted.web's limits of one line and of all.
        channel.MAX_LENGTH = channel.totalHeadersSize = limits.header_size
        return channel

    factory.protocol = build  # type: ignore[assignment]
    return factory
