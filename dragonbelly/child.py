"""A process of our own: started, kept running, ended."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

#: Seconds that it gets to finish what it does and end.
PATIENCE = 10.0

#: Seconds before it is started again, doubled each time up to the second figure.
AGAIN, AGAIN_MAX = 0.5, 10.0

#: The descriptor of an inherited socket (sd_listen_fds(3)).
SOCKET = 3

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
    The process of ``command``, whose first word is a path.  ``listener`` is the descriptor of a socket that it
    inherits.  What it prints goes to our log, under ``what``; ``hint`` is added when it ended by itself.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        what: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        listener: int | None = None,
        hint: str = "",
    ) -> None:
        self._reactor = reactor
        self._what = what
        self._command = command
        self._environment = environment
        self._listener = listener
        self._hint = hint
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
        super().stopService()
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._process is None:
            return succeed(None)
        self._ended = Deferred()
        process = self._process
        _signal(process, "TERM")
        kill = self._reactor.callLater(PATIENCE, _signal, process, "KILL")
        return self._ended.addCallback(lambda _: kill.active() and kill.cancel())

    def _spawn(self) -> None:
        self._again = None
        self._began = self._reactor.seconds()
        descriptors: dict[int, str | int] = {0: "w", 1: "r", 2: "r"}
        if self._listener is not None:
            descriptors[SOCKET] = self._listener
        self._process = self._reactor.spawnProcess(
            _Watch(self._said, self._gone),
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
    """Cuts what a process prints into lines."""

    #: Bytes of one line.
    _MAX = 10_000

    def __init__(self, said: Any, gone: Any) -> None:
        self._said = said
        self._gone = gone
        self._begun = b""

    def outReceived(self, data: bytes) -> None:
        *lines, self._begun = (self._begun + data)[-self._MAX :].split(b"\n")
        for line in lines:
            self._said(line.decode(errors="replace"))

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        if self._begun:
            self._said(self._begun.decode(errors="replace"))
        self._gone(reason)


def _signal(process: Any, name: str) -> None:
    with suppress(ProcessExitedAlready):
        process.signalProcess(name)
