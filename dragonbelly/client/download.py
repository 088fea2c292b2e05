"""Files as a whole: to memory, or to a file that is there when it is whole and right."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncIterator, Callable
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING

from dragonbelly.client.errors import WrongBytes
from dragonbelly.client.model import File
from dragonbelly.client.reading import Reading
from dragonbelly.client.source import CHUNK, Progress

if TYPE_CHECKING:
    from dragonbelly.client.core import Core


async def chunks(core: Core, path: str, again: Callable[[], None]) -> AsyncIterator[bytes]:
    """
    All bytes.  ``again`` is called when those that came are wrong, and others come from the beginning, from
    other servers.

    :raises NotFound, DownloadFailed:
    """
    file = await core.stat(path)
    avoid: frozenset[str] = frozenset()
    while True:
        reading = Reading(core, file, avoid)
        try:
            while chunk := await reading.read():
                yield chunk
            return
        except WrongBytes:
            avoid |= reading.givers
            if not set(file.sources) - avoid:
                raise
            again()
        finally:
            await reading.close()


async def to_file(
    core: Core, path: str, to: str | PathLike[str], resume: bool, progress: Progress | None
) -> File:
    """See ``Core.download``."""
    call = core.wire.call
    target = Path(to)
    file = await core.stat(path)
    await call(_check_place, target)
    # Beside it, so that it can be moved there; of this version, so that no other goes on with it.
    part = target.with_name(f".{target.name[:180]}.{file.version}.part")
    avoid: frozenset[str] = frozenset()
    keep = resume
    try:
        while True:
            reading = Reading(core, file, avoid)
            out: IO[bytes] = await call(open, part, "a+b" if keep else "w+b")
            try:
                await _fill(core, reading, out, progress)
                break
            except WrongBytes:
                keep, avoid = False, avoid | reading.givers
                if not set(file.sources) - avoid:
                    resume = False  # what is there is wrong
                    raise
            finally:
                await call(out.close)
                await reading.close()
        await call(os.replace, part, target)
    except BaseException:
        if not resume:
            await call(part.unlink, True)
        raise
    return file


def _check_place(target: Path) -> None:
    """:raises OSError: what is there is no file; a device would be gone when another takes its place."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "only a file can be replaced, and this is a device or a pipe", str(target))


async def _fill(core: Core, reading: Reading, out: IO[bytes], progress: Progress | None) -> None:
    """Bring the file to its whole length: what it has is taken for its beginning."""
    call = core.wire.call
    await call(out.seek, 0)
    while reading.place < reading.size and (
        chunk := await call(out.read, min(CHUNK, reading.size - reading.place))
    ):
        reading.known(chunk)
    await call(out.truncate, reading.place)
    while True:
        if progress is not None:
            progress(reading.place, reading.size)
        if not (chunk := await reading.read()):
            break
        await call(out.write, chunk)
    await call(out.flush)
    await call(os.fsync, out.fileno())
