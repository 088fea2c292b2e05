"""How much is measured, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _quiet(text: str) -> None: ...


@dataclass(frozen=True)
class Settings:
    """
    Each measurement is made ``rounds`` times for ``seconds``; where something is started anew for it, once.

    ``files``         in Redis
    ``hot``           of these are asked for again and again
    ``few``           in the store that the one of ``files`` is compared with
    ``uploads``       by the API, a round
    ``copies``        of small files that the replicator makes
    ``memory_files``  in the Redis whose memory is looked at
    ``writes``        that another daemon is told of
    ``deletes``       at one daemon, of files that another one has told of
    ``idle``          s that a daemon is watched that has nothing to do
    ``dawdling``      clients that are slow
    ``cli_files``     of ``cli_size`` bytes that ``dragonbelly put`` uploads, ``cli_jobs`` at a time
    ``say``           tells of progress
    """

    files: int = 2_000_000
    hot: int = 200_000
    few: int = 10_000
    uploads: int = 5_000
    copies: int = 5_000
    memory_files: int = 100_000
    writes: int = 2_000
    deletes: int = 4_000
    idle: float = 30
    dawdling: int = 2_000
    cli_files: int = 5_000
    cli_size: int = 4096
    cli_jobs: int = 16
    seconds: float = 5
    rounds: int = 3
    say: Callable[[str], None] = _quiet


QUICK = Settings(
    files=400_000,
    hot=20_000,
    few=2_000,
    uploads=1_000,
    copies=1_000,
    deletes=500,
    idle=5,
    dawdling=500,
    cli_files=500,
    seconds=2,
    rounds=1,
)
