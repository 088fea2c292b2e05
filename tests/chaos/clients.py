"""Clients that keep putting, overwriting, reading and deleting, and remember what they were told."""

from __future__ import annotations

import itertools
import json
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import quote

from tests.chaos.calling import NoAnswer, Reply, call
from tests.chaos.contents import origin
from tests.chaos.history import WRONG_BYTES, Delete, Fault, History, Upload
from tests.chaos.journal import Journal
from tests.chaos.outages import NOTICE, Outages
from tests.chaos.reading import Failed, get
from tests.chaos.schedule import GRACE, LAPSE, link
from tests.chaos.site import ChaosSite
from tests.chaos.uploading import DELETED, LATE, OVERTAKEN, WAYS, Begun, Uploading

#: Paths that they share.
PATHS = [f"d{n % 5}/f{n}.bin" for n in range(80)]

#: Of these half of the calls are.
HOT = PATHS[:10]

#: Seconds that a slow reader takes.
SLOWLY = 2.0

SIZES = (0, 200, 5_000, 60_000, 200_000)
SIZE_WEIGHTS = (2, 4, 4, 3, 1)

#: Seconds that an answer may be behind what another daemon has done, as Redis has to tell of it first: mostly
#: that takes a thousandth, but here a busy machine and a proxy are between.
BEHIND = 0.5

#: Reasons for which a daemon gives an upload up for good.
_OVER = ("lapsed", "aborted", "deleted", "digest", "precondition")


@dataclass
class Counts:
    """What the clients did and met."""

    calls: Counter[str] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    #: GETs that failed, by cause; those of them that the schedule excuses, by what does.
    get_errors: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    #: Answers that came at the second try, and those that were out of date while their daemon was cut off from
    #: Redis, as they may be for a while.
    gets: Counter[str] = field(default_factory=Counter)
    #: Seconds by which others were behind.
    behind: list[float] = field(default_factory=list)


@dataclass
class Problem:
    """Something that must not be; ``evidence`` was taken at once."""

    kind: str
    path: str
    what: str
    evidence: str = ""


