"""What operators ask: backends and their states, the whole in figures, health, metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST
from twisted.internet.defer import Deferred, TimeoutError

from dragonbelly import __version__
from dragonbelly.cluster.health import Health
from dragonbelly.cluster.members import Cluster
from dragonbelly.cluster.states import OperatorStates
from dragonbelly.errors import BackendError, BadField, MethodNotAllowed, NotFound, NotYet, StateUnavailable
from dragonbelly.interfaces import IClock, IStateStore
from dragonbelly.metrics import Metrics
from dragonbelly.model import BackendState, BackendView, Use
from dragonbelly.replication.compare import Comparison
from dragonbelly.state.standstill import Standstill
from dragonbelly.web.announced import rfc3339
from dragonbelly.web.api import PREFIX
from dragonbelly.web.asked import decode
from dragonbelly.web.audit import AuditApi
from dragonbelly.web.explain_api import ExplainApi
from dragonbelly.web.guard import Guard
from dragonbelly.web.message import Answer, Question, json_answer

_BACKEND = f"{PREFIX}backends/".encode()
_AUDIT = f"{PREFIX}audit".encode()


#: Seconds that a backend has for taking its marker.
MARKING = 5.0

STATES = {state.name.lower(): state for state in BackendState}


class StateAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``PATCH backends/<name>``."""

    state: str


class Others(Protocol):
    """Processes that serve with us."""

    @property
    def needed(self) -> bool:
        """Whether clients are served by them alone."""

    @property
    def open(self) -> int:
        """How many serve."""

    async def reports(self) -> Sequence[bytes]:
        """What they count, and those before them; see ``Metrics.render``."""


class Nobody:
    needed, open = False, 0

    async def reports(self) -> Sequence[bytes]:
        return ()


