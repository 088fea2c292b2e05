"""Asking the replicas whether they have what was written, for all who wait for it at once."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from dragonbelly.errors import Unconfirmed
from dragonbelly.state.connection import Connection
from dragonbelly.state.protocol import Argument, info_fields, one_line, run_of


class Confirming:
    """
    ``WAIT`` for ``replicas`` of them, ``timeout`` seconds at most, on a ``connection`` of its own: everything
    behind a WAIT on a connection waits too, and readers should not.

    A replica takes the writes of its master in order.  So one that has a write of ours, ``mark``, has all that
    the same master wrote before it, whoever asked for it on whichever connection; that it is the same is seen
    by the name of its writes, which is another after every failover.  A question that is under way when
    somebody comes is too old for them: they share the next.
    """

    def __init__(
        self, connection: Connection, mark: Sequence[Argument], *, replicas: int, timeout: float
    ) -> None:
        self._connection = connection
        self._mark = mark
        self._replicas = replicas
        self._timeout = timeout
        self._waiting: list[tuple[str, Deferred[None]]] = []
        self._asking = False

    def confirm(self, run: str) -> Deferred[None]:
        """
        Fires when the replicas have all that ``run`` had answered when this was called.

        :raises Unconfirmed: they have not, or nobody knows.
        """
        waiter: Deferred[None] = Deferred()
        self._waiting.append((run, waiter))
        if not self._asking:
            self._asking = True
            Deferred.fromCoroutine(self._rounds())
        return waiter

    async def _rounds(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            try:
                run, acknowledged = await self._round()
                missing = f"{acknowledged} of {self._replicas} replicas had it within {self._timeout:g} s"
            except Exception as error:  # whatever it is: they must not wait for ever
                run, acknowledged, missing = "", 0, one_line(error)
            for asked, waiter in waiting:
                if waiter.called:  # given up
                    continue
                if acknowledged < self._replicas:
                    waiter.errback(Unconfirmed(missing))
                elif asked != run:
                    waiter.errback(Unconfirmed("another Redis answers than when it was written"))
                else:
                    waiter.callback(None)
        self._asking = False

    async def _round(self) -> tuple[str, int]:
        """Which run was asked, and how many of its replicas have all that it wrote until then."""
        run = self._connection.run
        milliseconds = max(1, round(self._timeout * 1000))
        _, info, acknowledged = await self._connection.batch(
            [self._mark, ("INFO", "replication"), ("WAIT", self._replicas, milliseconds)], "confirm"
        )
        return run_of(info_fields(info), run), acknowledged
