"""
An upload on its way: a temporary file that becomes an object, or nothing.

It lies on the objects' file system, in a directory that no key can name, so that becoming visible is one link.
Its writer holds a lock on it: what nobody has locked was left by a process that died.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from dragonbelly.errors import ClientError

#: Extended attributes of a stored file: the digest in hexadecimal, and the media type.
DIGEST = "user.sha256"
MEDIA_TYPE = "user.content_type"

#: How many bytes of a body without a length may come between two looks at the free space.
LOOK_EVERY = 8 * 1024 * 1024


class NoRoom(ClientError):
    """The disk is full, or nearly, or a quota is used up."""

    status = 507
    title = "Insufficient storage"


class Incoming:
    """
    One body, written as it comes; a sink of ``web.request``.

    Writes go to the page cache in the caller's thread; nothing is kept in memory.  After a failure the rest is
    dropped, and ``error`` is what to answer when the client has finished speaking.

    :param room: bytes that may still be stored, not counting what was promised to others.
    :param promise: called with the change of what is promised to this one.
    """

    def __init__(
        self, directory: Path, length: int | None, room: Callable[[], int], promise: Callable[[int], None]
    ) -> None:
        self.length = length
        self.size = 0
        self.error: Exception | None = None
        self._room = room
        self._promise = promise
        self._promised = length or 0
        self._looked = 0
        self._sha256 = sha256()
        self.fd, self.path = _create(directory)
        self._promise(self._promised)

    def write(self, data: bytes) -> None:
        if self.error is not None:
            return
        try:
            self._write(data)
        except Exception as error:
            self.error = full(error)
            self.discard()

    def _write(self, data: bytes) -> None:
        self._sha256.update(data)
        self.size += len(data)
        if self._promised:
            kept = min(self._promised, len(data))
            self._promised -= kept
            self._promise(-kept)
        elif self.length is None and self.size - self._looked > LOOK_EVERY:
            self._looked = self.size
            if self._room() < 0:
                raise NoRoom("no room for more")
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view) :]

    def finished(self) -> None:
        self._release()

    def aborted(self) -> None:
        self.discard()

    @property
    def sha256(self) -> bytes:
        return self._sha256.digest()

    def seal(self, content_type: str | None) -> None:
        """Put everything on the disk; blocks.  From here on the file lacks nothing but its name."""
        # Attributes are extra: a file system without them, or without room for them, keeps the file.
        with suppress(OSError):
            os.setxattr(self.fd, DIGEST, self._sha256.hexdigest().encode())
        if content_type is not None:
            with suppress(OSError):
                os.setxattr(self.fd, MEDIA_TYPE, content_type.encode("latin-1"))
        os.fsync(self.fd)

    def discard(self) -> None:
        """Forget the temporary file, whether it has become an object or not.  May be called again."""
        self._release()
        if self.fd >= 0:
            # unlinked while it is locked: nobody else may take it for a leftover in between
            with suppress(FileNotFoundError):
                self.path.unlink()
            os.close(self.fd)
            self.fd = -1

    def _release(self) -> None:
        promised, self._promised = self._promised, 0
        if promised:
            self._promise(-promised)


def full(error: Exception) -> Exception:
    """``error``, or what it means to a client when it says that there is no room."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoRoom(error.strerror or "no room")
    return error


def _create(directory: Path) -> tuple[int, Path]:
    while True:
        path = directory / secrets.token_hex(16)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        # A cleaner that came between the two calls has the lock, or has removed the file already.
        if _lock(fd) and os.fstat(fd).st_nlink:
            return fd, path
        os.close(fd)


def clear(directory: Path) -> int:
    """Remove what dead processes left in the directory of temporary files; how many files that were."""
    count = 0
    for path in list(directory.iterdir()):
        with suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if _lock(fd):
                    path.unlink()
                    count += 1
            finally:
                os.close(fd)
    return count


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
