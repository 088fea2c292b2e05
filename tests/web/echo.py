"""A site that says what came: the first segment of the target says what becomes of the body, and when."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from twisted.internet.task import Clock
from twisted.web.iweb import INonQueuedRequestFactory
from zope.interface import provider

from dragonbelly.config.limits import LimitsSection
from dragonbelly.web.connections import Limited
from dragonbelly.web.listener import make_factory
from dragonbelly.web.request import Buffer, Intake, Refuse, Request, Stream

LIMIT = 1000


class Sink:
    """What came of a streamed body."""

    def __init__(self) -> None:
        self.data = b""
        self.events: list[str] = []

    def write(self, data: bytes) -> None:
        assert not self.events, "more came after the end"
        self.data += data

    def finished(self) -> None:
        self.events.append("finished")

    def aborted(self) -> None:
        self.events.append("aborted")


@provider(INonQueuedRequestFactory)
class Echo(Request):
    """``/refuse``, ``/buffer``, ``/stream``; with ``?later`` the answer comes a second later."""

    clock: Clock
    sinks: list[Sink]
    #: Every request that was processed, answered or not.
    processed: list[Echo]
    sink: Sink | None = None
    gone = False

    def intake(self) -> Intake:
        if self.uri.startswith(b"/buffer"):
            return Buffer(LIMIT)
        if self.uri.startswith(b"/stream"):
            self.sink = Sink()
            self.sinks.append(self.sink)
            return Stream(self.sink)
        return Refuse()

    def process(self) -> None:
        self.processed.append(self)
        self.notifyFinish().addErrback(self._left)
        if self.uri.endswith(b"later"):
            self.clock.callLater(1.0, self.answer)
        else:
            self.answer()

    def _left(self, reason: object) -> None:
        self.gone = True

    def answer(self) -> None:
        if self.gone:
            return
        body = self.body if self.sink is None else self.sink.data
        said = json.dumps(
            {
                "method": self.method.decode(),
                "uri": self.uri.decode("latin-1"),
                "announced": self.announced,
                "oversized": self.oversized,
                "size": len(body),
                "sha256": sha256(body).hexdigest(),
            }
        ).encode()
        self.setResponseCode(413 if self.oversized else 200)
        self.responseHeaders.setRawHeaders(b"Content-Length", [str(len(said)).encode()])
        if self.method != b"HEAD":
            self.write(said)
        self.finish()


def make_echo(
    clock: Clock, limits: LimitsSection | None = None, limited: Limited = lambda limit: None
) -> tuple[Any, type[Echo]]:
    """The factory, and its own class of requests, which remembers them."""

    @provider(INonQueuedRequestFactory)
    class Own(Echo):
        pass

    Own.clock, Own.sinks, Own.processed = clock, [], []
    return make_factory(Own, clock, limits, limited), Own
