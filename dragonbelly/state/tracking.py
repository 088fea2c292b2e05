"""
Records that are read over a connection, while Redis says on a second one which of all records were written:
client-side caching in its broadcasting mode
(https://redis.io/docs/latest/develop/reference/client-side-caching/), in RESP2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import txredisapi
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from dragonbelly.errors import BadRecord, StateUnavailable
from dragonbelly.interfaces import ITracked, Snapshot, Told
from dragonbelly.model import Path
from dragonbelly.state import accounts
from dragonbelly.state.boundary import asked
from dragonbelly.state.connection import Connection, shielded
from dragonbelly.state.keys import Keys
from dragonbelly.state.protocol import RedisFactory, RedisProtocol, one_line
from dragonbelly.tuning import come_first
from dragonbelly.waiting import together

#: Where a server tells what changed.
NEWS = b"__redis__:invalidate"

#: Seconds between two proofs that both connections live, and how long one is believed: the longest that an
#: answer from memory can be behind, when a connection dies without a word.
BEAT, BELIEVED = 1.0, 3.0


class News(RedisProtocol):
    """
    ``heard`` is called with the keys that changed; with anything else: any may have.  What is there is heard
    before whoever else has something to say in the same turn of the reactor: a reader, say, of what changed.
    """

    heard: Callable[[Any], None]

    def connectionMade(self) -> None:
        super().connectionMade()
        first, descriptor = come_first(self._clock), self.transport.fileno()
        first.add(descriptor)
        self.lost.addCallback(lambda _: first.discard(descriptor))

    def replyReceived(self, reply: Any) -> None:
        if isinstance(reply, list) and len(reply) == 3 and reply[0] == b"message":
            self.heard(reply[2])
        else:
            super().replyReceived(reply)


@implementer(ITracked)
class TrackedRecords:
    """
    ``connect(prepare)`` makes the connection that is kept up; each protocol of it is given to ``prepare``
    before it is used.  ``run`` tells which run of which server is written to, "" if that is not known: no other
    one is read.  Nothing is connected before the first ``get``.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        keys: Keys,
        reply_timeout: float,
        connect: Callable[..., Connection],
        run: Callable[[], str],
    ) -> None:
        self.changed: Callable[[str | None], None] = lambda member: None
        self.proven = self.until = 0.0
        self._reactor = reactor
        self._keys = keys
        self._run = run
        self._news = RedisFactory(reactor, reply_timeout, News)
        self.connection = connect(self._prepare)
        self._protocol: RedisProtocol | None = None
        self._beating: Deferred[None] | None = None
        self._refusal = ""

    def ask(self, path: Path, told: Told) -> None:
        protocol = self._protocol
        if protocol is None:
            self.connection.start()
            told(StateUnavailable("nobody tells what changes"))
        elif self._is_another(protocol):
            self.until = 0.0
            protocol.abort()
            told(StateUnavailable("what is written goes to another server"))
        else:
            protocol.ask(partial(self._came, path, told), "GET", self._keys.record(path))

    def after(self, act: Callable[[], None]) -> None:
        protocol = self._protocol
        if protocol is None or protocol.after is None:
            act()
        else:
            protocol.after.append(act)

    def get(self, path: Path) -> Deferred[Snapshot]:
        return asked(self, path)

    def _came(self, path: Path, told: Told, reply: bytes | Exception | None) -> None:
        try:
            if isinstance(reply, Exception):
                told(StateUnavailable(f"GET: {reply}"))
                return
            try:
                snapshot = accounts.snapshot_once(path, reply or accounts.ABSENT)
            except BadRecord as error:
                told(error)
            else:
                told(snapshot)
        except Exception:
            self._log.failure("{path} was read", path=path.member)  # others wait for their replies, too

    def _is_another(self, protocol: RedisProtocol) -> bool:
        """Whether it leads to another server than what is written: as for some moments of a failover."""
        run = self._run()
        return run != protocol.run and run != ""

    async def _prepare(self, protocol: RedisProtocol) -> None:
        """Have the server tell what is written."""
        news: News = await self.connection.open(self._news)
        # They live and die together: without the one, the server tells nothing; without the other, nobody
        # hears.
        news.lost.addCallback(lambda _: protocol.abort())
        protocol.lost.addCallback(self._lost, protocol, news)
        try:
            await self._subscribe(protocol, news)
        except (txredisapi.ResponseError, ConnectionError) as error:
            self._refused(one_line(error))
            raise
        self._refused("")
        # What was told while nobody heard is not known.
        self.changed(None)
        self._protocol = protocol
        self._beating = Deferred.fromCoroutine(self._beat(protocol, news))
        self._beating.addErrback(self._not_beating, protocol)

    async def _subscribe(self, protocol: RedisProtocol, news: News) -> None:
        if news.run != protocol.run:
            raise ConnectionError("two connections led to two servers")
        if self._is_another(protocol):
            raise ConnectionError("what is written goes to another server")
        news.heard = self._heard
        id = await news.execute_command("CLIENT", "ID")
        await news.execute_command("SUBSCRIBE", NEWS)
        # Of all records that are written, read by us or not: else Redis has a table of what was read, by whom,
        # and once that is full (tracking-table-max-keys) spends more on forgetting than on answering.
        await protocol.execute_command(
            "CLIENT", "TRACKING", "ON", "REDIRECT", id, "BCAST", "PREFIX", self._keys.records
        )

    def _refused(self, why: str) -> None:
        """Say it once.  That a server is away is said by the connection that everything else goes by."""
        if why and why != self._refusal:
            self._log.warn(
                "Redis at {address}: it does not tell what changes, so every GET asks it: {why}",
                address=str(self.connection.address),
                why=why,
            )
        elif self._refusal and not why:
            self._log.info("Redis at {address}: it tells what changes", address=str(self.connection.address))
        self._refusal = why

    async def _beat(self, protocol: RedisProtocol, news: News) -> None:
        while not self._is_another(protocol):
            began = self._reactor.seconds()
            # What was told before a reply on the same connection was heard before it; and Redis tells of a
            # write before it answers who wrote (beforeSleep in its server.c), so of all that were answered
            # before we asked.  A protocol that is lost raises instead of failing.
            await together([maybeDeferred(each.execute_command, "PING") for each in (protocol, news)])
            self.proven, self.until = began, began + BELIEVED
            await deferLater(self._reactor, BEAT)
        protocol.abort()

    def _not_beating(self, failure: Failure, protocol: RedisProtocol) -> None:
        if not failure.check(CancelledError, txredisapi.RedisError):
            self._log.failure("Redis: hearing what changes", failure)
        protocol.abort()

    def _lost(self, _: None, protocol: RedisProtocol, news: News) -> Deferred[None]:
        if self._protocol is protocol:
            self._protocol, self.until = None, 0.0
            if self._beating is not None:
                self._beating.cancel()
        news.abort()
        return shielded(news.lost)  # the end of the one is not told before that of the other

    def _heard(self, keys: Any) -> None:
        """``keys`` is a list, or else it is not known which."""
        if not isinstance(keys, list):
            self.changed(None)
            return
        for key in keys:
            if (member := self._keys.member_of(key)) is not None:
                self.changed(member)
