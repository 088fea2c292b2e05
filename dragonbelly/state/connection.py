"""
One connection to Redis that is kept up, with txredisapi's protocol.

txredisapi's own pool is not used: a call waits in it without bound while nothing is connected, it gives up
for good after a refused AUTH or SELECT (a Redis that is still loading refuses like that), and it takes its
clock from the global reactor.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import txredisapi
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from dragonbelly.errors import StartError, StateUnavailable
from dragonbelly.state.address import RedisAddress
from dragonbelly.state.protocol import (
    Argument,
    RedisFactory,
    RedisProtocol,
    Script,
    info_fields,
    one_line,
    run_of,
)
from dragonbelly.waiting import together

#: Between attempts to connect, in seconds: doubled after each failure up to the last.
FIRST_DELAY = 0.1
LAST_DELAY = 1.0

#: How replies begin that no waiting will mend: somebody has to change a setting.
_REFUSALS = ("WRONGPASS", "NOAUTH", "NOPERM", "ERR AUTH", "ERR DB index", "ERR invalid DB index")

#: Seconds between two looks whether the server is still the one that was greeted.
WATCH = 1.0


class Connection:
    """
    Connects at the first use and again whenever the connection is lost, until it is closed.

    A call while nothing is connected fails at once, and one that gets no answer within ``reply_timeout``
    seconds ends the connection: always with ``StateUnavailable``, which says what failed.  Commands are
    pipelined.  ``observe`` is told the name and the seconds of each command that was answered.  ``prepare`` is
    given each protocol before it is used.  One that is ``quiet`` does not say in the log when it is up or down:
    another one to the same place does.

    A server that is not any more what it was when it was greeted is left within seconds: one that was made a
    replica, was emptied, or is the master no more in the eyes of the sentinels.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        address: RedisAddress,
        endpoint: IStreamClientEndpoint,
        *,
        reply_timeout: float,
        observe: Callable[[str, float], None] | None = None,
        prepare: Callable[[Any], Awaitable[None]] | None = None,
        quiet: bool = False,
    ) -> None:
        self._reactor = reactor
        self.address = address
        self._endpoint = endpoint
        self._reply_timeout = reply_timeout
        self._observe = observe
        self._factory = RedisFactory(reactor, reply_timeout)
        self._prepare = prepare
        self._quiet = quiet
        #: A command and its reply, by which a server is known to be the one that it was.
        self.proof: tuple[Sequence[Argument], bytes] | None = None
        self._protocol: RedisProtocol | None = None
        self._loop: Deferred[None] | None = None
        self._closed = False
        self._why = "not connected yet"
        self._refused = False
        self._waiting: list[Deferred[None]] = []

    @property
    def run(self) -> str:
        """
        Which run of which server is connected, "" if none is: all that is sent is sent to this one.  A server
        that was a replica for a while is another run, too: it may have lost its last writes to its master.
        """
        return self._protocol.run if self._protocol else ""

    async def connected(self) -> None:
        """
        Wait for the attempt to connect that is under way, or the next one.

        :raises StateUnavailable: it failed.
        :raises StartError: it failed, and will until somebody changes a setting.
        """
        self.start()
        if self._protocol is None and not self._closed:
            waiter: Deferred[None] = Deferred()
            self._waiting.append(waiter)
            await waiter
        if self._protocol is None:
            raise StartError(self._said(self._why)) if self._refused else self._unavailable(self._why)

    async def execute(self, *command: Argument) -> Any:
        """The reply to one command: bytes, int, None, or a list of them."""
        [reply] = await self.batch([command])
        return reply

    async def batch(self, commands: Sequence[Sequence[Argument]], name: str | None = None) -> list[Any]:
        """The replies to several commands, all of them sent at once.  They are not a transaction."""
        return await self._send(self._connected(), commands, name)

    async def script(self, script: Script, keys: Sequence[Argument], arguments: Sequence[Argument]) -> Any:
        """What a script replies.  One that the server does not know is sent to it, nothing having been done."""
        protocol = self._connected()
        rest = (len(keys), *keys, *arguments)
        try:
            [reply] = await self._send(protocol, [("EVALSHA", script.sha1, *rest)], script.name)
        except _NoScript:
            [reply] = await self._send(protocol, [("EVAL", script.source, *rest)], script.name)
        return reply

    async def close(self) -> None:
        self._closed = True
        self._why = "closed"
        loop, self._loop = self._loop, None
        protocol = self._protocol
        if loop is not None:
            loop.cancel()
        if protocol is not None:
            await shielded(protocol.lost)

    def _connected(self) -> RedisProtocol:
        self.start()
        if self._protocol is None:
            raise self._unavailable(f"not connected: {self._why}")
        return self._protocol

    async def _send(
        self, protocol: RedisProtocol, commands: Sequence[Sequence[Argument]], name: str | None = None
    ) -> list[Any]:
        name = name or str(commands[0][0])
        began = self._reactor.seconds()
        replies = await self._ask(protocol, commands, name)
        if self._observe is not None:
            self._observe(name, self._reactor.seconds() - began)
        return replies

    async def _ask(
        self, protocol: RedisProtocol, commands: Sequence[Sequence[Argument]], name: str
    ) -> list[Any]:
        try:
            if len(commands) == 1:  # nearly all of them, and the rest costs as much again
                return [await protocol.execute_command(*commands[0])]
            return await together(
                # A protocol may be lost between one command and the next: it raises instead of failing.
                [maybeDeferred(protocol.execute_command, *command) for command in commands]
            )
        except txredisapi.TimeoutError:
            # The connection is ended for it, but only when all were told.
            self._drop(protocol, f"no answer within {self._reply_timeout:g} s")
            raise self._unavailable(f"{name}: {protocol.reason}") from None
        except txredisapi.ResponseError as error:
            if str(error).startswith("NOSCRIPT"):
                raise _NoScript from None
            if "READONLY" in str(error):
                # It was made a replica of another.  Look again who is there, and do not read old news from it.
                self._drop(protocol, "it became a replica")
            raise self._unavailable(f"{name}: {error}") from error
        except txredisapi.RedisError as error:
            raise self._unavailable(f"{name}: {protocol.reason or error}") from error

    def start(self) -> None:
        """Connect, if that has not begun."""
        if self._loop is None and not self._closed:
            self._loop = Deferred.fromCoroutine(self._keep_connected())
            self._loop.addErrback(self._stopped)

    async def _keep_connected(self) -> None:
        failures = 0
        while True:
            protocol: Any = None
            try:
                protocol = await self.open(self._factory)
                if self._prepare is not None:
                    await self._prepare(protocol)
            except Exception as error:
                if protocol is not None:
                    protocol.abort()
                if self._closed:
                    raise
                why = (
                    f"no connection within {self._reply_timeout:g} s"
                    if isinstance(error, TimeoutError)
                    else one_line(error)
                )
                self._down(why, refused=why.startswith(_REFUSALS))
                failures += 1
            else:
                failures = 0
                self._up(protocol)
                watching = Deferred.fromCoroutine(self._watch(protocol))
                watching.addErrback(self._not_watched, protocol)
                try:
                    await shielded(protocol.lost)
                finally:
                    self._protocol = None
                    protocol.abort()
                    watching.cancel()
                self._down(protocol.reason)
            await deferLater(self._reactor, min(LAST_DELAY, FIRST_DELAY * 2 ** min(failures, 10)))

    async def open(self, factory: IProtocolFactory) -> Any:
        """One more connection to where this one leads, greeted.  What is against it is raised."""
        protocol: Any = await self._endpoint.connect(factory).addTimeout(self._reply_timeout, self._reactor)
        try:
            await self._greet(protocol)
        except BaseException:
            protocol.abort()
            raise
        return protocol

    async def _greet(self, protocol: RedisProtocol) -> None:
        """Make a fresh connection usable, or raise what is against it."""
        ask = protocol.execute_command
        address = self.address
        try:
            if address.password is not None:
                await protocol.log_in(*([address.username] if address.username else []), address.password)
            if address.db:
                await ask("SELECT", address.db)
            info = info_fields(await ask("INFO"))
        except txredisapi.TimeoutError:
            raise ConnectionError(f"no answer within {self._reply_timeout:g} s") from None
        except txredisapi.ConnectionError as error:
            raise ConnectionError(protocol.reason or str(error)) from None
        if info.get("loading") == "1":
            raise ConnectionError("it is still loading its data")
        proof = await ask(*self.proof[0]) if self.proof is not None else None
        if (why := self._amiss(info, proof)) is not None:
            raise ConnectionError(why)
        protocol.run = run_of(info)

    def _amiss(self, info: Mapping[str, str], proof: bytes | None) -> str | None:
        """What is against a server with this ``INFO``, and this reply to the command of ``proof``."""
        if info.get("role") == "slave":
            return "it is a replica of another Redis, and read-only"
        if self.proof is not None and proof != self.proof[1]:
            return "it holds another store than before, or none: were its data lost?"
        return None

    async def _watch(self, protocol: RedisProtocol) -> None:
        """Look every so often whether the server is still what it was, and leave it when it is not."""
        while True:
            await deferLater(self._reactor, WATCH)
            try:
                why = await self._changed(protocol)
            except StateUnavailable:
                continue  # a server that does not answer was left already
            if why is not None:
                self._drop(protocol, why)

    async def _changed(self, protocol: RedisProtocol) -> str | None:
        # Asked first: a server that is cut off from its replicas finds nothing wrong with itself.
        if protocol.elsewhere is not None and (elsewhere := await protocol.elsewhere()) is not None:
            return f"the master is {elsewhere} now, by the sentinels"
        proof = self.proof
        commands: list[Sequence[Argument]] = [("INFO", "replication"), *([proof[0]] if proof else [])]
        reply, *proven = await self._ask(protocol, commands, "watch")
        info = info_fields(reply)
        if proof is not self.proof:
            return None  # it is only now that we know what to look for
        return self._amiss(info, *proven or [None]) or (
            "it was a replica meanwhile" if run_of(info, protocol.run) != protocol.run else None
        )

    def _not_watched(self, failure: Failure, protocol: RedisProtocol) -> None:
        if not failure.check(CancelledError):
            self.log.failure("Redis at {address}: watching", failure, address=str(self.address))
            self._drop(protocol, "it cannot be watched")

    def _up(self, protocol: RedisProtocol) -> None:
        self._protocol = protocol
        self._refused = False
        self._why = ""
        where = f"{self.address} ({protocol.told})" if protocol.told is not None else str(self.address)
        if not self._quiet:
            self.log.info("Redis at {address}: connected", address=where)
        self._fire()

    def _drop(self, protocol: RedisProtocol, why: str) -> None:
        """Use a connection no more, from this moment on; ``_keep_connected`` goes on when it is lost."""
        if self._protocol is protocol:
            protocol.reason = why
            self._protocol = None
            protocol.abort()
            self._down(why)

    def _down(self, why: str, refused: bool = False) -> None:
        if why != self._why and not self._quiet:  # once for each reason, and not for each attempt
            self.log.warn("Redis at {address}: {why}; trying again", address=str(self.address), why=why)
        self._why = why
        self._refused = refused
        self._fire()

    def _fire(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(None)

    def _stopped(self, failure: Failure) -> None:
        self._fire()
        if not self._closed:
            self.log.failure("Redis at {address}: gave up", failure, address=str(self.address))

    def _said(self, what: str) -> str:
        return f"Redis at {self.address}: {what}"

    def _unavailable(self, what: str) -> StateUnavailable:
        return StateUnavailable(self._said(what))


class _NoScript(Exception):
    """The server does not know the script."""


def shielded(event: Deferred[None]) -> Deferred[None]:
    """One that fires with ``event`` and can be cancelled without it."""
    mirror: Deferred[None] = Deferred()
    event.addCallback(lambda _: None if mirror.called else mirror.callback(None))
    return mirror
