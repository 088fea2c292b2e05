"""
Ending connections without losing an answer that somebody waits for.

Whoever listens no more has connections left.  Each gets ``Connection: close`` with its next answer; those that
ask for nothing are closed after a ``grace``, for a request may be on its way; those that are being answered
have all the time there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.task import deferLater

from dragonbelly.web.connections import Connections

#: Seconds for a request that may be on its way, and for those who wait for an answer, where others go on.
GRACE, LONGEST = 1.0, 60.0

#: The same where all ends; a request that came is read at least.
SHORT_GRACE, SHORT = 0.1, 3.0

#: Seconds between two looks at what is left.
STEP = 0.05


async def drain(all_connections: Sequence[Connections], clock: Any, grace: float, longest: float) -> None:
    """Until there are none, or for ``longest`` s; after that they are closed, answered or not."""
    began = clock.seconds()
    for connections in all_connections:
        connections.draining = True
    while any(map(len, all_connections)):
        passed = clock.seconds() - began
        for connections in all_connections:
            if passed >= longest:
                connections.dismiss_all()
            elif passed >= grace:
                connections.dismiss_idle()
        if passed >= longest:
            return
        await deferLater(clock, STEP)
