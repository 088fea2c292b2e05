"""
A leaner wire for many small uploads: plain HTTP/1.1 over sockets that are kept, one of each server for each
thread.  httpx takes several times the CPU; it does what is not plain: TLS, proxies, passwords in URLs.
"""

from __future__ import annotations

import re
import select
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit
from urllib.request import getproxies

import httptools

from dragonbelly.client.blocking import BlockingWire, iterate
from dragonbelly.client.wire import Answer, Body, NoAnswer, Request

#: A URL and headers that can be sent as they are.
_PLAIN_URL = re.compile(r"http://[^/?#@\s]+/[!-~]*")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[ -~]*")

RECEIVE = 64 * 1024


class Stopped(Exception):
    """The person wants no more."""


class UploadWire(BlockingWire):
    """``Wire``, for several threads.  ``stopped`` ends every wait with ``Stopped``."""

    def __init__(self, stopped: threading.Event) -> None:
        super().__init__()
        self._stopped = stopped
        self._mine = threading.local()
        self._all: list[_Connection] = []
        self._proxies = bool(getproxies().keys() - {"no"})

    async def ask(self, request: Request) -> Answer:
        if not self._is_plain(request):
            return await super().ask(request)
        body = request.body
        return self._exchange(request, iter((body,) if body else ()), len(body) if body is not None else 0)

    async def send(self, request: Request, chunks: AsyncIterator[bytes], length: int | None) -> Answer:
        if not self._is_plain(request):
            return await super().send(request, chunks, length)
        return self._exchange(request, iterate(chunks), length)

    async def sleep(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise Stopped

    async def close(self) -> None:
        await super().close()
        for connection in self._all:
            connection.close()

    def _is_plain(self, request: Request) -> bool:
        return (
            not self._proxies
            and _PLAIN_URL.fullmatch(request.url) is not None
            and all(_NAME.fullmatch(n) and _VALUE.fullmatch(v) for n, v in request.headers.items())
        )

    def _exchange(self, request: Request, chunks: Iterator[bytes], length: int | None) -> Answer:
        place = urlsplit(request.url)
        kept: dict[str, _Connection] = self._mine.__dict__
        connection = kept.pop(place.netloc, None)
        if connection is None or not connection.is_fresh():
            if connection is not None:
                connection.close()
            connection = _Connection(place.hostname or "", place.port or 80, request.timeout)
            self._all.append(connection)
        framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        lines = [
            f"{request.method} {request.url[7 + len(place.netloc) :]} HTTP/1.1",
            f"Host: {place.netloc}",
            *(f"{name}: {value}" for name, value in request.headers.items()),
            *([framing] if length != 0 or request.method in ("PUT", "POST") else ()),
            "\r\n",
        ]
        try:
            answer = connection.exchange(
                "\r\n".join(lines).encode(), _chunked(chunks) if length is None else chunks, request.timeout
            )
        except BaseException:
            connection.close()
            raise
        if connection.may_be_kept:
            kept[place.netloc] = connection
        else:
            connection.close()
        return answer


def _chunked(chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        if chunk:
            yield b"%x\r\n%b\r\n" % (len(chunk), chunk)
    yield b"0\r\n\r\n"


class _Connection:
    """One request after the other."""

    def __init__(self, host: str, port: int, timeout: float) -> None:
        try:
            self._socket = socket.create_connection((host, port), timeout)
        except (OSError, UnicodeError) as error:
            raise NoAnswer(str(error), sent=False) from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.may_be_kept = False

    def is_fresh(self) -> bool:
        """Nothing came since: neither an end nor what nobody asked for."""
        look = select.poll()
        look.register(self._socket, select.POLLIN)
        return not look.poll(0)

    def exchange(self, head: bytes, chunks: Iterator[bytes], timeout: float) -> Answer:
        self._socket.settimeout(timeout)
        reply = _Reply()
        first = next(chunks, b"")
        try:
            self._send(head + first)
            for chunk in chunks:
                self._send(chunk)
        except ConnectionError as error:
            # It may have said why it wants no more.
            try:
                return self._receive(reply)
            except NoAnswer:
                raise NoAnswer(str(error)) from None
        answer = self._receive(reply)
        self.may_be_kept = reply.may_be_kept
        return answer

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise NoAnswer(f"nothing was taken for {self._socket.gettimeout():g} s") from None

    def _receive(self, reply: _Reply) -> Answer:
        while not reply.whole:
            try:
                data = self._socket.recv(RECEIVE)
            except TimeoutError:
                raise NoAnswer(f"nothing came for {self._socket.gettimeout():g} s") from None
            except OSError as error:
                raise NoAnswer(str(error)) from None
            reply.take(data)
        return Answer(reply.status, reply.headers, reply.body.whole)

    def close(self) -> None:
        self._socket.close()


class _Reply:
    """An answer while it comes; the methods ``on_…`` are called by the parser."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = Body()
        self.whole = False
        self.may_be_kept = False

    def take(self, data: bytes) -> None:
        """:raises NoAnswer: it is no HTTP, or ends too soon."""
        if not data:
            if self.status < 200 or self.headers.keys() & {"content-length", "transfer-encoding"}:
                raise NoAnswer("the connection was closed without an answer")
            self.whole = True
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise NoAnswer(f"that is no HTTP: {error}") from None

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self.body.add(data)

    def on_message_complete(self) -> None:
        if self.status < 200:  # RFC 9110 section 15.2: the answer is still to come
            self.headers.clear()
        else:
            self.whole = True
            self.may_be_kept = self._parser.should_keep_alive()
