"""
Large files copied from one nginx to another: by the replicator, with SHA-256, and by rclone, without digests.

Run: ``python -m benchmarks.large_file [--size 256] [--files 6] [--rounds 3]`` (MiB).  Both copy all the files,
in turn, between the same two nginx, each as many at a time as it does by itself (four).  A copy of ours begins
when the files are asked to have two copies, and ends when the last of the second ones was verified; rclone's is
the time of its process.  It reads over HTTP and writes over WebDAV, and compares nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.small_files import wait_for_copies, whole_files
from tests.servers.daemon import Daemon
from tests.servers.nginx import NginxServer
from tests.servers.redis import RedisServer

ONE_COPY = "[policy.default]\ncopies = 1\n"

_FOUND = (
    '\'<?xml version="1.0"?><d:multistatus xmlns:d="DAV:"><d:response><d:href>$uri</d:href><d:propstat>'
    "<d:prop>%s</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>'"
)


def webdav(size: int) -> tuple[str, str]:
    """
    nginx settings for rclone, which asks by PROPFIND whether a file is there: the core module does not answer
    that, so these do, for files of ``size`` bytes.
    """
    file = _FOUND % f"<d:getcontentlength>{size}</d:getcontentlength>"
    directory = _FOUND % "<d:resourcetype><d:collection/></d:resourcetype>"
    return (
        "location /rclone/ { dav_methods PUT; create_full_put_path on;"
        " if ($request_method = MKCOL) { return 201; }"
        ' set $asked "$request_method"; if (-f $request_filename) { set $asked "$asked file"; }'
        ' if ($asked = "PROPFIND") { return 404; }'
        f' if ($asked = "PROPFIND file") {{ return 207 {file}; }} }}',
        f"location = /rclone/ {{ if ($request_method = PROPFIND) {{ return 207 {directory}; }} }}",
    )


class Copies(NamedTuple):
    """``size`` bytes in ``seconds``, for ``cpu`` seconds of the process that copied."""

    size: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """MB/s."""
        return self.size / self.seconds / 1e6

    def __str__(self) -> str:
        return f"{self.rate:.0f} MB/s ({self.size / self.cpu / 1e6:.0f} MB/s of a core)"


class Round(NamedTuple):
    """All files once by each; ``memory`` is by how many bytes the daemon's grew."""

    ours: Copies
    rclone: Copies
    memory: int


def rclone(one: NginxServer, two: NginxServer, names: list[str], size: int) -> Copies:
    """What lies on one server under its own name, to ``/rclone/`` on the other."""
    listed = one.directory / "names"
    listed.write_text("".join(f"{name}\n" for name in names))
    command = [
        "rclone",
        "--config",
        os.devnull,
        "copy",
        "--files-from",
        listed,
        "--no-traverse",
        "--retries",
        "1",
    ]
    command += ["--http-url", f"{one.url}/source/"]
    command += ["--webdav-url", f"{two.url}/rclone/", "--webdav-vendor", "other"]
    warm_memory(two.directory, size * len(names))
    before = os.times()
    started = time.monotonic()
    subprocess.run([*command, ":http:", ":webdav:"], check=True)
    seconds = time.monotonic() - started
    after = os.times()
    for name in names:
        stored = two.root / "rclone" / name
        assert stored.stat().st_size == size, stored
        stored.unlink()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Copies(size * len(names), seconds, cpu)


def warm_memory(directory: Path, size: int) -> None:
    """
    Have as much free memory as is about to be written, and nothing that waits for the disk.  A virtual machine
    gives back what is free for some seconds, and to take it again takes ten times as long as to write to it.
    """
    os.sync()
    piece = b"\1" * (1 << 20)
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(size * 5 // 4 >> 20):
            file.write(piece)


def replicate(
    daemon: Daemon, redis: RedisServer, store: NginxServer, names: list[str], size: int
) -> tuple[Copies, int]:
    """The same by the daemon, and by how many bytes its memory grew."""
    warm_memory(store.directory, size * len(names))
    process = daemon.psutil()
    before = largest = process.memory_info().rss
    began = process.cpu_times()
    started = time.monotonic()
    for name in names:
        daemon.send_json("PATCH", f"/-/api/v1/files/{name}", {"copies": 2})
    while whole_files(redis) < len(names):
        largest = max(largest, process.memory_info().rss)
        time.sleep(0.03)  # the core that looks is one of the two that copy
    seconds = time.monotonic() - started
    spent = process.cpu_times()
    cpu = spent.user + spent.system - began.user - began.system
    assert all(daemon.file(name)["copies"]["held"] == 2 for name in names)
    return Copies(size * len(names), seconds, cpu), largest - before


def _write(file: Path, mib: int, seed: int) -> None:
    with file.open("wb") as writer:
        for n in range(mib):
            writer.write(hashlib.sha256(b"%d %d" % (seed, n)).digest() * (1 << 15))


def measure(mib: int = 256, files: int = 6, rounds: int = 3, bandwidth: str = "0B") -> list[Round]:
    """``files`` of ``mib`` MiB, ``rounds`` times; ``bandwidth`` limits ours."""
    size = mib << 20
    found = []
    names = [f"large-{n}.bin" for n in range(files)]
    settings = f'{ONE_COPY}[replication]\nevery = "50ms"\nbandwidth = "{bandwidth}"\n'
    with NginxServer() as one, NginxServer(*webdav(size)) as two:
        (one.root / "source").mkdir()
        for n, name in enumerate(names):
            _write(one.root / "source" / name, mib, n)
        for _ in range(rounds):
            with RedisServer() as redis, Daemon(redis.url, {"one": one, "two": two}, settings) as daemon:
                for name in names:
                    upload = ["curl", "-sfLT", one.root / "source" / name, f"{daemon.url}/{name}"]
                    subprocess.run(upload, check=True)
                wait_for_copies(redis, len(names))  # the first ones
                ours, memory = replicate(daemon, redis, two, names, size)
            for store in (one, two):
                shutil.rmtree(store.root / "default")
                shutil.rmtree(store.root / ".dragonbelly")  # the next round has another Redis
            found.append(Round(ours, rclone(one, two, names, size), memory))
    return found


def ratio(found: list[Round]) -> float:
    """Our rate by rclone's: the median of the rounds, each of which has seen the same machine for both."""
    return statistics.median(each.ours.rate / each.rclone.rate for each in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--size", type=int, default=256, help="MiB")
    parser.add_argument("--files", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    found = measure(arguments.size, arguments.files, arguments.rounds)
    print(f"{arguments.files} files of {arguments.size} MiB")
    for each in found:
        print(f"replicator: {each.ours}, RSS grew by {each.memory / 2**20:.0f} MiB; rclone: {each.rclone}")
    print(f"{ratio(found):.2f} of rclone")


if __name__ == "__main__":
    main()
