"""What was measured, for people (a table), for programs (JSON) and for the README (a chart)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from benchmarks.chart import Bar, Panel, bars
from benchmarks.figure import Figure, Skipped, number

COLUMNS = ("what", "figure", "ratio", "to", "wanted", "so")

#: What the chart shows: the rows, the title, what their figures are in.
PANELS = (
    (("get",), "Redirects a second, one process", "/s"),
    (("latency",), "p99 in ms, at half of the most", "ms"),
    (("put", "uploads", "copy"), "Uploads and copies a second, one process", "/s"),
)


@dataclass(frozen=True)
class Report:
    """One run.  ``date`` is RFC 3339; ``command`` is what to type for the same; ``pinning``: what ran where."""

    date: str
    command: str
    pinning: str
    machine: dict[str, Any]
    versions: dict[str, str]
    figures: tuple[Figure, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    @property
    def about(self) -> str:
        """What it was measured on, in one line."""
        machine = self.machine
        what = f"{machine['cores']} x {machine['cpu']}, {machine['kernel']}, load {machine['load'][0]:g}"
        return f"{self.date[:10]}, {what}; " + ", ".join(
            f"{name} {text}" for name, text in self.versions.items()
        )

    def json(self) -> str:
        value = asdict(self)
        for shown, figure in zip(value["figures"], self.figures, strict=True):
            shown |= {"ratio": figure.ratio, "met": figure.met}
        return json.dumps(value, indent=2, ensure_ascii=False) + "\n"

    def svg(self) -> str:
        panels = [
            Panel(
                title,
                [
                    Bar(name, figures[0].value, _labelled(figures), ours=figures[0].ours)
                    for name, figures in _by_name(self.figures).items()
                    if figures[0].row in rows and figures[0].unit.endswith(unit)
                ],
            )
            for rows, title, unit in PANELS
        ]
        return bars([panel for panel in panels if panel.bars], f"{self.about}; {self.command}")

    def write(self, directory: Path) -> None:
        """``newest.json`` and ``newest.svg``."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "newest.json").write_text(self.json())
        (directory / "newest.svg").write_text(self.svg())


def _by_name(figures: Sequence[Figure]) -> dict[str, list[Figure]]:
    """Each figure is there as often as there are others that it is held against."""
    found: dict[str, list[Figure]] = {}
    for figure in figures:
        found.setdefault(figure.name, []).append(figure)
    return found


def _labelled(figures: Sequence[Figure]) -> str:
    """What stands beside its bar: the value, and how many times those it is held against that is."""
    held = [(figure.ratio, figure.reference.name) for figure in figures if figure.reference is not None]
    return ", ".join([number(figures[0].value), *(f"{ratio:.2f} x {name}" for ratio, name in held)])


def cells(figure: Figure) -> tuple[str, ...]:
    """A figure's line of the table."""
    reference, ratio = figure.reference, figure.ratio
    so = {True: "yes", False: "no", None: ""}[figure.met]
    return (
        figure.name,
        f"{number(figure.value)} {figure.unit}".replace(" /", "/"),
        "" if ratio is None else f"{ratio:.2f}",
        "" if reference is None else f"{reference.name} ({number(reference.value)})",
        "" if figure.must is None else str(figure.must),
        so,
    )


def plain(report: Report) -> str:
    """The table in plain text, with a word on what was not measured."""
    lines = [COLUMNS, *map(cells, report.figures)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(COLUMNS))]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    table.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*table, *_below(report)]) + "\n"


def _below(report: Report) -> list[str]:
    noted = {f"{figure.name}: {figure.note}": None for figure in report.figures if figure.note}
    missing = [f"not measured: {skipped.name}: {skipped.why}" for skipped in report.skipped]
    return ["", *noted, *missing, "", f"pinned: {report.pinning}", report.about, f"command: {report.command}"]


def show(report: Report, to: TextIO) -> None:
    """In colour on a terminal."""
    if not to.isatty():
        to.write(plain(report))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS)
    for figure in report.figures:
        style = {True: "green", False: "yellow", None: ""}[figure.met]
        table.add_row(*cells(figure)[:-1], f"[{style}]{cells(figure)[-1]}[/]" if style else "")
    console = Console(file=to, highlight=False)
    console.print(table)
    for line in _below(report):
        console.print(line, markup=False)
