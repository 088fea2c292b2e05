"""A process of our own: started, kept running, ended."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

#: Seconds that it gets to finish what it does and end.
PATIENCE = 10.0

#: Seconds before it is started again, doubled each time up to the second figure.
AGAIN, AGAIN_MAX = 0.5, 10.0

#: The first descriptor of inherited sockets (sd_listen_fds(3)); after the last come those of a conversation,
#: the one that it reads and the one that it writes.
SOCKETS = 3

# In a session of its own, so that a Ctrl-C at the terminal does not end it before those who use it; on Linux
# it is also told when the daemon dies without a word (prctl(2), PR_SET_PDEATHSIG = 1).  The process that a
# socket is meant for is known by its number only here.
_LAUNCH = """
import ctypes, os, signal, sys
os.setsid()
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[1], sys.argv[1:])
"""


class Child(Service):
    """
    The process of ``command``, whose first word is a path.  ``listeners`` are descriptors of sockets that it
    inherits.  What it prints goes to our log, under ``what``; ``hint`` is added when it ended by itself.  Each
    time it is started somebody new is there to ``talk`` to it.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        what: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        listeners: Sequence[int] = (),
        hint: str = "",
        talk: Callable[[], Protocol] | None = None,
    ) -> None:
        self._reactor = reactor
        self._what = what
        self._command = command
        self._environment = environment
        self._listeners = listeners
        self._hint = hint
        self._talk = talk
        self._process: Any = None
        self._ended: Deferred[None] | None = None
        self._again: IDelayedCall | None = None
        self._delay = AGAIN

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._process.pid if self._process is not None else None

    def startService(self) -> None:
        super().startService()
        self._spawn()

    def stopService(self) -> Deferred[Any]:
        if self._process is not None:
            _signal(self._process, "TERM")
        return self.let_end(PATIENCE)

    def let_end(self, patience: float) -> Deferred[Any]:
        """It was told to end by itself, and has so many seconds; it is not started again."""
        super().stopService()
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._process is None:
            return succeed(None)
        if self._ended is None:
            self._ended = Deferred()
        ended: Deferred[None] = Deferred()
        self._ended.addCallback(lambda _: ended.callback(None))
        kill = self._reactor.callLater(patience, _signal, self._process, "KILL")
        return ended.addCallback(lambda _: kill.active() and kill.cancel())

    def _spawn(self) -> None:
        self._again = None
        self._began = self._reactor.seconds()
        descriptors: dict[int, str | int] = {0: "w", 1: "r", 2: "r"}
        descriptors |= dict(enumerate(self._listeners, SOCKETS))
        watch = _Watch(self._said, self._gone)
        if self._talk is not None:
            watch.hears = SOCKETS + len(self._listeners)
            watch.says = watch.hears + 1
            watch.talk = self._talk()
            descriptors |= {watch.hears: "w", watch.says: "r"}
        self._process = self._reactor.spawnProcess(
            watch,
            sys.executable,
            [sys.executable, "-c", _LAUNCH, *self._command],
            env=self._environment,
            childFDs=descriptors,
        )

    def _said(self, line: str) -> None:
        self._log.warn("{what}: {line}", what=self._what, line=line)

    def _gone(self, reason: Failure) -> None:
        self._process = None
        if self._ended is not None:
            self._ended.callback(None)
        elif self.running:
            if self._reactor.seconds() - self._began > AGAIN_MAX:
                self._delay = AGAIN
            self._log.error(
                "{what} ended ({reason}) and is started again in {delay} s{hint}",
                what=self._what,
                reason=reason.getErrorMessage(),
                delay=self._delay,
                hint=self._hint,
            )
            self._again = self._reactor.callLater(self._delay, self._spawn)
            self._delay = min(2 * self._delay, AGAIN_MAX)


class _Watch(ProcessProtocol):
    """Cuts what a process prints into lines, and is the transport of who talks to it."""

    #: Bytes of one line.
    _MAX = 10_000

    transport: Any
    talk: Protocol | None = None
    hears = says = -1

    def __init__(self, said: Any, gone: Any) -> None:
        self._said = said
        self._gone = gone
        self._begun = b""

    def connectionMade(self) -> None:
        if self.talk is not None:
            self.talk.makeConnection(self)

    def write(self, data: bytes) -> None:
        # It may have ended a moment ago, which we hear of soon.
        if self.hears in self.transport.pipes:
            self.transport.writeToChild(self.hears, data)

    def loseConnection(self) -> None:
        self.transport.closeChildFD(self.hears)

    def childDataReceived(self, fd: int, data: bytes) -> None:
        if self.talk is not None and fd == self.says:
            self.talk.dataReceived(data)
        else:
            super().childDataReceived(fd, data)

    def outReceived(self, data: bytes) -> None:
        *lines, self._begun = (self._begun + data)[-self._MAX :].split(b"\n")
        for line in lines:
            self._said(line.decode(errors="replace"))

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        if self._begun:
            self._said(self._begun.decode(errors="replace"))
        if self.talk is not None:
            self.talk.connectionLost(Failure(ConnectionDone()))
        self._gone(reason)


def _signal(process: Any, name: str) -> None:
    with suppress(ProcessExitedAlready):
        process.signalProcess(name)
