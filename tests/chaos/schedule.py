"""What is broken, when, and for how long: pure, all of it from the seed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

#: Seconds of the site's configuration: for which a path is left to the daemon that works on it, that an upload
#: may take, for which objects are kept that nobody needs, and for which a daemon without its Redis goes by what
#: it remembers (less than that, or it points to what is not there any more).
LEASE, LAPSE, GRACE, STALE = 2.0, 5, 4, 3

DAEMONS = ("daemon1", "daemon2", "daemon3")
STORES = ("one", "two", "three", "four")

#: The store that can be filled, where that is possible.
SMALL = "four"


class Fault(NamedTuple):
    """
    ``at`` and ``lasts`` are seconds; ``target`` is a server, or a way such as ``daemon1>redis``.

    ``kill`` is SIGKILL and a start, ``stop`` SIGSTOP and SIGCONT (``stop past the lease`` a long one), ``fill``
    takes all room of a store.  Of a way: ``cut`` resets its connections, ``refuse`` takes no new ones either,
    ``freeze`` holds back every byte, ``deafen`` the answers alone, and then cuts: they are never heard.
    """

    at: float
    kind: str
    target: str
    lasts: float


def link(daemon: str, server: str) -> str:
    return f"{daemon}>{server}"


LINKS = tuple(link(daemon, server) for daemon in DAEMONS for server in ("redis", *STORES))

#: Weight, kind, targets, from and to how many seconds.
_KINDS: Sequence[tuple[float, str, tuple[str, ...], float, float]] = (
    (3, "kill", DAEMONS, 0.1, 3.0),
    (2, "stop", DAEMONS, 0.2, 1.5),
    (1, "stop past the lease", DAEMONS, LEASE + 0.5, LEASE + 3.0),
    (3, "kill", STORES, 0.1, 4.0),
    (2, "stop", STORES, 0.2, 4.0),
    (1, "kill", ("redis",), 0.1, 1.5),
    (1, "stop", ("redis",), 0.2, 2.0),
    (4, "cut", LINKS, 0.0, 0.0),
    (2, "refuse", LINKS, 0.5, 3.0),
    (2, "freeze", LINKS, 0.5, 3.0),
    (3, "deafen", LINKS, 0.1, 1.0),
    (2, "fill", (SMALL,), 2.0, 6.0),
)

_LATE: Sequence[tuple[float, str, tuple[str, ...], float, float]] = (
    (1, "stop past the end of uploads", STORES, LAPSE + GRACE + 1, LAPSE + GRACE + 4),
)

#: Kinds by which a daemon falls silent: never two at once, so that one retry can get past them.
_SILENT = ("stop", "stop past the lease")


def schedule(
    seconds: float, seed: int, fill: bool = True, pace: float = 1.0, late: bool = False
) -> list[Fault]:
    """
    The faults of a run of so many seconds, all over by its end; one target has never two at once.  ``fill``:
    whether there is a store to fill; ``pace``: how many times as fast they come.

    ``late``: stores are also stopped for so long that what they take in when they go on comes after the end of
    its upload.
    """
    random = Random(f"schedule {seed}")
    kinds = [kind for kind in (*_KINDS, *(_LATE if late else ())) if fill or kind[1] != "fill"]
    weights = [kind[0] for kind in kinds]
    faults: list[Fault] = []
    now = random.uniform(0.5, 1.5)
    while now < seconds - 1:
        _, kind, targets, least, most = random.choices(kinds, weights)[0]
        fault = Fault(now, kind, random.choice(targets), random.uniform(least, most))
        fault = fault._replace(lasts=min(fault.lasts, seconds - now))
        if not any(_clash(fault, other) for other in faults):
            faults.append(fault)
        now += random.uniform(0.2, 1.2) / pace
    return faults


def _clash(new: Fault, old: Fault) -> bool:
    if new.at > old.at + old.lasts + 1:
        return False
    silent = all(f.kind in _SILENT and f.target in DAEMONS for f in (new, old))
    return new.target == old.target or silent
