"""``twistd dragonbelly``: the one place where everything is put together."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python import usage

from dragonbelly import __version__, descriptors
from dragonbelly.cluster.health import Health
from dragonbelly.cluster.members import Cluster, Member
from dragonbelly.cluster.states import OperatorStates
from dragonbelly.config import Config, load
from dragonbelly.config.checks import doubts, is_local
from dragonbelly.errors import ConfigError, StartError, StateUnavailable
from dragonbelly.events import DIGEST, PRECONDITION, SIZE, Abandoned, Accepted, Event, Lost, Verified
from dragonbelly.ids import ulid
from dragonbelly.interfaces import IStateStore
from dragonbelly.ledger import Ledger
from dragonbelly.metrics import Metrics
from dragonbelly.model import BackendView, Record
from dragonbelly.model import Path as FilePath
from dragonbelly.policies.rules import Rules
from dragonbelly.replication.audit import AskedAudit, Audit
from dragonbelly.replication.compare import Comparison
from dragonbelly.replication.epoch import Epoch
from dragonbelly.replication.replicator import Replicator
from dragonbelly.replication.sweep import Sweeper
from dragonbelly.replication.verify import Verifier
from dragonbelly.starting import (
    cannot_start,
    check_installation,
    give_up,
    give_up_later,
    open_ports,
    origin_option,
)
from dragonbelly.state.redis import RedisStore
from dragonbelly.state.standstill import Standstill
from dragonbelly.web.admin import Admin
from dragonbelly.web.api import FilesApi
from dragonbelly.web.audit import AuditApi
from dragonbelly.web.callers import Callers
from dragonbelly.web.explain_api import ExplainApi
from dragonbelly.web.files import Domains, Files
from dragonbelly.web.guard import Guard
from dragonbelly.web.lane import Lanes
from dragonbelly.web.open_uploads import OpenUploads
from dragonbelly.web.prepared import Prepared
from dragonbelly.web.redirects import Redirects
from dragonbelly.web.sign import SignApi
from dragonbelly.web.site import Router, make_site

#: Seconds between two tries to reach Redis at start.
RETRY = 0.5

#: Where everything is kept without a configuration, in the current directory.
DATA = "dragonbelly-data"


class Options(usage.Options):
    """The command line."""

    synopsis = "[--config FILE | --data DIR] [options]"
    longdesc = (
        "With --config: the daemon, as the file says.  Without: everything that is needed to try it, for this "
        "machine alone unless --listen says otherwise, with its data in DIR."
    )
    optParameters = [
        ["config", None, None, "The configuration, a TOML file; see etc/dragonbelly.toml."],
        ["data", None, None, f"Without --config: where everything is kept [default: {DATA}]."],
        ["listen", None, None, "Where files and API are served, a Twisted endpoint [default: port 8080]."],
        ["admin", None, None, "Where operators are served, a Twisted endpoint [default: port 8081]."],
        ["host", None, None, "What others call this machine, if --listen is not on loopback: name or address."],
    ]
    optFlags = [["new-token", None, "Make another token for others than this machine, and show it."]]

    def __init__(self) -> None:
        super().__init__()
        self.origins: list[str] = []

    def opt_origin(self, origin: str) -> None:
        """Without --config: pages of it (https://host[:port], or *) may use fetch; may be given again."""
        self.origins.append(origin_option(origin))

    def opt_version(self) -> None:
        """Display Dragonbelly's version and exit."""
        raise SystemExit(f"dragonbelly {__version__}")


def makeService(options: Options) -> IService:
    """What ``twistd`` runs."""
    from twisted.internet import reactor

    if options["config"] is None:
        from dragonbelly.embedded import Embedded

        return Embedded(
            reactor,
            Path(options["data"] or DATA),
            options["listen"],
            options["admin"],
            options,
            options.origins,
            options["host"],
            bool(options["new-token"]),
        )
    alone = ("data", "listen", "admin", "host", "new-token")
    if options.origins or any(options[name] for name in alone):
        names = ", ".join(f"--{name}" for name in alone)
        give_up(f"{names} and --origin go without --config; with it, the file says all that")
    try:
        config = load(options["config"])
        for doubt in doubts(config):
            Daemon._log.warn("{file}: {doubt}", file=config.filename, doubt=doubt)
        return Listening(reactor, make_daemon(reactor, config), config.http.listen, config.http.admin, options)
    except ConfigError as error:
        give_up(str(error))


def make_daemon(reactor: Any, config: Config, name: str | None = None) -> Daemon:
    """
    The daemon of a configuration, on Redis.  ``name`` tells it from others of the same store.

    :raises ConfigError: options of a backend or a policy contradict each other.
    """
    metrics = Metrics()
    store = RedisStore(
        reactor,
        config.state.redis,
        login=config.state.login,
        partitions=config.state.partitions,
        reply_timeout=config.state.reply_timeout,
        require_noeviction=config.state.require_noeviction,
        ack_replicas=config.state.ack_replicas,
        ack_timeout=config.state.ack_timeout,
        observe=lambda command, seconds: metrics.redis.labels(command).observe(seconds),
    )
    return Daemon(reactor, config, store, metrics, name or f"{socket.gethostname()}-{secrets.token_hex(4)}")


class Daemon(MultiService):
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
        name: str,
        random: Random | None = None,
    ) -> None:
        super().__init__()
        # Nobody gains by guessing which replica is next; to guess an id is another matter.
        choosing = random or Random()
        self._random = random = random or SystemRandom()
        self._reactor = reactor
        self._metrics = metrics
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
        self.sweeper = Sweeper(self.ledger, reactor, name, config.fingerprint(), every)
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
        self.comparison = Comparison(
            self.ledger, self.health, config, reactor, name, self.sweeper.request, every
        )
        self.verifier = Verifier(self.cluster, self.health, config, reactor)
        self.replicator = Replicator(
            self.ledger, self.verifier, self.health, config, reactor, random.random, metrics
        )
        domains, guard = Domains(config), Guard(config, reactor)
        self.guard = guard
        self.uploads = uploads = OpenUploads(self.ledger, config.limits)
        redirects = Redirects(self.cluster, config, reactor, choosing.random, metrics)
        prepared = Prepared(store.track(), redirects, config, reactor)
        self.ledger.on_change = lambda path: prepared.forget(path.member)
        files = Files(self.ledger, self.verifier, domains, guard, uploads, config, redirects, prepared, metrics)
        sign = SignApi(domains, guard, config, reactor)
        api = FilesApi(
            self.ledger,
            self.verifier,
            files,
            domains,
            guard,
            uploads,
            sign,
            self.replicator.tick,
            reactor,
        )
        auditing = (self.ledger, self.health, config, reactor, name, metrics, self.comparison.waits, every)
        self.audit, self.asked_audit = Audit(*auditing), AskedAudit(*auditing)
        self.standstill = Standstill(store, reactor, every)
        operators = Admin(
            store,
            self.cluster,
            self.states,
            self.health,
            self.comparison,
            self.standstill,
            AuditApi(store, config, self.audit, self.asked_audit),
            ExplainApi(self.ledger, files, domains, config, reactor),
            guard,
            reactor,
            metrics,
        )
        clients = Callers(config.tokens, origins=config.http.origins)
        persons = Callers(config.tokens, trusted=all(map(is_local, config.http.admin)))
        self.public = Router(files, api, clients, metrics, origins=config.http.origins)
        self.admin = Router(files, api, persons, metrics, operators)
        site = make_site(self.public, reactor, config.limits, metrics)
        self.public_site = Lanes(
            site, self.public, domains, guard, redirects, prepared, config, reactor, metrics
        )
        self.admin_site = make_site(self.admin, reactor, config.limits, metrics)
        self._opening: Deferred[None] | None = None
        #: Called when files can be served.
        self.on_open: Callable[[], None] = lambda: None

    def startService(self) -> None:
        # The parts are not children yet: they start when the store answers.
        super().startService()
        self._opening = Deferred.fromCoroutine(self._open())
        self._opening.addErrback(self._not_opened)

    async def _open(self) -> None:
        await self._wait_for_store()
        await self.states.work()
        await self._compare_backends()
        await self.health.round()
        for part in (
            self.states,
            self.health,
            self.comparison,
            self.sweeper,
            self.replicator,
            self.audit,
            self.asked_audit,
            *([self.standstill] if self.config.state.ack_replicas else []),
        ):
            part.setServiceParent(self)
        self.public.open = self.admin.open = True
        self._log.info("Dragonbelly {version} is open", version=__version__)
        self.on_open()

    async def _compare_backends(self) -> None:
        for name, used in sorted((await self.store.use()).items()):
            if used.objects and name not in self.cluster.names:
                self._log.warn(
                    "{n} objects are recorded on backend {name}, which is not in {file} (is it gone for good? "
                    "then say that it is dead)",
                    n=used.objects,
                    name=name,
                    file=self.config.filename,
                )

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

    def _not_opened(self, failure: Any) -> None:
        if failure.check(CancelledError):
            return
        if failure.check(StateUnavailable) and self.running:
            # It went away again in the same moment.
            self._opening = Deferred.fromCoroutine(self._open())
            self._opening.addErrback(self._not_opened)
            return
        if failure.check(StartError):
            self._log.critical("dragonbelly: {reason}", reason=failure.getErrorMessage())
        else:
            self._log.failure("dragonbelly cannot start", failure)
        give_up_later(self._reactor)

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

    def _committed(self, path: FilePath, event: Event, record: Record | None) -> None:
        self.uploads.happened(event, record)
        match event:
            case Accepted():
                self.replicator.upload_began()
            case Verified():
                self._metrics.uploads.labels("verified").inc()
            case Abandoned(reason=reason):
                self._metrics.uploads.labels(reason).inc()
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

    def _unknown_policy(self, path: FilePath, policy: str) -> None:
        self._log.warn("{path} asks for a policy {policy} that is not there", path=path.member, policy=policy)

    def _changed(self, old: BackendView, new: BackendView) -> None:
        if old.state is not new.state:
            self._log.info("backend {name} is {state} now", name=new.name, state=new.state.name.lower())
            self.sweeper.request()

    def _impatient(self, backend: str) -> None:
        self._log.warn("backend {name} does not come back: its copies are made elsewhere", name=backend)
        self.sweeper.request()

    def _returned(self, backend: str, long: bool) -> None:
        self.sweeper.wake()
        if long:
            self.sweeper.request()


