"""
How a store of so many files would look on a Redis Cluster, from what was measured of a small one.  Pure
arithmetic.

It is an estimate: that a look-up costs the same whatever the number of files is what ``benchmarks.scale`` shows
as far as memory reaches, and the rest is multiplication.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

GIB = 2**30
DAY = 86_400


@dataclass(frozen=True)
class Paper:
    """A store of ``files``; what is measured of a small one is in the first fields."""

    files: int
    #: Of Redis' memory.
    bytes_a_file: float
    #: µs of Redis' one thread for a look-up.
    redis_cpu: float
    #: µs of a worker's core for a redirect when nothing is cached.
    cpu: float
    #: Bytes of memory of a machine for Redis, and the share of it that records may fill: the rest is for growth
    #: and for the fork that writes the log anew.
    node: int = 64 * GIB
    share: float = 0.6
    #: Of the store; each lies in one slot of the Cluster.
    partitions: int = 4096
    copies: int = 3
    #: Days in which every copy is to be looked at once.
    audit_every: float = 30

    @property
    def memory(self) -> float:
        """Bytes of all records."""
        return self.files * self.bytes_a_file

    @property
    def masters(self) -> int:
        return math.ceil(self.memory / (self.node * self.share))

    @property
    def lookups(self) -> float:
        """That all masters can do in a second, at most."""
        return self.masters * 1e6 / self.redis_cpu

    @property
    def workers(self) -> float:
        """That it takes to ask for so many, each with a core to itself."""
        return self.lookups * self.cpu / 1e6

    @property
    def audit_rate(self) -> float:
        """Copies that have to be looked at in a second."""
        return self.files * self.copies / (self.audit_every * DAY)

    def lines(self) -> list[str]:
        """The arithmetic, step by step."""
        each = self.files / self.masters
        return [
            f"memory      {self.files:,} files x {self.bytes_a_file:.0f} bytes = {self.memory / 1e9:,.0f} GB",
            f"masters     {self.memory / 1e9:,.0f} GB / ({self.node / GIB:.0f} GiB x {self.share:g}) = "
            f"{self.memory / self.node / self.share:.1f}, so {self.masters}, and as many replicas",
            f"a master    {self.files:,} / {self.masters} = {each / 1e6:,.1f} million files, in "
            f"{self.partitions / self.masters:.0f} of {self.partitions:,} partitions of "
            f"{self.files / self.partitions:,.0f} files",
            f"look-ups    {self.masters} x 1,000,000 µs / {self.redis_cpu:.1f} µs = {self.lookups:,.0f}/s "
            "at most, nothing being cached",
            f"workers     {self.lookups:,.0f}/s x {self.cpu:.0f} µs / 1,000,000 µs = {self.workers:,.0f} cores "
            "to ask for so many",
            f"audit       {self.files:,} x {self.copies} copies / {self.audit_every:g} days = "
            f"{self.audit_rate:,.0f} copies/s ([audit] rate is 200 unless set)",
        ]
