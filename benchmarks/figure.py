"""A figure, and what it is held against.  Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal, Self


@dataclass(frozen=True)
class Reference:
    """What another did in the same run, in the same unit."""

    name: str
    value: float


@dataclass(frozen=True)
class Must:
    """What is wanted: of the ratio if the figure has a reference, else of the value itself."""

    bound: Literal[">=", "<="]
    number: float

    def __str__(self) -> str:
        return f"{'≥' if self.bound == '>=' else '≤'} {self.number:,.10g}"

    def met(self, found: float) -> bool:
        return found >= self.number if self.bound == ">=" else found <= self.number


@dataclass(frozen=True)
class Figure:
    """
    ``row`` is the benchmark that made it, by which it is asked for (``--only``); ``runs`` are the single
    measurements of which ``value`` is the median; ``note`` says what else one should know.  ``ours`` is false
    for what others did.
    """

    row: str
    name: str
    value: float
    unit: str
    reference: Reference | None = None
    must: Must | None = None
    runs: tuple[float, ...] = ()
    note: str = ""
    ours: bool = True

    @classmethod
    def of_runs(cls, row: str, name: str, runs: list[float], unit: str, **more: Any) -> Self:
        return cls(row, name, median(runs), unit, runs=tuple(runs), **more)

    @property
    def ratio(self) -> float | None:
        return self.value / self.reference.value if self.reference is not None else None

    @property
    def met(self) -> bool | None:
        """Whether it is what was wanted; None when nothing was."""
        if self.must is None:
            return None
        return self.must.met(self.value if self.ratio is None else self.ratio)

    def __str__(self) -> str:
        return f"{self.name}: {number(self.value)} {self.unit}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True)
class Skipped:
    """A row that was not measured, and why."""

    row: str
    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name}: not measured, {self.why}"


#: What a row of the report is made by.
Row = Iterator[Figure | Skipped]


def number(value: float) -> str:
    """Three digits that count, or all of them before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
