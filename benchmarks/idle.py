"""What a daemon costs that has nothing to do: ``python -m benchmarks.idle [--seconds 30]``."""

from __future__ import annotations

import argparse
import time

from benchmarks.figure import Figure, Row
from benchmarks.settings import Settings
from tests.servers.daemon import Daemon
from tests.servers.nginx import NginxServer
from tests.servers.redis import RedisServer

#: The intervals of a daemon that is not under test.
PLAIN = '[replication]\nevery = "1s"\n[delete]\ngrace = "15m"\n[health]\nevery = "2s"\ntimeout = "1.5s"\n'


def figures(settings: Settings) -> Row:
    seconds = settings.idle
    with (
        RedisServer() as redis,
        NginxServer() as one,
        NginxServer() as two,
        NginxServer() as three,
        Daemon(redis.url, {"one": one, "two": two, "three": three}, PLAIN) as daemon,
    ):
        process = daemon.psutil()
        time.sleep(3)
        before = process.cpu_times()
        time.sleep(seconds)
        after = process.cpu_times()
        cpu = after.user + after.system - before.user - before.system
        yield Figure(
            "idle",
            "an idle daemon with three backends",
            100 * cpu / seconds,
            "% of a core",
            note=f"over {seconds:g} s; RSS {process.memory_info().rss / 2**20:.0f} MiB",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    for figure in figures(Settings(idle=parser.parse_args().seconds)):
        print(figure)


if __name__ == "__main__":
    main()
