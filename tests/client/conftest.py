"""A site, and a client of each kind."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.client.kinds import KINDS, Kind
from tests.integration.site import Site

EXTRA = """
[upload]
lapse = "60s"
[replication]
every = "100ms"
"""


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    with Site(EXTRA) as site:
        yield site


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> type[Kind]:
    return KINDS[request.param]  # type: ignore[return-value]


@pytest.fixture
def client(site: Site, kind: type[Kind]) -> Iterator[Kind]:
    client = kind(site.daemon.url)  # type: ignore[call-arg]
    yield client
    client.close()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A directory for the paths of one test."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name).strip("-")
