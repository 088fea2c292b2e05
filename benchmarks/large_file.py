"""
One large file copied from one nginx to another: rate, and what it costs the daemon in memory.

Run: ``python -m benchmarks.large_file [--size 1024]`` (MiB).  The copy begins when the file is asked to have
two copies, and ends when the second one was verified.  ``cp`` of the same file, hashed, is the yardstick.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import time
from pathlib import Path

from tests.servers.daemon import Daemon
from tests.servers.nginx import NginxServer
from tests.servers.redis import RedisServer

ONE_COPY = "[policy.default]\ncopies = 1\n"


def hashed_copy(source: Path, target: Path) -> float:
    """Seconds that a plain copy with SHA-256 takes, in one process: read, hash, write."""
    started = time.monotonic()
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while piece := reader.read(1 << 20):
            digest.update(piece)
            writer.write(piece)
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--size", type=int, default=1024, help="MiB")
    mib = parser.parse_args().size
    with RedisServer() as redis, NginxServer() as one, NginxServer() as two:
        source = one.directory / "source"
        with source.open("wb") as file:
            for n in range(mib):
                file.write(hashlib.sha256(b"%d" % n).digest() * (1 << 15))
        plain = hashed_copy(source, one.directory / "copy")
        with Daemon(redis.url, {"one": one, "two": two}, ONE_COPY) as daemon:
            subprocess.run(["curl", "-sfLT", source, f"{daemon.url}/large.bin"], check=True)
            process = daemon.psutil()
            assert daemon.file("large.bin")["copies"]["held"] == 1
            time.sleep(2)
            before = largest = process.memory_info().rss
            began = process.cpu_times()
            started = time.monotonic()
            daemon.send_json("PATCH", "/-/api/v1/files/large.bin", {"copies": 2})
            while daemon.file("large.bin")["copies"]["held"] < 2:
                largest = max(largest, process.memory_info().rss)
                time.sleep(0.05)
            seconds = time.monotonic() - started
            spent = process.cpu_times()
            cpu = spent.user + spent.system - began.user - began.system
    print(
        f"copied: {mib} MiB in {seconds:.2f} s, {mib * 1.048576 / seconds:.0f} MB/s, "
        f"{plain / seconds:.2f} of a plain hashed copy in the same run; the daemon spent {cpu:.2f} s of CPU, "
        f"{mib * 1.048576 / cpu:.0f} MB/s of a core; "
        f"RSS grew by {(largest - before) / 2**20:.1f} MiB from {before / 2**20:.0f} MiB"
    )


if __name__ == "__main__":
    main()
