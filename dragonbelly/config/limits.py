"""The section ``[limits]``: what one client, and all of them together, may take of a daemon."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dragonbelly.units import Amount, Interval

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]


class LimitsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    Times are in seconds, sizes in bytes; a count of 0 is no limit.  What is counted by address is not counted
    for the networks in ``exempt``, nor where there is no address (unix sockets).
    """

    #: Open at a time, on the public listeners together, and as many on the admin ones.
    connections: Positive = 4000
    connections_per_address: Count = 250
    requests_per_connection: Count = 10_000
    #: Behind a reverse proxy on this machine all clients are on loopback.
    exempt: tuple[str, ...] = ("127.0.0.0/8", "::1")

    #: Without a byte from the client.
    idle: Interval = Interval(60)
    #: From a request's first byte to the end of its headers, however many bytes come meanwhile.
    header_time: Interval = Interval(20)
    #: The same for a body that is collected or read away, which is small.
    body_time: Interval = Interval(60)
    #: Of the request line and all headers, each of which counts 32 bytes more.
    header_size: Amount = Amount(16 * 2**10)

    json_size: Amount = Amount(256 * 2**10)
    path_length: Annotated[int, Meta(ge=1, le=1024)] = 1024
    attributes: Count = 32
    attribute_size: Amount = Amount(1024)

    #: Begun and not over, of one token; and of one address that shows none.
    open_uploads: Count = 10_000
    open_uploads_per_address: Count = 1000
    #: A second, of one address; and how many before that counts.
    anonymous_writes: Count = 200
    anonymous_burst: Positive = 10_000
