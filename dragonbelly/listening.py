"""The sockets of a configuration and who serves them; and how another configuration takes over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, gatherResults
from twisted.logger import Logger
from twisted.python import usage

from dragonbelly import descriptors
from dragonbelly.config import Config, Source
from dragonbelly.config.checks import doubts
from dragonbelly.daemon import Daemon, make_daemon
from dragonbelly.errors import ConfigError, StartError
from dragonbelly.sockets import ListeningSocket
from dragonbelly.starting import cannot_start, check_installation
from dragonbelly.tuning import tune
from dragonbelly.web.draining import GRACE, LONGEST, SHORT, SHORT_GRACE
from dragonbelly.workers.pool import Plan, Pool

#: Seconds until the daemon of another configuration has to be open.
OPENING = 60.0


class Listening(MultiService):
    """
    A daemon with its sockets, which are opened first: a port that is taken ends the start at once.  With
    several workers these serve the public ones, and the daemon does the rest.

    ``read`` gives the configuration, at the start and at each ``reload``.

    :raises ConfigError: of ``read``, or options of a backend or a policy contradict each other.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, read: Callable[[], tuple[Source, Config]], options: usage.Options | None = None
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._read = read
        self._options = options
        self._source, config = read()
        self._doubt(config)
        self.daemon = make_daemon(reactor, config)
        self.workers = Pool(reactor, self.daemon)
        self.sockets: dict[str, ListeningSocket] = {}
        self._reloading: Deferred[None] | None = None
        self._reload_again = False

    def _doubt(self, config: Config) -> None:
        for doubt in doubts(config):
            self._log.warn("{file}: {doubt}", file=config.filename, doubt=doubt)

    # --- start and stop

    def privilegedStartService(self) -> None:
        config = self.daemon.config
        try:
            _allow_descriptors(config)
            for where in _wheres(config):
                self.sockets[where] = ListeningSocket(self._reactor, where)
        except StartError as error:
            cannot_start(error, self._options)
        super().privilegedStartService()

    def startService(self) -> None:
        if not self.sockets:  # ``twist``, unlike ``twistd``, knows no privileges
            self.privilegedStartService()
        plan = self._plan(self._source, self.daemon.config, self.sockets)
        try:
            check_installation()
            tune(self._reactor)
            if plan.workers:
                _look_as_a_worker(plan)
        except StartError as error:
            cannot_start(error, self._options)
        super().startService()
        self._attend(self.daemon)
        self.daemon.setServiceParent(self)
        self.workers.start(plan)

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._reloading is not None:
            self._reloading.cancel()
        sockets, self.sockets = self.sockets, {}
        for socket in sockets.values():
            await socket.close()
        draining = [Deferred.fromCoroutine(daemon.drain(SHORT_GRACE, SHORT)) for daemon in self._daemons()]
        await gatherResults([self.workers.stop(), *draining])
        await super().stopService()

    def _daemons(self) -> list[Daemon]:
        """The one that serves, and those whose last answers are not given yet."""
        return [daemon for daemon in self if isinstance(daemon, Daemon)]

    def _attend(self, daemon: Daemon) -> None:
        """Whoever connects from now on is answered by this daemon, or by the workers."""
        http = daemon.config.http
        daemon.operators.others = self.workers
        self.workers.daemon = daemon
        for where in http.admin:
            self.sockets[where].serve(daemon.admin_site)
        for where in http.listen:
            if http.workers == 1:
                self.sockets[where].serve(daemon.public_site)
            else:
                self.sockets[where].rest()

    @staticmethod
    def _plan(source: Source, config: Config, sockets: dict[str, ListeningSocket]) -> Plan:
        http = config.http
        several = http.workers > 1 and bool(http.listen)
        return Plan(source, [sockets[where] for where in http.listen], http.workers if several else 0)

    # --- another configuration

    def reload(self) -> None:
        """Read the configuration again and go on by it; or, if that cannot be, as before."""
        if not self.running:
            return
        if self._reloading is not None:
            self._reload_again = True
            return
        self._reload_again = False
        self._reloading = Deferred.fromCoroutine(self._reload())
        self._reloading.addErrback(self._not_reloaded)
        self._reloading.addBoth(self._reloaded)

    def _not_reloaded(self, failure: Any) -> None:
        if failure.check(ConfigError, StartError):
            self._log.error(
                "the configuration is not taken over, and all goes on as before: {reason}",
                reason=failure.getErrorMessage(),
            )
        elif not failure.check(CancelledError):
            self._log.failure("the configuration is not taken over, and all goes on as before", failure)

    def _reloaded(self, _: object) -> None:
        self._reloading = None
        if self._reload_again:
            self.reload()

    async def _reload(self) -> None:
        source, config = self._read()
        self._doubt(config)
        _allow_descriptors(config)
        opened: list[ListeningSocket] = []
        daemon = make_daemon(self._reactor, config, metrics=self.daemon.metrics)
        try:
            for where in _wheres(config):
                if where in self.sockets:
                    self.sockets[where].look_again()
                else:
                    opened.append(ListeningSocket(self._reactor, where, late=True))
            sockets = self.sockets | {socket.where: socket for socket in opened}
            await self._open(daemon)
            plan = self._plan(source, config, sockets)
            await self.workers.replace(plan)
        except BaseException:
            for socket in opened:
                await socket.close()
            if daemon.parent is not None:
                await daemon.disownServiceParent()
            raise
        former, self.daemon, self.sockets = self.daemon, daemon, sockets
        same, self._source = source == self._source, source
        self._attend(daemon)
        self.workers.keep(plan.workers)
        for where in set(sockets) - set(_wheres(config)):
            await self.sockets.pop(where).close()
        self._log.info(
            "{file} was read again and is in force{same}",
            file=config.filename,
            same=": it says what it said before" if same else "",  # perhaps it is a copy that nobody renewed
        )
        retiring = Deferred.fromCoroutine(self._retire(former))
        retiring.addErrback(lambda failure: self._log.failure("the former configuration", failure))

    async def _open(self, daemon: Daemon) -> None:
        """:raises StartError: it does not open."""
        opened: Deferred[None] = Deferred()
        daemon.on_open = lambda: opened.callback(None)
        daemon.on_refused = opened.errback
        daemon.setServiceParent(self)
        try:
            # What comes later than that is of no interest (``addTimeout`` cancels, and that swallows it).
            await opened.addTimeout(OPENING, self._reactor)
        except TimeoutError:
            raise StartError(f"its state store does not answer within {OPENING:g} s") from None

    async def _retire(self, daemon: Daemon) -> None:
        await daemon.drain(GRACE, LONGEST)
        if daemon.parent is not None and self.running:
            await daemon.disownServiceParent()


def _look_as_a_worker(plan: Plan) -> None:
    """:raises StartError: there is something that root alone could read, and workers are not root."""
    for socket in plan.sockets:
        try:
            socket.look_again()
        except StartError as error:
            raise StartError(f"{error} (with workers, the user who serves reads it)") from error


def _wheres(config: Config) -> tuple[str, ...]:
    return (*config.http.listen, *config.http.admin)


def _allow_descriptors(config: Config) -> None:
    """:raises StartError: the system does not give so many."""
    most = config.limits.connections
    # Public and admin listeners are counted for themselves.
    descriptors.allow(2 * most, f"[limits] connections = {most}, for listen and for admin,")
