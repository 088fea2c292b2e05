"""Who may import whom: the shape of the system, kept by a test."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dragonbelly

ROOT = Path(dragonbelly.__file__).parent

#: Rules over values: no I/O, no clock, no reactor.
PURE = (
    "dragonbelly.model",
    "dragonbelly.ids",
    "dragonbelly.keys",
    "dragonbelly.names",
    "dragonbelly.events",
    "dragonbelly.lifecycle",
    "dragonbelly.replication.plan",
    "dragonbelly.replication.backoff",
    "dragonbelly.cluster.choose",
    "dragonbelly.policies.copies",
    "dragonbelly.policies.rules",
    "dragonbelly.state.accounts",
    "dragonbelly.contrib.redirects",
    "dragonbelly.contrib.wsgi",
    "dragonbelly.contrib.asgi",
    "dragonbelly.web.explain",
    "dragonbelly.cors",
    "dragonbelly.signing",
    "dragonbelly.tokens",
    "dragonbelly.client.signer",
    "dragonbelly.web.callers",
    "dragonbelly.web.guard",
    "dragonbelly.web.addresses",
    "dragonbelly.web.connections",
    "dragonbelly.web.throttle",
)

#: Layers, upper ones first; a module imports from its own layer or from one below.
LAYERS = (
    (
        "embedded",
        "service",
        "listening",
        "workers",
        "daemon",
        "serving",
        "sockets",
        "private_redis",
        "private_node",
        "data_directory",
        "reach",
        "child",
        "cli",
        "client",
        "contrib",
    ),
    ("web", "node"),
    ("replication.audit",),
    ("replication.strays",),
    ("replication.replicator", "replication.sweep", "replication.compare"),
    ("replication.verify", "replication.replicas", "replication.adoption", "ledger"),
    ("cluster", "state.redis", "state.memory", "state.cache", "replication", "backends"),
    ("config", "policies", "plugins"),
)

#: Libraries that are an affair of a few modules.
PRIVATE = {
    "txredisapi": ("state",),
    "treq": ("client",),
    "django": ("contrib.django",),
}

#: What the global reactor may be imported by: the composition roots, and the tests' own.
REACTOR = {
    "dragonbelly.service",
    "dragonbelly.node.service",
    "dragonbelly.workers.__main__",
    "dragonbelly.testing.reactor",
    "dragonbelly.cli.check",
    "dragonbelly.client.twisted",
}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(name: str) -> int | None:
    short = name.removeprefix("dragonbelly.")
    for n, names in enumerate(LAYERS):
        if any(short == one or short.startswith(one + ".") for one in names):
            return n
    return None


def test_imports_point_one_way() -> None:
    wrong = []
    for name, path in modules():
        mine = layer(name)
        for imported in imports(path):
            theirs = layer(imported) if imported.startswith("dragonbelly.") else None
            if mine is not None and theirs is not None and theirs < mine and name not in imported:
                wrong.append(f"{name} imports {imported}")
    # The node and its backend share what they say to each other.
    assert [w for w in wrong if not w.startswith("dragonbelly.backends.node imports dragonbelly.node.")] == []


def test_libraries_stay_where_they_belong() -> None:
    for name, path in modules():
        for imported in imports(path):
            library = imported.partition(".")[0]
            homes = PRIVATE.get(library)
            if homes is not None:
                assert any(name.startswith(f"dragonbelly.{home}") for home in homes), (
                    f"{name} imports {library}"
                )


def test_only_composition_roots_import_the_reactor() -> None:
    found = {name for name, path in modules() if "twisted.internet.reactor" in set(imports(path))}
    assert found <= REACTOR


def narrows(test: ast.expr) -> bool:
    """Whether all that an assert says is which type something has."""
    match test:
        case ast.BoolOp(op=ast.And(), values=values):
            return all(map(narrows, values))
        case ast.Compare(ops=[ast.IsNot()], comparators=[ast.Constant(value=None)]):
            return True
        case ast.Call(func=ast.Name(id="isinstance")):
            return True
    return False


def test_an_assert_guards_nothing() -> None:
    """``python -O`` leaves them out.  What is for tests, as the contract suites are, asserts what it likes."""
    guards = [
        f"{path.relative_to(ROOT.parent)}:{node.lineno}: {ast.unparse(node)}"
        for name, path in modules()
        if not name.startswith("dragonbelly.testing")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert) and not narrows(node.test)
    ]
    assert guards == []


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_install_no_reactor(module: str) -> None:
    check = f"import sys, {module}; sys.exit('twisted.internet.reactor' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], timeout=60, check=False).returncode == 0


def test_middlewares_need_no_framework() -> None:
    """They run in other people's processes: neither our own machinery nor anybody else's comes along."""
    heavy = {"twisted", "treq", "txredisapi", "zope", "httpx", "click", "flask", "starlette", "django"}
    check = "import sys, dragonbelly.contrib.wsgi, dragonbelly.contrib.asgi; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", check], timeout=60, check=True, stdout=subprocess.PIPE)
    assert heavy & set(loaded.stdout.decode().split()) == set()