def _members(config: Config, reactor: Any) -> list[Member]:
    made = config.make_backends(reactor)
    return [
        Member(made[name], BackendView(name, section.host, section.zone, section.weight))
        for name, section in config.backends.items()
    ]


class Listening(MultiService):
    """A daemon with its listeners, which are opened first: a port that is taken ends the start at once."""

    def __init__(
        self,
        reactor: Any,
        daemon: Daemon,
        public: tuple[str, ...],
        admin: tuple[str, ...],
        options: usage.Options | None = None,
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._options = options
        self.daemon = daemon
        self._where: list[tuple[str, IProtocolFactory]] = [(where, daemon.public_site) for where in public]
        self._where += [(where, daemon.admin_site) for where in admin]
        self.ports: list[IListeningPort] = []
        daemon.setServiceParent(self)

    def privilegedStartService(self) -> None:
        most = self.daemon.config.limits.connections
        try:
            # Public and admin listeners are counted for themselves.
            descriptors.allow(2 * most, f"[limits] connections = {most}, for listen and for admin,")
        except StartError as error:
            cannot_start(error, self._options)
        self.ports = open_ports(self._reactor, self._where, self._options)
        super().privilegedStartService()

    def startService(self) -> None:
        if not self.ports:  # ``twist``, unlike ``twistd``, knows no privileges
            self.privilegedStartService()
        try:
            check_installation()
        except StartError as error:
            cannot_start(error, self._options)
        super().startService()

    async def _stop(self) -> None:
        ports, self.ports = self.ports, []
        for port in ports:
            await maybeDeferred(port.stopListening)
        await super().stopService()

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())
