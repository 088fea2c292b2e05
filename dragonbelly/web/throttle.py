"""So many a second for each key, and a number at once: a token bucket."""

from __future__ import annotations

from collections import OrderedDict

#: Keys that are remembered.  One that is forgotten has a full bucket again.
TABLE = 20_000


class Throttle:
    """
    ``rate`` a second (0: no limit), ``burst`` at once.

    A bucket is one number: when it will be full again.  Each taking moves that by 1/rate, and it may be
    burst/rate ahead (the generic cell rate algorithm of ITU-T I.371).
    """

    def __init__(self, rate: float, burst: int, table: int = TABLE) -> None:
        self._step = 1 / rate if rate else 0.0
        self._most = self._step * burst
        self._table = table
        self._full: OrderedDict[str, float] = OrderedDict()

    def take(self, key: str, now: float) -> float:
        """0.0 if it may be done now; else nothing is taken, and in so many seconds it may."""
        if not self._step:
            return 0.0
        # Capped: a clock that was set back shuts nobody out for long.
        full = min(max(self._full.get(key, now), now), now + self._most)
        wait = max(0.0, full + self._step - now - self._most)
        if wait < 1e-9:  # what binary fractions of a second leave
            wait, full = 0.0, full + self._step
        self._full[key] = full
        self._full.move_to_end(key)
        if len(self._full) > self._table:
            self._full.popitem(last=False)
        return wait
