"""
What a path may be, by what was begun and what was acknowledged of it.

Several clients work on one path at a time, so this goes by the intervals between a call and its answer, in
monotonic seconds, and never by an order that nobody promised.  What is promised: the order is that in which
uploads were accepted; what was acknowledged is what every later reader sees, or something newer; a delete ends
every version accepted before it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from math import inf

#: What can be wrong with an answer, and of which figure of the summary it is.
WRONG_BYTES, LOST = "wrong bytes", "lost"


@dataclass
class Upload:
    """
    ``accepted`` is when its redirect was there (inf: never), ``sent`` whether all its bytes may have reached a
    server.  ``seen`` is when it was first known to have become the file: acknowledged, or read.  ``why_never``
    says why it may never be read, of one that a storage server or the daemon has to refuse.
    """

    op: int
    path: str
    begun: float
    accepted: float = inf
    sent: bool = False
    acknowledged: float | None = None
    seen: float = inf
    why_never: str = ""
    version: str = ""


@dataclass
class Delete:
    """``ended`` is inf while nobody knows whether it happened, and when."""

    op: int
    path: str
    begun: float
    ended: float = inf
    acknowledged: bool = False


@dataclass
class Fault:
    """
    An answer that must not be: ``kind`` is one of the figures.  ``since`` is when an answer that had been right
    was known to be out of date, -inf of any other.
    """

    kind: str
    what: str
    since: float = -inf


@dataclass
class _Path:
    uploads: dict[int, Upload] = field(default_factory=dict)
    deletes: list[Delete] = field(default_factory=list)
    #: Reads that found no file: from, until.
    absent: list[tuple[float, float]] = field(default_factory=list)


class History:
    """Used from all threads."""

    def __init__(self) -> None:
        self._paths: dict[str, _Path] = {}
        self._lock = threading.RLock()

    @property
    def paths(self) -> list[str]:
        with self._lock:
            return sorted(self._paths)

    def upload(self, upload: Upload) -> None:
        with self._lock:
            self._of(upload.path).uploads[upload.op] = upload

    def delete(self, delete: Delete) -> None:
        with self._lock:
            self._of(delete.path).deletes.append(delete)

    def refused(self, delete: Delete) -> None:
        """It was answered that there is nothing to delete: it changed nothing."""
        with self._lock:
            self._of(delete.path).deletes.remove(delete)

    def find(self, path: str, op: int) -> Upload | None:
        with self._lock:
            return self._of(path).uploads.get(op)

    def read(self, path: str, op: int | None, began: float, ended: float, current: bool = True) -> Fault | None:
        """
        What is wrong with an answer that came between ``began`` and ``ended``: the content of ``op``, or (None)
        that there is no file.  What was read has been the file: from then on it counts as known, unless the
        answer may have been out of date (not ``current``).
        """
        with self._lock:
            fault = self._judge(path, op, began, ended)
            if fault is None and current:
                if op is None:
                    self._of(path).absent.append((began, ended))
                else:
                    upload = self._of(path).uploads[op]
                    upload.seen = min(upload.seen, ended)
            return fault

    def _judge(self, path: str, op: int | None, began: float, ended: float) -> Fault | None:
        if op is None:
            return self._judge_absence(path, began, ended)
        history = self._of(path)
        upload = history.uploads.get(op)
        if upload is None:
            return Fault(WRONG_BYTES, f"upload {op} is none of this path")
        if upload.why_never:
            return Fault(WRONG_BYTES, f"upload {op} must never be read: {upload.why_never}")
        if not upload.sent:
            return Fault(WRONG_BYTES, f"upload {op} was never sent whole")
        known = [
            *(
                Fault(WRONG_BYTES, f"upload {op} is older than {other.op}, which had been seen", other.seen)
                for other in history.uploads.values()
                if other.begun > upload.accepted
            ),
            *(
                Fault(WRONG_BYTES, f"upload {op} had been deleted by {delete.op}", delete.ended)
                for delete in history.deletes
                if delete.acknowledged and delete.begun > upload.accepted
            ),
            *(
                Fault(WRONG_BYTES, f"upload {op} had been gone", until)
                for since, until in history.absent
                if upload.seen < since
            ),
        ]
        out_of_date = [fault for fault in known if fault.since < began]
        return min(out_of_date, key=lambda fault: fault.since, default=None)

    def _judge_absence(self, path: str, began: float, ended: float) -> Fault | None:
        history = self._of(path)
        for upload in history.uploads.values():
            if upload.seen >= began:
                continue
            # A delete ends what was accepted before it, and may take effect until it is answered.
            if not any(d.begun < ended and d.ended > upload.begun for d in history.deletes):
                return Fault(LOST, f"no file, though upload {upload.op} had been seen and nobody deleted it")
        return None

    def _of(self, path: str) -> _Path:
        return self._paths.setdefault(path, _Path())
