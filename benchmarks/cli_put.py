"""
A directory of many small files with ``dragonbelly put``, into the embedded mode.

Run: ``python -m benchmarks.cli_put [--files 5000] [--size 4096] [--jobs 16]``.  The daemon, its three nodes
and Redis are those of ``twistd dragonbelly``.  The reference are bare PUTs to one of the nodes.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.figure import Figure, Reference, Row
from benchmarks.settings import Settings
from dragonbelly.cli.wire import UploadWire
from dragonbelly.client import Client
from dragonbelly.client.blocking import run
from dragonbelly.client.wire import Request
from dragonbelly.node.signature import sign
from dragonbelly.secret import read_secret
from tests.servers.daemon import Daemon

COMMAND = Path(sys.executable).with_name("dragonbelly")


class Measured:
    """Seconds that pass inside ``with``, and those of CPU, of us and of each part of the embedded mode."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon.psutil()
        children = self._daemon.children(recursive=True)
        self._nodes = [child for child in children if "dragonbelly-node" in child.cmdline()]
        self._redis = [child for child in children if child not in self._nodes]

    def _now(self) -> dict[str, float]:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        groups = {"daemon": [self._daemon], "nodes": self._nodes, "Redis": self._redis}
        return {
            "wall": time.monotonic(),
            "client": sum(one.ru_utime + one.ru_stime for one in used),
            **{
                name: sum(t.user + t.system for t in (process.cpu_times() for process in processes))
                for name, processes in groups.items()
            },
        }

    def __enter__(self) -> Measured:
        self._before = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = {name: after - self._before[name] for name, after in self._now().items()}

    def each(self, files: int) -> str:
        """What a file cost, in words."""
        cpu = {name: seconds for name, seconds in self.seconds.items() if name != "wall"}
        return "ms of CPU each: " + ", ".join(
            f"{name} {1000 * seconds / files:.2f}" for name, seconds in cpu.items()
        )


def bare(daemon: Daemon, data: Path, files: int, body: bytes, jobs: int) -> None:
    """Nothing but PUTs to a node."""
    with Client(daemon.url) as client:
        replica = client.put("which-node", b"").replicas[0]
    place = urlsplit(replica.url or "")
    secret = read_secret(data / f"{replica.backend}.secret")
    wire = UploadWire(threading.Event())
    until = int(time.time()) + 3600

    async def chunks() -> AsyncIterator[bytes]:
        yield body

    def work(mine: range) -> None:
        for n in mine:
            key = f"bench-bare/{n}"
            url = f"http://{place.netloc}/{key}?{sign(secret, 'PUT', key, until)}"
            answer = run(wire.send(Request("PUT", url), chunks(), len(body)))
            assert answer.status == 201, answer

    workers = [threading.Thread(target=work, args=(range(n, files, jobs),)) for n in range(jobs)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    run(wire.close())


def figures(settings: Settings) -> Row:
    files, size, jobs = settings.cli_files, settings.cli_size, settings.cli_jobs
    with tempfile.TemporaryDirectory() as directory:
        source, data = Path(directory) / "source", Path(directory) / "data"
        for n in range(files):
            file = source / f"{n % 100:02}/{n}.bin"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(os.urandom(size))
        daemon = Daemon(arguments=[])
        daemon.arguments = ["--data", str(data), "--listen", f"tcp:{daemon.public}"]
        daemon.arguments += ["--admin", f"tcp:{daemon.admin_port}"]
        with daemon:
            with Measured(daemon) as measured:
                bare(daemon, data, files, os.urandom(size), jobs)
            reference = Reference("bare PUTs to a node", files / measured.seconds["wall"])
            for name, more in (("dragonbelly put", []), ("dragonbelly put --copies 1", ["--copies", "1"])):
                command: list[str | Path] = [COMMAND, "put", "-q", "--jobs", str(jobs), *more]
                with Measured(daemon) as measured:
                    subprocess.run(
                        [*command, source, f"bench/{len(more)}"],
                        env={**os.environ, "DRAGONBELLY_URL": daemon.url},
                        check=True,
                    )
                with Measured(daemon) as waiting:
                    while daemon.status()["thin"]["files"]:
                        time.sleep(0.1)
                then = f"{waiting.seconds['wall']:.1f} s more until all have their copies"
                yield Figure(
                    "cli",
                    f"{name}: {files:,} files of {size:,} bytes, no configuration",
                    files / measured.seconds["wall"],
                    "files/s",
                    reference=reference,
                    note=f"{measured.each(files)}; {then}",
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--files", type=int, default=5_000)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--jobs", type=int, default=16)
    arguments = parser.parse_args()
    settings = Settings(cli_files=arguments.files, cli_size=arguments.size, cli_jobs=arguments.jobs)
    for figure in figures(settings):
        print(figure, flush=True)


if __name__ == "__main__":
    main()
