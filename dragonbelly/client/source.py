"""What can be put: bytes, files, streams."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from os import PathLike
from typing import Any, Protocol, TypeAlias

from dragonbelly.client.errors import Changed
from dragonbelly.client.wire import Wire

#: Bytes that are read at a time.
CHUNK = 256 * 1024

#: Told how many bytes have been sent, and how many there are (None: nobody knows).
Progress = Callable[[int, "int | None"], None]


class Readable(Protocol):
    """A binary file that is open, or what reads like one."""

    def read(self, size: int, /) -> bytes: ...


#: What ``put`` takes: bytes, a file by its name or open, or bytes piece by piece.
Content: TypeAlias = (
    bytes | bytearray | memoryview | PathLike[str] | Readable | Iterable[bytes] | AsyncIterable[bytes]
)


class Source:
    """
    One upload's bytes.  ``size`` is None for a stream.  ``rewindable``: whether they can be sent once more, to
    another server.  ``sha256`` is the digest, in hex, once they were read to their end.
    """

    def __init__(self, content: Any, progress: Progress | None = None) -> None:
        self._content = content
        self._progress = progress
        self._start = 0
        self._begun = False
        self.size: int | None = None
        self.sent = 0
        self.sha256: str | None = None
        if isinstance(content, str):
            raise TypeError("a str is no content: encode it, or open the file with this name")
        if isinstance(content, bytes | bytearray | memoryview):
            self._content = memoryview(content).cast("B")
            self.size = len(self._content)
            self.rewindable = True
        elif hasattr(content, "__aiter__"):  # what reads asynchronously has a read, too
            self.rewindable = False
        elif hasattr(content, "read"):
            self.rewindable = _is_seekable(content)
            if self.rewindable:
                self._start = content.tell()
                self.size = content.seek(0, os.SEEK_END) - self._start
                content.seek(self._start)
        elif hasattr(content, "__iter__"):
            self.rewindable = False
        else:
            raise TypeError(
                f"bytes, a binary file or an iterable of bytes is needed, not {type(content).__name__}"
            )

    @property
    def again(self) -> bool:
        """Whether it can be sent (once more)."""
        return self.rewindable or not self._begun

    async def chunks(self, wire: Wire) -> AsyncIterator[bytes]:
        """
        All bytes, from the beginning.

        :raises Changed: there are more or fewer of them than when it was opened.
        """
        self._begun = True
        self.sent, digest, read = 0, hashlib.sha256(), 0
        self._tell(0)
        # One is held back: the last goes out when it is known to be the last, and that all is right.
        held = b""
        async for chunk in self._pieces(wire):
            if isinstance(chunk, str):
                raise TypeError("this is text: open the file with mode 'rb', or encode each piece")
            digest.update(chunk)
            read += len(chunk)
            if self.size is not None and read > self.size:
                raise Changed(f"the file grew while it was read: it had {self.size} bytes")
            if held:
                yield held
                self._tell(len(held))
            held = chunk
        if self.size is not None and read < self.size:
            raise Changed(f"the file shrank while it was read: it had {self.size} bytes, {read} came")
        if self.sha256 not in (None, digest.hexdigest()):
            raise Changed("the file changed while it was read")
        self.sha256 = digest.hexdigest()
        self.sent += len(held)
        if held:
            yield held
        self._tell(0)

    def _tell(self, more: int) -> None:
        self.sent += more
        if self._progress is not None:
            self._progress(self.sent, self.size)

    async def _pieces(self, wire: Wire) -> AsyncIterator[bytes]:
        content = self._content
        if isinstance(content, memoryview):
            for start in range(0, len(content), CHUNK):
                yield bytes(content[start : start + CHUNK])
        elif hasattr(content, "__aiter__"):
            async for chunk in content:
                yield chunk
        elif hasattr(content, "read"):
            if self.rewindable:
                await wire.call(content.seek, self._start)
            while chunk := await wire.call(content.read, CHUNK):
                yield chunk
        else:
            pieces = iter(content)
            while (chunk := await wire.call(next, pieces, None)) is not None:
                yield chunk


def _is_seekable(file: Any) -> bool:
    try:
        return bool(file.seekable())
    except AttributeError:
        return False
