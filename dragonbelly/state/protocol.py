"""What is said to a Redis or to a sentinel, with txredisapi's protocol: bytes in, bytes out."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import hiredis
import txredisapi
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from dragonbelly.deadlines import Deadlines

#: What a command and its arguments may be.
Argument = str | bytes | int


@dataclass(frozen=True)
class Script:
    """A Lua script, called by its digest."""

    name: str
    source: bytes

    @cached_property
    def sha1(self) -> str:
        # The name by which Redis knows it; nothing rests on its strength.
        return hashlib.sha1(self.source, usedforsecurity=False).hexdigest()


def info_fields(reply: bytes) -> dict[str, str]:
    """The reply to INFO as a mapping."""
    lines = reply.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def run_of(info: Mapping[str, str], known: str = "") -> str:
    """
    Which run of which server an INFO is of: the server's name of its own, which a start gives it, and that of
    its writes, which a promotion does.  The section "replication" has only the second; the first is then that
    of the run that is ``known`` to answer.
    """
    own, _, _ = known.partition(".")
    return f"{info.get('run_id', own)}.{info.get('master_replid', '')}"


class RedisProtocol(txredisapi.HiredisProtocol):  # type: ignore[misc]  # txredisapi has no types
    """
    On the given clock; ``lost`` and ``reason`` tell when and why it was lost.  ``run`` is which run of which
    server answers.  Where sentinels were asked, ``told`` is what they said of it, and ``elsewhere`` asks them
    again: it gives another server, or None.
    """

    run = ""
    told: Any = None
    elsewhere: Callable[[], Awaitable[Any]] | None = None

    def __init__(self, clock: Any, reply_timeout: float) -> None:
        super().__init__(charset=None, convertNumbers=False, replyTimeout=reply_timeout)
        self.callLater = Deadlines(clock).callLater
        self.lost: Deferred[None] = Deferred()
        self.reason = ""

    async def log_in(self, *login: str) -> None:
        """
        AUTH with ``[user,] password``.

        :raises txredisapi.RedisError: refused, or no answer; what it says does not have the password.
        """
        try:
            await self.execute_command("AUTH", *login)
        except txredisapi.ResponseError as error:
            # One that does not know the command, or knows it by another name, repeats what it was told.
            raise txredisapi.ResponseError(str(error).partition(", with args")[0]) from None

    def abort(self) -> None:
        """End the connection, unless it has ended: Twisted's TLS raises when it is told so afterwards."""
        if not self.lost.called:
            self.transport.abortConnection()

    def _build_command(self, *arguments: Argument, **_: object) -> bytes:
        # txredisapi's own takes ten times as long.
        packed: bytes = hiredis.pack_command(arguments)  # type: ignore[arg-type]  # its stub: a tuple of one
        return packed

    def connectionLost(self, why: Failure) -> None:
        # Before the replies fail, so that whoever waits for one can say why, and finds nothing connected.
        if not self.reason:
            self.reason = (
                "connection lost" if why.check(ConnectionDone, ConnectionLost) else one_line(why.value)
            )
        self.lost.callback(None)
        super().connectionLost(why)


class RedisFactory(Factory):
    """``reply_timeout`` is in seconds: without an answer for so long a connection is ended."""

    noisy = False

    def __init__(self, clock: Any, reply_timeout: float) -> None:
        self._make = lambda: RedisProtocol(clock, reply_timeout)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return self._make()


def one_line(error: BaseException | None) -> str:
    """What an error says; OpenSSL's come as lists of tuples."""
    return " ".join(str(error).split()) or type(error).__name__
