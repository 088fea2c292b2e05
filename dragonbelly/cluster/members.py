"""The backends there are, what people said of them, and what this daemon sees of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from msgspec.structs import replace

from dragonbelly.errors import BackendUnavailable
from dragonbelly.interfaces import IBackend
from dragonbelly.model import BackendState, BackendView, ClusterView, Observed, Space


class Member(msgspec.Struct, frozen=True):
    """One backend of the configuration."""

    backend: IBackend
    view: BackendView

    @property
    def name(self) -> str:
        return self.view.name


class Cluster:
    """
    All backends.  ``view`` is an immutable picture for the pure rules; it is replaced, never changed, so
    whoever took one keeps it.  ``on_change`` are called with what a backend was and what it is, when more of it
    changed than its room.
    """

    def __init__(self, members: Iterable[Member]) -> None:
        all_members = list(members)
        self._backends = {member.name: member.backend for member in all_members}
        self.view: ClusterView = {member.name: member.view for member in all_members}
        self.on_change: list[Callable[[BackendView, BackendView], None]] = []

    @property
    def names(self) -> list[str]:
        return sorted(self._backends)

    def has(self, name: str) -> bool:
        """Whether it is in the configuration."""
        return name in self._backends

    def backend(self, name: str) -> IBackend:
        """:raises BackendUnavailable: it is not in the configuration (any more)."""
        try:
            return self._backends[name]
        except KeyError:
            raise BackendUnavailable(f"backend {name} is not in the configuration") from None

    def say(self, states: dict[str, BackendState]) -> None:
        """What people said, of all backends: those not named are alive."""
        for name in self.names:
            self._change(name, state=states.get(name, BackendState.ALIVE))
        # A backend that left the configuration without being drained: only a person can say that it is dead.
        gone = {name: s for name, s in states.items() if name not in self._backends and s is BackendState.DEAD}
        for name, state in gone.items():
            if name not in self.view:
                new = _departed(name, state)
                self.view = {**self.view, name: new}
                for notice in self.on_change:
                    notice(replace(new, state=BackendState.ALIVE), new)

    def observe(self, name: str, observed: Observed, space: Space | None = None) -> None:
        if space is None:
            self._change(name, observed=observed)
        else:
            self._change(name, observed=observed, free=space.free, total=space.total)

    def patience(self, name: str, patient: bool) -> None:
        """Whether an unreachable backend is still expected back soon."""
        self._change(name, patient=patient)

    def _change(self, name: str, **changes: object) -> None:
        old = self.view[name]
        new = replace(old, **changes)
        if new == old:
            return
        self.view = {**self.view, name: new}
        if replace(new, free=old.free, total=old.total) != old:
            for notice in self.on_change:
                notice(old, new)


def _departed(name: str, state: BackendState) -> BackendView:
    return BackendView(name, host=name, zone="", weight=0.0, state=state, observed=Observed.UNREACHABLE)
