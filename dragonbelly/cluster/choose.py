"""Which replica a reader is sent to."""

from __future__ import annotations

from collections.abc import Callable

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
    """One of the first of the ``tiers``, at random by weight.  None: there is nothing to point at."""
    ranked = tiers(version, cluster)
    for tier, replicas in enumerate(ranked):
        if replicas:
            best = _draw(replicas, cluster, random)
            others = [r for r in replicas if r is not best]
            if not others:
                # The next best: what looks away may be back, or only we cannot get there.  But nobody is sent
                # to what was taken down while there is another.
                others = next(filter(None, ranked[tier + 1 : _DOWN]), [])
            return Choice(best, tuple(others), last_resort=tier > 0)
    return None


def tiers(version: Version, cluster: ClusterView) -> tuple[list[Replica], ...]:
    """
    Whom readers are sent to, one tier after the other: good replicas on backends that serve, those that are
    leaving (whole until their grace ends), good ones on backends that look away, those on backends that were
    taken down.  A replica that is missing, suspect, lost or condemned is in none.
    """
    ranked: tuple[list[Replica], ...] = ([], [], [], [])
    for replica in version.replicas:
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


def _draw(replicas: list[Replica], cluster: ClusterView, random: Callable[[], float]) -> Replica:
    if len(replicas) == 1:
        return replicas[0]
    weights = [cluster[r.backend].weight for r in replicas]
    mark = random() * sum(weights)
    for replica, weight in zip(replicas, weights, strict=True):
        mark -= weight
        if mark < 0:
            return replica
    return replicas[-1]
