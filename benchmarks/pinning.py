"""
Which process runs on which core.

A server that is measured has a core of its own; the load generator is on another one, and so is everything that
a server asks (Redis, storage servers), unless there is a third.  On a machine with one core nothing is pinned.

Where the slowest answers are looked for, other processes of the machine have to wait: on one that we used, its
own housekeeping took a core for 5 to 18 ms each second, and that was all that the p99 showed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Cores:
    server: frozenset[int]
    load: frozenset[int]
    rest: frozenset[int]

    def __str__(self) -> str:
        if self.server == self.load:
            return "one core, nothing is pinned"
        server, load, rest = (",".join(map(str, sorted(each))) for each in (self.server, self.load, self.rest))
        if self.load == self.rest:
            return f"the server measured on CPU {server}; load, Redis and storage servers on CPU {load}"
        return (
            f"the server measured on CPU {server}, load on CPU {load}, Redis and storage servers on CPU {rest}"
        )


def assigned(available: frozenset[int]) -> Cores:
    """What goes where, of the cores that we may use."""
    server, *others = sorted(available)
    if not others:
        return Cores(available, available, available)
    load, *rest = others
    return Cores(frozenset({server}), frozenset({load}), frozenset(rest or [load]))


@cache
def cores() -> Cores:
    return assigned(frozenset(os.sched_getaffinity(0)))


@contextmanager
def on(some: frozenset[int]) -> Iterator[None]:
    """What is started inside ``with`` runs on these cores, as ``taskset`` would have it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, some)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def urgent(processes: Iterable[psutil.Process]) -> Iterator[bool]:
    """
    Inside ``with`` these processes, and what is started there, go before all others of the machine
    (``SCHED_FIFO``, see sched(7); a niceness of -20 still left 5 ms of each second to others).  Gives whether
    that is allowed.
    """
    threads = [int(task.name) for process in processes for task in Path(f"/proc/{process.pid}/task").iterdir()]
    before: dict[int, int] = {}
    for thread in [os.getpid(), *threads]:
        with suppress(ProcessLookupError):  # it has ended meanwhile
            before[thread] = os.sched_getscheduler(thread)
    try:
        _schedule(dict.fromkeys(before, os.SCHED_FIFO), priority=1)
    except PermissionError:
        yield False
        return
    try:
        yield True
    finally:
        _schedule(before, priority=0)


def _schedule(policies: Mapping[int, int], priority: int) -> None:
    for thread, policy in policies.items():
        with suppress(ProcessLookupError):
            os.sched_setscheduler(thread, policy, os.sched_param(priority))
