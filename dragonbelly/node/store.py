"""
A node's objects: plain files under a root, the key being the path below it.

Every call may block.  What lies in ``<root>/-/`` is not finished: no key starts with that segment.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path
from typing import NamedTuple, NoReturn

from dragonbelly.errors import BadPath, ClientError, NotFound, StartError
from dragonbelly.keys import looks_like_mark
from dragonbelly.model import Space
from dragonbelly.node import media
from dragonbelly.node.directories import StorageGone, directory
from dragonbelly.node.incoming import DIGEST, MEDIA_TYPE, Incoming, NoRoom, clear, full
from dragonbelly.node.listing import Page, page
from dragonbelly.node.signature import RESERVED

#: What the system says of a path where no file can be: nothing, a file in the middle, a symbolic link, a
#: name longer than this file system has, a socket.
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO)

#: How often a version's directory may be removed by others just when it is needed.
_ATTEMPTS = 20


class Taken(ClientError):
    """Something else lies under the key already."""

    status = 409
    title = "Key is taken"


class StoredFile(NamedTuple):
    """An open object; ``fd`` is the caller's to close.  ``modified`` is unix s."""

    fd: int
    size: int
    modified: int
    tag: str
    sha256: bytes | None
    content_type: str


class Store:
    """
    :param reserve: bytes of the file system that are never given away.
    """

    def __init__(self, root: Path, reserve: int = 0) -> None:
        self._root = root
        self._reserve = reserve
        self._incoming = root / RESERVED
        self._promised = 0

    def prepare(self) -> int:
        """
        Make the root, remove what was left half done, and see that files can be made here.

        :returns: how many leftovers there were.
        :raises StartError: this is no place to store anything.
        """
        try:
            self._incoming.mkdir(parents=True, exist_ok=True)
            count = clear(self._incoming)
            trial = Incoming(self._incoming, 0, lambda: 0, lambda change: None)
            try:
                link = trial.path.with_suffix(".link")
                link.hardlink_to(trial.path)
                link.unlink()
            finally:
                trial.discard()
        except OSError as error:
            raise StartError(f"cannot store files in {self._root}: {error.strerror}") from error
        return count

    def space(self) -> Space:
        """Bytes that may still be stored, the reserve taken off, and the size of the file system."""
        try:
            found = os.statvfs(self._root)
        except OSError as error:
            raise StorageGone(f"the storage directory cannot be asked: {error.strerror}") from error
        free = found.f_bavail * found.f_frsize - self._reserve
        return Space(max(0, free), found.f_blocks * found.f_frsize)

    def _room(self) -> int:
        found = os.statvfs(self._root)
        return found.f_bavail * found.f_frsize - self._reserve - self._promised

    def _promise(self, change: int) -> None:
        self._promised += change

    def receive(self, length: int | None) -> Incoming:
        """
        Take a body of ``length`` bytes; None: unknown.

        :raises NoRoom: it does not fit, with all that is being received already.
        """
        try:
            if self._room() < (length or 0):
                raise NoRoom("no room for it")
            return Incoming(self._incoming, length, self._room, self._promise)
        except FileNotFoundError as error:
            raise StorageGone("the storage directory is not there") from error
        except OSError as error:
            raise full(error) from error

    def find(self, key: str) -> StoredFile:
        """:raises NotFound: there is no such object."""
        *parents, name = key.encode().split(b"/")
        try:
            with directory(self._root, parents) as parent:
                # not blocking: a pipe would wait for its writer
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                fd = os.open(name, flags, dir_fd=parent)
        except OSError as error:
            if error.errno in _ABSENT:
                self._absent(key)
            raise
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                self._absent(key)
            digest = _digest(fd)
            # The digest names the bytes on every node, so that a download can go on elsewhere.
            tag = f'"{digest.hex()}"' if digest else f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
            return StoredFile(fd, found.st_size, int(found.st_mtime), tag, digest, _content_type(fd, name))
        except BaseException:
            os.close(fd)
            raise

    def publish(self, incoming: Incoming, key: str, content_type: str | None) -> bool:
        """
        Make the body that came the object, durable and whole at once; whether it is new.

        :raises Taken: the key has other bytes.
        :raises NoRoom: there was no room for it after all.
        """
        *parents, name = key.encode().split(b"/")
        try:
            incoming.seal(content_type)
            for attempt in range(_ATTEMPTS):
                try:
                    with directory(self._root, parents, create=True) as parent:
                        return self._link(incoming, key, name, parent)
                except FileNotFoundError:
                    # A removal took the empty directory away between its making and its use.
                    if attempt == _ATTEMPTS - 1:
                        raise
                except NotADirectoryError:
                    raise Taken(f"a part of {key} is a file") from None
            raise AssertionError("unreachable")
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise BadPath("the file system has no names as long") from error
            raise full(error) from error
        finally:
            incoming.discard()

    def _link(self, incoming: Incoming, key: str, name: bytes, parent: int) -> bool:
        try:
            os.link(incoming.path, name, dst_dir_fd=parent, follow_symlinks=False)
            new = True
        except FileExistsError:
            if not self._same(incoming, key):
                raise Taken(f"{key} is stored already, with other bytes") from None
            new = False
        # In both cases: whoever linked it first may not have come this far.
        os.fsync(parent)
        return new

    def _same(self, incoming: Incoming, key: str) -> bool:
        try:
            found = self.find(key)
        except NotFound:
            return False  # a directory, a link, a pipe
        with os.fdopen(found.fd, "rb", buffering=0) as file:
            return found.size == incoming.size and file_digest(file, "sha256").digest() == incoming.sha256

    def page(self, prefix: str, after: str, limit: int) -> Page:
        """A page of keys; see ``listing``."""
        self._check_there()
        return page(self._root, prefix, after, limit)

    def remove(self, key: str) -> None:
        """
        Remove an object, and its ``@<version>`` directory.  Other directories stay when they are empty: they
        may be the operator's, and there are never more of them than there were directories of paths.

        :raises NotFound: there is none.
        """
        *parents, name = key.encode().split(b"/")
        try:
            with directory(self._root, parents) as parent:
                if not stat.S_ISREG(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                    self._absent(key)
                os.unlink(name, dir_fd=parent)
                # An object that is back after a power cut would belong to nobody.
                os.fsync(parent)
        except OSError as error:
            if error.errno in _ABSENT:
                self._absent(key)
            raise
        if parents and looks_like_mark(parents[-1].decode()):
            # not empty, or gone already
            with suppress(OSError), directory(self._root, parents[:-1]) as above:
                os.rmdir(parents[-1], dir_fd=above)

    def _absent(self, key: str) -> NoReturn:
        self._check_there()
        raise NotFound(f"{key} is not here")

    def _check_there(self) -> None:
        # An empty mount point has no objects, and that must not be taken for an answer.
        if not self._incoming.is_dir():
            raise StorageGone("the storage directory is not there")


def _digest(fd: int) -> bytes | None:
    try:
        digest = bytes.fromhex(os.getxattr(fd, DIGEST).decode("ascii"))
    except (OSError, ValueError):
        return None
    return digest if len(digest) == 32 else None


def _content_type(fd: int, name: bytes) -> str:
    stored = None
    with suppress(OSError):
        stored = media.acceptable(os.getxattr(fd, MEDIA_TYPE).decode("latin-1"))
    return stored or media.by_name(name.decode())
