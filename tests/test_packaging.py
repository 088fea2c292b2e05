"""What an installation consists of."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import entry_points, requires
from pathlib import Path

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
