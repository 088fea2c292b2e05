"""The code of the README that is there to be pasted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.integration.site import Site

pytestmark = pytest.mark.servers

ROOT = Path(__file__).parent.parent.parent


def block(title: str) -> str:
    """The first block of code below a title of the README."""
    section = (ROOT / "README.rst").read_text().split(f"\n{title}\n=", 1)[1]
    lines = section.split(".. code-block:: python\n", 1)[1].splitlines()[1:]
    end = next(n for n, line in enumerate(lines) if line and not line.startswith(" "))
    return dedent("\n".join(lines[:end])).strip() + "\n"


def test_from_python(site: Site, tmp_path: Path) -> None:
    code = block("From Python")
    assert "http://127.0.0.1:8080" in code
    (tmp_path / "photo.jpg").write_bytes(b"picture" * 1000)
    program = code.replace("http://127.0.0.1:8080", site.daemon.url)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "copy.jpg").read_bytes() == b"picture" * 1000
    assert "a/note.txt" in done.stdout


def test_the_examples_are_those_of_the_readme() -> None:
    assert (ROOT / "examples/client/files.py").read_text() == block("From Python")
