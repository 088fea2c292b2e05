"""
Prepared redirects, and a Redis whose replies and news come in every order that two connections allow: nothing
that was told to be over is ever found, and nothing is left behind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cache
from math import inf
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from dragonbelly.errors import StateUnavailable
from dragonbelly.interfaces import ITracked, Snapshot, Told
from dragonbelly.model import Path, Replica, ReplicaState, VersionState
from dragonbelly.state.boundary import asked
from dragonbelly.testing.state import record
from dragonbelly.web.prepared import SPELLINGS, Prepared
from dragonbelly.web.redirects import Redirect
from tests.web.world import NOW, World

PATHS = [Path("default", name) for name in "abc"]
LINES = [b"GET /%d HTTP/1.1" % n for n in range(SPELLINGS + 2)]

#: Redirects that are kept, and for how long, in s.
MOST, AGE, BELIEVED = 2, 60.0, 3.0

paths = st.sampled_from(PATHS)


class Asked(NamedTuple):
    path: Path
    told: Told


@implementer(ITracked)
class TwoConnections:
    """
    What Redis does: it reads and writes one after the other, and tells of each write.  What was asked, what was
    replied and what was told wait in line, each in its own.
    """

    def __init__(self, clock: Clock) -> None:
        self.changed: Callable[[str | None], None] = lambda member: None
        self.clock = clock
        self.values = {path.member: Snapshot(None, b"") for path in PATHS}
        self.asked: deque[Asked] = deque()
        self.replies: deque[tuple[Asked, Snapshot]] = deque()
        self.news: deque[str | None] = deque()
        self.connected = True
        self.proven = self.until = 0.0

    def ask(self, path: Path, told: Told) -> None:
        if self.connected:
            self.asked.append(Asked(path, told))
        else:
            told(StateUnavailable("not connected"))

    def after(self, act: Callable[[], None]) -> None:
        act()

    def get(self, path: Path) -> Deferred[Snapshot]:
        return asked(self, path)

    def write(self, path: Path, value: Snapshot) -> None:
        self.values[path.member] = value
        self.news.append(path.member)

    def empty(self) -> None:
        self.values = {path.member: Snapshot(None, b"") for path in PATHS}
        self.news.append(None)

    def serve(self) -> None:
        question = self.asked.popleft()
        self.replies.append((question, self.values[question.path.member]))

    def reply(self) -> None:
        question, value = self.replies.popleft()
        question.told(value)

    def tell(self) -> None:
        self.changed(self.news.popleft())

    def beat(self) -> None:
        """The reply to a PING comes after all news."""
        if self.connected and not self.news:
            self.proven = self.clock.seconds()
            self.until = self.proven + BELIEVED

    def lose(self) -> None:
        self.connected, self.until = False, 0.0
        waiting = [*(question for question, _ in self.replies), *self.asked]
        for queue in (self.asked, self.replies, self.news):
            queue.clear()
        for question in waiting:
            question.told(StateUnavailable("lost"))

    def connect(self) -> None:
        self.connected = True
        self.changed(None)
        self.beat()


@cache
def a_world() -> World:
    return World(f'[http]\ncache = {MOST}\ncache_age = "{AGE:g}s"', opened=False)


class Order(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        world = a_world()
        self.clock = Clock()
        self.clock.rightNow = NOW
        self.tracked = TwoConnections(self.clock)
        self.tracked.beat()
        redirects: Any = world.public.redirects
        self.prepared = Prepared(self.tracked, redirects, world.config, self.clock)
        self.number = 0
        self.made: list[Redirect] = []
        self.waiting: list[Deferred[Snapshot]] = []

    def _value(self, kind: str) -> Snapshot:
        self.number += 1
        if kind == "absent":
            return Snapshot(None, b"")
        state = ReplicaState.LOST if kind == "damaged" else ReplicaState.GOOD
        live = record(VersionState.LIVE, Replica("s1", state), id=f"{self.number:026d}")
        if kind == "pending":
            newer = record(VersionState.UPLOADING, id=f"{self.number:025d}9")
            live = replace(live, versions=(*newer.versions, *live.versions))
        return Snapshot(live, str(self.number).encode())

    # --- what happens

    @rule(path=paths)
    def read(self, path: Path) -> None:
        answer = self.prepared.read(path)
        answer.addErrback(lambda failure: failure.trap(StateUnavailable, CancelledError))
        self.waiting.append(answer)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """A client goes before it was answered."""
        self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1))).cancel()

    @rule(path=paths, kind=st.sampled_from(["plain", "plain", "plain", "absent", "damaged", "pending"]))
    def somebody_writes(self, path: Path, kind: str) -> None:
        self.tracked.write(path, self._value(kind))

    @rule()
    def somebody_empties_it(self) -> None:
        self.tracked.empty()

    @precondition(lambda self: self.tracked.connected)
    @rule(path=paths, done=st.booleans())
    def we_write(self, path: Path, done: bool) -> None:
        """By another connection; the reply may be lost, whether it was done or not."""
        if done:
            self.tracked.write(path, self._value("plain"))
        self.prepared.forget(path.member)
        assert self.prepared.find(path) is None

    @precondition(lambda self: self.tracked.asked)
    @rule()
    def redis_reads(self) -> None:
        self.tracked.serve()

    @precondition(lambda self: self.tracked.replies)
    @rule()
    def a_reply_comes(self) -> None:
        self.tracked.reply()

    @precondition(lambda self: self.tracked.news)
    @rule()
    def news_come(self) -> None:
        self.tracked.tell()

    @rule()
    def all_comes(self) -> None:
        tracked = self.tracked
        while tracked.asked:
            tracked.serve()
        while tracked.replies:
            tracked.reply()
        while tracked.news:
            tracked.tell()
        tracked.beat()

    @precondition(lambda self: self.tracked.connected)
    @rule()
    def a_connection_is_lost(self) -> None:
        self.tracked.lose()

    @precondition(lambda self: not self.tracked.connected)
    @rule()
    def it_is_there_again(self) -> None:
        self.tracked.connect()

    @rule(seconds=st.sampled_from([0.5, 0.5, 2.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.tracked.beat()

    @rule(path=paths, lines=st.lists(st.sampled_from(LINES)))
    def somebody_asks(self, path: Path, lines: list[bytes]) -> None:
        """Each line means one path; here it has the path's name in it."""
        for line in lines:
            if (redirect := self.prepared.find(path)) is not None:
                self.prepared.spell(line + path.name.encode(), path, redirect, inf)

    # --- what must hold

    @invariant()
    def what_is_believed_is_true(self) -> None:
        """Or the news of its end is on its way."""
        for path in PATHS:
            redirect = self.prepared.find(path)
            if redirect is None:
                continue
            assert self.clock.seconds() < self.tracked.until
            value = self.tracked.values[path.member]
            live = value.record.live if value.record is not None and not value.record.pending else None
            is_it = live is not None and b'"%s"' % live.id.encode() in redirect.rest
            assert is_it or path.member in self.tracked.news or None in self.tracked.news

    @invariant()
    def what_is_not_kept_is_never_used(self) -> None:
        """What made room for another is in no order any more, and may still be true: nothing leads to it."""
        kept, order = self.prepared._kept, {*map(id, self.prepared._order)}
        self.made.extend(redirect for redirect in kept.values() if redirect not in self.made)
        for redirect in self.made:
            if kept.of(redirect.member).get(redirect.member) is not redirect:
                assert redirect.until == 0 or id(redirect) not in order
        for redirect in kept.values():
            assert 0 < redirect.until <= self.clock.seconds() + AGE

    @invariant()
    def lines_lead_to_what_is_kept(self) -> None:
        for lines in self.prepared.lines.values():
            for line, redirect in lines.items():
                assert self.prepared._kept.of(redirect.member)[redirect.member] is redirect
                assert line in redirect.lines
        spelled = [line for redirect in self.prepared._kept.values() for line in redirect.lines]
        assert len(spelled) == len(set(spelled)) == sum(map(len, self.prepared.lines.values()))
        assert all(len(redirect.lines) <= SPELLINGS for redirect in self.prepared._kept.values())

    @invariant()
    def nothing_grows(self) -> None:
        assert len(self.prepared) <= len(self.prepared._order) <= MOST
        assert set(map(id, self.prepared._kept.values())) <= set(map(id, self.prepared._order))
        replied = [question for question, _ in self.tracked.replies]
        assert self.prepared._marks.keys() <= {each.path.member for each in [*self.tracked.asked, *replied]}

    def teardown(self) -> None:
        self.tracked.lose()
        assert self.prepared._marks == {}


