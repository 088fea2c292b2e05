"""What a server answers: the header, parsed by llhttp, and the body on its way."""

from __future__ import annotations

from typing import Protocol

import httptools
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

#: Digits of a length, at most: an exabyte.
DIGITS = 18


class Source(Protocol):
    """What a body needs of its connection."""

    def hold(self) -> None: ...

    def go_on(self) -> None: ...


class Reader(Protocol):
    """Whoever takes a body; ``reason`` is ``ResponseDone`` if all of it came."""

    def dataReceived(self, data: bytes) -> None: ...

    def connectionLost(self, reason: Failure) -> None: ...


class Response:
    """
    ``headers`` are by name in lower case, those of one name put together; ``length`` is of the body, None if it
    was not announced.  ``over``: the body has come whole, or will not, and the connection is no longer ours.
    """

    def __init__(self, source: Source, turn: int) -> None:
        self.turn = turn
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.length: int | None = None
        self._source = source
        self._early: list[bytes] = []
        self._reader: Reader | None = None
        self._end: Failure | None = None
        self._held = False

    @property
    def announced(self) -> int | None:
        """``Content-Length``, also of an answer to HEAD: of the body that a GET would have had."""
        value = self.headers.get(b"content-length", b"")
        return int(value) if value.isdigit() and len(value) <= DIGITS else None

    @property
    def over(self) -> bool:
        return self._end is not None

    @property
    def read(self) -> bool:
        """Whether somebody takes the body."""
        return self._reader is not None

    def deliver(self, reader: Reader) -> None:
        """Give it what has come of the body, and the rest as it comes."""
        self._reader = reader
        early, self._early = self._early, []
        for data in early:
            reader.dataReceived(data)
        if self._end is not None:
            reader.connectionLost(self._end)
        elif not self._held:
            self._source.go_on()

    # --- what its connection says

    def take(self, data: bytes) -> None:
        if self._reader is None:
            self._early.append(data)
        else:
            self._reader.dataReceived(data)

    def end(self, reason: BaseException | None = None) -> None:
        """There is no more: it is whole, or else the ``reason`` why it is not."""
        self._end = Failure(ResponseDone()) if reason is None else Failure(reason)
        if self._reader is not None:
            self._reader.connectionLost(self._end)

    # --- what its reader says

    def hold(self) -> None:
        self._held = True
        if self._end is None:
            self._source.hold()

    def go_on(self) -> None:
        self._held = False
        if self._end is None:
            self._source.go_on()


class Parser:
    """
    llhttp, for one answer; it calls the methods ``on_…``.  ``pieces`` are what it found of a body in chunks,
    which is ``complete`` or not; ``excess``: there is more behind it.
    ``kept``: the server does not close the connection after it.
    """

    def __init__(self, response: Response) -> None:
        self.pieces: list[bytes] = []
        self.headed = self.complete = self.excess = self.kept = False
        self._response = response
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """:raises ValueError: that is no HTTP, or not what was asked for."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise ValueError("it changes to another protocol") from None
        except httptools.HttpParserError as error:
            raise ValueError(f"that is no HTTP: {error}") from None

    def on_message_begin(self) -> None:
        self.excess = self.headed

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.headed:  # else it comes behind the chunks
            headers, name = self._response.headers, name.lower()
            headers[name] = headers[name] + b", " + value if name in headers else value

    def on_headers_complete(self) -> None:
        if not self.headed:
            self.headed = True
            self._response.status = self._parser.get_status_code()
            self.kept = self._parser.should_keep_alive()  # later it has forgotten

    def on_body(self, data: bytes) -> None:
        self.pieces.append(data)

    def on_message_complete(self) -> None:
        self.complete = True
