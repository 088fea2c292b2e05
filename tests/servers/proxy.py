"""A TCP proxy in the test's own reactor, for a network that breaks: cut, refused, frozen, or deaf one way."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from dragonbelly.testing import reactor
from tests.servers.ports import free_port


class Proxy:
    """
    Takes connections on ``port`` of 127.0.0.1 and carries them to ``target``, another port of it.

    ``freeze`` holds all bytes back, both ways, those of new connections too; ``deafen`` those of the answers
    only, so that what was asked is done and nobody hears of it; ``hold`` does so to a single connection.
    ``thaw`` lets them go on, ``cut`` resets every connection, ``refuse`` takes no new ones until ``accept``.
    All of them may be called from any thread.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self.frozen = False
        self.deaf = False
        self.pairs: set[_Near] = set()
        self._listening: IListeningPort | None = None

    def start(self) -> Proxy:
        self.accept()
        return self

    def close(self) -> None:
        """Nothing of it is left: no listener, no connection."""
        self.refuse()
        self.cut()

    def accept(self) -> None:
        reactor.run(self._accept)

    def refuse(self) -> None:
        reactor.run(self._refuse)

    def cut(self) -> None:
        reactor.run(self._cut)

    def freeze(self) -> None:
        reactor.run(lambda: self._hold(frozen=True, deaf=False))

    def deafen(self) -> None:
        reactor.run(lambda: self._hold(frozen=False, deaf=True))

    def hold(self, port: int) -> None:
        """Hold back the answers on the connection that the target sees to come from this port."""
        reactor.run(lambda: self._hold_one(port))

    def thaw(self) -> None:
        reactor.run(lambda: self._hold(frozen=False, deaf=False))

    # --- in the reactor's thread

    async def _accept(self) -> None:
        if self._listening is None:
            self._listening = reactor.start().listenTCP(self.port, _Nears(self), interface="127.0.0.1")

    async def _refuse(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            await listening.stopListening()

    def _cut(self) -> None:
        for pair in list(self.pairs):
            pair.abort()

    def _hold(self, frozen: bool, deaf: bool) -> None:
        self.frozen, self.deaf = frozen, deaf
        for pair in list(self.pairs):
            pair.obey()

    def _hold_one(self, port: int) -> None:
        [pair] = [pair for pair in self.pairs if pair.far_port == port]
        pair.hold_answers()

    def __enter__(self) -> Proxy:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _End(Protocol):
    """One end of a pair: what it receives the other sends, no faster than that is taken."""

    other: _End | None = None
    _held = False
    _full = False
    _ended = False

    def dataReceived(self, data: bytes) -> None:
        assert self.other is not None
        self.other.transport.write(data)

    def hold(self, held: bool) -> None:
        self._held = held
        self._obey()

    def _obey(self) -> None:
        transport: Any = self.transport
        if transport is None or self._ended:
            return
        if self._held or self._full or self.other is None:
            transport.pauseProducing()
        else:
            transport.resumeProducing()

    def join(self, other: _End) -> None:
        """Both are connected now."""
        self.other = other
        transport: Any = self.transport
        transport.registerProducer(_Source(other), True)
        self._obey()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._ended = True
        if self.other is not None and not self.other._ended:
            transport: Any = self.other.transport
            # A clean end comes after all bytes; anything else is a reset for the other side as well.
            transport.unregisterProducer()
            if reason.check(type(connectionDone.value)):
                transport.loseConnection()
            else:
                transport.abortConnection()


class _Source:
    """Tells an end that its other end's buffer is full, or no longer."""

    def __init__(self, end: _End) -> None:
        self._end = end

    def pauseProducing(self) -> None:
        self._end._full = True
        self._end._obey()

    def resumeProducing(self) -> None:
        self._end._full = False
        self._end._obey()

    def stopProducing(self) -> None:
        """The other end is gone, and says so itself."""


class _Near(_End):
    """The client's end; it connects the far one."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._far = _Far(self)
        self._connecting: Any = None

    def connectionMade(self) -> None:
        self._proxy.pairs.add(self)
        self.obey()
        self._connecting = reactor.start().connectTCP(
            "127.0.0.1", self._proxy.target, _Fars(self._far), timeout=10
        )

    def obey(self) -> None:
        self.hold(self._proxy.frozen)
        self._far.hold(self._proxy.frozen or self._proxy.deaf)

    def hold_answers(self) -> None:
        self._far.hold(True)

    @property
    def far_port(self) -> int:
        """As the target sees it; 0 if it is not connected."""
        transport: Any = self._far.transport
        return int(transport.getHost().port) if transport is not None else 0

    def connected_far(self) -> None:
        if self._ended:
            self._far.transport.abortConnection()  # type: ignore[union-attr]
            return
        self.join(self._far)
        self._far.join(self)

    def not_connected(self) -> None:
        if not self._ended:
            self.transport.abortConnection()  # type: ignore[union-attr]

    def abort(self) -> None:
        self._connecting.disconnect()
        for end in (self, self._far):
            transport: Any = end.transport
            if transport is not None and not end._ended:
                transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._proxy.pairs.discard(self)
        super().connectionLost(reason)
        if self.other is None:
            self._connecting.disconnect()


class _Far(_End):
    """The server's end."""

    def __init__(self, near: _Near) -> None:
        self.near = near

    def connectionMade(self) -> None:
        self.near.connected_far()


class _Nears(Factory):
    noisy = False

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def buildProtocol(self, addr: object) -> _Near:
        return _Near(self._proxy)


class _Fars(ClientFactory):
    noisy = False

    def __init__(self, far: _Far) -> None:
        self._far = far

    def buildProtocol(self, addr: object) -> _Far:
        return self._far

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self._far.near.not_connected()
