"""A site, and a file system on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest

from tests.integration.site import Site

EXTRA = """
[upload]
lapse = "60s"
[delete]
grace = "30s"
"""


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    with Site(EXTRA) as site:
        yield site


@pytest.fixture
def options(site: Site) -> dict[str, Any]:
    return {"server": site.daemon.url}


@pytest.fixture
def fs(options: dict[str, Any]) -> Any:
    return fsspec.filesystem("dragonbelly", **options)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A directory for the paths of one test."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.nodeid.rpartition("::")[2].lower()).strip("-")
