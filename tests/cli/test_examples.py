"""The commands of the README that are there to be pasted."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

from tests.cli.conftest import COMMAND, Command
from tests.integration.site import Site

pytestmark = pytest.mark.servers

ROOT = Path(__file__).parent.parent.parent


def commands() -> str:
    section = (ROOT / "README.rst").read_text().split("\nThe command line\n=", 1)[1]
    lines = section.split("\n::\n\n", 1)[1].splitlines()
    return dedent("\n".join(lines[: lines.index("")]))


def test_the_commands_of_the_readme(site: Site, command: Command) -> None:
    pasted = commands()
    assert len(pasted.splitlines()) > 8
    (command.directory / "photo.jpg").write_bytes(b"picture")
    (command.directory / "photos").mkdir()
    (command.directory / "photos/x.jpg").write_bytes(b"x")
    before, last = pasted.rsplit("\n", 1)
    for program in (before, last):
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", program],
            cwd=command.directory,
            env={**command.environment, "PATH": f"{COMMAND.parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if program is before:
            assert (command.directory / "copy.jpg").read_bytes() == b"picture"
            assert site.get("a/photos/x.jpg") == b"x"
            assert site.file("a/photo.jpg")["attributes"] == {}
            assert site.get("a/now.txt").endswith(b"\n")
            assert "a/photos/\n" in done.stdout and "a/photo.jpg in the domain" in done.stdout
    assert site.file("a/photo.jpg") is None
    assert site.file("a/photos/x.jpg") is None


def test_every_command_and_option_is_documented() -> None:
    """The first column of the tables of docs/cli.rst has all commands."""
    from dragonbelly.cli.commands import commands as group

    text = (ROOT / "docs/cli.rst").read_text()
    for name in group.commands:
        assert f"\n``{name}" in text, name
