"""Copies of the product with one guard taken out: what the chaos finds in them says what it is worth."""

from __future__ import annotations

import shutil
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "dragonbelly"

#: By name: the file, what is written there, and what is written instead.
GUARDS = {
    "size of uploads": (
        "replication/verify.py",
        "return stat.size <= self._max_size if upload.size is None else stat.size == upload.size",
        "return True",
    ),
    "digest of uploads": (
        "replication/verify.py",
        "if not md5_fits or upload.sha256 not in (None, sha256):",
        "if False:",
    ),
    "compare-and-swap": (
        "state/scripts/commit.lua",
        "if current ~= ARGV[1] then",
        "if false then",
    ),
    "a delete ends uploads": (
        "lifecycle.py",
        "_abandon(version, DELETED, now)",
        "version",
    ),
    "order of acceptance": (
        "lifecycle.py",
        "if any(v.state is V.LIVE for v in record.versions[:at]):",
        "if False:",
    ),
    "grace": (
        "replication/plan.py",
        "_plan_end(draft, version, cluster, version.since + grace)",
        "_plan_end(draft, version, cluster, version.since)",
    ),
    "what is placed is removed": (
        "replication/plan.py",
        "elif end is not None:\n            _plan_removal(draft, version, replica, cluster, end)",
        "elif end is not None:\n            draft.moves.append("
        "Removed(draft.now, version.id, replica.backend, replica.generation))",
    ),
    "a redirect without looking": (
        "cluster/choose.py",
        "if backend.serves:",
        "if True:",
    ),
}


def without(guard: str, directory: Path) -> Path:
    """A copy of the product without this guard, in ``directory``: for PYTHONPATH."""
    file, there, instead = GUARDS[guard]
    shutil.copytree(PACKAGE, directory / "dragonbelly", ignore=shutil.ignore_patterns("__pycache__"))
    broken = directory / "dragonbelly" / file
    text = broken.read_text()
    assert text.count(there) == 1, f"{there!r} is {text.count(there)} times in {file}, not once"
    broken.write_text(text.replace(there, instead))
    return directory
