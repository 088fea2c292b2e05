"""What a person sees: messages and progress on stderr, sizes in words."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.segment import Segment

#: Columns, more than any table has.
_WIDE = 1000

#: Control characters, and bytes that are not UTF-8 as Python has them in names of files.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def message(text: str) -> None:
    """A line for the person."""
    click.echo(f"dragonbelly: {printable(text)}", err=True)


def printable(text: str) -> str:
    """Names of files have any bytes: those that would steer a terminal, or are not UTF-8, are escaped."""
    return _UNPRINTABLE.sub(lambda match: f"\\x{ord(match[0]) & 0xFF:02x}", text)


def error_text(error: Exception) -> str:
    """Without the number and the name of an ``OSError``, which stand beside it."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def printer() -> Console:
    """Of data, on stdout: lines as long as they are, which a narrow terminal wraps."""
    return Console(highlight=False, width=_WIDE)


class Cropped:
    """What is drawn again and again in its place: lines are cut where the terminal ends, not wrapped."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self._inner, options.update(max_width=_WIDE), pad=False):
            yield from Segment.adjust_line_length(line, options.max_width, pad=False)
            yield Segment.line()


def size(number: int | None) -> str:
    return "?" if number is None else decimal(number)


def count(number: int, one: str, many: str = "") -> str:
    """``1 file``, ``2,000 files``, ``3 copies``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def confirm(text: str, yes: bool) -> None:
    """
    Have the person say yes.

    :raises click.UsageError: there is nobody who could.
    :raises click.exceptions.Exit: no was said.
    """
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError(f"{text}\nNobody can be asked whether that is meant: say --yes")
    if not click.confirm(text, err=True):
        message("nothing was done")
        raise click.exceptions.Exit(1)


class Bar:
    """How far many files are; shown on a terminal only.  Bytes: None is not known."""

    def __init__(self, quiet: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[files]}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
        )
        self.shown = not quiet and sys.stderr.isatty()
        self._task = self._progress.add_task("", total=None, files="")

    def show(self, files: int, of: int | None, bytes: int, total: int | None) -> None:
        if self.shown:
            told = f"{files:,}" if of is None else f"{files:,}/{of:,}"
            self._progress.update(self._task, completed=bytes, total=total, files=f"{told} files", refresh=True)

    def say(self, text: str) -> None:
        """A message above the bar."""
        if self.shown:
            line = f"dragonbelly: {printable(text)}"
            self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            message(text)

    @contextmanager
    def open(self) -> Iterator[None]:
        if not self.shown:
            yield
            return
        with self._progress:
            yield
