"""The daemon: what serves clients, and the work behind it that is done once for all who serve."""

from __future__ import annotations

import secrets
import socket
from random import Random
from typing import Any

from twisted.application.service import IService

from dragonbelly.config import Config
from dragonbelly.config.checks import is_local
from dragonbelly.interfaces import IStateStore
from dragonbelly.metrics import Metrics
from dragonbelly.model import BackendView
from dragonbelly.replication.audit import AskedAudit, Audit
from dragonbelly.replication.compare import Comparison
from dragonbelly.replication.replicator import Replicator
from dragonbelly.replication.sweep import Sweeper
from dragonbelly.serving import Serving, make_store
from dragonbelly.state.standstill import Standstill
from dragonbelly.web.admin import Admin
from dragonbelly.web.audit import AuditApi
from dragonbelly.web.callers import Callers
from dragonbelly.web.connections import Connections
from dragonbelly.web.explain_api import ExplainApi
from dragonbelly.web.site import Router, make_site


def make_daemon(
    reactor: Any, config: Config, name: str | None = None, metrics: Metrics | None = None
) -> Daemon:
    """
    The daemon of a configuration, on Redis.  ``name`` tells it from others of the same store; with ``metrics``
    of one before it goes on counting.

    :raises ConfigError: options of a backend or a policy contradict each other.
    """
    metrics = metrics or Metrics()
    name = name or f"{socket.gethostname()}-{secrets.token_hex(4)}"
    return Daemon(reactor, config, make_store(reactor, config, metrics), metrics, name)


class Daemon(Serving):
    """Replication, comparison, audit, and what operators ask, with what serves clients."""

    def __init__(
        self,
        reactor: Any,
        config: Config,
        store: IStateStore,
        metrics: Metrics,
        name: str,
        random: Random | None = None,
    ) -> None:
        super().__init__(reactor, config, store, metrics, random)
        every = config.health.every
        self.sweeper = Sweeper(self.ledger, reactor, name, config.fingerprint(), every)
        self.comparison = Comparison(
            self.ledger, self.health, config, reactor, name, self.sweeper.request, every
        )
        self.replicator = Replicator(
            self.ledger, self.verifier, self.health, config, reactor, self._random.random, metrics
        )
        auditing = (self.ledger, self.health, config, reactor, name, metrics, self.comparison.waits, every)
        self.audit, self.asked_audit = Audit(*auditing), AskedAudit(*auditing)
        self.standstill = Standstill(store, reactor, every)
        self.operators = Admin(
            store,
            self.cluster,
            self.states,
            self.health,
            self.comparison,
            self.standstill,
            AuditApi(store, config, self.audit, self.asked_audit),
            ExplainApi(self.ledger, self.files, self.domains, config, reactor),
            self.guard,
            reactor,
            metrics,
        )
        persons = Callers(config.tokens, trusted=all(map(is_local, config.http.admin)))
        self.admin = Router(self.files, self.api, persons, metrics, self.operators)
        self.admin_site = make_site(self.admin, reactor, config.limits, metrics)

    def parts(self) -> list[IService]:
        return [
            *super().parts(),
            self.comparison,
            self.sweeper,
            self.replicator,
            self.audit,
            self.asked_audit,
            *([self.standstill] if self.config.state.ack_replicas else []),
        ]

    @property
    def routers(self) -> list[Router]:
        return [*super().routers, self.admin]

    @property
    def connections(self) -> list[Connections]:
        return [*super().connections, self.admin_site.connections]

    async def before_open(self) -> None:
        for name, used in sorted((await self.store.use()).items()):
            if used.objects and name not in self.cluster.names:
                self._log.warn(
                    "{n} objects are recorded on backend {name}, which is not in {file} (is it gone for good? "
                    "then say that it is dead)",
                    n=used.objects,
                    name=name,
                    file=self.config.filename,
                )

    def replicate(self) -> None:
        self.replicator.tick()

    def upload_began(self) -> None:
        self.replicator.upload_began()

    def _impatient(self, backend: str) -> None:
        self._log.warn("backend {name} does not come back: its copies are made elsewhere", name=backend)
        self.sweeper.request()

    def _returned(self, backend: str, long: bool) -> None:
        self.sweeper.wake()
        if long:
            self.sweeper.request()

    def _changed(self, old: BackendView, new: BackendView) -> None:
        if old.state is not new.state:
            self._log.info("backend {name} is {state} now", name=new.name, state=new.state.name.lower())
            self.sweeper.request()
