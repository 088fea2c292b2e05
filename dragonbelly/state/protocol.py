"""What is said to a Redis or to a sentinel, with txredisapi's protocol: bytes in, bytes out."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import hiredis
import txredisapi
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from dragonbelly.sending import Sender

#: What a command and its arguments may be.
Argument = str | bytes | int

#: Beats in which a reply has to come.
BEATS = 4


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

    What waits for replies, and for how long, is kept here: txredisapi has two Deferreds and a timer for each
    command, which took as long as all the rest of asking for a record.  One timer beats while anything waits.
    A process that was stopped for a while (or a virtual machine that was moved) finds its timer late, and the
    replies there that it has not looked at: so not seconds are counted, but beats, and the last one leaves
    another turn of the reactor.
    """

    run = ""
    told: Any = None
    elsewhere: Callable[[], Awaitable[Any]] | None = None

    def __init__(self, clock: Any, reply_timeout: float) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self._clock = clock
        self._reply_timeout = reply_timeout
        #: Who waits for the next replies, in order, and up to which beat.
        self._waiting: deque[tuple[Callable[[Any], object], int]] = deque()
        self._beats = 0
        self._beating: IDelayedCall | None = None
        #: Commands that are sent when all others of this turn are there.
        self._unsent: list[bytes] = []
        self._sending: IDelayedCall | None = None
        #: What is to be done when all is told that came together; None: nothing is being told.
        self.after: list[Callable[[], None]] | None = None
        self.lost: Deferred[None] = Deferred()
        self.reason = ""

    def connectionMade(self) -> None:
        self._sender: Callable[[bytes], None] = Sender(self.transport)
        super().connectionMade()

    def ask(self, told: Callable[[Any], object], *command: Argument) -> None:
        """
        ``told`` is called once, later, with the reply or a ``txredisapi.RedisError``; it must not raise.

        :raises txredisapi.ConnectionError: it is lost.
        """
        if not self.connected:
            raise txredisapi.ConnectionError("Not connected")
        data = self._build_command(*command)  # what cannot be written must not wait for a reply
        last = self._beats + BEATS
        if self._beating is None:
            self._beating = self._clock.callLater(self._reply_timeout / BEATS, self._beat)
        else:
            last += 1  # the one that is under way is not whole
        self._waiting.append((told, last))
        self._unsent.append(data)
        if self._sending is None:
            self._sending = self._clock.callLater(0, self._send)

    def _send(self) -> None:
        """All that was asked for in one turn of the reactor, with one system call."""
        self._sending = None
        data = b"".join(self._unsent)
        self._unsent.clear()
        self._sender(data)

    def execute_command(self, *command: Argument, **_: object) -> Deferred[Any]:
        """The same with a Deferred, which may be cancelled; that does not cancel the command."""
        answer: Deferred[Any] = Deferred()
        self.ask(partial(_answer, answer), *command)
        return answer

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        reader = self._reader
        reader.feed(data)
        after: list[Callable[[], None]] = []
        self.after = after
        try:
            while (reply := reader.gets()) is not False:
                self.replyReceived(reply)
        finally:  # what follows may be no Redis any more: what was told before it was
            self.after = None
            for act in after:
                act()

    def replyReceived(self, reply: Any) -> None:
        if self._waiting:
            told, _ = self._waiting.popleft()
            told(reply)

    def _beat(self) -> None:
        self._beats += 1
        self._beating = None
        if self._waiting:
            self._beating = self._clock.callLater(self._reply_timeout / BEATS, self._beat)
            if self._overdue():
                self._clock.callLater(0, self._end_if_overdue)

    def _overdue(self) -> bool:
        return bool(self._waiting) and self._beats >= self._waiting[0][1]

    def _end_if_overdue(self) -> None:
        if self._overdue():
            self._fail(txredisapi.TimeoutError(f"no reply within {self._reply_timeout:g} s"))
            self.abort()

    def _fail(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, deque()
        for told, _ in waiting:
            told(error)

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
            self._sender = _drop
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
        for timer in (self._beating, self._sending):
            if timer is not None:
                timer.cancel()
        self._beating = self._sending = None
        super().connectionLost(why)
        self.lost.callback(None)
        self._fail(txredisapi.ConnectionError(self.reason))


def _drop(data: bytes) -> None:
    """What is sent after the end."""


def _answer(waiting: Deferred[Any], reply: Any) -> None:
    if isinstance(reply, Exception):
        waiting.errback(reply)
    else:
        waiting.callback(reply)


class RedisFactory(Factory):
    """
    Makes protocols of a ``kind``.  ``reply_timeout`` is in seconds: without an answer for so long, or a fourth
    more, a connection is ended.
    """

    noisy = False

    def __init__(self, clock: Any, reply_timeout: float, kind: type[RedisProtocol] = RedisProtocol) -> None:
        self._make = lambda: kind(clock, reply_timeout)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return self._make()


def one_line(error: BaseException | None) -> str:
    """What an error says; OpenSSL's come as lists of tuples."""
    return " ".join(str(error).split()) or type(error).__name__
