"""
What a daemon and its workers tell each other: msgpack, each message with its length before it, on two pipes.

A worker hears ``Serve`` first, once.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

from dragonbelly.config import Source

# --- the daemon tells a worker


class Serve(msgspec.Struct, tag=True):
    """
    Serve the sockets that are inherited, the endpoints ``where`` in their order, as ``source`` says.
    ``alone``: nobody else does, so that after a while even a 503 is better than no answer.
    """

    source: Source
    where: list[str]
    alone: bool


class Report(msgspec.Struct, tag=True):
    """Say what was counted: ``Counted``."""


class Leave(msgspec.Struct, tag=True):
    """End when those are answered who wait, after so many seconds in any case."""

    longest: float


# --- a worker tells the daemon


class Opened(msgspec.Struct, tag=True):
    """It serves."""


class Counted(msgspec.Struct, tag=True):
    """Its metrics, as Prometheus reads them."""

    text: bytes


class Left(msgspec.Struct, tag=True):
    """The same, for the last time: it waits only for the daemon to end the conversation."""

    text: bytes


class Replicate(msgspec.Struct, tag=True):
    """Somebody waits for copies."""


class UploadBegan(msgspec.Struct, tag=True):
    """Copies may have to give way to it."""


ToWorker = Serve | Report | Leave
ToDaemon = Opened | Counted | Left | Replicate | UploadBegan

_encoder = msgspec.msgpack.Encoder()


class Talk(Int32StringReceiver):
    """One end of it.  ``hear`` is told each message, one of ``heard``; ``ended``: there are no more."""

    MAX_LENGTH = 64 * 2**20

    def __init__(
        self,
        heard: object,
        hear: Callable[..., None],
        ended: Callable[[], None],
        begun: Callable[[], None] = lambda: None,
    ) -> None:
        self._decoder = msgspec.msgpack.Decoder(heard)
        self._hear, self._ended, self._begun = hear, ended, begun

    def connectionMade(self) -> None:
        self._begun()

    def say(self, message: ToWorker | ToDaemon) -> None:
        self.sendString(_encoder.encode(message))

    def stringReceived(self, string: bytes) -> None:
        self._hear(self._decoder.decode(string))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._ended()
