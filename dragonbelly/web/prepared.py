"""Redirects that are kept, and kept true: Redis tells what changes of all that was read."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from dragonbelly.config.values import Config
from dragonbelly.errors import StateUnavailable
from dragonbelly.interfaces import IClock, ITracked, Snapshot
from dragonbelly.model import Path, Record
from dragonbelly.web.redirects import Redirect, Redirects

#: Request lines that may lead to one redirect, on the average (GET and HEAD, and how a path can be escaped).
SPELLINGS = 3


class Spellings:
    """
    The request lines of one domain that lead to a redirect.  Each was taken apart and checked once, and means
    the same whenever it comes again.
    """

    __slots__ = ("old", "young")

    def __init__(self) -> None:
        self.young: dict[bytes, Redirect] = {}
        self.old: dict[bytes, Redirect] = {}


class Prepared:
    """
    Up to ``[http] cache`` redirects, in two generations: one that is used moves to the younger, and when that
    has half of them, the older one is forgotten.  None is used for longer than ``[http] cache_age``.

    ``until`` of a redirect is set to 0 when it is not true any more, so whoever holds one can see it.  A
    redirect that a request line leads to is among ``_young`` or ``_old``, too, where it is found to be told.
    """

    def __init__(self, tracked: ITracked, redirects: Redirects, config: Config, clock: IClock) -> None:
        self.tracked = tracked
        tracked.changed = self._changed
        self._redirects = redirects
        self._clock = clock
        self._most = config.http.cache
        self._age = float(config.http.cache_age)
        self._stale = float(config.state.stale)
        self._young: dict[str, Redirect] = {}
        self._old: dict[str, Redirect] = {}
        self._spelled = 0
        self._marks: dict[str, object] = {}
        self.spellings = {name: Spellings() for name in config.domains}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def find(self, path: Path) -> Redirect | None:
        """The one of a file, if it is known to be true."""
        now = self._clock.seconds()
        if now >= self.tracked.until:
            return None
        redirect = self._young.get(path.member) or self._old.get(path.member)
        return redirect if redirect is not None and redirect.until > now else None

    def spelled(self, domain: str, line: bytes) -> Redirect | None:
        """The one that a request line of the older generation leads to."""
        spellings = self.spellings[domain]
        redirect = spellings.old.get(line)
        if redirect is None or redirect.until <= self._clock.seconds():
            return None
        self.spell(domain, line, redirect)
        return redirect

    def spell(self, domain: str, line: bytes, redirect: Redirect) -> None:
        """From now on the request line leads to the redirect, which was found under its path."""
        self._keep(redirect)
        if self._spelled >= SPELLINGS * self._most // 2:
            return
        self._spelled += 1
        self.spellings[domain].young[line] = redirect

    def stale(self, path: Path) -> Redirect | None:
        """What was true not longer than ``[state] stale`` ago, when nothing newer is to be had."""
        redirect = self._young.get(path.member) or self._old.get(path.member)
        now = self._clock.seconds()
        known = redirect is not None and redirect.until > now
        return redirect if known and now - self.tracked.proven < self._stale else None

    def read(self, path: Path) -> Deferred[Snapshot]:
        """
        The record as it is now; its redirect is kept, if it has one that nothing stands against.

        :raises StateUnavailable: it cannot be read like this.  :raises BadRecord: it is none.
        """
        if not self._most:
            return fail(StateUnavailable("nothing is kept"))
        member = path.member
        mark = self._marks[member] = object()
        asked = self.tracked.get(path)
        asked.addCallbacks(
            self._came,
            self._failed,
            callbackArgs=(path, mark, self._clock.seconds()),
            errbackArgs=(member, mark),
        )
        return asked

    def forget(self, member: str) -> None:
        """It is, or may be, another now."""
        self._marks.pop(member, None)
        for generation in (self._young, self._old):
            if (redirect := generation.pop(member, None)) is not None:
                redirect.until = 0

    def _changed(self, member: str | None) -> None:
        if member is not None:
            self.forget(member)
            return
        self._marks.clear()
        for generation in (self._young, self._old):
            for redirect in generation.values():
                redirect.until = 0
        self._turn()
        self._turn()

    def _came(self, snapshot: Snapshot, path: Path, mark: object, asked: float) -> Snapshot:
        if self._marks.get(path.member) is not mark:
            return snapshot  # news of it overtook the reply, or somebody asked later
        del self._marks[path.member]
        record = snapshot.record
        if record is not None and _is_plain(record):
            assert record.live is not None
            redirect = self._redirects.make(path, record.live)
            redirect.until = min(redirect.until, asked + self._age)
            self._keep(redirect)
        return snapshot

    def _failed(self, failure: Failure, member: str, mark: object) -> Failure:
        if self._marks.get(member) is mark:
            del self._marks[member]
        return failure

    def _keep(self, redirect: Redirect) -> None:
        member = redirect.member
        before = self._young.get(member)
        if before is redirect:
            return
        before = before or self._old.pop(member, None)
        if before is not None and before is not redirect:
            before.until = 0
        # Before, and not after: what is put among the young has to be there when a request line is.
        if len(self._young) >= (self._most + 1) // 2:
            self._turn()
        self._young[member] = redirect

    def _turn(self) -> None:
        self._old, self._young, self._spelled = self._young, {}, 0
        for spellings in self.spellings.values():
            spellings.old, spellings.young = spellings.young, {}


def _is_plain(record: Record) -> bool:
    """Whether its readers need not wait for a look at an upload, nor be told that all is lost."""
    return record.live is not None and not record.pending and not record.damaged
