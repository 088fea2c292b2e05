"""
A worker: ``python -m dragonbelly.workers N``, with N sockets from descriptor 3 on and its daemon after them.

It serves clients and nothing else; what concerns all workers its daemon does.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ReactorNotRunning
from twisted.internet.stdio import StandardIO
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    LogEvent,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
    globalLogBeginner,
)

from dragonbelly.child import SOCKETS
from dragonbelly.errors import ConfigError, StartError
from dragonbelly.metrics import Metrics
from dragonbelly.serving import Serving, make_store
from dragonbelly.sockets import ListeningSocket
from dragonbelly.starting import give_up_later
from dragonbelly.tuning import tune
from dragonbelly.web.draining import GRACE, SHORT, SHORT_GRACE
from dragonbelly.workers.messages import (
    Counted,
    Leave,
    Left,
    Opened,
    Replicate,
    Report,
    Serve,
    Talk,
    ToWorker,
    UploadBegan,
)

#: Seconds that clients are left to wait for a worker that is not open, before they are told so.
ALONE = 5.0


class Hand(Serving):
    """What it does not do itself it has the daemon do."""

    talk: Talk

    def replicate(self) -> None:
        self.talk.say(Replicate())

    def upload_began(self) -> None:
        if self.config.replication.uploads_first:  # else it makes no difference
            self.talk.say(UploadBegan())


class Process:
    """The whole of it."""

    _log = Logger()

    def __init__(self, reactor: Any, sockets: int) -> None:
        self._reactor = reactor
        self._filenos = range(SOCKETS, SOCKETS + sockets)
        self._metrics = Metrics()
        self._serving: Hand | None = None
        self._sockets: list[ListeningSocket] = []
        self._is_alone: Deferred[None] = Deferred()
        self._talk = Talk(ToWorker, self._hear, self._alone)
        hears = SOCKETS + sockets
        StandardIO(self._talk, hears, hears + 1, reactor)  # type: ignore[call-arg]
        reactor.addSystemEventTrigger("before", "shutdown", self._shut_down)

    def _hear(self, message: ToWorker) -> None:
        match message:
            case Serve():
                self._serve(message)
            case Report():
                self._talk.say(Counted(self._metrics.render()))
            case Leave(longest=longest):
                leaving = Deferred.fromCoroutine(self._leave(GRACE, longest))
                leaving.addErrback(lambda failure: self._log.failure("leaving", failure))

    def _serve(self, asked: Serve) -> None:
        try:
            config = asked.source.config()
            store = make_store(self._reactor, config, self._metrics)
            self._serving = serving = Hand(self._reactor, config, store, self._metrics)
            self._sockets = [
                ListeningSocket(self._reactor, where, fileno)
                for where, fileno in zip(asked.where, self._filenos, strict=True)
            ]
        except (ConfigError, StartError) as error:
            self._log.critical("{reason}", reason=str(error))
            give_up_later(self._reactor)
            return
        serving.talk = self._talk
        serving.on_open = self._opened
        serving.startService()
        if asked.alone:
            self._reactor.callLater(ALONE, self._listen)

    def _listen(self) -> None:
        if self._serving is None:
            return
        for socket in self._sockets:
            if socket.port is None:
                socket.serve(self._serving.public_site)

    def _opened(self) -> None:
        self._listen()
        self._talk.say(Opened())

    def _alone(self) -> None:
        """The daemon ended the conversation, or itself."""
        self._is_alone.callback(None)
        self._stop()

    def _stop(self) -> None:
        with suppress(ReactorNotRunning):  # it is being stopped already
            self._reactor.stop()

    def _shut_down(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._leave(SHORT_GRACE, SHORT))

    async def _leave(self, grace: float, longest: float) -> None:
        """May be asked for again, with less patience."""
        if self._serving is None:
            return
        await gatherResults([socket.rest() for socket in self._sockets])
        await self._serving.drain(grace, longest)
        serving, self._serving = self._serving, None
        if serving is None or self._is_alone.called:
            return
        await serving.stopService()
        self._talk.say(Left(self._metrics.render()))
        await self._is_alone


def _line(event: LogEvent) -> str:
    # The daemon's log, where it goes, tells the time and who said it.
    level = getattr(event.get("log_level"), "name", "-")
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    return f"[{event.get('log_namespace', '-')}#{level}] {text}\n"


def main() -> None:
    from twisted.internet import reactor

    loud = LogLevelFilterPredicate(LogLevel.warn)
    loud.setLogLevelForNamespace("dragonbelly.state.redis", LogLevel.error)  # the daemon says the same
    globalLogBeginner.beginLoggingTo([FilteringLogObserver(FileLogObserver(sys.stderr, _line), [loud])])
    Process(reactor, int(sys.argv[1]))
    tune(reactor)
    reactor.run()


if __name__ == "__main__":
    main()
