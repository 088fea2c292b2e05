"""Which replica a reader is sent to."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

import msgspec

from dragonbelly.model import BackendState, BackendView, ClusterView, Observed, Replica, ReplicaState, Version

R = ReplicaState


class Choice(msgspec.Struct, frozen=True):
    """
    ``best`` is where to go, ``others`` hold the same bytes: where to go when that fails.  ``last_resort``:
    nothing that looks up holds the file, ``best`` is the least bad.
    """

    best: Replica
    others: tuple[Replica, ...]
    last_resort: bool


def choose(version: Version, cluster: ClusterView, random: Callable[[], float]) -> Choice | None:
    """One of the ``choices``, at random by weight.  None: there is nothing to point at."""
    possible = choices(version.replicas, cluster)
    if len(possible) < 2:
        return possible[0] if possible else None
    weights = [cluster[choice.best.backend].weight for choice in possible]
    return possible[draw(list(accumulate(weights)), random)]


def draw(marks: Sequence[float], random: Callable[[], float]) -> int:
    """The number of one of several, at random; ``marks`` are the sums of their weights so far, ascending."""
    return bisect_right(marks, random() * marks[-1], 0, len(marks) - 1)


def choices(replicas: Sequence[Replica], cluster: ClusterView) -> list[Choice]:
    """Whom a reader may be sent to: each of the first of the ``tiers`` that has any."""
    ranked = tiers(replicas, cluster)
    for tier, first in enumerate(ranked):
        if first:
            # The next best: what looks away may be back, or only we cannot get there.  But nobody is sent to
            # what was taken down while there is another.
            spare = next(filter(None, ranked[tier + 1 : _DOWN]), []) if len(first) == 1 else []
            return [
                Choice(best, tuple(r for r in first if r is not best) or tuple(spare), last_resort=tier > 0)
                for best in first
            ]
    return []


def tiers(replicas: Sequence[Replica], cluster: ClusterView) -> tuple[list[Replica], ...]:
    """
    Whom readers are sent to, one tier after the other: good replicas on backends that serve, those that are
    leaving (whole until their grace ends), good ones on backends that look away, those on backends that were
    taken down.  A replica that is missing, suspect, lost or condemned is in none.
    """
    ranked: tuple[list[Replica], ...] = ([], [], [], [])
    for replica in replicas:
        backend = cluster.get(replica.backend)
        if backend is not None and (tier := _tier(replica, backend)) is not None:
            ranked[tier].append(replica)
    return ranked


#: The tier of servers that were taken down.
_DOWN = 3


def _tier(replica: Replica, backend: BackendView) -> int | None:
    if replica.state not in (R.GOOD, R.LEAVING) or backend.state is BackendState.DEAD:
        return None
    if backend.serves:
        return 0 if replica.state is R.GOOD else 1
    return 2 if backend.observed is Observed.UNREACHABLE and backend.state < BackendState.DOWN else _DOWN
