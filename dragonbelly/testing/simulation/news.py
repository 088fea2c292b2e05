"""
What a daemon is told of changes: over two connections of their own, so that replies and news overtake each
other; late; and not at all from the moment when one of them has died without a word, until that is noticed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from dragonbelly.errors import StateUnavailable
from dragonbelly.interfaces import ITracked, Snapshot, Told
from dragonbelly.model import Path
from dragonbelly.state.boundary import asked
from dragonbelly.state.tracking import BEAT, BELIEVED
from dragonbelly.testing.simulation.clock import ProcessClock

if TYPE_CHECKING:
    from dragonbelly.testing.simulation.network import StoreWire
    from dragonbelly.testing.simulation.world import World

#: Beats without a reply after which a connection is given up.
UNANSWERED = 10


class Line:
    """
    One connection: what is sent comes in its order, some time later.  A process that was frozen reads it after
    the requests that wait for it.
    """

    def __init__(self, world: World, clock: ProcessClock) -> None:
        self.dead = False
        self.unanswered = 0
        self._world = world
        self._clock = clock
        self._coming: deque[Callable[[], None]] = deque()

    @property
    def empty(self) -> bool:
        return not self._coming

    def send(self, come: Callable[[], None]) -> None:
        if not self.dead:
            self._coming.append(come)
            self._later()

    def end(self) -> list[Callable[[], None]]:
        """What was sent and does not come any more."""
        self.dead = True
        lost, self._coming = list(self._coming), deque()
        return lost

    def _later(self) -> None:
        self._world.clock.callLater(self._world.delay(self._world.lag), self._arrive)

    def _arrive(self) -> None:
        if self._clock.frozen:
            self._clock.deliver(self._later)
        elif self._coming:
            self._clock.deliver(self._coming.popleft())


@implementer(ITracked)
class NewsWire:
    """One daemon's reader of records."""

    def __init__(self, world: World, wire: StoreWire, clock: ProcessClock) -> None:
        self.changed: Callable[[str | None], None] = lambda member: None
        self.proven = self.until = 0.0
        self._world = world
        self._wire = wire
        self._clock = clock
        self.connect()

    def connect(self) -> None:
        """Anew."""
        self._tracked: Any = self._world.store.track()
        self._replies, self._news = Line(self._world, self._clock), Line(self._world, self._clock)
        self._tracked.changed = partial(self._tell, self._news)
        self.changed(None)
        self._beat(self._news)

    def lose(self) -> None:
        """Both connections, and know it."""
        self.until = 0.0
        self._news.end()
        for come in self._replies.end():
            come()  # finds that it was lost

    def die(self) -> None:
        """The one that brings the news is dead, and nobody is told."""
        self._news.end()

    def ask(self, path: Path, told: Told) -> None:
        replies = self._replies

        def replied(result: Any) -> None:
            answer: Any = result.value if isinstance(result, Failure) else result
            if replies.dead or (replies.empty and self._world.at_once()):
                told(answer)
            else:
                replies.send(lambda: told(StateUnavailable("lost") if replies.dead else answer))

        self._wire.ask("get", "store get", (path,), self._tracked).addBoth(replied)

    def after(self, act: Callable[[], None]) -> None:
        act()  # nothing comes together

    def get(self, path: Path) -> Deferred[Snapshot]:
        return asked(self, path)

    def _tell(self, news: Line, member: str | None) -> None:
        news.send(lambda: self.changed(member))

    def _beat(self, news: Line) -> None:
        """As the real one does: what was told before the reply was heard before it."""
        if news is not self._news or self._wire.cut:
            return
        if news.unanswered == UNANSWERED:
            self.lose()
            self.connect()
            return
        news.unanswered += 1
        began = self._clock.seconds()

        def replied() -> None:
            self.proven, self.until, news.unanswered = began, began + BELIEVED, 0

        news.send(replied)
        self._clock.callLater(BEAT, self._beat, news)
