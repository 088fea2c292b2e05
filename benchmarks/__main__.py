"""All figures of the README, one after the other: ``python -m benchmarks``."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

from benchmarks import cli_put, idle, large_file, record_memory, slow_clients, small_files


def main() -> None:
    cpus = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    print(f"{len(cpus)} x {cpus[0] if cpus else platform.processor()}, Python {platform.python_version()}")
    for module in (small_files, cli_put, large_file, idle, slow_clients, record_memory):
        print(f"python -m {module.__name__}", flush=True)
        subprocess.run([sys.executable, "-m", module.__name__], check=True)


if __name__ == "__main__":
    main()
