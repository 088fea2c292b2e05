"""What answers have in common: those to requests with the same headers, and all of one second."""

from __future__ import annotations

import re

from twisted.web import http

from dragonbelly.web.heads import Fields
from dragonbelly.web.parts import Parts
from dragonbelly.web.redirects import Redirect
from dragonbelly.web.site import SERVER

_VALUE = re.compile("[^\x00-\x08\x0a-\x1f\x7f]*")

_NO_LINES: Parts[bytes, Redirect] = Parts()


class Manner:
    """How requests with the same headers are answered: read from the first one, used for those that follow."""

    __slots__ = ("block", "domain", "end", "fields", "lines", "room")

    def __init__(self, block: bytes, fields: Fields, room: int) -> None:
        self.block = block
        self.fields = fields
        #: Bytes that a request line may have.
        self.room = room
        #: The domain whose redirects they may be told, and the request lines that lead to them; None: somebody
        #: has to decide.
        self.domain: str | None = None
        self.lines = _NO_LINES
        #: What ends the head of a redirect.
        self.end = b""


#: Of a connection that has not asked yet.
NOBODY = Manner(b"", Fields({}, b"", 0, 0), 0)


class Stamp:
    """The lines that every answer begins with; they change with the second."""

    def __init__(self) -> None:
        self._second = -1
        self._lines = b""

    def __call__(self, now: float) -> bytes:
        if int(now) != self._second:
            self._second = int(now)
            date = http.datetimeToString(self._second)
            self._lines = b"Server: %b\r\nDate: %b\r\n" % (SERVER, date)
        return self._lines


def header_line(header: tuple[str, str]) -> bytes:
    name, value = header
    if not _VALUE.fullmatch(value):
        raise ValueError(f"{value!r} is no value of the header {name}")
    return f"{name}: {value}\r\n".encode()