class Clients:
    """``count`` threads on one site, from ``start`` to ``end``.  ``late``: also uploads that come too late."""

    def __init__(
        self, site: ChaosSite, outages: Outages, journal: Journal, seed: int, count: int = 5, late: bool = False
    ) -> None:
        self.site = site
        self.outages = outages
        self.journal = journal
        self.history = History()
        self.counts = Counts()
        self.problems: list[Problem] = []
        self.ways = {**WAYS, LATE: 1} if late else WAYS
        self.ops = itertools.count(1)
        self.over = threading.Event()
        self._threads = [
            threading.Thread(
                target=_Client(self, Random(f"client {seed} {n}"), n).run, name=f"client {n}", daemon=True
            )
            for n in range(count)
        ]
        self.timers: list[threading.Timer] = []
        self._lock = threading.Lock()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Let each finish what it does."""
        self.over.set()
        threads = [thread for thread in (*self._threads, *self.timers) if thread.is_alive()]
        for thread in threads:
            thread.join(60)
        if any(thread.is_alive() for thread in threads):
            self.report("client", "", "a client does not end")

    def report(self, kind: str, path: str, what: str) -> None:
        evidence = ""
        if path:
            try:
                record = self.site.record(path)
                evidence = f"record, due {self.site.due(path)}, now {int(time.time())}: {record}"
            except OSError as error:
                evidence = f"record: {error!r}"
        self.journal.write("problem", path=path, kind=kind, what=what)
        with self._lock:
            self.problems.append(Problem(kind, path, what, evidence))

    def judge(
        self, path: str, body: bytes | None, began: float, ended: float, daemons: tuple[str, ...]
    ) -> Fault | None:
        """What is wrong with an answer of these daemons; what was right is remembered."""
        op = None
        if body is not None:
            found = origin(body)
            if found is None or found[0] != path:
                return Fault(WRONG_BYTES, f"{len(body)} bytes of no upload of it: {body[:60]!r}, {found}")
            op = found[1]
        ways = ["redis", *(link(daemon, "redis") for daemon in daemons)]
        cut_off = bool(self.outages.of(ways, began - NOTICE, ended))
        fault = self.history.read(path, op, began, ended, current=not cut_off)
        if fault is not None and cut_off:
            with self._lock:
                self.counts.gets["out of date"] += 1
            return None
        if fault is not None and began - fault.since < BEHIND:
            self.journal.write("behind", path=path, by=began - fault.since, daemons=daemons, what=fault.what)
            with self._lock:
                self.counts.behind.append(began - fault.since)
            return None
        return fault


class _Client:
    """One thread: a call after the other."""

    def __init__(self, clients: Clients, random: Random, number: int) -> None:
        self._all = clients
        self._random = random
        self._number = number

    def run(self) -> None:
        acts = {self._put: 4, self._get: 8, self._delete: 1}
        while not self._all.over.is_set():
            act = self._random.choices(list(acts), list(acts.values()))[0]
            path = self._random.choice(self._random.choice((PATHS, HOT)))
            try:
                act(path)
            except Exception:  # the thread's end must not pass for the end of its work
                self._all.report("client", path, traceback.format_exc())
                return

    def _daemons(self) -> list[tuple[str, str]]:
        urls = [(name, daemon.url) for name, daemon in self._all.site.daemons.items()]
        self._random.shuffle(urls)
        return urls

    def _count(self, counter: Counter[str], kind: str) -> None:
        with self._all._lock:
            counter[kind] += 1

    def _failed(self, counter: Counter[str], kind: str) -> None:
        self._count(counter, kind)
        time.sleep(0.02)  # where everything fails, nobody hammers

    # --- reading

    def _get(self, path: str) -> None:
        counts, outages = self._all.counts, self._all.outages
        self._count(counts.calls, "GET")
        began = time.monotonic()
        try:
            # Some take their time between the redirect and the file, though less than the grace.
            pause = SLOWLY if self._random.random() < 0.02 else 0.0
            got = get(self._daemons(), path, pause, self._gone)
        except Failed as error:
            ended = time.monotonic()
            self._failed(counts.get_errors, str(error))
            try:
                holders = self._all.site.holders(path)
            except OSError:
                holders = []  # Redis is away
            tried = [self._all.site.store_of(url) for url in error.tried]
            excuse = outages.obstacles(self._all.site.daemons, holders, began, ended, tried)
            self._all.journal.write("GET failed", path=path, began=began, causes=error.causes, excuse=excuse)
            if excuse is not None:
                self._count(counts.excused, excuse)
            else:
                what = f"{error}, in {ended - began:.2f} s, with good copies on {holders}"
                self._all.report("unavailable", path, what)
            return
        ended = time.monotonic()
        if got.retried:
            self._count(counts.gets, "retried")
        if fault := self._all.judge(path, got.body, began, ended, got.daemons):
            self._all.report(fault.kind, path, f"GET by {got.daemons}: {fault.what}")

    def _gone(self, daemon: str, path: str, asked: float, place: str) -> None:
        """A storage server has not what a daemon pointed to, ``asked`` for at that time."""
        now = time.monotonic()
        parts = (daemon, link(daemon, "redis"), "redis")
        if now - asked < GRACE - 1 and not self._all.outages.of(parts, asked - NOTICE, now):
            self._all.report(
                "gone too early", path, f"404 of {place}, {now - asked:.2f} s after {daemon} was asked"
            )

    # --- writing

    def _put(self, path: str) -> None:
        all_ = self._all
        way = self._random.choices(list(all_.ways), list(all_.ways.values()))[0]
        size = self._random.choices(SIZES, SIZE_WEIGHTS)[0]
        op = next(all_.ops)
        daemon, url = self._daemons()[0]
        self._count(all_.counts.calls, f"PUT, {way}")
        upload = Upload(op, path, time.monotonic())
        all_.history.upload(upload)
        all_.journal.write("PUT", op=op, path=path, way=way, size=size, daemon=daemon)
        uploading = Uploading(url, upload, way, size, self._random)
        try:
            begun = uploading.begin()
            if isinstance(begun, Reply):
                self._failed(all_.counts.unanswered, f"PUT: {begun.status}")
                return
            all_.journal.write("accepted", op=op, path=path, version=begun.id)
            if way == LATE:
                timer = threading.Timer(LAPSE + GRACE + 3, self._send_late, (uploading, begun))
                timer.start()
                all_.timers.append(timer)
                return
            if way == DELETED:
                self._delete(path)
            elif way == OVERTAKEN:
                self._put(path)
            stored = uploading.send(begun)
            all_.journal.write("stored" if stored else "not stored", op=op, path=path)
            if stored or self._random.random() < 0.3:
                self._acknowledge(uploading)
        except NoAnswer as error:
            self._failed(all_.counts.unanswered, f"PUT: {error.cause}")

    def _send_late(self, uploading: Uploading, begun: Begun) -> None:
        """A server that was away all the time may still be waited for: it is over when somebody was told so."""
        upload = uploading.upload
        try:
            reply = uploading.complete(uploading.url, 1)
            if reply.status == 410:
                upload.why_never = "it was answered that it is over, before it came"
            stored = uploading.send(begun)
        except NoAnswer:
            return
        self._all.journal.write("late", op=upload.op, path=upload.path, was=reply.status, stored=stored)

    def _acknowledge(self, uploading: Uploading) -> None:
        """Ask whether it is the file now, in one of the ways there are; some never ask."""
        how = self._random.choices(("complete", "two copies", "HEAD", "not"), (5, 3, 3, 1))[0]
        for _ in range(3):
            if how == "not" or self._all.over.is_set():
                return
            _, url = self._daemons()[0]
            try:
                if how == "HEAD":
                    if uploading.shown(url):
                        self._acknowledged(uploading.upload, how)
                        return
                else:
                    reply = uploading.complete(url, 2 if how == "two copies" else 1)
                    if reply.status != 202:
                        self._completed(uploading, how, reply)
                        return
            except NoAnswer as error:
                self._failed(self._all.counts.unanswered, f"{how}: {error.cause}")
            time.sleep(0.1)

    def _completed(self, uploading: Uploading, how: str, reply: Reply) -> None:
        upload, told = uploading.upload, json.loads(reply.body)
        if reply.status == 200:
            if upload.why_never:
                what = f"{how} says 200 of upload {upload.op}: {upload.why_never}"
                self._all.report(WRONG_BYTES, upload.path, what)
            elif told["state"] in ("live", "superseded"):
                self._acknowledged(upload, how)
            return
        reason = told.get("reason")
        self._all.journal.write(
            "not the file", op=upload.op, path=upload.path, status=reply.status, reason=reason
        )
        self._failed(self._all.counts.unanswered, f"{how}: {reply.status} {reason or ''}".strip())
        # A wrong claim says nothing about the upload itself.
        if reason in _OVER and uploading.way != "wrong size at the end" and upload.seen > time.monotonic():
            upload.why_never = upload.why_never or f"it was answered that it is over: {reason}"

    def _acknowledged(self, upload: Upload, how: str) -> None:
        upload.acknowledged = time.monotonic()
        upload.seen = min(upload.seen, upload.acknowledged)
        self._count(self._all.counts.acknowledged, "uploads")
        self._all.journal.write("acknowledged", op=upload.op, path=upload.path, how=how)

    # --- deleting

    def _delete(self, path: str) -> None:
        all_ = self._all
        self._count(all_.counts.calls, "DELETE")
        daemon, url = self._daemons()[0]
        delete = Delete(next(all_.ops), path, time.monotonic())
        all_.history.delete(delete)
        all_.journal.write("DELETE", op=delete.op, path=path, daemon=daemon)
        outcome: Any
        try:
            reply = call("DELETE", f"{url}/{quote(path)}")
            outcome = reply.status
        except NoAnswer as error:
            outcome = error.cause
        ended = time.monotonic()
        if outcome == 204:
            delete.acknowledged, delete.ended = True, ended
            self._count(all_.counts.acknowledged, "deletes")
        elif outcome == 404:
            all_.history.refused(delete)
            if fault := all_.history.read(path, None, delete.begun, ended):
                all_.report(fault.kind, path, f"DELETE by {daemon} answers 404: {fault.what}")
        else:
            self._failed(all_.counts.unanswered, f"DELETE: {outcome}")
        all_.journal.write(
            "deleted" if outcome == 204 else "not deleted", op=delete.op, path=path, outcome=outcome
        )
