"""
Which backend is best for a version: weighted rendezvous hashing.

Every backend gets a score for every version, and the highest wins.  A backend wins in proportion to its
weight; when one comes or goes, only what it wins or held moves.  Source: Schindelhauer and Schomaker,
"Weighted distributed hash tables" (SPAA 2005), the logarithmic method.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from math import ceil, log

from dragonbelly.model import BackendView

#: A backend that is nearly full is chosen less: its weight counts in eighths, by the part that is free.
#: Coarse, so that the choice for one version does not change with every file that is stored.
STEPS = 8

#: New objects leave this part of a backend's storage free.
RESERVE = 0.01


def score(seed: str, backend: BackendView) -> float:
    """How well the backend suits the version ``seed``: a positive number, higher is better."""
    return backend.weight * _free_part(backend) * _chance(seed, backend.name)


@lru_cache(maxsize=4096)
def _chance(seed: str, name: str) -> float:
    """The same positive number for the two every time, on all daemons."""
    digest = blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
    # 52 bits and a half: never 0 and never 1, for which there is no score.
    return -1 / log(((int.from_bytes(digest) >> 12) + 0.5) / 2**52)


def has_room(backend: BackendView, size: int | None) -> bool:
    """Whether an object of ``size`` bytes fits, as far as anybody knows."""
    if backend.free is None:
        return True
    return backend.free >= (size or 0) + RESERVE * (backend.total or 0)


def _free_part(backend: BackendView) -> float:
    if backend.free is None or not backend.total:
        return 1.0
    return min(max(ceil(STEPS * backend.free / backend.total), 1), STEPS) / STEPS
