"""When to try again what did not work."""

from __future__ import annotations

from collections.abc import Callable

MINUTE, HOUR, DAY = 60, 3600, 86400

#: Seconds after the first, second, … failure; then the last one for ever.
SCHEDULE = (15, MINUTE, 5 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, DAY)


def delay(tries: int) -> int:
    """Seconds to wait after so many failures in a row (1 or more)."""
    return SCHEDULE[min(max(tries, 1), len(SCHEDULE)) - 1]


def spread(seconds: float, random: Callable[[], float]) -> float:
    """The same ±20 %, so that what failed together does not come back together."""
    return seconds * (0.8 + 0.4 * random())
