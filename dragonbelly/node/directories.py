"""
Directories below a root, opened one segment at a time and never through a symbolic link.

Nothing that lies below the root, or is put there meanwhile, leads a request out of it.  The root itself may be
reached through links: that is the operator's choice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dragonbelly.errors import ClientError

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class StorageGone(ClientError):
    """The root is not there or cannot be read: nothing can be said of any object."""

    status = 503
    title = "Storage is not there"


@contextmanager
def directory(root: Path, segments: Sequence[bytes], *, create: bool = False) -> Iterator[int]:
    """
    The open directory; with ``create``, missing ones are made and are on the disk when this returns.

    :raises StorageGone: the root cannot be opened.
    :raises FileNotFoundError: a segment is not there.
    :raises NotADirectoryError: one is something else, a symbolic link included.
    """
    try:
        fd = os.open(root, _FLAGS)
    except OSError as error:
        raise StorageGone(f"the storage directory cannot be opened: {error.strerror}") from error
    try:
        for segment in segments:
            if create:
                _make(fd, segment)
            below = os.open(segment, _FLAGS | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def _make(parent: int, segment: bytes) -> None:
    try:
        os.mkdir(segment, dir_fd=parent)
    except FileExistsError:
        return
    os.fsync(parent)
