"""What was measured on: the machine, and the versions of all that took part."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

#: Programs, how they are asked for their version, and what is said before it.
PROGRAMS = {
    "Redis": ("redis-server", "--version", r"v=(\S+)"),
    "nginx": ("nginx", "-v", r"nginx/(\S+)"),
    "wrk": ("wrk", "-v", r"wrk (?:debian/)?(\S+)"),
    "rclone": ("rclone", "version", r"rclone v?(\S+)"),
}

LIBRARIES = ("dragonbelly", "Twisted", "txredisapi", "hiredis", "httptools", "treq", "msgspec")


def machine() -> dict[str, Any]:
    models = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": f"{platform.system()} {platform.release()}",
        "load": [round(each, 2) for each in os.getloadavg()],
    }


def versions() -> dict[str, str]:
    """By name; without those that are not installed."""
    found = {"Python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    for name, (program, option, pattern) in PROGRAMS.items():
        if (text := _said(program, option)) is not None and (match := re.search(pattern, text)):
            found[name] = match[1]
    return found


def _said(program: str, *options: str) -> str | None:
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        return None
    command: Sequence[str] = (path, *options)
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.stdout.decode(errors="replace")
