"""What answers clients: files, uploads and their API, on a store and storage servers that it watches itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random, SystemRandom
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from dragonbelly import __version__
from dragonbelly.cluster.health import Health
from dragonbelly.cluster.members import Cluster, Member
from dragonbelly.cluster.states import OperatorStates
from dragonbelly.config import Config
from dragonbelly.errors import StartError, StateUnavailable
from dragonbelly.events import DIGEST, PRECONDITION, SIZE, Abandoned, Accepted, Event, Lost, Verified
from dragonbelly.ids import ulid
from dragonbelly.interfaces import IStateStore
from dragonbelly.ledger import Ledger
from dragonbelly.metrics import Metrics
from dragonbelly.model import BackendView, Path, Record
from dragonbelly.policies.rules import Rules
from dragonbelly.replication.epoch import Epoch
from dragonbelly.replication.verify import Verifier
from dragonbelly.starting import give_up_later
from dragonbelly.state.redis import RedisStore
from dragonbelly.web.api import FilesApi
from dragonbelly.web.callers import Callers
from dragonbelly.web.connections import Connections
from dragonbelly.web.draining import drain
from dragonbelly.web.files import Domains, Files
from dragonbelly.web.guard import Guard
from dragonbelly.web.lanes import Lanes
from dragonbelly.web.open_uploads import OpenUploads
from dragonbelly.web.prepared import Prepared
from dragonbelly.web.redirects import Redirects
from dragonbelly.web.sign import SignApi
from dragonbelly.web.site import Router, make_site

#: Seconds between two tries to reach Redis at start.
RETRY = 0.5


def make_store(reactor: Any, config: Config, metrics: Metrics) -> RedisStore:
    state = config.state
    took = cache(metrics.redis.labels)
    return RedisStore(
        reactor,
        state.redis,
        login=state.login,
        partitions=state.partitions,
        reply_timeout=state.reply_timeout,
        require_noeviction=state.require_noeviction,
        ack_replicas=state.ack_replicas,
        ack_timeout=state.ack_timeout,
        observe=lambda command, seconds: took(command).observe(seconds),
    )


class Serving(MultiService):
    """
    Everything but the listeners: it opens when the store answers and every backend was looked at once, and
    until then every request is answered with 503.

    ``reactor`` is all that it knows of time, ``random`` all that it leaves to chance: a simulation hands in its
    own.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        config: Config,
        store: IStateStore,
        metrics: Metrics,
        random: Random | None = None,
    ) -> None:
        super().__init__()
        # Nobody gains by guessing which replica is next; to guess an id is another matter.
        choosing = random or Random()  # nosec B311 # see above
        self._random = random or SystemRandom()
        self._reactor = reactor
        self.metrics = metrics
        self.config = config
        self.store = store
        self.cluster = Cluster(_members(config, reactor))
        rules = Rules(config, config.make_policies(), self._unknown_policy)
        epoch = Epoch(store, reactor, config.delete.grace)
        self.ledger = Ledger(store, epoch, self.cluster, rules, config, reactor, self._make_id)
        self.ledger.on_event = self._committed
        self.ledger.on_repaired = lambda path: self._log.info("{path} has a good copy again", path=path.member)
        every = config.health.every
        self.states = OperatorStates(store, self.cluster, reactor, every)
        self.health = Health(
            self.cluster,
            reactor,
            every=every,
            timeout=config.health.timeout,
            patience=config.replication.patience,
            identity=lambda: store.identity,
            expected=lambda backend: Deferred.fromCoroutine(self._expected(backend)),
            on_impatience=self._impatient,
            on_return=self._returned,
            on_failure=lambda backend, reason: metrics.failures.labels(backend, reason).inc(),
        )
        self.cluster.on_change.append(self._changed)
        self.verifier = Verifier(self.cluster, self.health, config, reactor)
        self.domains, self.guard = Domains(config), Guard(config, reactor)
        self.uploads = OpenUploads(self.ledger, config.limits)
        redirects = Redirects(self.cluster, config, reactor, choosing.random, metrics)
        prepared = Prepared(store.track(), redirects, config, reactor)
        self.ledger.on_change = lambda path: prepared.forget(path.member)
        self.files = Files(
            self.ledger,
            self.verifier,
            self.domains,
            self.guard,
            self.uploads,
            config,
            redirects,
            prepared,
            metrics,
        )
        self.api = FilesApi(
            self.ledger,
            self.verifier,
            self.files,
            self.domains,
            self.guard,
            self.uploads,
            SignApi(self.domains, self.guard, config, reactor),
            self.replicate,
            reactor,
        )
        clients = Callers(config.tokens, origins=config.http.origins)
        self.public = Router(self.files, self.api, clients, metrics, origins=config.http.origins)
        site = make_site(self.public, reactor, config.limits, metrics)
        self.public_site = Lanes(
            site, self.public, self.domains, self.guard, redirects, prepared, config, reactor, metrics
        )
        self._opening: Deferred[None] | None = None
        #: Called when files can be served.
        self.on_open: Callable[[], None] = lambda: None
        #: Called when they never will be.
        self.on_refused: Callable[[Failure], None] = self._refused

    # --- what is somebody else's work

    def replicate(self) -> None:
        """Have what is due looked at now: somebody waits for copies."""
        raise NotImplementedError

    def upload_began(self) -> None:
        raise NotImplementedError

    def _impatient(self, backend: str) -> None:
        """A backend does not come back."""

    def _returned(self, backend: str, long: bool) -> None:
        """A backend is back; ``long``: after it was given up."""

    def _changed(self, old: BackendView, new: BackendView) -> None:
        """What was said or seen of a backend."""

    # --- life

    def parts(self) -> list[IService]:
        """What runs while it is open, in the order in which it starts."""
        return [self.states, self.health]

    @property
    def routers(self) -> list[Router]:
        return [self.public]

    @property
    def connections(self) -> list[Connections]:
        return [self.public_site.connections]

    def startService(self) -> None:
        # The parts are not children yet: they start when the store answers.
        super().startService()
        self._opening = Deferred.fromCoroutine(self._open())
        self._opening.addErrback(self._not_opened)

    async def _open(self) -> None:
        await self._wait_for_store()
        await self.states.work()
        await self.before_open()
        await self.health.round()
        for part in self.parts():
            part.setServiceParent(self)
        for router in self.routers:
            router.open = True
        self._log.info("Dragonbelly {version} is open", version=__version__)
        self.on_open()

    async def before_open(self) -> None:
        """The store answers, and nothing is decided yet."""

    async def _wait_for_store(self) -> None:
        said = ""
        while True:
            try:
                return await self.store.ready()
            except StateUnavailable as error:
                if error.detail != said:
                    said = error.detail
                    self._log.warn("waiting for the state store: {reason}", reason=said)
                await deferLater(self._reactor, RETRY)

    def _not_opened(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        if failure.check(StateUnavailable) and self.running:
            # It went away again in the same moment.
            self._opening = Deferred.fromCoroutine(self._open())
            self._opening.addErrback(self._not_opened)
            return
        self.on_refused(failure)

    def _refused(self, failure: Failure) -> None:
        if failure.check(StartError):
            self._log.critical("dragonbelly: {reason}", reason=failure.getErrorMessage())
        else:
            self._log.failure("dragonbelly cannot start", failure)
        give_up_later(self._reactor)

    async def drain(self, grace: float, longest: float) -> None:
        """See ``dragonbelly.web.draining``; whoever calls this listens no more."""
        await drain(self.connections, self._reactor, grace, longest)

    async def _stop(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        await super().stopService()
        await gatherResults([self.cluster.backend(name).close() for name in self.cluster.names])
        await self.store.close()

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    # --- what the parts tell each other

    def _make_id(self, now: float) -> str:
        return ulid(now, self._random.getrandbits)

    async def _expected(self, backend: str) -> bool:
        use = (await self.store.use()).get(backend)
        return use is not None and use.objects > 0

    def _committed(self, path: Path, event: Event, record: Record | None) -> None:
        self.uploads.happened(event, record)
        match event:
            case Accepted():
                self.upload_began()
            case Verified():
                self.metrics.uploads.labels("verified").inc()
            case Abandoned(reason=reason):
                self.metrics.uploads.labels(reason).inc()
                if reason in (SIZE, DIGEST, PRECONDITION):
                    self._log.warn(
                        "upload {id} of {path} is refused: {reason}",
                        id=event.id,
                        path=path.member,
                        reason=reason,
                    )
            case Lost() if record is not None and record.damaged:
                self._log.error(
                    "{path} has no good copy left: the one on {backend} {why}",
                    path=path.member,
                    backend=event.backend,
                    why=event.why,
                )

    def _unknown_policy(self, path: Path, policy: str) -> None:
        self._log.warn("{path} asks for a policy {policy} that is not there", path=path.member, policy=policy)


def _members(config: Config, reactor: Any) -> list[Member]:
    made = config.make_backends(reactor)
    return [
        Member(made[name], BackendView(name, section.host, section.zone, section.weight))
        for name, section in config.backends.items()
    ]
