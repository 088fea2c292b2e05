"""
When each part was out of order, by the schedule; and which GETs must not have failed.

**The rule of availability.**  A GET may be tried twice: the retry goes to a ``rel=duplicate`` of the redirect
if the storage server did not answer, to another daemon otherwise.  A refused connection to a daemon costs
nothing, the next address is taken, as every HTTP client does with a name of several addresses.  The GET must
succeed if from ``NOTICE`` seconds before its begin to its end

1. some daemon was up: its process, Redis, and the way between them (a daemon without its Redis is not counted,
   though it goes on answering for files that it read lately);
2. some storage server with a good copy of the file (by the record) was up; and
3. at most one thing was in the way, since one retry gets past one:

   a) daemons that were out at some time in this interval, but for those that refused all along;
   b) storage servers with a good copy that failed in this interval: daemons cannot know it yet.  While daemons
      have reason to doubt every server of 2 (it came back lately, or a daemon's own way to it was cut), every
      server with a copy that is out counts, however long it has been.

``NOTICE`` is how long a daemon may take to see that a server is away: the time between two probes and the time
that a probe may take (0.5 + 0.45 s here), and as much again for a machine that does ten other things.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

NOTICE = 2.0

#: A server that came back is trusted after 2, 4, 8, … good probes, 32 at most (16 s); and ``NOTICE``.
TRUST = 18.0


@dataclass
class Outage:
    """``refuses``: whoever connects is told so at once."""

    part: str
    since: float
    refuses: bool = False
    until: float = inf


class Outages:
    """Used from all threads.  Parts are ``redis``, ``one``, ``daemon1``, ``daemon1>redis``, ``daemon1>one``."""

    def __init__(self) -> None:
        self._outages: list[Outage] = []
        self._lock = threading.Lock()

    def begin(self, part: str, refuses: bool = False) -> Outage:
        """Before it happens."""
        outage = Outage(part, time.monotonic(), refuses)
        with self._lock:
            self._outages.append(outage)
        return outage

    def end(self, outage: Outage) -> None:
        """When the part is seen to work again."""
        outage.until = time.monotonic()

    def of(self, parts: Iterable[str], since: float, until: float) -> list[Outage]:
        """Those of the parts that lasted at some moment of this time."""
        wanted = set(parts)
        with self._lock:
            return [o for o in self._outages if o.part in wanted and o.since <= until and o.until >= since]

    def obstacles(
        self,
        daemons: Iterable[str],
        holders: Iterable[str],
        began: float,
        ended: float,
        tried: Iterable[str] = (),
    ) -> str | None:
        """
        Why a GET between these times may have failed, None if it may not.  ``holders`` are the storage servers
        with a good copy when it had failed, ``tried`` those that it was sent to: they had one when it began.
        """
        since = began - NOTICE
        holders = list(holders)
        up, in_the_way = [], 0
        for daemon in daemons:
            outages = self.of((daemon, f"{daemon}>redis", "redis"), since, ended)
            if not outages:
                up.append(daemon)
            elif not any(
                o.part == daemon and o.refuses and o.since < began and o.until > ended for o in outages
            ):
                in_the_way += 1
        if not up:
            return "no daemon with its Redis"
        standing = [name for name in holders if not self.of((name,), since, ended)]
        if not standing:
            return "no server with a copy"
        doubted = all(
            self.of([name, *(f"{daemon}>{name}" for daemon in daemons)], ended - TRUST, ended)
            for name in standing
        )
        for name in {*holders, *tried}:
            out = self.of((name,), since, ended)
            if out and (doubted or any(o.since >= since for o in out)):
                in_the_way += 1
        return "two things in the way of one retry" if in_the_way > 1 else None
