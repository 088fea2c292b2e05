"""Which local files are to go where."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click


class Upload(NamedTuple):
    """``file`` None is stdin; ``size`` in bytes, None: not known."""

    file: Path | None
    path: str
    size: int | None


#: Told of what is no file that can be put, and why: an error, or a note that is no failure.
Tell = Callable[[str, OSError | str], None]


def roots(sources: tuple[str, ...], dest: str) -> list[tuple[str, str]]:
    """
    Each source with its path, or with the path that those below it begin with.

    :raises click.UsageError: they do not fit together.
    """
    dest = dest.removeprefix("/")
    into = len(sources) > 1 or not dest or dest.endswith("/")
    if "-" in sources and into:
        raise click.UsageError("- (stdin) goes alone, and to a path that does not end with /")
    if not into:
        return [(sources[0], dest)]
    parent = f"{dest.rstrip('/')}/" if dest else ""
    taken: dict[str, str] = {}
    found = []
    for source in sources:
        name = os.path.basename(source.rstrip("/"))  # noqa: PTH119 - a Path would lose what "." means
        if name in ("", ".", ".."):
            # The directory's content, as cp does; it has no name to be kept under.
            found.append((source, parent.rstrip("/")))
            continue
        if name in taken:
            raise click.UsageError(f"{taken[name]} and {source} would both become {parent}{name}")
        taken[name] = source
        found.append((source, parent + name))
    return found


def uploads(sources: list[tuple[str, str]], tell: Tell) -> Iterator[Upload]:
    """Every file; links to files are followed, links to directories are not, so that there are no loops."""
    for source, path in sources:
        if source == "-":
            yield Upload(None, path, None)
            continue
        try:
            found = os.stat(source)  # noqa: PTH116
        except OSError as error:
            tell(source, error)
            continue
        if stat.S_ISDIR(found.st_mode):
            yield from _below(source, path, tell)
        else:
            # What was named is taken as it is: a pipe is read to its end.
            size = found.st_size if stat.S_ISREG(found.st_mode) else None
            yield Upload(Path(source), path, size)


def _below(directory: str, path: str, tell: Tell) -> Iterator[Upload]:
    prefix = f"{path}/" if path else ""
    deeper = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        deeper.append(entry)
                        continue
                    found = entry.stat()
                except OSError as error:
                    tell(entry.path, error)
                    continue
                if stat.S_ISREG(found.st_mode):
                    yield Upload(Path(entry.path), prefix + entry.name, found.st_size)
                else:
                    linked = stat.S_ISDIR(found.st_mode)
                    tell(entry.path, "a link to a directory" if linked else "no regular file")
    except OSError as error:
        tell(directory, error)
    for entry in deeper:
        yield from _below(entry.path, prefix + entry.name, tell)
