"""How much is measured, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _quiet(text: str) -> None: ...


@dataclass(frozen=True)
class Settings:
    """
    ``files`` are in Redis, of which ``hot`` are asked for again and again; each measurement is made ``rounds``
    times for ``seconds``.  ``few`` is the smaller number of files that the rate is compared at.  ``say`` tells
    of progress.
    """

    files: int = 2_000_000
    hot: int = 200_000
    few: int = 10_000
    seconds: float = 5
    rounds: int = 3
    uploads: int = 5_000
    memory_files: int = 100_000
    say: Callable[[str], None] = _quiet


QUICK = Settings(files=400_000, hot=20_000, few=2_000, seconds=2, rounds=1, uploads=1_000, memory_files=20_000)

#: So little that it shows no more than that everything works.
TINY = Settings(files=60_000, hot=200, few=100, seconds=1, rounds=1, uploads=20, memory_files=1_000)
