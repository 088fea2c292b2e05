"""Which replica a reader is sent to."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from dragonbelly.model import BackendState, BackendView, ClusterView, Observed, Replica, ReplicaState, Version

R = ReplicaState


class Choice(msgspec.Struct, frozen=True):
    """
    ``best`` is where to go, ``others`` hold the same bytes.  ``last_resort``: nothing that looks up holds the
    file, ``best`` is the least bad.
    """

    best: Replica
    others: tuple[Replica, ...]
    last_resort: bool


def choose(version: Version, cluster: ClusterView, random: Callable[[], float]) -> Choice | None:
    """
    A good replica on a backend that serves, at random by weight; failing that one that is leaving (whole until
    its grace ends), then good ones on backends that look away, then those on backends that were taken down.
    None: there is nothing to point at.  A replica that is missing, suspect, lost or condemned never comes.
    """
    tiers: tuple[list[Replica], ...] = ([], [], [], [])
    for replica in version.replicas:
        backend = cluster.get(replica.backend)
        if backend is not None and (tier := _tier(replica, backend)) is not None:
            tiers[tier].append(replica)
    for tier, replicas in enumerate(tiers):
        if replicas:
            best = _draw(replicas, cluster, random)
            others = tuple(r for r in tiers[0] if r is not best)
            return Choice(best, others, last_resort=tier > 0)
    return None


def _tier(replica: Replica, backend: BackendView) -> int | None:
    if replica.state not in (R.GOOD, R.LEAVING) or backend.state is BackendState.DEAD:
        return None
    if backend.serves:
        return 0 if replica.state is R.GOOD else 1
    return 2 if backend.observed is Observed.UNREACHABLE and backend.state < BackendState.DOWN else 3


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
