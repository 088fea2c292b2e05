"""
Uploads: how many PUTs a second are sent on to a storage server, and how many whole uploads by the API.

Run: ``python -m benchmarks --only put,uploads``.  Redis writes its log (``appendonly yes``), and nothing is
replicated meanwhile.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from benchmarks.figure import Figure, Must, Row
from benchmarks.paths import name
from benchmarks.pinning import cores, on
from benchmarks.settings import Settings
from benchmarks.site import Site, answer, family
from benchmarks.turns import cost, in_turns, rates
from benchmarks.wrk import Load, Requests, cpu_of, run
from tests.servers.daemon import Daemon
from tests.servers.process import Started

#: More new paths than anything takes in a run.
PATHS = 9_000_000

#: Uploads at once by the API.
AT_ONCE = 16


class Uploads(Started):
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._site = Site("appendonly yes")
        self._begun = 0

    def start(self) -> Self:
        self._site.start()
        self.daemon: Daemon = self._site.daemon()
        return self

    def close(self) -> None:
        self._site.close()

    def put(self) -> Row:
        answer(self.daemon.url, f"/{name(PATHS)}", 307, "PUT")

        def once() -> Load:
            requests = Requests("PUT", size=PATHS, once=True, skip=self._begun)
            load = run(self.daemon.url, requests, self.settings.seconds, family(self.daemon))
            self._begun += load.requests + 100
            return load

        loads = in_turns({"PUT": once}, self.settings)["PUT"]
        yield Figure.of_runs(
            "put",
            "PUT of a new path, redirected",
            rates(loads),
            "/s",
            must=Must(">=", 4000),
            note=cost(loads),
        )

    def uploads(self) -> Row:
        """Each is ``POST uploads``, the PUT to nginx, and ``complete``, which looks there; all counts."""
        done = 0
        busy: list[float] = []

        def once() -> Load:
            nonlocal done
            load, generator = self._upload(PATHS + 1 + done, self.settings.uploads)
            done += self.settings.uploads
            busy.append(generator)
            return load

        loads = in_turns({"uploads": once}, self.settings)["uploads"]
        yield Figure.of_runs(
            "uploads",
            f"uploads of 4 KiB by the API, {AT_ONCE} at once",
            rates(loads),
            "files/s",
            must=Must(">=", 1000),
            note=f"{cost(loads)}; the load generator takes {100 * max(busy):.0f} % of its core",
        )

    def _upload(self, first: int, files: int) -> tuple[Load, float]:
        """What it was, and the share of a core that the load generator needed."""
        server = urlsplit(self.daemon.url).netloc
        words = ["--first", str(first), "--at-once", str(AT_ONCE)]
        processes = family(self.daemon)
        before = cpu_of(processes)
        with on(cores().load):
            told = subprocess.run(
                [sys.executable, "-m", "benchmarks.uploads_api", server, str(files), *words],
                cwd=Path(__file__).parents[1],
                stdout=subprocess.PIPE,
                check=True,
            )
        found = json.loads(told.stdout)
        return Load(files, found["seconds"], cpu_of(processes) - before), found["cpu"] / found["seconds"]
