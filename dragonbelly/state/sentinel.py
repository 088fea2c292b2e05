"""Where the master is, by its sentinels."""

from __future__ import annotations

from typing import Any, NamedTuple

import txredisapi
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from dragonbelly.state.address import RedisAddress, host_and_port
from dragonbelly.state.protocol import RedisFactory, one_line
from dragonbelly.waiting import together


class Told(NamedTuple):
    """Which server is the master; ``epoch`` is counted up with every failover."""

    host: str
    port: int
    epoch: int

    def __str__(self) -> str:
        return host_and_port(self.host, self.port)


@implementer(IStreamClientEndpoint)
class Sentinels:
    """
    Connects to the master that the sentinels of ``address`` name.

    All of them are asked, each for at most ``timeout`` seconds, and what counts is the newest that the first
    half of them and one more say, or whoever answers at all.  Why not the first to answer: one that is cut off
    from the others goes on naming the old master, and no failover happens without more than half of them.
    """

    def __init__(self, reactor: Any, address: RedisAddress, timeout: float) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._name = address.name
        self._login = [word for word in (address.sentinel_username, address.sentinel_password) if word]
        self._places = address.sentinels

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        told = await self.master()
        protocol: Any = await HostnameEndpoint(self._reactor, told.host, told.port).connect(factory)
        protocol.told = told
        protocol.elsewhere = lambda: self._elsewhere(told)
        return protocol  # type: ignore[no-any-return]

    async def _elsewhere(self, told: Told) -> Told | None:
        """The master, if it is another by now than ``told``.  That no sentinel answers says nothing."""
        try:
            now = await self.master()
        except ConnectionError:
            return None
        # No failover is without a new epoch: what is not newer is old news, from a sentinel that was away, or
        # another name for the same server.
        return now if now[:2] != told[:2] and now.epoch > told.epoch else None

    def master(self) -> Deferred[Told]:
        """:raises ConnectionError: none of them says."""
        told: list[Told] = []
        silent: dict[str, str] = {}
        asking = [Deferred.fromCoroutine(self._ask(host, port)) for host, port in self._places]

        def give_up(decided: Deferred[Told]) -> None:
            decided.errback(CancelledError())
            _cancel(asking)

        decided: Deferred[Told] = Deferred(give_up)

        def answered(result: Told | Failure, place: str) -> None:
            if isinstance(result, Failure):
                silent[place] = self._reason(result)
            else:
                told.append(result)
            enough = 2 * len(told) > len(asking) or len(told) + len(silent) == len(asking)
            if decided.called or not enough:
                return
            if told:
                decided.callback(max(told, key=lambda one: one.epoch))
            else:
                decided.errback(ConnectionError(f"no sentinel knows the master: {self._why(silent)}"))
            _cancel(asking)

        for question, (host, port) in zip(asking, self._places, strict=True):
            question.addTimeout(self._timeout, self._reactor)
            question.addBoth(answered, host_and_port(host, port))
        return decided

    async def _ask(self, host: str, port: int) -> Told:
        endpoint = HostnameEndpoint(self._reactor, host, port)
        sentinel: Any = await endpoint.connect(RedisFactory(self._reactor, self._timeout))
        try:
            if self._login:
                await sentinel.log_in(*self._login)
            where, details = await together(
                [
                    # Only this one tells of a promotion while the failover is still under way, …
                    sentinel.execute_command("SENTINEL", "get-master-addr-by-name", self._name),
                    # … and only this one the epoch.
                    sentinel.execute_command("SENTINEL", "MASTER", self._name),
                ]
            )
        finally:
            sentinel.transport.abortConnection()
        fields = dict(zip(details[::2], details[1::2], strict=False))
        return Told(where[0].decode(), int(where[1]), int(fields[b"config-epoch"]))

    def _why(self, silent: dict[str, str]) -> str:
        """
        Each reason once, with those who gave it, in the order of the configuration: it is said again only when
        it changes, whoever was the first to answer.
        """
        places: dict[str, list[str]] = {}
        for place in (host_and_port(host, port) for host, port in self._places):
            places.setdefault(silent[place], []).append(place)
        return "; ".join(f"{reason.rstrip('.')} ({', '.join(which)})" for reason, which in places.items())

    def _reason(self, failure: Failure) -> str:
        if failure.check(TimeoutError, ConnectingCancelledError, txredisapi.TimeoutError):
            return f"no answer within {self._timeout:g} s"
        if failure.check(txredisapi.RedisError) and "No such master" in failure.getErrorMessage():
            return f"it knows no master {self._name}"
        return one_line(failure.value)


def _cancel(asking: list[Deferred[Told]]) -> None:
    for question in asking:
        question.cancel()
