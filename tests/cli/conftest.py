"""The installed command, in front of a site."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.site import Site

COMMAND = Path(sys.executable).with_name("dragonbelly")


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A directory for the paths of one test."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name).strip("-")


class Command:
    """Runs ``dragonbelly``: in an empty directory, with nothing in its environment but the site's addresses."""

    def __init__(self, directory: Path, url: str, admin: str) -> None:
        self.directory = directory
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "DRAGONBELLY_URL": url,
            "DRAGONBELLY_ADMIN_URL": admin,
        }

    def __call__(
        self, *arguments: str | Path, input: bytes | None = b"", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [COMMAND, *arguments],
            cwd=self.directory,
            env={**self.environment, **environment},
            input=input,
            capture_output=True,
            timeout=90,
            check=False,
        )
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def popen(
        self, *arguments: str | Path, program: str | Path = COMMAND, **how: Any
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen([program, *arguments], cwd=self.directory, env=self.environment, **how)


@pytest.fixture
def command(site: Site, tmp_path: Path) -> Command:
    return Command(tmp_path, site.daemon.url, site.daemon.admin)
