"""
Durations and sizes as people write them: ``"15m"``, ``"1h30m"``, ``"500ms"``, ``"5GiB"``, ``"10MB"``.

A plain number is seconds or bytes.  ``str()`` gives the people's form back, and parsing that gives the same
value: a duration to the millisecond, a size to the byte.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import ClassVar

_DURATION_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_SIZE_UNITS = {
    "PiB": 2**50,
    "PB": 10**15,
    "TiB": 2**40,
    "TB": 10**12,
    "GiB": 2**30,
    "GB": 10**9,
    "MiB": 2**20,
    "MB": 10**6,
    "KiB": 2**10,
    "kB": 10**3,
    "B": 1,
}
_BY_LOWER_CASE = {unit.lower(): factor for unit, factor in _SIZE_UNITS.items()}

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DURATION_PART = re.compile(rf"({_NUMBER})(ms|d|h|m|s)")
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+")
_SIZE = re.compile(rf"({_NUMBER}) ?([a-zA-Z]+)")


class Duration(float):
    """A span of time in seconds; whole milliseconds, from 0 to a thousand years."""

    EXPECTED: ClassVar[str] = 'a duration such as "15m", "1h30m" or "500ms", or a number of seconds'
    LEAST: ClassVar[int] = 0
    MOST: ClassVar[int] = 365_250 * _DURATION_UNITS["d"]

    @classmethod
    def parse(cls, value: object) -> Duration:
        """:raises ValueError: no duration; the message says what was expected."""
        if isinstance(value, str) and _DURATION.fullmatch(value):
            parts = _DURATION_PART.findall(value)
            milliseconds = sum((Decimal(number) * _DURATION_UNITS[unit] for number, unit in parts), Decimal(0))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            milliseconds = Decimal(str(value)) * 1000
        else:
            raise ValueError(cls.EXPECTED)
        if not milliseconds.is_finite() or not cls.LEAST <= milliseconds <= cls.MOST:
            raise ValueError(f"a duration of {cls(cls.LEAST / 1000)} to {cls(cls.MOST / 1000)}")
        if milliseconds != int(milliseconds):
            raise ValueError("a duration of whole milliseconds")
        return cls(int(milliseconds) / 1000)

    def __str__(self) -> str:
        left = round(self * 1000)
        text = ""
        for unit in ("d", "h", "m"):
            count, left = divmod(left, _DURATION_UNITS[unit])
            if count:
                text += f"{count}{unit}"
        if 0 < left < 1000:
            text += f"{left}ms"
        elif left:
            text += f"{Decimal(left) / 1000}s"
        return text or "0s"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class Interval(Duration):
    """A duration that is not zero."""

    LEAST = 1


class Size(int):
    """A number of bytes, at most 2**63 - 1."""

    EXPECTED: ClassVar[str] = 'a size such as "5GiB" or "10MB", or a number of bytes'
    LEAST: ClassVar[int] = 0
    MOST: ClassVar[int] = 2**63 - 1

    @classmethod
    def parse(cls, value: object) -> Size:
        """:raises ValueError: no size; the message says what was expected."""
        if isinstance(value, int) and not isinstance(value, bool):
            size = Decimal(value)
        elif (
            isinstance(value, str) and (match := _SIZE.fullmatch(value)) and match[2].lower() in _BY_LOWER_CASE
        ):
            size = Decimal(match[1]) * _BY_LOWER_CASE[match[2].lower()]
        else:
            raise ValueError(cls.EXPECTED)
        if not cls.LEAST <= size <= cls.MOST:
            raise ValueError(f"a size of {cls(cls.LEAST)} to {cls(cls.MOST)}")
        if size != int(size):
            raise ValueError("a size of whole bytes")
        return cls(size)

    def __str__(self) -> str:
        for unit, factor in _SIZE_UNITS.items():
            if self and self % factor == 0:
                return f"{self // factor}{unit}"
        return "0B"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class Amount(Size):
    """A size that is not zero."""

    LEAST = 1
