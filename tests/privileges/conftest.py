"""
What only root can do.  Where the tests are somebody else's, each of these is run as root, with ``sudo`` or in a
user namespace of its own; where neither can be had it fails, and says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.privileges.installation import ROOT, Installed

#: Ways to be root; the first that works.  A namespace has a network of its own, with the loopback down.
WAYS = (
    ("sudo", "--non-interactive"),
    (
        *("unshare", "--user", "--map-root-user", "--map-auto", "--net"),
        *("sh", "-c", 'ip link set lo up && exec "$@"', "sh"),
    ),
)


def as_root() -> tuple[str, ...]:
    """What to put before a command."""
    for way in WAYS:
        try:
            subprocess.run([*way, "true"], check=True, capture_output=True, timeout=30)
        except (OSError, subprocess.CalledProcessError):
            continue
        return way
    pytest.fail(
        "only root can become somebody else: run the tests as root, or have a sudo that asks for no password, "
        "or uidmap and iproute2 with users of yours in /etc/subuid"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Function) -> None:
    if os.geteuid() != 0:
        item.fixturenames.clear()  # root makes them


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if os.geteuid() == 0:
        return None
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "0", pyfuncitem.nodeid]
    ended = subprocess.run(
        [*as_root(), *command], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return True


@pytest.fixture(scope="session")
def installed() -> Iterator[Installed]:
    # Not in pytest's own temporary directory, where no other user may look.
    directory = Path(tempfile.mkdtemp(prefix="installed-"))
    directory.chmod(0o755)
    yield Installed(directory)
    shutil.rmtree(directory)
