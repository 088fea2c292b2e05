"""``dragonbelly get``: to a file, to stdout, or all below a path into a directory."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click

from dragonbelly.cli.listing import entries
from dragonbelly.cli.parallel import Share, Work
from dragonbelly.cli.server import Server, asks
from dragonbelly.cli.terminal import Bar, count, error_text, message, size
from dragonbelly.cli.terms import PATH
from dragonbelly.client import Client, Entry, Error
from dragonbelly.client.errors import NotFound
from dragonbelly.client.source import CHUNK

#: Characters that no name of a file here has.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\]")


@click.command(short_help="Download files.")
@click.argument("path", type=PATH)
@click.argument("to", required=False)
@click.option("-r", "recursive", is_flag=True, help="All below PATH, into the directory TO.")
@click.option(
    "--resume", is_flag=True, help="Go on where one that failed stopped; keep what came if this fails."
)
@click.option("--jobs", metavar="N", type=click.IntRange(1, 64), default=16, show_default=True, help="With -r.")
@click.option("--quiet", "-q", is_flag=True, help="Only what failed.")
@asks("url")
def get(
    server: Server, path: str, to: str | None, recursive: bool, resume: bool, jobs: int, quiet: bool
) -> int:
    """
    Download PATH to TO: a file, a directory, - for stdout; without TO to a file of its name here.  A file
    appears when it is whole and has the right digest.
    """
    with server.client() as client:
        if recursive:
            if to in (None, "-"):
                raise click.UsageError("-r needs TO, a directory")
            return _all(client, path, Path(to or "."), resume, jobs, quiet)
        target = Path(to or ".")
        stream = to == "-" or _is_stream(target)
        if resume and stream:
            raise click.UsageError("--resume is for files, not for stdout, a pipe or a device")
        if not stream and (target.is_dir() or (to or "").endswith("/")):
            target /= safe(path.rstrip("/").rpartition("/")[2])
        try:
            if stream:
                return _through(client, path, None if to == "-" else target)
            return _one(client, path, target, resume, quiet)
        except NotFound as error:
            if next(iter(client.list(f"{path.strip('/')}/")), None) is None:
                raise
            message(f"{error}; with -r all files below it")
            return 1


def _is_stream(target: Path) -> bool:
    """Whether it is there and takes bytes, but is no file that another could take the place of."""
    try:
        mode = target.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _through(client: Client, path: str, to: Path | None) -> int:
    """To stdout, or into what is written to as it is."""
    with client.open(path) as source:
        if to is None:
            shutil.copyfileobj(source, sys.stdout.buffer, CHUNK)
            sys.stdout.buffer.flush()
            return 0
        try:
            with to.open("wb") as out:
                shutil.copyfileobj(source, out, CHUNK)
        except BrokenPipeError:
            raise
        except Error:
            raise
        except OSError as error:
            message(f"{to}: {error_text(error)}")
            return 1
    return 0


def _one(client: Client, path: str, target: Path, resume: bool, quiet: bool) -> int:
    bar = Bar(quiet)
    try:
        with bar.open():
            # What a link leads to becomes the file, as with cp; the link stays.
            client.download(
                path, target.resolve(), resume=resume, progress=lambda done, all: bar.show(0, 1, done, all)
            )
    except Error:
        raise
    except OSError as error:
        message(f"{target}: {error_text(error)}{'; what came is kept for --resume' if resume else ''}")
        return 1
    return 0


def _all(client: Client, prefix: str, to: Path, resume: bool, jobs: int, quiet: bool) -> int:
    root = to.resolve()
    bar = Bar(quiet)
    known = [0, 0]

    def found() -> Iterator[Entry]:
        for entry in entries(client, prefix):
            known[0] += 1
            known[1] += entry.size or 0
            yield entry

    def do(entry: Entry, share: Share) -> None:
        target = place(root, _relative(entry.path, prefix))
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.parent.resolve().is_relative_to(root):
            raise OSError(f"{target.parent} leads out of {to}")
        client.download(entry.path, target, resume=resume, progress=share.progress)

    work: Work[Entry] = Work(
        do,
        lambda entry, error: bar.say(f"{entry.path}: {error_text(error)}"),
        jobs,
        threading.Event(),
        lambda: bar.show(work.files, known[0], work.bytes, known[1]),
    )
    with bar.open():
        work.all(found())
    if not known[0]:
        message(f"there is nothing at {prefix}")
        return 1
    if not quiet:
        click.echo(f"{count(work.files, 'file')}, {size(work.bytes)}", err=True)
    if work.failures:
        message(f"{count(work.failures, 'file')} failed")
        return 1
    return 0


def _relative(path: str, prefix: str) -> str:
    """The name below the prefix; of the file that is the prefix, its own."""
    directory = f"{prefix.strip('/')}/".removeprefix("/")
    return path.removeprefix(directory) if path.startswith(directory) else path.rpartition("/")[2]


def place(root: Path, name: str) -> Path:
    """Where a file goes: below ``root``, whatever its name is."""
    return root.joinpath(*(safe(segment) for segment in name.split("/")))


def safe(segment: str) -> str:
    """A name for a file: what could mean something else is escaped as in a URL."""
    if segment in ("", os.curdir, os.pardir):
        return segment.replace(".", "%2E") or "%"
    return _UNSAFE.sub(lambda match: f"%{ord(match[0]):02X}", segment)
