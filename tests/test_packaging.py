"""What an installation consists of."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import distributions, entry_points, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dragonbelly

ROOT = Path(__file__).parents[1]


def test_a_build_has_everything_that_the_service_needs(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(
        ROOT,
        source,
        ignore=shutil.ignore_patterns(".venv", ".git", "*.egg-info", ".*_cache", "dragonbelly-data"),
    )
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build", "--build-lib", str(tmp_path / "built")],
        cwd=source,
        check=True,
        timeout=100,
    )
    built = {str(path.relative_to(tmp_path / "built")) for path in (tmp_path / "built").rglob("*")}
    for script in ("commit", "claim", "settle", "set_meta"):
        assert f"dragonbelly/state/scripts/{script}.lua" in built
    assert "dragonbelly/py.typed" in built
    assert "dragonbelly/contrib/django/static/dragonbelly/direct-upload.js" in built
    assert "dragonbelly/contrib/django/templates/dragonbelly/direct_file.html" in built
    for plugin in ("service", "node", "plugins"):
        assert f"twisted/plugins/dragonbelly_{plugin}.py" in built
    # They would shadow Twisted's own packages.
    assert "twisted/__init__.py" not in built
    assert "twisted/plugins/__init__.py" not in built
    assert not any(path.startswith("tests") for path in built)


def test_metadata() -> None:
    [script] = entry_points(group="console_scripts", name="dragonbelly")
    assert script.value == "dragonbelly.cli:main"
    [filesystem] = entry_points(group="fsspec.specs", name="dragonbelly")
    assert filesystem.value == "dragonbelly.contrib.fsspec:DragonbellyFileSystem"
    base = {line.partition(">=")[0].lower() for line in requires("dragonbelly") or () if "extra" not in line}
    assert base == {
        "twisted[tls]",
        "txredisapi",
        "hiredis",
        "treq",
        "zope.interface",
        "msgspec",
        "httptools",
        "prometheus-client",
        "defusedxml",
    }
    assert dragonbelly.__version__


class Lock:
    """``etc/constraints.txt``: what the tests ran with."""

    def __init__(self) -> None:
        lines = (ROOT / "etc/constraints.txt").read_text().splitlines()
        self.lines = [line for line in lines if not line.startswith("#")]
        pairs = [line.split("==") for line in self.lines]
        self.versions = {canonicalize_name(name): version for name, version in pairs}


Requirements = dict[str, list[Requirement]]


def required(name: str, extras: frozenset[str], seen: Requirements) -> Requirements:
    """What a distribution needs here, and what that needs in turn: the requirements of each by name."""
    for line in requires(name) or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            key = canonicalize_name(requirement.name)
            known = requirement in seen.setdefault(key, [])
            seen[key].append(requirement)
            if not known:
                required(key, frozenset(requirement.extras), seen)
    return seen


def test_the_lock_is_of_exact_versions_and_names_no_registry() -> None:
    lock = Lock()
    assert len(lock.versions) == len(lock.lines) > 50
    for line in lock.lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.+!]*", line), line


def test_the_lock_fits_what_is_required_and_names_all_of_it() -> None:
    lock = Lock()
    needed = required("dragonbelly", frozenset({"test"}), {})
    assert {"twisted", "ruff", "cryptography"} <= needed.keys()
    assert needed.keys() - {"dragonbelly"} <= lock.versions.keys(), "make lock"
    misfits = [
        f"{requirement}, pinned: {lock.versions[name]}"
        for name, requirements in needed.items()
        for requirement in requirements
        if not requirement.specifier.contains(lock.versions[name], prereleases=True)
    ]
    assert misfits == []


def test_the_lock_is_what_the_tests_run_with() -> None:
    lock = Lock()
    installed = {canonicalize_name(found.name): found.version for found in distributions()}
    others = {name: found for name, found in installed.items() if lock.versions.get(name, found) != found}
    assert others == {}, "make .venv/.test installs what etc/constraints.txt says"


def test_the_lock_has_nothing_that_nobody_needs() -> None:
    # Whatever their markers say: what another Python needs may be there.
    lines = [line for found in distributions() for line in found.requires or ()]
    assert Lock().versions.keys() <= {canonicalize_name(Requirement(line).name) for line in lines}
