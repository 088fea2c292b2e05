"""
Listening sockets that stay open while those change who serve them: another configuration, another process.

An endpoint of Twisted opens a socket and serves it in one step.  Here the endpoint is given a reactor that
opens the socket once and lends it from then on, so that whatever the endpoint wraps around a connection (TLS,
the PROXY protocol) is made anew for who serves next, and no client is ever refused in between.
"""

from __future__ import annotations

import os
import re
import socket
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory

from dragonbelly.errors import StartError
from dragonbelly.starting import endpoint, listen_on

#: An endpoint whose socket systemd opened; it can be told apart once only, by the process that systemd started.
_SYSTEMD = re.compile(r"((?:haproxy:)?)systemd:.*")


class ListeningSocket:
    """
    The socket of an endpoint string, which nobody serves yet.  ``fileno`` is the descriptor of one that is
    there already; ``late``: the process has begun to open other things.

    :raises StartError: it is no endpoint, or the address is taken.
    """

    def __init__(self, reactor: Any, where: str, fileno: int | None = None, *, late: bool = False) -> None:
        if late and _SYSTEMD.match(where):
            raise StartError(f"cannot listen on {where}: what systemd opens is handed over at a start only")
        self.where = where
        self._lender = _Lender(reactor, fileno)
        self._serving: IListeningPort | None = None
        self._held: Any = None
        if fileno is None:
            self._held = listen_on(self._found(where), where, _Reserved())
            self._held.stopReading()
            # Closed is not shut down: workers that end in the same moment may be about to accept from it.
            self._held._shouldShutdown = False
            self._lender.fileno = self._held.fileno()
        self.look_again()

    def _found(self, where: str) -> IStreamServerEndpoint:
        try:
            return endpoint(self._lender, where)
        except StartError as error:
            if not _SYSTEMD.match(where):
                raise
            raise StartError(f"{where}: systemd handed no such socket over (see dragonbelly.socket)") from error

    def look_again(self) -> None:
        """
        Read what the endpoint needs, such as certificates, as it is now.

        :raises StartError: it cannot be read.
        """
        self._endpoint = endpoint(self._lender, _SYSTEMD.sub(r"\1tcp:0", self.where))

    @property
    def fileno(self) -> int:
        """For another process to serve it."""
        assert self._lender.fileno is not None
        return self._lender.fileno

    @property
    def port(self) -> IListeningPort | None:
        """What serves it here."""
        return self._serving

    def serve(self, factory: IProtocolFactory) -> None:
        """New connections are for ``factory`` from now on."""
        before, self._serving = self._serving, listen_on(self._endpoint, self.where, factory)
        if before is not None:
            maybeDeferred(before.stopListening)

    def rest(self) -> Deferred[Any]:
        """Serve it no more, here; it stays open."""
        serving, self._serving = self._serving, None
        return maybeDeferred(lambda: serving.stopListening() if serving is not None else None)

    async def close(self) -> None:
        await self.rest()
        if self._held is not None:
            await maybeDeferred(self._held.stopListening)


class _Lender:
    """A reactor whose socket is opened once; ``fileno`` is that one, which is lent from then on."""

    def __init__(self, reactor: Any, fileno: int | None) -> None:
        self._reactor = reactor
        self.fileno = fileno

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, *args: Any, **kwargs: Any) -> Any:
        if self.fileno is None:
            return self._reactor.listenTCP(port, factory, *args, **kwargs)
        return _lend(self._reactor, self.fileno, factory)

    def listenUNIX(self, address: str, factory: Any, *args: Any, **kwargs: Any) -> Any:
        if self.fileno is None:
            return self._reactor.listenUNIX(address, factory, *args, **kwargs)
        return _lend(self._reactor, self.fileno, factory)

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, *args: Any, **kwargs: Any) -> Any:
        return self.listenTCP(port, TLSMemoryBIOFactory(contextFactory, False, factory), *args, **kwargs)

    def adoptStreamPort(self, fileno: int, family: int, factory: Any) -> Any:
        """What systemd opened is its own: a file that is its name is not for us to remove."""
        return _lend(self._reactor, fileno, factory)


def _lend(reactor: Any, fileno: int, factory: Any) -> tcp.Port:
    with socket.socket(fileno=os.dup(fileno)) as lent:
        if lent.family == socket.AF_UNIX:
            port: tcp.Port = _SharedUnixPort._fromListeningDescriptor(reactor, lent.fileno(), factory)
        else:
            port = _SharedPort._fromListeningDescriptor(reactor, lent.fileno(), lent.family, factory)
    port.startListening()
    return port


class _SharedPort(tcp.Port):
    """Takes one connection at a time: who else serves the socket gets some of many that come at once."""

    numberAccepts = property(lambda self: 1, lambda self, _: None)


class _SharedUnixPort(unix.Port):
    """The same; that its name is a file which has to be made and removed is another's affair."""

    numberAccepts = property(lambda self: 1, lambda self, _: None)
    _shouldShutdown = False

    factory: Any
    fileno: Any

    def startListening(self) -> None:
        self.factory.doStart()
        self.connected = True
        lent: Any = self._preexistingSocket
        self.socket, self._preexistingSocket = lent, None
        self.fileno = lent.fileno
        self.startReading()

    def connectionLost(self, reason: Any) -> None:
        tcp.Port.connectionLost(self, reason)


class _Reserved(Factory):
    noisy = False
