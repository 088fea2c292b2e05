"""The example of a third party's plugin: installed as a package of its own, found, and held to the contract."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "tests" / "example_plugin"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project, built to ``installed`` as its setup.py says."""
    project = tmp_path_factory.mktemp("example") / "project"
    shutil.copytree(
        EXAMPLE, project, ignore=shutil.ignore_patterns("conftest.py", "__pycache__", "dropin.cache")
    )
    run(project, "setup.py", "--quiet", "build", "--build-lib", str(project / "installed"))
    for left in ("example_directory", "twisted"):
        shutil.rmtree(project / left)
    return project


def run(project, *arguments):
    """Python with what is installed there, and with us."""
    path = os.pathsep.join([str(project / "installed"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_it_is_found(project):
    code = """if True:
        from twisted.plugin import getPlugins
        from dragonbelly.interfaces import IBackendFactory
        print(sorted(factory.kind for factory in getPlugins(IBackendFactory)))
    """
    assert run(project, "-c", code) == "['dav', 'directory', 'node']\n"


def test_it_can_be_configured(project):
    (project / "site.toml").write_text(
        '[backend.here]\nkind = "directory"\npath = "/srv/files"\nurl = "http://files.example.com"\n'
        'secret = "hush"\n'
    )
    code = "from dragonbelly.cli import main; raise SystemExit(main(['check', 'site.toml']))"
    assert "backend  here: directory on host here, zone default, weight 1\n" in run(project, "-c", code)


@pytest.mark.servers
def test_it_keeps_to_the_contract(project):
    said = run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "tests")
    assert " passed" in said
    assert "skipped" not in said
