"""
A redirector that is nothing but its parts: llhttp (httptools) on Twisted's reactor (epoll on Linux) asks Redis
for each request, with txredisapi on one connection, and sends the reader to the value.  A reference for
measurements, and no server to use.

Run by ``benchmarks.references``: ``python -m benchmarks.llhttp_redis PORT REDIS_SOCKET [HEADER ...]``.
"""

from __future__ import annotations

import sys
from typing import Any

import httptools
import txredisapi
from twisted.internet import protocol
from twisted.internet.defer import Deferred
from twisted.internet.task import react

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Redirector(protocol.Protocol):
    """One connection; of requests that are pipelined the answers may come in another order."""

    transport: Any

    def __init__(self, redis: Any, rest: bytes) -> None:
        self._redis, self._rest = redis, rest
        self._url = b""
        self._parser = httptools.HttpRequestParser(self)

    def dataReceived(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_message_complete(self) -> None:
        path, self._url = httptools.parse_url(self._url).path, b""
        self._redis.get(path).addCallback(self._answer)

    def _answer(self, location: bytes | None) -> None:
        if location is None:
            self.transport.write(NOT_FOUND)
        else:
            self.transport.write(b"HTTP/1.1 302 Found\r\nLocation: " + location + self._rest)


async def serve(reactor: Any, port: int, socket: str, *headers: str) -> None:
    rest = "\r\n".join(["", *headers, "Content-Length: 0", "", ""]).encode()
    # Its pool of connections and its deadlines take as long again as all the rest.
    options = {"charset": None, "convertNumbers": False, "replyTimeout": None}
    connecting = protocol.ClientCreator(reactor, txredisapi.HiredisProtocol, **options)
    redis = await connecting.connectUNIX(socket)
    factory: Any = protocol.Factory()
    factory.buildProtocol = lambda _: Redirector(redis, rest)
    reactor.listenTCP(port, factory, interface="127.0.0.1")
    await Deferred()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(serve(reactor, int(sys.argv[1]), *sys.argv[2:])))
