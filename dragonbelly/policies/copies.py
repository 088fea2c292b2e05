"""
The policy ``copies``: so many copies, each on a host (or in a zone) of its own.

Copies that share a host are no copies: they count once, and none is made where another lies.  With
``spread = "zone"`` the zones come first; when there are fewer of them than copies are owed, the rest are
spread over the hosts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Literal

import msgspec
from zope.interface import implementer

from dragonbelly.interfaces import IReplicationPolicy, IReplicationPolicyFactory
from dragonbelly.model import BackendState, BackendView, ClusterView, Demand, Placement
from dragonbelly.policies.ranking import has_room, score

Level = Literal["host", "zone"]


class CopiesOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    copies: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    spread: Level = "host"


@implementer(IReplicationPolicy)
class CopiesPolicy:
    """See the module.  ``name`` is the one in the configuration."""

    def __init__(self, name: str, copies: int = 2, spread: Level = "host") -> None:
        self.name = name
        self._copies = copies
        self._levels: tuple[Level, ...] = ("zone", "host") if spread == "zone" else ("host",)

    def place(self, demand: Demand, cluster: ClusterView) -> Placement:
        owed = demand.copies or self._copies
        held = set(demand.held)
        pending = set(demand.pending)

        def best_first(backend: BackendView) -> tuple[float, str]:
            return -score(demand.seed, backend), backend.name

        spread = _Spread(owed)
        kept: list[BackendView] = []
        if held:  # not so at the beginning of each upload
            # What counts of it: one copy for each place, the surest and best first.
            counted = [cluster[name] for name in held if name in cluster and cluster[name].counts]
            _sort(counted, lambda b: (_doubt(b), best_first(b)))
            kept = [backend for level in self._levels for backend in spread.fill(level, counted)]

        room = [
            b for b in cluster.values() if _stays(b) or (b.state is BackendState.READONLY and b.name in held)
        ]
        zones = len({b.zone for b in room}) if "zone" in self._levels else 0
        enough = len(kept) == owed and spread.zones >= min(owed, zones)
        surplus = enough and all(backend.counts and backend.sure for backend in kept)

        add: list[BackendView] = []
        if not enough:
            # What is missing: copies that are under way, then new ones.
            awaited = [cluster[name] for name in pending - demand.avoid if name in cluster]
            awaited = [b for b in awaited if b.takes or (b.patient and b.state is BackendState.ALIVE)]
            _sort(awaited, lambda b: (not b.takes, best_first(b)))
            absent = {cluster[name].host for name in held if name in cluster and _is_away(cluster[name])}
            closed = held | pending | demand.avoid
            candidates = [
                b for b in cluster.values() if b.takes and b.name not in closed and has_room(b, demand.size)
            ]
            # A host whose other backend is away with a copy would hold two when that one is back: last choice.
            _sort(candidates, (lambda b: (b.host in absent, best_first(b))) if absent else best_first)
            for level in self._levels:
                kept += spread.fill(level, awaited)
                add += spread.fill(level, candidates)

        keep = {backend.name for backend in kept}
        if not surplus:
            # No good copy goes before all are there; those that do not count may still be sources.
            keep |= held
        keep |= {name for name in held if name not in cluster or not _can_drop(cluster[name])}
        return Placement(
            keep=tuple(sorted(keep)),
            add=tuple(backend.name for backend in add),
            drop=tuple(sorted((held | pending) - keep)),
            owed=owed,
            possible=min(owed, len({b.host for b in room})),
            enough=enough,
        )


@implementer(IReplicationPolicyFactory)
class CopiesFactory:
    kind = "copies"
    options = CopiesOptions

    def make(self, name: str, options: object) -> CopiesPolicy:
        assert isinstance(options, CopiesOptions)
        return CopiesPolicy(name, options.copies, options.spread)


class _Spread:
    """The places taken so far.  A host lies in one zone, so none is taken twice."""

    def __init__(self, owed: int) -> None:
        self._owed = owed
        self._taken: dict[Level, set[str]] = {"zone": set(), "host": set()}

    @property
    def zones(self) -> int:
        return len(self._taken["zone"])

    def fill(self, level: Level, backends: Iterable[BackendView]) -> list[BackendView]:
        """Take backends in this order while there are too few places at ``level``: those that add one."""
        chosen = []
        places = self._taken[level]
        for backend in backends:
            if len(places) >= self._owed:
                break
            if getattr(backend, level) not in places:
                chosen.append(backend)
                self._taken["host"].add(backend.host)
                self._taken["zone"].add(backend.zone)
        return chosen


def _sort(backends: list[BackendView], key: Callable[[BackendView], tuple[object, ...]]) -> None:
    """A score is a digest; what stands alone needs none."""
    if len(backends) > 1:
        backends.sort(key=key)


def _stays(backend: BackendView) -> bool:
    """Whether new copies can go there sooner or later."""
    return backend.state is BackendState.ALIVE or backend.state is BackendState.DOWN


def _is_away(backend: BackendView) -> bool:
    """Whether what is held there may come back, though it does not count now."""
    return not backend.counts and _stays(backend)


def _doubt(backend: BackendView) -> tuple[bool, bool, bool]:
    """What speaks against keeping a copy there when there are too many, the worst first."""
    return not (backend.counts and backend.sure), not backend.serves, backend.state is BackendState.READONLY


def _can_drop(backend: BackendView) -> bool:
    """Whether a copy can be removed there now: where nobody answers it waits, and may be needed again."""
    return backend.reachable or backend.state is BackendState.DEAD