Order.TestCase.settings = settings(max_examples=150, stateful_step_count=60)
TestOrder = Order.TestCase


#: What may happen at a moment, and how often in all.
ACTS: dict[str, tuple[int, Callable[[Order], bool], Callable[[Order], object]]] = {
    "read": (2, lambda order: True, lambda order: order.read(PATHS[0])),
    "write": (2, lambda order: True, lambda order: order.somebody_writes(PATHS[0], "plain")),
    "empty": (1, lambda order: True, lambda order: order.somebody_empties_it()),
    "serve": (9, lambda order: bool(order.tracked.asked), lambda order: order.tracked.serve()),
    "reply": (9, lambda order: bool(order.tracked.replies), lambda order: order.tracked.reply()),
    "tell": (9, lambda order: bool(order.tracked.news), lambda order: order.tracked.tell()),
}


def test_every_order_of_two_reads_and_two_writes() -> None:
    """All of them, and the store being emptied in between."""
    seen = 0
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        done = waiting.pop()
        order = Order()
        order.somebody_writes(PATHS[0], "plain")
        for act in done:
            ACTS[act][2](order)
            order.somebody_asks(PATHS[0], LINES[:1])
        order.what_is_believed_is_true()
        order.lines_lead_to_what_is_kept()
        order.what_is_not_kept_is_never_used()
        order.nothing_grows()
        seen += 1
        waiting += [
            (*done, act)
            for act, (most, possible, _) in ACTS.items()
            if done.count(act) < most and possible(order) and len(done) < 9
        ]
    assert seen > 10_000


def test_the_model_provides_the_interface() -> None:
    assert verifyObject(ITracked, TwoConnections(Clock()))
