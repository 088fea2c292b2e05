"""Records that cannot be decoded: told to the operator once each, whoever meets them and however often."""

from __future__ import annotations

from collections import OrderedDict

from twisted.logger import Logger

from dragonbelly.errors import BadRecord
from dragonbelly.model import Path

#: Paths that are remembered; what is forgotten would be told again.
REMEMBERED = 10_000


class Unreadable:
    """The records of one store that we met."""

    _log = Logger()

    def __init__(self) -> None:
        self._told: OrderedDict[Path, None] = OrderedDict()

    def met(self, path: Path, error: BadRecord | None = None) -> None:
        """One that cannot be decoded; ``error`` says why, if that is known."""
        if path in self._told:
            return
        self._told[path] = None
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        why = error.detail if error is not None else f"the record of {path.member!r} cannot be decoded"
        self._log.error("{why}; it is left as it is, and so is all that is stored of it", why=why)

    def mended(self, path: Path) -> None:
        """It can be decoded, now or still."""
        self._told.pop(path, None)