class Admin:
    """The handlers of the admin listener that are not the files API."""

    def __init__(
        self,
        store: IStateStore,
        cluster: Cluster,
        states: OperatorStates,
        health: Health,
        comparison: Comparison,
        standstill: Standstill,
        audit: AuditApi,
        explain: ExplainApi,
        guard: Guard,
        clock: IClock,
        metrics: Metrics,
    ) -> None:
        #: Those who serve clients in our place.
        self.others: Others = Nobody()
        self._store = store
        self._cluster = cluster
        self._states = states
        self._probes = health
        self._comparison = comparison
        self._standstill = standstill
        self._audit = audit
        self._guard = guard
        self._clock = clock
        self._metrics = metrics
        #: What is only looked at, by its path.
        self._shown: dict[bytes, Callable[[Question], Awaitable[Answer]]] = {
            b"/-/metrics": self._render_metrics,
            f"{PREFIX}status".encode(): self._status,
            f"{PREFIX}backends".encode(): self._backends,
            f"{PREFIX}explain".encode(): explain.answer,
            f"{PREFIX}damaged".encode(): audit.damaged,
        }

    async def answer(self, question: Question, open: bool = True) -> Answer | None:
        """None: no resource of ours.  ``open``: whether the service has started."""
        path = question.target.path
        if path == b"/-/health":
            _only(question, "GET", "HEAD")
            return await self._health(open)
        if path not in self._shown and path != _AUDIT and not path.startswith(_BACKEND):
            return None
        self._guard.demand_admin(question.caller)
        if path.startswith(_BACKEND):
            return await self._backend(question, path.removeprefix(_BACKEND).decode("latin-1"))
        if path == _AUDIT:
            return await self._audit.answer(question)
        _only(question, "GET", "HEAD")
        return await self._shown[path](question)

    async def _health(self, open: bool) -> Answer:
        """Alive if it answers at all; ready if files can be found and there is a server to send readers to."""
        try:
            await self._store.operator_states()
            store = True
        except StateUnavailable:
            store = False
        serving = [name for name, view in self._cluster.view.items() if view.serves]
        attended = bool(self.others.open) or not self.others.needed
        ready = open and store and bool(serving) and attended
        answer = {
            "status": "ok" if ready else "unavailable",
            "version": __version__,
            "store": "up" if store else "away",
            "unconfirmed": self._standstill.reason,
            "backends_serving": len(serving),
            "backends": len(self._cluster.names),
            "workers": self.others.open,
        }
        return json_answer(answer, 200 if ready else 503)

    async def _render_metrics(self, _: Question) -> Answer:
        try:
            counts = await self._store.counts()
            use = dict.fromkeys(self._cluster.view, Use()) | await self._store.use()
        except StateUnavailable:
            counts, use = None, {}
        self._metrics.set_store(counts, use, self._clock.seconds())
        self._metrics.set_cluster(self._cluster.view)
        self._metrics.set_agreed(self._comparison.agreed)
        self._metrics.set_confirmed(self._standstill.reason is None)
        return Answer(
            200, (("Content-Type", CONTENT_TYPE_LATEST),), self._metrics.render(await self.others.reports())
        )

    async def _status(self, _: Question) -> Answer:
        counts = await self._store.counts()
        use = await self._store.use()
        age = None if counts.thin_since is None else max(0, int(self._clock.seconds() - counts.thin_since))
        return json_answer(
            {
                "version": __version__,
                "files": counts.files,
                "bytes": sum(used.bytes for used in use.values()),
                "objects": sum(used.objects for used in use.values()),
                "thin": {
                    "files": counts.thin,
                    "oldest": rfc3339(counts.thin_since),
                    "oldest_age": age,
                },
                "damaged": counts.damaged,
                "epoch": self._comparison.show(),
                "unconfirmed": self._standstill.reason,
                "queue": {"depth": counts.queued, "overdue": counts.overdue},
                "backends": self._show_all(use),
            }
        )

    async def _backends(self, _: Question) -> Answer:
        return json_answer({"backends": self._show_all(await self._store.use())})

    async def _take_in(self, question: Question, name: str) -> Answer:
        _only(question, "POST")
        if name not in self._cluster.names:
            raise NotFound(f"there is no backend {name}, only {', '.join(self._cluster.names)}")
        await self._comparison.take_in(name)
        return json_answer(self._comparison.show(), 202)

    async def _backend(self, question: Question, name: str) -> Answer:
        if name.endswith("/adopt"):
            return await self._take_in(question, name.removesuffix("/adopt"))
        use = await self._store.use()
        if name not in self._cluster.view and name not in use:
            known = ", ".join(sorted({*self._cluster.view, *use}))
            raise NotFound(f"there is no backend {name}, only {known}")
        if question.method == "PATCH":
            asked = decode(question.body, StateAsked).state
            if asked not in STATES:
                raise BadField(f"one of {', '.join(STATES)} was expected, not {asked!r}", field="state")
            if name not in self._cluster.names and asked != "dead":
                raise BadField(f"{name} is not in the configuration: it can only be dead", field="state")
            # Asked anew: another daemon may have been told a moment ago.
            was = (await self._store.operator_states()).get(name)
            left = use.get(name, Use()).objects
            if was is BackendState.DEAD and asked != "dead" and left:
                raise NotYet(
                    f"{name} is being written off as dead: {left} objects to go; try again in a moment",
                    retry_after=2,
                )
            if was is BackendState.DEAD and asked != "dead":
                await self._begin_anew(name)
            await self._states.set(name, STATES[asked])
        elif question.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(f"{question.method} is not for backends", allow="GET, HEAD, PATCH")
        if name not in self._cluster.view:
            raise NotFound(
                f"{name} is not in the configuration (any more); objects are recorded there",
                objects=use[name].objects,
                bytes=use[name].bytes,
            )
        return json_answer(self._show(self._cluster.view[name], use))

    async def _begin_anew(self, name: str) -> None:
        """
        A backend that was dead gets its marker before anything is placed there: from then on one that is
        missing means that its disk is not mounted.
        """
        try:
            marking = Deferred.fromCoroutine(self._probes.mark(name))
            await marking.addTimeout(MARKING, self._clock)
        except (BackendError, TimeoutError) as error:
            raise NotYet(
                f"{name} cannot be marked as ours ({error or 'no answer'}): it must answer before it is alive",
                retry_after=5,
            ) from error

    def _show(self, view: BackendView, use: dict[str, Use]) -> dict[str, Any]:
        used = use.get(view.name, Use())
        return {
            "name": view.name,
            "host": view.host,
            "zone": view.zone,
            "weight": view.weight,
            "state": view.state.name.lower(),
            "observed": view.observed.name.lower(),
            "reason": self._reason(view),
            "objects": used.objects,
            "bytes": used.bytes,
            "free": view.free,
            "total": view.total,
            "drained": view.state is BackendState.DRAIN and used.objects == 0,
        }

    def _reason(self, view: BackendView) -> str | None:
        """Why it is away."""
        if view.name not in self._cluster.names:
            return "it is not in the configuration"
        return self._probes.reasons.get(view.name)

    def _show_all(self, use: dict[str, Use]) -> list[dict[str, Any]]:
        return [self._show(view, use) for _, view in sorted(self._cluster.view.items())]


def _only(question: Question, *methods: str) -> None:
    if question.method not in methods:
        raise MethodNotAllowed(f"{question.method} is not for this resource", allow=", ".join(methods))
