"""
Redirects: how many a second and how long they take, beside what others make of the same request.

Run: ``python -m benchmarks --only get`` (cached, signed, cold), ``latency``, ``many`` (2,000,000 files or
10,000), ``workers``, ``rss``.  All servers run at the same time and are measured in turns; a figure is the
median of its turns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property, partial
from statistics import median
from typing import Self

import psutil

from benchmarks import references
from benchmarks.constant_rate import Latencies
from benchmarks.figure import Figure, Must, Reference, Row, Skipped
from benchmarks.paths import name
from benchmarks.pinning import cores, on, urgent
from benchmarks.settings import Settings
from benchmarks.site import NONE, Site, answer, constant_rate, family, knows, rss, warm
from benchmarks.turns import cost, cpu_each, in_turns, rate, rates
from benchmarks.wrk import Load, Requests, run
from tests.servers.daemon import Daemon
from tests.servers.process import Started
from tests.servers.redis import RedisServer

SAMPLE = f"/{name(0)}"

#: The headers of our redirect that the references send as well.
SAME = ("ETag", "Cache-Control", "Repr-Digest", "Link")


#: So many times the rounds of other rows: the slowest hundredth sees each hiccup of the machine.
MORE = 3


class Redirects(Started):
    """
    The servers of all these rows.  What is not needed is not started; but storage nodes have to be there before
    their files are.
    """

    def __init__(self, settings: Settings, rows: frozenset[str]) -> None:
        self.settings = settings
        self._signed = "get" in rows
        self._stack = ExitStack()
        self._asked_cold = 0

    def start(self) -> Self:
        self.site = self._stack.enter_context(Site())
        self.cached = self.site.daemon(cache=self.settings.hot)
        if self._signed:
            self.by_nodes = self.site.daemon(self.site.nodes(), cache=self.settings.hot)
        self.settings.say(f"filling in {self.settings.files:,} files")
        self.site.fill(self.settings.files)
        self.settings.say(f"{self.site.filled:,.0f} files/s filled in")
        return self

    def close(self) -> None:
        self._stack.close()

    # --- servers that some rows need

    @cached_property
    def cold(self) -> Daemon:
        """One that is asked for every path once."""
        return self.site.daemon(cache=self.settings.hot)

    @cached_property
    def signed_links(self) -> Daemon:
        return self.site.daemon(self.site.links(), cache=self.settings.hot)

    @cached_property
    def _headers(self) -> dict[str, str]:
        ours = answer(self.cached.url, SAMPLE)
        return {header: ours[header] for header in SAME}

    @cached_property
    def _location(self) -> str:
        return answer(self.cached.url, SAMPLE)["Location"]

    @cached_property
    def nginx(self) -> references.Reference:
        return self._reference(references.NginxRedirect(self._location, self._headers))

    @cached_property
    def _values(self) -> RedisServer:
        """What the references ask."""
        redis: RedisServer = self.site.add(RedisServer())
        references.fill(redis, self.settings.hot, self._location)
        return redis

    @cached_property
    def lua(self) -> references.Reference | None:
        """None if it is not installed."""
        if references.NginxLua.missing() is not None:
            return None
        return self._reference(references.NginxLua(self._values, self._headers))

    @cached_property
    def llhttp(self) -> references.Reference:
        return self._reference(references.LlhttpRedis(self._values, self._headers))

    def _reference(self, server: references.Reference) -> references.Reference:
        self.site.add(server, cores().server)
        answer(server.url, SAMPLE)
        return server

    # --- what is measured of one

    def _hot(self, url: str, server: list[psutil.Process], size: int | None = None) -> Load:
        return run(url, Requests(size=size or self.settings.hot), self.settings.seconds, server)

    def _anew(self, daemon: Daemon, size: int, warmed: bool) -> Load:
        """Of a process of its own: where its memory happens to lie is worth several per cent."""
        with on(cores().server):
            daemon.restart()
        answer(daemon.url, SAMPLE)
        if warmed:
            warm(daemon.url, Requests(size=size))
        return self._hot(daemon.url, family(daemon), size)

    def _fresh(self, n: int) -> Requests:
        """Of the paths that nobody asked the cold daemon for yet, ``n`` being about to be asked for."""
        hot, files = self.settings.hot, self.settings.files
        requests = Requests(first=hot, size=files - hot, once=True, skip=self._asked_cold)
        self._asked_cold += n
        return requests

    def _cold_once(self) -> Load:
        load = run(self.cold.url, self._fresh(0), self.settings.seconds, family(self.cold))
        self._asked_cold += load.requests + 100  # and those that were under way at the end
        return load

    def _warmed(self, daemon: Daemon) -> Daemon:
        answer(daemon.url, SAMPLE)
        warm(daemon.url, Requests(size=self.settings.hot))
        return daemon

    # --- rows

    def get(self) -> Row:
        say = self.settings.say
        say(f"warming the caches: {self.settings.hot:,} paths, twice each")
        servers = [server for server in (self.nginx, self.lua, self.llhttp) if server is not None]
        contest: dict[str, Callable[[], Load]] = {
            server.title: partial(self._hot, server.url, server.psutil()) for server in servers
        }
        daemons = {"cached": self.cached, "nodes": self.by_nodes, "links": self.signed_links}
        for what, daemon in daemons.items():
            self._warmed(daemon)
            contest[what] = partial(self._hot, daemon.url, family(daemon))
        contest["cold"] = self._cold_once
        loads = in_turns(contest, self.settings)
        self._found = loads

        def figure(what: str, called: str, against: references.Reference, must: float) -> Figure:
            cheaper = median(cpu_each(loads[against.title])) / median(cpu_each(loads[what]))
            return Figure.of_runs(
                "get",
                called,
                rates(loads[what]),
                "/s",
                reference=Reference(against.title, rate(loads[against.title])),
                must=Must(">=", must),
                note=f"{cost(loads[what])}; by CPU {cheaper:.2f} of {against.title}",
            )

        for server in servers:
            theirs = loads[server.title]
            yield Figure.of_runs("get", server.title, rates(theirs), "/s", note=cost(theirs), ours=False)
        yield figure("cached", "GET, cached", self.nginx, 0.38)
        if self.lua is None:
            package = references.NginxLua.missing()
            yield Skipped("get", "GET, cached ÷ nginx + Lua + Redis GET", f"{package} is not installed")
        else:
            yield figure("cached", "GET, cached", self.lua, 1.1)
        yield figure("nodes", "GET, cached, signed (HMAC-SHA-256, nodes)", self.nginx, 0.30)
        yield figure("links", "GET, cached, signed (secure_link, nginx)", self.nginx, 0.30)
        yield figure("cold", "GET, each path once", self.llhttp, 0.8)

    _found: dict[str, list[Load]] | None = None

    def _most(self, what: str) -> float:
        """How many a second it was, or is if that was not measured in this run."""
        if self._found is not None:
            return rate(self._found[what])
        if what == "cached":
            self._warmed(self.cached)
            return self._hot(self.cached.url, family(self.cached)).rate
        if what == "cold":
            answer(self.cold.url, SAMPLE)
            return self._cold_once().rate
        assert self.lua is not None
        return self._hot(self.lua.url, self.lua.psutil()).rate

    def latency(self) -> Row:
        """
        At half of the highest rate, in turns with nginx at the same one, which shows what the machine and the
        generator add; and with nginx, Lua and Redis at half of theirs: what such a load comes to here.
        """
        hot, half = Requests(size=self.settings.hot), self._most("cached") / 2
        contest = {self.nginx.title: (half, partial(self._at, self.nginx.url, hot, half))}
        servers = [*family(self.cached), *self.nginx.psutil()]
        if self.lua is not None:
            its_half = self._most(self.lua.title) / 2
            contest[self.lua.title] = (its_half, partial(self._at, self.lua.url, hot, its_half))
            servers += [*self.lua.psutil(), psutil.Process(self._values.running.pid)]
        contest["cached"] = (half, partial(self._at, self.cached.url, hot, half))
        self._stop_all_but("cached")
        yield from self._latencies(contest, servers, Must("<=", 2.0))

        half = self._most("cold") / 2
        self._stop_all_but("cold")
        contest = {self.nginx.title: (half, partial(self._at, self.nginx.url, hot, half))}
        servers = [*family(self.cold), *self.nginx.psutil(), psutil.Process(self.site.redis.running.pid)]
        contest["each path once"] = (half, partial(self._once_at, half))
        yield from self._latencies(contest, servers, Must("<=", 4.0))

    def _at(self, url: str, requests: Requests, each_second: float) -> Latencies:
        return constant_rate(url, requests, each_second, self.settings.seconds)

    def _once_at(self, each_second: float) -> Latencies:
        return self._at(self.cold.url, self._fresh(int(each_second * self.settings.seconds) + 1), each_second)

    def _latencies(
        self,
        contest: Mapping[str, tuple[float, Callable[[], Latencies]]],
        servers: list[psutil.Process],
        must: Must,
    ) -> Row:
        """``contest`` has rates and who is asked at them; the last one is ours."""
        *_, ours = contest
        contest[ours][1]()  # who did nothing for a while is slower at first, as wrk2 has it: not counted
        found: dict[str, list[Latencies]] = {name: [] for name in contest}
        for n in range(MORE * self.settings.rounds):
            with urgent(servers) as alone:
                for name, (_, ask) in contest.items():
                    found[name].append(ask())
            said = ", ".join(f"{name} {latencies[-1].p99:.2f} ms" for name, latencies in found.items())
            self.settings.say(f"round {n + 1}: p99: {said}")
        place = "before other processes (SCHED_FIFO)" if alone else "beside other processes"
        for name, (each_second, _) in contest.items():
            p50, p99, p999, late = (
                [getattr(each, what) for each in found[name]] for what in ("p50", "p99", "p999", "late")
            )
            yield Figure.of_runs(
                "latency",
                f"p99, {name}, at {each_second:,.0f}/s",
                p99,
                "ms",
                must=must if name == ours else None,
                note=f"p50 {median(p50):.2f} ms, p99.9 {median(p999):.2f} ms; p99 of {len(p99)} rounds: "
                f"{min(p99):.2f} to {max(p99):.2f} ms; the generator itself: {median(late):.2f} ms; {place}",
                ours=name == ours,
            )

    def rss(self) -> Row:
        daemon = self.site.daemon(cache=self.settings.hot)
        answer(daemon.url, SAMPLE)
        empty = rss(daemon)
        self._warmed(daemon)
        warmed = rss(daemon)
        yield Figure(
            "rss",
            f"RSS of the daemon with {self.settings.hot:,} answers cached",
            warmed,
            "MiB",
            must=Must("<=", 250),
            note=f"{empty:.0f} MiB before",
        )

    def many(self) -> Row:
        """The same requests to a store of many files and to one of few, and requests for any file of either."""
        files, few = self.settings.files, self.settings.few
        self._stop_all_but()
        with Site() as small:
            contest: dict[str, Callable[[], Load]] = {}
            for site, size in ((self.site, files), (small, few)):
                caching, asking = site.daemon(cache=self.settings.hot), site.daemon(cache=NONE)
                site.fill(size)
                contest[f"{few:,} of {size:,}, cached"] = partial(self._anew, caching, few, warmed=True)
                contest[f"any of {size:,}, not cached"] = partial(self._anew, asking, size, warmed=False)
            loads = in_turns(contest, self.settings)
        for what, called in (
            (f"{few:,} of {{}}, cached", f"GET of {few:,} files, cached, {files:,} in the store"),
            ("any of {}, not cached", f"GET of any file, not cached, {files:,} in the store"),
        ):
            with_many, with_few = loads[what.format(f"{files:,}")], loads[what.format(f"{few:,}")]
            yield Figure.of_runs(
                "many",
                called,
                rates(with_many),
                "/s",
                reference=Reference(f"{few:,} files", rate(with_few)),
                must=Must(">=", 0.95),
                note=f"{cost(with_many)}; {cost(with_few)}",
            )

    def _stop_all_but(self, *needed: str) -> None:
        """Of the daemons of earlier rows: they probe storage servers on the core that is measured."""
        for which in ("cached", "cold", "by_nodes", "signed_links"):
            if which in vars(self) and which not in needed:
                vars(self).pop(which).stop()

    def workers(self) -> Row:
        if not knows("workers"):
            yield Skipped("workers", "two workers ÷ one", "this version has no [http] workers")
            return
        daemons = {n: self.site.daemon(cache=self.settings.hot, workers=n) for n in (1, 2)}
        for n, daemon in daemons.items():
            # Each worker has a cache of its own: one pass fills a part of it.
            for _ in range(3 if n > 1 else 1):
                self._warmed(daemon)
        contest = {
            f"{n} worker(s)": partial(self._hot, daemon.url, family(daemon)) for n, daemon in daemons.items()
        }
        one, two = in_turns(contest, self.settings).values()
        yield Figure.of_runs(
            "workers",
            "GET, cached, two workers",
            rates(two),
            "/s",
            reference=Reference("one worker", rate(one)),
            note=f"{cost(two)}; the load generator has a part of the second worker's core",
        )
