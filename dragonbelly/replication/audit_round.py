"""One round of the audit: what it is to look at, how far it is, what it found.  Kept in the store's meta."""

from __future__ import annotations

import msgspec

from dragonbelly.model import Record, ReplicaState

#: Findings that a round remembers, the last ones.
FINDINGS = 1000

#: What may be found, besides the words of ``replication.replicas``.
ORPHAN, RECORD = "orphan", "record"

REMOVED = "removed"

#: What a round counts as it goes.
FIGURES = ("records", "replicas", "unknown", "bytes", "damaged", "objects", "foreign")


class Finding(msgspec.Struct, frozen=True):
    """
    Something that was not as it should be: ``path`` is ``<domain>/<name>``, ``version`` the one meant;
    ``outcome`` is what became of it, where nothing more will.
    """

    path: str
    what: str
    at: int
    backend: str | None = None
    version: str | None = None
    outcome: str | None = None


class Round(msgspec.Struct):
    """
    ``prefix`` is the beginning of ``<domain>/<name>`` (empty: everything); ``read`` is whether the bytes are
    read.  Times are unix s; ``total`` is how many records there are about, None if nobody knows; ``read_at`` is
    when the last round that read began.

    Where to go on: ``cursor`` in the records, then the backends that are not in ``walked``.  ``skipped`` are
    backends whose objects could not be walked, ``unknown`` counts the replicas that could not be looked at.
    ``sure`` are the ``FIGURES`` as they were there: what came since is looked at again, and counted again.
    """

    number: int
    started: int
    prefix: str = ""
    read: bool = False
    read_at: int = 0
    ended: int | None = None
    called_off: bool = False
    total: int | None = None
    cursor: str | None = None
    compared: bool = False
    walked: list[str] = []
    skipped: list[str] = []
    records: int = 0
    replicas: int = 0
    unknown: int = 0
    bytes: int = 0
    damaged: int = 0
    objects: int = 0
    foreign: int = 0
    found: int = 0
    findings: list[Finding] = []
    sure: list[int] = []

    def keep(self) -> None:
        """Where to go on is here."""
        self.sure = [getattr(self, name) for name in FIGURES]

    def go_back(self) -> None:
        """To where to go on."""
        for name, figure in zip(FIGURES, self.sure, strict=False):
            setattr(self, name, figure)

    def add(self, finding: Finding) -> bool:
        """Whether it is new: what was looked at shortly before a restart is looked at again."""
        same = (finding.path, finding.what, finding.backend, finding.version)
        if any((f.path, f.what, f.backend, f.version) == same for f in self.findings[-100:]):
            return False
        self.found += 1
        self.findings = [*self.findings[-FINDINGS + 1 :], finding]
        return True

    @property
    def under_way(self) -> bool:
        return self.ended is None

    @property
    def what(self) -> str:
        """What it is of, in words."""
        return self.prefix or "everything"


def outcome(finding: Finding, record: Record | None) -> str:
    """What became of it, by the record as it is now."""
    if finding.outcome is not None:
        return finding.outcome
    live = record.live if record is not None else None
    if record is None or live is None or live.id != finding.version:
        return "gone"  # deleted, or overwritten
    if record.damaged:
        return "damaged"
    doubted = any(r.backend == finding.backend and r.state is ReplicaState.SUSPECT for r in live.replicas)
    return "doubted" if doubted else "thin" if record.thin_since is not None else "repaired"


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Round)


def encode(round: Round) -> str:
    return _encoder.encode(round).decode()


def decode(text: str | None) -> Round | None:
    """None for one that a daemon of another version wrote: it begins again."""
    if not text:
        return None
    try:
        return _decoder.decode(text)
    except msgspec.DecodeError:
        return None


def following(last: Round | None, now: int, every: float, read_every: float) -> Round | None:
    """
    The round that is to begin, None if it is not time yet.  At the very first look nothing has been stored for
    long: it is as if a round had just ended.
    """
    if last is None:
        return Round(0, now, read_at=now, ended=now)
    if last.under_way or every <= 0 or last.started - every <= now < last.started + every:
        return None
    read = read_every > 0 and not last.read_at - read_every <= now < last.read_at + read_every
    return Round(last.number + 1, now, read=read, read_at=now if read else last.read_at)
