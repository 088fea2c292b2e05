"""What the replicator copies in a second: ``small_files`` and ``large_file`` as rows of the report."""

from __future__ import annotations

from benchmarks import large_file, small_files
from benchmarks.figure import Figure, Must, Row, Skipped
from benchmarks.settings import Settings


def small(settings: Settings) -> Row:
    called = "copies of 4 KiB, nginx to nginx, 16 at once"
    if not hasattr(small_files, "measure"):
        yield Skipped("copy", called, "run python -m benchmarks.small_files")
        return
    found = small_files.measure(settings.copies).replicated
    yield Figure(
        "copy",
        called,
        found.files / found.seconds,
        "files/s",
        must=Must(">=", 700),
        note=f"one process, every check on; {1000 * found.cpu / found.files:.2f} ms of its CPU each",
    )


def large(settings: Settings) -> Row:
    if not hasattr(large_file, "figures"):
        yield Skipped(
            "copy_large", "copies of large files, SHA-256 checked", "run python -m benchmarks.large_file"
        )
        return
    yield from large_file.figures(settings)
