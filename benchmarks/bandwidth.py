"""
Whether ``[replication] bandwidth`` holds: for one large file, and for many small ones.

Run: ``python -m benchmarks.bandwidth``.  How fast the copies were, as a part of what they may be: 1.00 is best,
and less where the machine does not get there.
"""

from __future__ import annotations

from typing import NamedTuple

from benchmarks import large_file, small_files

#: What is set, in MB/s; the copies take some ten seconds each.
LARGE, SMALL = 50, 1


class Held(NamedTuple):
    """Rates by limits."""

    large: float
    small: float


def measure() -> Held:
    [large] = large_file.measure(512, files=1, rounds=1, bandwidth=f"{LARGE}MB")
    files, size = 2500, 4096
    small = small_files.measure(files, size, bandwidth=f"{SMALL}MB").replicated
    return Held(large.ours.rate / LARGE, files * size / small.seconds / 1e6 / SMALL)


def main() -> None:
    held = measure()
    print(f"limited to {LARGE} MB/s: one large file at {held.large:.3f} of that")
    print(f"limited to {SMALL} MB/s: many small files at {held.small:.3f} of that")


if __name__ == "__main__":
    main()
