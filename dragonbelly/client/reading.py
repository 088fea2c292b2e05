"""Reading a file: from one storage server after another, from any place on, the same version to its end."""

from __future__ import annotations

import hashlib
import io
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dragonbelly.client.errors import DownloadFailed, NotFound, WrongBytes
from dragonbelly.client.model import File
from dragonbelly.client.wire import Incoming, NoAnswer, Request

if TYPE_CHECKING:
    from dragonbelly.client.core import Core

#: Bytes that are rather read over than asked for anew, when somebody seeks forward.
SKIP = 256 * 1024


class Reading:
    """
    ``file`` is what is read: all of it is of that version, though it may be overwritten meanwhile (its bytes
    stay for ``[delete] grace``).  A server that fails is left for another, at the byte where it stopped.
    ``place`` is where the next byte comes from; bytes from ``end`` on are neither asked for nor given; None:
    the end of the file.  ``avoid`` are URLs that are not asked first.
    """

    def __init__(
        self,
        core: Core,
        file: File,
        avoid: frozenset[str] = frozenset(),
        *,
        place: int = 0,
        end: int | None = None,
    ) -> None:
        self._core = core
        self.file = file
        self.place = place
        self.end = self.size if end is None else min(end, self.size)
        self._incoming: Incoming | None = None
        #: Where the server is, which may be ahead of ``place`` or behind it.
        self._at = 0
        self._kept = b""
        self._failed: list[tuple[str, str]] = []
        self._tried = set(avoid)
        self._current = ""
        #: Whom bytes came from.
        self.givers: set[str] = set()
        self._renewed = False
        self._digest = hashlib.sha256()
        self._digested = 0

    @property
    def size(self) -> int:
        return self.file.size or 0

    @property
    def avoid(self) -> frozenset[str]:
        """URLs that gave nothing: for the next to read this file."""
        return frozenset(self._tried)

    async def read(self, most: int = -1) -> bytes:
        """
        Up to ``most`` bytes, fewer if no more came yet, none at the end; -1: what comes next.

        :raises DownloadFailed: no server gives them.
        """
        left = self.end - self.place
        if most == 0 or left <= 0:
            return b""
        most = left if most < 0 else min(most, left)
        if not self._kept or self._at - len(self._kept) != self.place:
            await self._arrive()
        chunk, self._kept = self._kept[:most], self._kept[most:]
        self.place += len(chunk)
        self._check(chunk)
        return chunk

    async def read_all(self, most: int = -1) -> bytes:
        """So many bytes, fewer only at the end of the file; -1: all that is left."""
        pieces: list[bytes] = []
        left = self.end if most < 0 else most
        while left > 0 and (chunk := await self.read(left)):
            pieces.append(chunk)
            left -= len(chunk)
        return b"".join(pieces)

    def seek_from(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As files do.  :raises ValueError: there is no such place."""
        places = {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.size}
        if whence not in places or places[whence] + offset < 0:
            raise ValueError("there is no such place in a file")
        self.place = places[whence] + offset
        return self.place

    def known(self, chunk: bytes) -> None:
        """The next bytes are these: they were read before."""
        self.place += len(chunk)
        self._check(chunk)

    async def close(self) -> None:
        self._kept = b""
        if self._incoming is not None:
            incoming, self._incoming = self._incoming, None
            await incoming.close()

    # --- getting there

    async def _arrive(self) -> None:
        """Have bytes from ``place`` on in ``_kept``."""
        behind = self.place - (self._at - len(self._kept))
        if 0 <= behind < len(self._kept):
            self._kept = self._kept[behind:]
        elif self._incoming is None or behind < 0 or behind > len(self._kept) + SKIP:
            await self.close()
            self._at = self.place
        else:
            self._kept = b""
        while not self._kept:
            try:
                if self._incoming is None:
                    self._at = self.place
                    self._incoming = await self._open(self.place)
                chunk = await self._incoming.read()
                if not chunk:
                    raise NoAnswer(f"the object ends after {self._at} of {self.size} bytes")
            except NoAnswer as error:
                await self._leave(str(error))
                continue
            self._renewed = False
            self.givers.add(self._current)
            ahead = self.place - self._at
            self._at += len(chunk)
            self._kept = chunk[ahead:] if ahead < len(chunk) else b""
            if self._at >= self.end:
                await self._finish()

    async def _finish(self) -> None:
        """All came.  Who has seen the end of an answer, too, can use its connection again."""
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            if "content-length" in incoming.headers:
                with suppress(NoAnswer):
                    await incoming.read()
            await incoming.close()

    async def _open(self, place: int) -> Incoming:
        url = await self._next_source()
        headers = {"User-Agent": "dragonbelly", "Accept-Encoding": "identity"}
        if self.end < self.size:
            headers["Range"] = f"bytes={place}-{self.end - 1}"
        elif place:
            headers["Range"] = f"bytes={place}-"
        incoming = await self._core.wire.fetch(Request("GET", url, headers, timeout=self._core.timeout))
        wrong = _wrong(incoming, place, self.end, self.size)
        if wrong is not None:
            await incoming.close()
            raise NoAnswer(wrong)
        return incoming

    async def _next_source(self) -> str:
        while True:
            for url in self.file.sources:
                if url not in self._tried:
                    self._current = url
                    return url
            if self._renewed:
                told = "; ".join(f"{server}: {what}" for server, what in dict.fromkeys(self._failed))
                raise DownloadFailed(f"{self.file.path}: no storage server gives it: {told or 'none has it'}")
            # Links run out, and copies move: once more, if it is still the same file.
            await self._renew()
            self._renewed = True  # not before: who could not ask has not asked

    async def _renew(self) -> None:
        try:
            file = await self._core.stat(self.file.path)
        except NotFound:
            raise DownloadFailed(f"{self.file.path} was deleted while it was read") from None
        if file.version != self.file.version:
            raise DownloadFailed(
                f"{self.file.path} was overwritten while it was read, and its old copies are gone"
            )
        self.file = file
        self._tried.clear()

    async def _leave(self, reason: str) -> None:
        self._tried.add(self._current)
        self._failed.append((urlsplit(self._current).netloc, reason))
        place = self.place
        await self.close()
        self.place = place

    # --- is it right?

    def _check(self, chunk: bytes) -> None:
        """The digest of what is read from beginning to end."""
        if self.place - len(chunk) != self._digested:
            return
        self._digest.update(chunk)
        self._digested = self.place
        if self.place == self.size and self.file.sha256 not in (None, self._digest.hexdigest()):
            raise WrongBytes(f"{self.file.path}: the bytes that came have not the digest that the file has")


class Seekable:
    """A file to be read from any place on.  ``file`` is what is known of it."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self.file = reading.file

    def tell(self) -> int:
        return self._reading.place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._reading.seek_from(offset, whence)


def _wrong(incoming: Incoming, place: int, end: int, size: int) -> str | None:
    """What is wrong with an answer that is to give the bytes from ``place`` to ``end``, None: nothing."""
    length = incoming.headers.get("content-length", "")
    whole = place == 0 and end == size
    if not whole and incoming.status == 206:
        start = incoming.headers.get("content-range", "").removeprefix("bytes ").partition("-")[0]
        if start != str(place):
            return f"it gives another part than from byte {place} on"
        expected = end - place
    elif whole and incoming.status == 200:
        expected = size
    elif incoming.status == 200:
        return "it gives no parts of files"
    else:
        return f"it answers {incoming.status}"
    if length.isdigit() and int(length) != expected:
        return f"it gives {length} bytes, {expected} are to come"
    return None
