"""Charts as SVG: bars, and lines over a logarithmic axis, in the reader's light or dark theme.  Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH = 1000

#: Colours of text, axes, what others did, and ours: blue and grey are told apart by everybody.
STYLE = """\
  <style>
    text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
    .title { font-weight: 600; font-size: 15px }
    .small { font-size: 11px; fill: #59636e }
    .grid { stroke: #d1d9e0; stroke-width: 1 }
    .theirs { fill: #afb8c1 }
    .ours { fill: #0969da }
    .line { fill: none; stroke: #0969da; stroke-width: 2 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .small { fill: #9198a1 }
      .grid { stroke: #3d444d }
      .theirs { fill: #6e7681 }
      .ours { fill: #4493f8 }
      .line { stroke: #4493f8 }
    }
  </style>
"""


@dataclass(frozen=True)
class Bar:
    """``shown`` is the value as it is written beside the bar."""

    name: str
    value: float
    shown: str
    ours: bool = True


@dataclass(frozen=True)
class Panel:
    title: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Line:
    """``points`` are (x, y), x above 0."""

    title: str
    points: Sequence[tuple[float, float]]


def bars(panels: Sequence[Panel], below: str) -> str:
    """Panels of horizontal bars, one below the other, each to a scale of its own; ``below`` is small print."""
    left, right, row = 330, 300, 24
    room = WIDTH - left - right
    parts: list[str] = []
    y = 8
    for panel in panels:
        y += 22
        parts.append(_text(0, y, panel.title, "title"))
        y += 10
        most = max(bar.value for bar in panel.bars) or 1.0
        for bar in panel.bars:
            width = max(1.0, room * bar.value / most)
            kind = "ours" if bar.ours else "theirs"
            parts.append(_text(left - 8, y + 15, bar.name, anchor="end"))
            parts.append(
                f'<rect class="{kind}" x="{left}" y="{y + 3}" width="{width:.1f}" height="{row - 7}" rx="2"/>'
            )
            parts.append(_text(left + width + 6, y + 15, bar.shown))
            y += row
        y += 12
    return _document(parts, y, below)


def lines(panels: Sequence[Line], below: str, axis: str) -> str:
    """Panels side by side, y from 0 on, over a common logarithmic ``axis``."""
    gap, height = 70, 190
    room = (WIDTH - gap * len(panels)) / len(panels)
    bottom = 44 + height
    parts: list[str] = []
    for n, panel in enumerate(panels):
        left = gap + n * (room + gap) - 10
        parts.append(_text(left - gap + 20, 22, panel.title, "title"))
        xs = [math.log10(x) for x, _ in panel.points]
        low, high = min(xs), max(max(xs), min(xs) + 1e-9)
        most = _round_up(max(y for _, y in panel.points))
        for share in (0.0, 0.5, 1.0):
            y = bottom - share * height
            parts.append(f'<path class="grid" d="M{left:.1f} {y:.1f}H{left + room:.1f}"/>')
            parts.append(_text(left - 6, y + 4, f"{share * most:,.10g}", "small", "end"))
        places = [
            (left + room * (x - low) / (high - low), bottom - height * y / most)
            for x, (_, y) in zip(xs, panel.points, strict=True)
        ]
        parts.append(f'<path class="line" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in places)}"/>')
        for (x, y), (value, _) in zip(places, panel.points, strict=True):
            parts.append(f'<circle class="ours" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>')
            parts.append(_text(x, bottom + 17, short(value), "small", "middle"))
        parts.append(_text(left + room / 2, bottom + 34, axis, "small", "middle"))
    return _document(parts, bottom + 44, below)


def short(value: float) -> str:
    """10000 as 10 k, 2000000 as 2 M."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _round_up(value: float) -> float:
    """To 1, 2, 4, 6 or 8 with zeros: where an axis may end."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next((unit * step for step in (1, 2, 4, 6, 8) if unit * step >= value), 10 * unit)


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "") -> str:
    kind = f' class="{kind}"' if kind else ""
    anchor = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{kind}{anchor}>{escape(text)}</text>'


def _document(parts: list[str], height: float, below: str) -> str:
    words, small = below.split(), [""]
    for word in words:
        if len(small[-1]) + len(word) > 155:
            small.append("")
        small[-1] += f" {word}" if small[-1] else word
    for line in small:
        height += 16
        parts.append(_text(0, height, line, "small"))
    height += 10
    body = "\n".join(f"  {part}" for part in parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" '
        f'viewBox="-8 0 {WIDTH + 16} {height:.0f}" width="{WIDTH + 16}">\n{STYLE}{body}\n</svg>\n'
    )
