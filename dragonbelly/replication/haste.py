"""Whether the next lot of work is begun as soon as hands are free, or leaves the machine to uploads."""

from __future__ import annotations

#: Seconds after an upload for which others are expected.
EXPECTED = 0.5


class Haste:
    """
    While uploads come there is no haste, but for ``patience`` seconds at a time only: so much later the copies
    are made that wait.  Times are in s.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._upload = float("-inf")
        self._behind: float | None = None

    def upload_began(self, now: float) -> None:
        self._upload = now

    def claimed(self, now: float, more: bool) -> None:
        """``more``: there was as much to do as hands were free, and perhaps more."""
        if not more:
            self._behind = None
        elif self._behind is None:
            self._behind = now

    def at(self, now: float) -> bool:
        # A clock that was set back gives no way.
        uploads = 0 <= now - self._upload < EXPECTED
        waited = 0.0 if self._behind is None else now - self._behind
        return not (uploads and 0 <= waited < self._patience)
