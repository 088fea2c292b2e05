"""
How the backends feel: probes at a fixed pace, and at once where use showed that something is wrong.

A backend is away at the first failure (readers are sent elsewhere, which costs nothing) and back after
several successes in a row, the more the more often it fell lately.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, gatherResults
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from dragonbelly.bodies import BytesBody, read_small
from dragonbelly.cluster.members import Cluster
from dragonbelly.errors import BackendError, BackendFull, BackendUnavailable, NoSuchObject, StateUnavailable
from dragonbelly.interfaces import IBackend, IClock
from dragonbelly.keys import MARKER
from dragonbelly.model import Observed, Space
from dragonbelly.ticking import TickingService

#: Falls within this many seconds count for the damping.
MEMORY = 600.0
#: Successes in a row that a backend needs to be back, at most.
STEADY = 32
#: How long a backend that refused a write for want of room is taken for full, in s.
FULL_FOR = 60.0
#: Writes that fail one after the other until a backend is taken for full: many say nothing better than 500.
WRITES = 3
#: Less room than this share of the whole is full.
FULL_SHARE = 0.01


class Pulse:
    """The rule for one backend, without I/O: successes and failures in, an observed state out."""

    def __init__(self) -> None:
        self.observed = Observed.UP
        self.away_since: float | None = None
        self._falls: list[float] = []
        self._successes = 0
        self._full_until = 0.0
        self._refuses_until = 0.0
        self._failed_writes = 0
        self._short = False
        self._refused = False

    def failed(self, now: float) -> None:
        self._successes = 0
        # Writes that failed with it are explained by that, and say nothing of its room.
        self._failed_writes, self._refuses_until = 0, 0.0
        if self.observed is not Observed.UNREACHABLE:
            self.observed = Observed.UNREACHABLE
            self.away_since = now
            self._falls = [*(t for t in self._falls if t > now - MEMORY), now]

    def succeeded(self, now: float, space: Space) -> None:
        if self.observed is Observed.UNREACHABLE:
            self._successes += 1
            if self._successes < self.needed:
                return
            self.away_since = None
        self._short = self._short or _is_full(space)
        full = now < max(self._full_until, self._refuses_until) or _is_full(space)
        self.observed = Observed.FULL if full else Observed.UP

    def write(self, now: float, went_well: bool) -> bool:
        """How a write went; whether the backend is taken for full since this one."""
        if self.observed is Observed.UNREACHABLE:
            return False
        self._failed_writes = 0 if went_well else self._failed_writes + 1
        if self._failed_writes < WRITES:
            return False
        was = self.observed
        self._refuses_until = now + FULL_FOR
        self._refuse()
        return was is Observed.UP

    def has_room_again(self, wrote: bool) -> bool:
        """
        Whether there is proof of it, asked after a write that went well (``wrote``) or a probe: after a refusal
        the one, after figures that said so the other.  That some time passed is none.
        """
        if wrote:
            again, self._refused = self._refused, False
        else:
            again = self._short and self.observed is Observed.UP
            self._short = self._short and not again
        return again

    def full(self, now: float) -> None:
        self._full_until = now + FULL_FOR
        self._refuse()

    def _refuse(self) -> None:
        self._refused = True
        if self.observed is Observed.UP:
            self.observed = Observed.FULL

    @property
    def needed(self) -> int:
        """Successes in a row until it is back."""
        return int(min(2 ** len(self._falls), STEADY))


def _is_full(space: Space) -> bool:
    return space.free is not None and space.free <= FULL_SHARE * (space.total or 0)


class Health(TickingService):
    """
    Probes each backend ``every`` so many seconds, for ``timeout`` at most, one after the other.

    ``identity()`` is that of the state store, which each backend's marker names.  ``expected(name)`` tells
    whether the records say that something lies there: only where nothing does, the marker is written; where
    something does and the marker is gone, the storage is not the one we know (a disk that is not mounted
    answers 404 as politely as a full one), and the backend is away.
    ``on_impatience(name)`` is called when a backend was away for ``patience`` seconds, and
    ``on_return(name, long)`` when one is back, or takes files again; ``long`` tells whether patience had ended.
    """

    def __init__(
        self,
        cluster: Cluster,
        clock: IClock,
        *,
        every: float,
        timeout: float,
        patience: float,
        identity: Callable[[], str],
        expected: Callable[[str], Deferred[bool]],
        on_impatience: Callable[[str], None] = lambda name: None,
        on_return: Callable[[str, bool], None] = lambda name, long: None,
        on_failure: Callable[[str, str], None] = lambda name, reason: None,
    ) -> None:
        super().__init__(clock, every)
        self._cluster = cluster
        self._timeout, self._patience = timeout, patience
        self._identity, self._expected = identity, expected
        self._on_impatience, self._on_return, self._on_failure = on_impatience, on_return, on_failure
        self._pulses = {name: Pulse() for name in cluster.names}
        #: Why those are away that are, as it was seen last.
        self.reasons: dict[str, str] = {}
        self._impatient: set[str] = set()
        self._probing: dict[str, Deferred[None]] = {}

    def stopService(self) -> Deferred[Any]:
        stopped = super().stopService()
        for probing in list(self._probing.values()):
            probing.cancel()
        return stopped

    async def work(self) -> None:
        """
        One round, spread over half of the time until the next: each probe is some work, and all of them at once
        were a pause for whoever asked for a file.  It does not wait for the answers, so that a slow
        backend does not hold up the others.
        """
        names = self._cluster.names
        for n, name in enumerate(names):
            if n:
                await deferLater(self._clock, self._every / 2 / len(names))
            self.probe(name)

    def probe(self, name: str) -> Deferred[None]:
        """Look now; a probe under way serves for this call too."""
        if name not in self._probing:
            probing = Deferred.fromCoroutine(self._probe(name))
            self._probing[name] = probing
            probing.addErrback(self._not_probed, name)
            probing.addBoth(lambda _: self._probing.pop(name, None) and None)
            if probing.called:
                self._probing.pop(name, None)
            return probing
        waiting: Deferred[None] = Deferred()
        self._probing[name].addBoth(lambda _: waiting.callback(None))
        return waiting

    def _not_probed(self, failure: Failure, name: str) -> None:
        if not failure.check(CancelledError):  # which is how we stop
            self._log.failure("probe of {name}", failure, name=name)

    async def believed(self, name: str) -> bool:
        """
        Whether "it is not there" is to be believed: the marker is, so this is the storage that we know.  If it
        is not, the backend is probed.
        """
        try:
            await self._see_marker(self._cluster.backend(name))
        except BackendError as error:
            self.doubt(name, BackendUnavailable(f"its marker: {error}"))
            return False
        return True

    def round(self) -> Deferred[Any]:
        """Probe all and wait for it: at start, before anything is decided."""
        return gatherResults([self.probe(name) for name in self._cluster.names])

    def doubt(self, name: str, error: BackendError) -> None:
        """Using the backend failed: look at once, at the same pace for all who noticed."""
        self._on_failure(name, error.reason)
        pulse = self._pulses.get(name)
        if pulse is None:
            return
        if isinstance(error, BackendFull):
            pulse.full(self._clock.seconds())
            self._tell(name, pulse, None)
        elif isinstance(error, BackendUnavailable) and pulse.observed is not Observed.UNREACHABLE:
            self.probe(name)

    def wrote(self, name: str, went_well: bool) -> None:
        """How a write went.  A backend that takes none gets no new objects for a while, though it serves."""
        pulse = self._pulses.get(name)
        if pulse is not None and pulse.write(self._clock.seconds(), went_well):
            self._log.warn("backend {name} takes no writes: left out for new files", name=name)
            self._tell(name, pulse, None)
        elif pulse is not None and went_well and pulse.has_room_again(wrote=True):
            self._log.info("backend {name} takes writes again", name=name)
            self._on_return(name, False)

    async def _probe(self, name: str) -> None:
        pulse = self._pulses[name]
        try:
            looking = Deferred.fromCoroutine(self._look(name, self._cluster.backend(name)))
            space: Space | None = await looking.addTimeout(self._timeout, self._clock)
        except CancelledError:
            raise
        except StateUnavailable:
            return  # whether something should lie there is not known: nothing was learnt
        except Exception as error:  # a timeout, a backend's answer, or a plugin's bug: it is away
            space = None
            late = isinstance(error, TimeoutError)
            text = f"no answer within {self._timeout:g} s" if late else str(error) or type(error).__name__
            self.reasons[name] = text
            if pulse.observed is not Observed.UNREACHABLE:
                self._on_failure(name, "probe")
                self._log.warn("backend {name} is away: {error}", name=name, error=text)
            pulse.failed(self._clock.seconds())
        else:
            pulse.succeeded(self._clock.seconds(), space or Space())
        self._tell(name, pulse, space)

    async def _look(self, name: str, backend: IBackend) -> Space:
        try:
            await self._see_marker(backend)
        except NoSuchObject:
            if await self._expected(name):
                raise BackendUnavailable(
                    f"its marker {MARKER} is missing though objects should be there: is its disk mounted? "
                    f"(if they are really gone, set it dead, then alive)"
                ) from None
            await self._write_marker(backend)
        return await backend.probe()

    async def mark(self, name: str) -> None:
        """
        Give a backend its marker if it has none, whatever should be there: a person wrote that off.

        :raises BackendError: it does not answer, or belongs to another store.
        """
        backend = self._cluster.backend(name)
        try:
            await self._see_marker(backend)
        except NoSuchObject:
            await self._write_marker(backend)

    async def _write_marker(self, backend: IBackend) -> None:
        await backend.write(MARKER, BytesBody(f"{self._identity()}\n".encode()), "text/plain")

    async def _see_marker(self, backend: IBackend) -> None:
        """:raises NoSuchObject: it is not there.  :raises BackendUnavailable: it is of another store."""
        found = (await read_small(backend, MARKER)).decode(errors="replace").strip()
        if found != self._identity():
            raise BackendUnavailable(
                f"its marker {MARKER} says that its files belong to the state store {found!r}, and this "
                f"daemon's is {self._identity()!r}: is this the right Redis, and does it have its data? (if "
                f"that data is gone for good, see docs/durability.rst before you delete the marker)"
            )

    def _tell(self, name: str, pulse: Pulse, space: Space | None) -> None:
        before = self._cluster.view[name].observed
        away = pulse.observed is Observed.UNREACHABLE
        if away and pulse.away_since is not None:
            patient = self._clock.seconds() - pulse.away_since < self._patience
            self._cluster.patience(name, patient)
            if not patient and name not in self._impatient:
                self._impatient.add(name)
                self._on_impatience(name)
        self._cluster.observe(name, pulse.observed, space)
        if before is Observed.UNREACHABLE and not away:
            self._log.info("backend {name} is back", name=name)
            self.reasons.pop(name, None)
            self._cluster.patience(name, False)
            long = name in self._impatient
            self._impatient.discard(name)
            self._on_return(name, long)
        elif space is not None and pulse.has_room_again(wrote=False):
            self._log.info("backend {name} has room again", name=name)
            self._on_return(name, False)
