"""A run from beginning to end, and what it tells."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.clients import Clients, Problem
from tests.chaos.ending import BOUND, Ending, end
from tests.chaos.faults import Faults
from tests.chaos.history import LOST, WRONG_BYTES
from tests.chaos.journal import Journal
from tests.chaos.outages import Outages
from tests.chaos.schedule import schedule
from tests.chaos.site import ChaosSite

#: What a daemon logs when something happened that nobody expected.
_UNEXPECTED = re.compile(r"^.*(?:Traceback|Unhandled).*(?:\n.+){0,40}", re.MULTILINE)


@dataclass
class Result:
    """``kept`` is the directory with journal and logs, if something is wrong."""

    seconds: float
    seed: int
    clients: Clients
    faults: Faults
    ending: Ending
    why_not_small: str
    kept: Path | None = None

    @property
    def problems(self) -> list[Problem]:
        return self.clients.problems

    def count(self, kind: str) -> int:
        return sum(problem.kind == kind for problem in self.problems)

    @property
    def availability(self) -> float:
        """The share of GETs that succeeded, of all but those that the schedule excuses; 0 to 1."""
        counts = self.clients.counts
        asked = counts.calls["GET"] - counts.excused.total()
        return 1 - self.count("unavailable") / asked if asked else 0.0

    def summary(self) -> str:
        counts, ending = self.clients.counts, self.ending
        recoveries: dict[str, float] = {}
        for seconds, name in self.faults.recoveries:
            group = "daemon" if name.startswith("daemon") else "Redis" if name == "redis" else "store"
            recoveries[group] = max(seconds, recoveries.get(group, 0.0))
        longest = ", ".join(f"{group} {seconds:.1f} s" for group, seconds in sorted(recoveries.items()))
        lines = [
            f"seed {self.seed}, {self.seconds:g} s of chaos",
            f"calls made      {counts.calls.total()}: {_list(counts.calls)}",
            f"acknowledged    {_list(counts.acknowledged)}",
            f"no success      {_list(counts.unanswered)}",
            f"faults          {self.faults.done.total()}: {_list(self.faults.done)}",
            *([f"not done here   a full store: {self.why_not_small}"] if self.why_not_small else []),
            f"GETs            {counts.calls['GET']}, {counts.gets['retried']} with the retry, "
            f"{counts.gets['out of date']} out of date while their daemon had no Redis (allowed)",
            f"  behind        {len(counts.behind)}, by {max(counts.behind, default=0) * 1000:.1f} ms at most "
            "(allowed)",
            f"GET errors      {counts.get_errors.total()}: {_list(counts.get_errors)}",
            f"  excused       {counts.excused.total()}: {_list(counts.excused)}",
            f"availability    {self.availability:.4%} of the GETs that are not excused",
            f"read in the end {ending.files} files, {ending.replicas} copies, {ending.bytes} bytes",
            f"longest recovery {longest or 'none'}; all at rest {_after(ending.settled)} after the last fault",
            f"lost            {self.count(LOST)}",
            f"wrong bytes     {self.count(WRONG_BYTES)}",
            f"orphans         {len(ending.orphans)}"
            + (f" (and {ending.parts} temporary files of killed nginx)" if ending.parts else ""),
        ]
        others = Counter(p.kind for p in self.problems if p.kind not in (LOST, WRONG_BYTES, "orphan"))
        lines += [f"{kind:15} {n}" for kind, n in others.items()]
        return "\n".join(lines)

    def evidence(self, most: int = 10) -> str:
        """Of the first problems: what, the record, the journal of the path; and where the rest is."""
        parts = []
        for problem in self.problems[:most]:
            parts.append(f"--- {problem.kind}: {problem.path}: {problem.what}\n{problem.evidence}")
            if problem.path:
                parts += self.clients.journal.of(problem.path)[-60:]
        parts.append(f"seed {self.seed}; journal and logs are in {self.kept}")
        return "\n".join(parts)


def _list(counter: Counter[str]) -> str:
    return ", ".join(f"{kind} {n}" for kind, n in sorted(counter.items())) or "none"


def _after(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"


def run(
    seconds: float,
    seed: int,
    *,
    appendfsync: str = "always",
    faults: bool = True,
    late: bool = False,
    pace: float = 1.0,
    package: Path | None = None,
    bound: float = BOUND,
    sabotage: Callable[[ChaosSite, Clients], None] = lambda site, clients: None,
) -> Result:
    """
    ``faults``: whether the schedule breaks anything, ``pace`` how many times as often; ``late``: uploads that
    come when nobody waits any more; ``package``: another copy of the product; ``bound`` is in how many seconds
    all has to come to rest.  ``sabotage`` is called when the clients have ended: to see that it is found.
    """
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    keep = False

    def tidy(kind: type[BaseException] | None, *_: object) -> None:
        # Evidence is kept when something is wrong, here as well; not when somebody pressed Ctrl-C.
        if not keep and not (kind is not None and issubclass(kind, Exception)):
            shutil.rmtree(directory, ignore_errors=True)

    with ExitStack() as stack:
        stack.push(tidy)
        journal = Journal(directory / "journal")
        stack.callback(journal.close)
        site = stack.enter_context(ChaosSite(appendfsync, package))
        stack.callback(_keep_logs, site, directory)
        outages = Outages()
        clients = Clients(site, outages, journal, seed, late=late)
        breaker = Faults(site, outages, journal)
        stack.callback(breaker.heal)
        stack.callback(clients.end)
        clients.start()
        plan = schedule(seconds, seed, fill=site.small is not None, pace=pace, late=late) if faults else []
        breaker.run(plan, seconds)
        clients.end()
        breaker.heal()
        for error in breaker.errors:
            clients.report("not healed", "", error)
        sabotage(site, clients)
        ending = end(clients, bound)
        _look_at_logs(site, clients)
        result = Result(seconds, seed, clients, breaker, ending, site.why_not_small)
        keep = bool(clients.problems)
        result.kept = directory if keep else None
    return result


def _look_at_logs(site: ChaosSite, clients: Clients) -> None:
    for name, daemon in site.daemons.items():
        for found in _unexpected(daemon.log()):
            clients.report("error in a log", "", f"{name}: {found}")


def _unexpected(log: str) -> Iterable[str]:
    return (match[0] for match in _UNEXPECTED.finditer(log))


def _keep_logs(site: ChaosSite, directory: Path) -> None:
    for name, server in {"redis": site.redis, **site.stores, **site.daemons}.items():
        (directory / f"{name}.log").write_text(server.log())
    for name, store in site.stores.items():
        (directory / f"{name}.access.log").write_text("\n".join(store.requests()))
