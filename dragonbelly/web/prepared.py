"""Redirects that are kept, and kept true: Redis tells what is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred

from dragonbelly.config.values import Config
from dragonbelly.errors import StateUnavailable
from dragonbelly.interfaces import IClock, ITracked, Snapshot
from dragonbelly.model import Path, Record, Version
from dragonbelly.web.parts import Parts
from dragonbelly.web.redirects import Redirect, Redirects

#: Request lines that are remembered for one redirect: GET and HEAD, and how a path may be escaped.
SPELLINGS = 4

#: How many that were used lately are spared for one that has to go.
SPARED = 16


class Prepared:
    """
    Up to ``[http] cache`` redirects; of those that were not used since they were last looked at the oldest goes
    first (the CLOCK algorithm; Corbató 1968).  None is used for longer than ``[http] cache_age``.

    ``until`` of a redirect is set to 0 when it is not true any more.  ``lines`` are the request lines that lead
    to one, by domain: each was taken apart and checked once, and means the same whenever it comes again.
    """

    def __init__(self, tracked: ITracked, redirects: Redirects, config: Config, clock: IClock) -> None:
        self.tracked = tracked
        tracked.changed = self._changed
        self._redirects = redirects
        self._clock = clock
        self._most = config.http.cache
        self._age = float(config.http.cache_age)
        self._stale = float(config.state.stale)
        self._kept: Parts[str, Redirect] = Parts()
        self._order: deque[Redirect] = deque()
        self._marks: dict[str, object] = {}
        self.lines: dict[str, Parts[bytes, Redirect]] = {name: Parts() for name in config.domains}

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, path: Path) -> Redirect | None:
        """The one of a file, if it is known to be true."""
        now = self._clock.seconds()
        redirect = self._kept.of(path.member).get(path.member) if now < self.tracked.until else None
        if redirect is None or redirect.until <= now:
            return None
        redirect.used = True
        return redirect

    def spell(self, line: bytes, path: Path, redirect: Redirect, until: float) -> Redirect:
        """
        From now on, and until then (unix s) at most, the request line leads to the redirect, which was found
        under its path.  Gives what it leads to.
        """
        led = redirect.shorter(until)
        if len(redirect.lines) < SPELLINGS and self._kept.of(redirect.member).get(redirect.member) is redirect:
            if line not in redirect.lines:
                redirect.lines += (line,)
            self.lines[path.domain].of(line)[line] = led
        return led

    def stale(self, path: Path) -> Redirect | None:
        """What was true not longer than ``[state] stale`` ago, when nothing newer is to be had."""
        redirect = self._kept.of(path.member).get(path.member)
        now = self._clock.seconds()
        known = redirect is not None and redirect.until > now
        return redirect if known and now - self.tracked.proven < self._stale else None

    def ask(self, path: Path, told: Callable[[Snapshot | Exception, Redirect | None], None]) -> None:
        """
        Read the record.  ``told`` is called once, now or later: with it, or why there is none
        (``StateUnavailable``, ``BadRecord``, what a backend stumbled over), and with its redirect, which is
        kept, if it has one that nothing stands against.
        """
        if not self._most:
            told(StateUnavailable("nothing is kept"), None)
            return
        member = path.member
        mark = self._marks[member] = object()
        self.tracked.ask(path, partial(self._came, path, member, mark, self._clock.seconds(), told))

    def read(self, path: Path) -> Deferred[Snapshot]:
        """The record as a Deferred."""
        answer: Deferred[Snapshot] = Deferred()

        def told(result: Snapshot | Exception, _: Redirect | None) -> None:
            if isinstance(result, Exception):
                answer.errback(result)
            else:
                answer.callback(result)

        self.ask(path, told)
        return answer

    def forget(self, member: str) -> None:
        """It is, or may be, another now."""
        self._marks.pop(member, None)
        if (redirect := self._kept.of(member).get(member)) is not None:
            self._drop(redirect)

    def _changed(self, member: str | None) -> None:
        if member is not None:
            self.forget(member)
            return
        self._marks.clear()
        for redirect in self._kept.values():
            redirect.until = 0
        self._kept.clear()
        self._order.clear()
        for lines in self.lines.values():
            lines.clear()

    def _came(
        self,
        path: Path,
        member: str,
        mark: object,
        asked: float,
        told: Callable[[Snapshot | Exception, Redirect | None], None],
        result: Snapshot | Exception,
    ) -> None:
        redirect = None
        if self._marks.get(member) is mark:
            del self._marks[member]
            if not isinstance(result, Exception) and (live := _plain(result.record)) is not None:
                try:
                    redirect = self._redirects.make(path, live)
                except Exception as error:  # whoever waits would wait for ever
                    told(error, None)
                    return
                redirect.until = min(redirect.until, asked + self._age)
                self._keep(redirect)
        # Else news of it overtook the reply, or somebody asked later.
        told(result, redirect)
        if redirect is not None:
            redirect.used = False  # by who had it read; what nobody else asks for has to go first

    def _keep(self, redirect: Redirect) -> None:
        if (before := self._kept.of(redirect.member).get(redirect.member)) is not None:
            self._drop(before)
        spared = 0
        while len(self._order) >= self._most:
            oldest = self._order.popleft()
            if oldest.used and oldest.until and spared < SPARED:
                oldest.used = False
                self._order.append(oldest)
                spared += 1
            elif oldest.until:
                self._let_go(oldest)  # it is still true, for whoever had it read just now
        # Last, or in a small memory it would be the first to go.
        self._kept.of(redirect.member)[redirect.member] = redirect
        self._order.append(redirect)

    def _drop(self, redirect: Redirect) -> None:
        """It stays in the order until its turn comes."""
        redirect.until = 0
        self._let_go(redirect)

    def _let_go(self, redirect: Redirect) -> None:
        del self._kept.of(redirect.member)[redirect.member]
        domain, _, _ = redirect.member.partition("/")
        lines = self.lines[domain]
        for line in redirect.lines:
            del lines.of(line)[line]


def _plain(record: Record | None) -> Version | None:
    """The live version, if its readers need not wait for a look at an upload, nor be told that all is lost."""
    return None if record is None or record.damaged or record.pending else record.live
