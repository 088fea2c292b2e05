"""What the replicator copies: ``small_files`` and ``large_file`` as rows of the report."""

from __future__ import annotations

from statistics import median

from benchmarks import large_file, small_files
from benchmarks.figure import Figure, Must, Reference, Row, Skipped
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
        note=f"every check on; {1000 * found.cpu / found.files:.2f} ms of CPU of the daemon each",
    )


def large(settings: Settings) -> Row:
    called = "copies of files of 256 MiB, SHA-256 checked"
    if not hasattr(large_file, "measure"):
        yield Skipped("copy_large", called, "run python -m benchmarks.large_file")
        return
    found = large_file.measure(rounds=settings.rounds)
    yield Figure.of_runs(
        "copy_large",
        called,
        [each.ours.rate for each in found],
        "MB/s",
        reference=Reference("rclone, no digests", median(each.rclone.rate for each in found)),
        must=Must(">=", 0.7),
        note=f"memory grows by {max(each.memory for each in found) / 2**20:.0f} MiB",
    )
