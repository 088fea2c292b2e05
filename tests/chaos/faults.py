"""Carries a schedule out, each fault in a thread of its own, and heals what it broke."""

from __future__ import annotations

import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence

from tests.chaos.journal import Journal
from tests.chaos.outages import Outages
from tests.chaos.schedule import DAEMONS, LINKS, STORES, Fault
from tests.chaos.site import ChaosSite
from tests.servers.daemon import Daemon
from tests.servers.nginx import NginxServer
from tests.servers.redis import RedisServer

#: Seconds within which a server that was started must answer.
BACK = 40.0


class Faults:
    """
    ``recoveries`` are seconds from a server's start (or waking) until it answered, with the server; a daemon
    answers when its Redis does.
    """

    def __init__(self, site: ChaosSite, outages: Outages, journal: Journal) -> None:
        self._site = site
        self._outages = outages
        self._journal = journal
        self.done: Counter[str] = Counter()
        self.recoveries: list[tuple[float, str]] = []
        self.errors: list[str] = []
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._busy = {target: threading.Lock() for target in (*DAEMONS, *STORES, "redis", *LINKS)}

    def run(self, faults: Sequence[Fault], seconds: float, watch: Callable[[], None] = lambda: None) -> None:
        """All of them, for so many seconds; ``watch`` is called now and then."""
        began = time.monotonic()
        for fault in [*faults, None]:
            until = began + (fault.at if fault is not None else seconds)
            while (left := until - time.monotonic()) > 0:
                time.sleep(min(left, 0.25))
                watch()
            if fault is not None:
                thread = threading.Thread(target=self._perform, args=(fault,), name=str(fault), daemon=True)
                self._threads.append(thread)
                thread.start()

    def heal(self) -> None:
        """End all faults now, and wait until every server answers."""
        self._over.set()
        for thread in self._threads:
            thread.join(BACK + 10)
            if thread.is_alive():
                self.errors.append(f"not healed: {thread.name}")

    def _perform(self, fault: Fault) -> None:
        # A target that is slow to come back may not be whole yet when its next fault is due: left out then.
        busy = self._busy[fault.target]
        if busy.acquire(blocking=False):
            try:
                self._carry_out(fault)
            finally:
                busy.release()

    def _carry_out(self, fault: Fault) -> None:
        self._journal.write("begin", fault=fault.kind, target=fault.target, lasts=round(fault.lasts, 2))
        self.done[f"{fault.kind} {_group(fault.target)}"] += 1
        try:
            if fault.kind == "fill":
                self._fill(fault)
            elif ">" in fault.target:
                self._break_way(fault)
            elif fault.kind == "kill":
                self._kill(fault)
            else:
                self._stop(fault)
        except Exception:
            self.errors.append(f"{fault}: {traceback.format_exc()}")
        self._journal.write("end", fault=fault.kind, target=fault.target)

    def _kill(self, fault: Fault) -> None:
        server = self._site.server(fault.target)
        refusing = self._outages.begin(fault.target, refuses=True)
        server.kill()
        self._over.wait(fault.lasts)
        # From now on it takes connections before it answers.
        starting = self._outages.begin(fault.target)
        self._outages.end(refusing)
        began = time.monotonic()
        server.start(wait=False) if isinstance(server, Daemon | RedisServer) else server.start()
        self._wait(server, fault.target, began)
        self._outages.end(starting)

    def _stop(self, fault: Fault) -> None:
        server = self._site.server(fault.target)
        outage = self._outages.begin(fault.target)
        server.pause()
        self._over.wait(fault.lasts)
        began = time.monotonic()
        server.resume()
        self._wait(server, fault.target, began)
        self._outages.end(outage)

    def _wait(self, server: Daemon | NginxServer | RedisServer, name: str, began: float) -> None:
        while not server.answers():
            if server.running.poll() is not None:
                raise AssertionError(f"{name} ended by itself: {server.log()[-3000:]}")
            if time.monotonic() > began + BACK:
                raise AssertionError(f"{name} is not back within {BACK:g} s: {server.log()[-3000:]}")
            time.sleep(0.02)
        self.recoveries.append((time.monotonic() - began, name))

    def _break_way(self, fault: Fault) -> None:
        way = self._site.links[fault.target]
        outage = self._outages.begin(fault.target)
        if fault.kind == "freeze":
            way.freeze()
        elif fault.kind == "deafen":
            way.deafen()
        else:
            if fault.kind == "refuse":
                way.refuse()
            way.cut()
        self._over.wait(fault.lasts)
        if fault.kind == "deafen":
            way.cut()
        way.thaw()
        way.accept()
        self._outages.end(outage)

    def _fill(self, fault: Fault) -> None:
        small = self._site.small
        assert small is not None
        until = time.monotonic() + fault.lasts
        try:
            # What is deleted meanwhile is taken as well.
            while time.monotonic() < until and not self._over.is_set():
                small.fill()
                self._over.wait(0.1)
        finally:
            small.relieve()


def _group(target: str) -> str:
    if ">" in target:
        return f"way to {'Redis' if target.endswith('redis') else 'a store'}"
    if target == "redis":
        return "Redis"
    return "a daemon" if target.startswith("daemon") else "a store"
