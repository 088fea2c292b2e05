"""One request, and what is to become of its body: see ``dragonbelly.web.channel``."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.web import http
from twisted.web.iweb import INonQueuedRequestFactory
from zope.interface import provider

from dragonbelly.errors import BadRequest
from dragonbelly.web.paths import is_authority


class Sink(Protocol):
    """Where a streamed body goes."""

    def write(self, data: bytes) -> None: ...

    def finished(self) -> None:
        """All has come."""

    def aborted(self) -> None:
        """The client went away, or sent nonsense; nothing more comes."""


class Intake:
    """What to do with a request's body."""


class Buffer(Intake):
    """Collect up to ``limit`` bytes in ``request.body``; of a larger one nothing is kept (``oversized``)."""

    def __init__(self, limit: int) -> None:
        self.limit = limit


class Refuse(Intake):
    """Answer without the body, before ``100 Continue``."""


class Stream(Intake):
    """Hand every chunk to ``sink``, then process."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink


@provider(INonQueuedRequestFactory)
class Request(http.Request):
    """
    A request whose body is dealt with as ``intake`` says; subclasses override ``intake`` and ``process``.

    ``announced`` is the body's size in bytes: 0 without a body, None for a chunked one.  ``oversized`` is set
    when a body to be buffered was over its limit: answer 413.
    """

    announced: int | None = 0
    body: bytes = b""
    oversized = False
    #: twisted.web sets it, and deletes it when the answer is out.
    channel: Any = None

    def intake(self) -> Intake:
        return Refuse()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        # Everything is set already, and neither queries nor form bodies are for twisted.web to parse.
        self.process()

    def header(self, name: str) -> str | None:
        """The header's value, several joined with commas (RFC 9110 section 5.3); bytes as latin-1."""
        values = self.requestHeaders.getRawHeaders(name.encode())
        return b", ".join(values).decode("latin-1") if values else None

    def authority(self) -> bytes:
        """
        What the ``Host`` header says; empty in HTTP/1.0 without one.

        :raises BadRequest: it is not there exactly once, or is no host (RFC 9112 section 3.2).
        """
        hosts = self.requestHeaders.getRawHeaders(b"Host") or []
        if len(hosts) > 1 or (not hosts and self.clientproto == b"HTTP/1.1"):
            raise BadRequest("exactly one Host header is needed")
        if hosts and not is_authority(hosts[0]):
            raise BadRequest("the Host header is no host and port")
        return hosts[0] if hosts else b""

    def all_headers(self) -> dict[str, str]:
        """The same of every header, by name in lower case."""
        return {
            name.decode("latin-1").lower(): b", ".join(values).decode("latin-1")
            for name, values in self.requestHeaders.getAllRawHeaders()
        }

    def pause(self) -> None:
        """Read no more of the body for now."""
        if self.channel is not None:
            self.channel.transport.pauseProducing()

    def resume(self) -> None:
        if self.channel is not None:
            self.channel.transport.resumeProducing()

    def handleContentChunk(self, data: bytes) -> None:
        # Called with each piece, whatever the transfer coding; also with those that came in one packet with
        # the one that was too much, when that was answered already.
        if self.channel is not None:
            self.channel.bodyReceived(data)
