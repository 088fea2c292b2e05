"""``dragonbelly put``: files, directories and stdin."""

from __future__ import annotations

import mimetypes
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import click

from dragonbelly.cli.parallel import Share, Work
from dragonbelly.cli.server import Server, asks
from dragonbelly.cli.sources import Upload, roots, uploads
from dragonbelly.cli.terminal import Bar, count, error_text, size
from dragonbelly.cli.terms import COPIES, PATH, Moment, attributes
from dragonbelly.cli.wire import UploadWire
from dragonbelly.client.blocking import run
from dragonbelly.client.core import Core

#: Media types of files that are compressed: they are stored as they are.
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


@click.command(short_help="Upload files, directories, or stdin.")
@click.argument("sources", metavar="FILE...", nargs=-1, required=True)
@click.argument("dest", type=PATH)
@click.option(
    "--jobs", metavar="N", type=click.IntRange(1, 64), default=16, show_default=True, help="At a time."
)
@click.option("--copies", metavar="N", type=COPIES, help="How many copies are owed.")
@click.option("--attr", metavar="NAME=VALUE", multiple=True, help="An attribute; may be repeated.")
@click.option("--type", "media_type", metavar="TYPE", help="The media type; else by the name.")
@click.option("--policy", metavar="NAME", help="The replication policy.")
@click.option("--expires", metavar="TIME", type=Moment(), help="RFC 3339, or a duration such as 30d.")
@click.option(
    "--wait-copies",
    metavar="N",
    type=COPIES,
    default=1,
    help="Wait, a minute at most, until there are so many.",
)
@click.option("--if-none-match", is_flag=True, help="Only where there is no file yet.")
@click.option("--quiet", "-q", is_flag=True, help="Only what failed.")
@asks("url")
def put(
    server: Server,
    sources: tuple[str, ...],
    dest: str,
    jobs: int,
    copies: int | None,
    attr: tuple[str, ...],
    media_type: str | None,
    policy: str | None,
    expires: datetime | None,
    wait_copies: int,
    if_none_match: bool,
    quiet: bool,
) -> int:
    """
    Upload each FILE to DEST, a path in Dragonbelly.

    A FILE that is a directory goes with all that is below it; - is stdin.  Where DEST ends with /, and when
    there are several FILEs, they keep their names below it, directories as well (as with cp).  Links to files
    are followed, links to directories are not.
    """
    if "-" in sources and sys.stdin is None:
        raise click.UsageError("stdin is closed")
    asked: dict[str, Any] = {
        "attributes": attributes(attr),
        "copies": copies,
        "policy": policy,
        "expires": expires,
        "wait_copies": wait_copies,
        "if_none_match": if_none_match,
    }
    bar = Bar(quiet)
    local = _Local(bar, quiet)
    stopped = threading.Event()
    core = Core(UploadWire(stopped), server.url, token=server.token, domain=server.domain)

    def do(upload: Upload, share: Share) -> None:
        kind = media_type or guessed(upload.path)
        content = sys.stdin.buffer if upload.file is None else upload.file
        run(core.put(upload.path, content, content_type=kind, progress=share.progress, **asked))

    def watch() -> None:
        bar.show(work.files, local.files if local.all_known else None, work.bytes, local.total)

    work: Work[Upload] = Work(
        do,
        lambda upload, error: bar.say(f"{_named(upload)}: {server.told(error)}"),
        jobs,
        stopped,
        watch,
    )
    began = time.monotonic()
    try:
        with bar.open():
            work.all(local.counted(uploads(roots(sources, dest), local.tell)))
    finally:
        run(core.wire.close())
        failures = work.failures + local.failures
        if not quiet and local.files + failures:
            _summary(work, time.monotonic() - began)
        if failures:
            bar.say(f"{count(failures, 'file')} failed")
    return 1 if failures else 0


class _Local:
    """What is found on this machine, while it is."""

    def __init__(self, bar: Bar, quiet: bool) -> None:
        self._bar = bar
        self._quiet = quiet
        self.files = self.failures = 0
        self.bytes = 0
        self.all_known = False
        self._unsized = False

    @property
    def total(self) -> int | None:
        return self.bytes if self.all_known and not self._unsized else None

    def counted(self, found: Iterable[Upload]) -> Iterator[Upload]:
        for upload in found:
            if not _is_utf8(upload.path):
                self.tell(str(upload.file), "its name is not UTF-8", failed=True)
                continue
            self.files += 1
            self.bytes += upload.size or 0
            self._unsized |= upload.size is None
            yield upload
        self.all_known = True

    def tell(self, name: str, why: OSError | str, failed: bool = False) -> None:
        if isinstance(why, OSError) or failed:
            self.failures += 1
            self._bar.say(f"{name}: {error_text(why) if isinstance(why, OSError) else why}")
        elif not self._quiet:
            self._bar.say(f"{name} is left out: {why}")


def guessed(path: str) -> str | None:
    """The media type by the name."""
    kind, encoding = mimetypes.guess_type(path, strict=False)
    return _COMPRESSED.get(encoding, "application/octet-stream") if encoding else kind


def _named(upload: Upload) -> str:
    return f"{'stdin' if upload.file is None else upload.file} to {upload.path}"


def _summary(work: Work[Upload], seconds: float) -> None:
    rate = f"{work.files / seconds:.0f} files/s, " if work.files > 1 else ""
    click.echo(
        f"{count(work.files, 'file')}, {size(work.bytes)} in {seconds:.1f} s "
        f"({rate}{size(int(work.bytes / seconds))}/s)",
        err=True,
    )


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
