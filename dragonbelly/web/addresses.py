"""Whom an address stands for, where limits are counted by address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

#: What one customer of an access provider is given at least, and can take addresses from at will (RFC 6177).
IPV6_PREFIX = 64


class Addresses:
    """``exempt`` are networks (``10.0.0.0/8``), or single addresses, that are not counted."""

    def __init__(self, exempt: Iterable[str]) -> None:
        self._exempt = [ipaddress.ip_network(network) for network in exempt]
        # Reading an address takes longer than all that is done with it.
        self.of = lru_cache(maxsize=4096)(self._of)

    def _of(self, host: str) -> str | None:
        """
        The key to count ``host`` by: itself, or the /64 of an IPv6 address.  None: it is not counted, for it is
        exempt, or no IP address, as on unix sockets.
        """
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return None
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped  # an IPv4 client of a listener for both
        if any(address in network for network in self._exempt):
            return None
        if address.version == 4:
            return str(address)
        return str(ipaddress.ip_network((int(address), IPV6_PREFIX), strict=False))
