"""The workers of a daemon: started, started again when they end, replaced one at a time, and summed up."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, TimeoutError, gatherResults
from twisted.logger import Logger

from dragonbelly.child import PATIENCE, Child
from dragonbelly.config import Source
from dragonbelly.errors import StartError
from dragonbelly.metrics import total
from dragonbelly.serving import Serving
from dragonbelly.sockets import ListeningSocket
from dragonbelly.web.draining import LONGEST
from dragonbelly.workers.messages import (
    Counted,
    Leave,
    Left,
    Opened,
    Replicate,
    Report,
    Serve,
    Talk,
    ToDaemon,
    ToWorker,
    UploadBegan,
)

#: Seconds that a worker has to say what it counted; after that its last figures serve once more.
REPORTING = 2.0

#: Seconds until a new worker serves, at most.
OPENING = 60.0


class Plan(msgspec.Struct, frozen=True):
    """What there is to serve, and by how many."""

    source: Source
    sockets: Sequence[ListeningSocket]
    workers: int


class Worker:
    """One process, or the next one in its place when it ends by itself."""

    def __init__(self, pool: Pool, number: int, plan: Plan) -> None:
        self.number = number
        self._pool = pool
        self._plan = plan
        self._talk: Talk | None = None
        self.open = False
        self.leaving = False
        #: When it serves for the first time.
        self.opened: Deferred[None] = Deferred()
        self.counted = b""
        self._reports: list[Deferred[None]] = []
        self._child = Child(
            pool.reactor,
            f"worker {number}",
            [sys.executable, "-m", "dragonbelly.workers", str(len(plan.sockets))],
            listeners=[socket.fileno for socket in plan.sockets],
            talk=self._make_talk,
        )

    def start(self) -> None:
        self._child.startService()

    @property
    def pid(self) -> int | None:
        return self._child.pid

    def _make_talk(self) -> Talk:
        self._talk = Talk(ToDaemon, self._hear, self._ended, self._begin)
        return self._talk

    def _begin(self) -> None:
        where = [socket.where for socket in self._plan.sockets]
        self._say(Serve(self._plan.source, where, alone=not self._pool.open))

    def _say(self, message: ToWorker) -> None:
        if self._talk is not None:
            self._talk.say(message)

    def _hear(self, message: ToDaemon) -> None:
        match message:
            case Opened():
                self.open = True
                if not self.opened.called:
                    self.opened.callback(None)
                self._pool.changed()
            case Counted(text=text):
                self.counted = text
                self._reported()
            case Left(text=text):
                self.counted = text
                if self._talk is not None and self._talk.transport is not None:
                    self._talk.transport.loseConnection()
            case Replicate():
                self._pool.daemon.replicate()
            case UploadBegan():
                self._pool.daemon.upload_began()

    def _reported(self) -> None:
        reports, self._reports = self._reports, []
        for report in reports:
            if not report.called:
                report.callback(None)

    def _ended(self) -> None:
        counted, self.counted = self.counted, b""
        self._talk, self.open = None, False
        self._pool.ended(self, counted)
        self._reported()  # who waits for it goes on at once, and finds it where it is now

    async def report(self) -> None:
        """Have ``counted`` be what it has counted by now, if it says so in time."""
        if self._talk is None:
            return
        report: Deferred[None] = Deferred()
        self._reports.append(report)
        self._say(Report())
        try:
            await report.addTimeout(REPORTING, self._pool.reactor)
        except TimeoutError:
            return

    def leave(self, longest: float) -> Deferred[Any]:
        """End when all are answered."""
        self.leaving = True
        self._say(Leave(longest))
        return self._child.let_end(longest + PATIENCE)

    def stop(self) -> Deferred[Any]:
        self.leaving = True
        return self._child.stopService()


class Pool:
    """All of them.  ``daemon`` does what they leave to it."""

    _log = Logger()

    def __init__(self, reactor: Any, daemon: Serving) -> None:
        self.reactor = reactor
        self.daemon = daemon
        self._metrics = daemon.metrics
        #: Those that are to serve, by their numbers; and those that were replaced and have not ended.
        self._workers: dict[int, Worker] = {}
        self._leaving: list[Worker] = []
        #: What those had counted that ended.
        self._past = b""

    @property
    def open(self) -> int:
        """How many serve."""
        return sum(worker.open for worker in self._workers.values())

    @property
    def needed(self) -> bool:
        return bool(self._workers)

    def start(self, plan: Plan) -> None:
        for number in range(1, plan.workers + 1):
            self._workers[number] = Worker(self, number, plan)
        for worker in self._workers.values():
            worker.start()

    async def replace(self, plan: Plan) -> None:
        """
        One at a time: the former worker leaves when the new one serves.

        :raises StartError: one does not; those that were not replaced by then go on.
        """
        for number in range(1, plan.workers + 1):
            worker = Worker(self, number, plan)
            self._leaving.append(worker)  # not to be served by alone
            worker.start()
            try:
                await worker.opened.addTimeout(OPENING, self.reactor)
            except TimeoutError:
                worker.stop()
                raise StartError(f"a new worker {number} does not serve within {OPENING:g} s") from None
            self._leaving.remove(worker)
            former = self._workers.get(number)
            self._workers[number] = worker
            self.changed()
            if former is not None:
                self._dismiss(former)

    def keep(self, workers: int) -> None:
        """Others are there for what the workers above that number did."""
        for number in [number for number in self._workers if number > workers]:
            self._dismiss(self._workers.pop(number))

    def _dismiss(self, worker: Worker) -> None:
        self._leaving.append(worker)
        worker.leave(LONGEST)
        self.changed()

    def stop(self) -> Deferred[Any]:
        return gatherResults([worker.stop() for worker in (*self._workers.values(), *self._leaving)])

    async def reports(self) -> list[bytes]:
        """What all of them have counted, those that ended included; as Prometheus reads it."""
        workers = [*self._workers.values(), *self._leaving]
        await gatherResults([Deferred.fromCoroutine(worker.report()) for worker in workers])
        counted = [worker.counted for worker in (*self._workers.values(), *self._leaving)]
        return [text for text in (self._past, *counted) if text]

    # --- workers tell

    def changed(self) -> None:
        self._metrics.workers.set(self.open)

    def ended(self, worker: Worker, counted: bytes) -> None:
        self._past = total([self._past, counted])
        if worker.leaving:
            if worker in self._leaving:
                self._leaving.remove(worker)
        else:
            self._metrics.worker_ends.inc()
        self.changed()
