"""
Where things are kept: the partition of a path and the names of the keys in Redis (design, section 3).

Every key of a partition carries the hash tag ``{q}``, so that one script touches one slot of a Cluster.
"""

from __future__ import annotations

import re
import zlib

from dragonbelly.model import Path


def partition(member: str, partitions: int) -> int:
    """The partition of a path's member.  It must never change for a given count: records are found by it."""
    return zlib.crc32(member.encode()) % partitions


class Keys:
    """The names of all keys of one store; ``prefix`` keeps several stores in one database apart."""

    def __init__(self, partitions: int, prefix: str = "db") -> None:
        self.partitions = partitions
        self.prefix = prefix
        self.backends = f"{prefix}:backends"
        self.meta = f"{prefix}:meta"
        #: What all keys of records begin with, and no others.
        self.records = f"{prefix}:f:"
        #: What ``SCAN MATCH`` takes to find every record.
        self.record_pattern = re.sub(r"([*?\[\]\\^])", r"\\\1", self.records) + "{*}:*"
        self._record_key = re.compile(rb"%s\{\d+\}:(.+)" % re.escape(self.records.encode()), re.DOTALL)

    def partition(self, path: Path) -> int:
        return partition(path.member, self.partitions)

    def record(self, path: Path) -> str:
        member = path.member
        return f"{self.records}{{{partition(member, self.partitions)}}}:{member}"

    def ls(self, q: int) -> str:
        return f"{self.prefix}:{{{q}}}:ls"

    def due(self, q: int) -> str:
        return f"{self.prefix}:{{{q}}}:due"

    def thin(self, q: int) -> str:
        return f"{self.prefix}:{{{q}}}:thin"

    def damaged(self, q: int) -> str:
        return f"{self.prefix}:{{{q}}}:damaged"

    def use(self, q: int) -> str:
        return f"{self.prefix}:{{{q}}}:use"

    def member_of(self, key: bytes) -> str | None:
        """What stands in a record's key for its path, None for any other key."""
        match = self._record_key.fullmatch(key)
        try:
            return match[1].decode() if match is not None else None
        except UnicodeDecodeError:
            return None

    def path_of(self, key: bytes) -> Path | None:
        """The path of a record's key, None for any other; in a wrong partition it is not found either."""
        member = self.member_of(key)
        path = Path.of_member(member) if member is not None else None
        return path if path is not None and self.record(path).encode() == key else None
