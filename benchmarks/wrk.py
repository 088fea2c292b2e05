"""wrk, the load generator: one thread, 32 connections that are kept, as many requests as the server answers."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import paths
from benchmarks.pinning import cores, on

SCRIPT = Path(__file__).with_name("wrk.lua")
CONNECTIONS = 32


@dataclass(frozen=True)
class Requests:
    """
    Which files to ask for: ``first`` and the ``size - 1`` after it, at random or each once.  Of those that are
    asked for once ``skip`` were asked for before.
    """

    method: str = "GET"
    first: int = 0
    size: int = 200_000
    once: bool = False
    skip: int = 0

    @property
    def arguments(self) -> list[str]:
        how, step = ("walk", paths.step(self.size)) if self.once else ("random", 0)
        return list(map(str, (self.method, how, self.first, self.size, step, self.skip)))

    def __str__(self) -> str:
        how = "each once" if self.once else "at random"
        return f"{self.method} of {self.size:,} paths, {how}"


@dataclass(frozen=True)
class Load:
    """What came of it: requests a second, and how many µs of CPU the server's processes took for each."""

    requests: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def cpu_each(self) -> float:
        """µs."""
        return 1e6 * self.cpu / max(1, self.requests)

    @property
    def busy(self) -> float:
        """Share of a core."""
        return self.cpu / self.seconds


def installed() -> str | None:
    return shutil.which("wrk")


def cpu_of(processes: Sequence[psutil.Process]) -> float:
    """Seconds of CPU that they have had."""
    return float(sum(used.user + used.system for used in (process.cpu_times() for process in processes)))


def told(output: str) -> Mapping[str, Any]:
    """
    What ``wrk.lua`` wrote at the end.

    :raises RuntimeError: wrk did not get so far, or requests failed: then no figure means anything.
    """
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"wrk told nothing:\n{output}")
    found: Mapping[str, Any] = json.loads(lines[-1])
    if found["failed"] or not found["requests"]:
        raise RuntimeError(f"{found['failed']} of {found['requests']} requests failed:\n{output}")
    return found


def command(url: str, requests: Requests, seconds: float) -> list[str]:
    # wrk takes whole seconds only; what takes more than 2 s would be a failure to it.
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
    return ["wrk", *options, "-s", str(SCRIPT), url, "--", *requests.arguments]


def run(url: str, requests: Requests, seconds: float, server: Sequence[psutil.Process]) -> Load:
    """
    So much for so long; ``server`` are the processes whose CPU time is counted.

    :raises RuntimeError: requests failed, or there were too few paths to ask for each once.
    """
    before = cpu_of(server)
    with on(cores().load):
        done = subprocess.run(
            command(url, requests, seconds),
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    cpu = cpu_of(server) - before
    found = told(done.stdout)
    if requests.once and requests.skip + found["requests"] > requests.size:
        raise RuntimeError(
            f"{found['requests']} requests for {requests.size - requests.skip} paths, to ask for each once; "
            f"have more files (--files) or less time (--seconds)"
        )
    return Load(found["requests"], found["seconds"], cpu)
