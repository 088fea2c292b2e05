"""A site for the tests of one module; those that break something make their own."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.integration.site import Site


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """
    Three stores and a daemon; a module's ``EXTRA`` are further lines of its configuration.  Whatever the tests
    did to it: in the end nothing is left to do, and no object is on disk that is not a copy of a live file.
    """
    with Site(getattr(request.module, "EXTRA", "")) as site:
        yield site
        site.settled()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A directory for the paths of one test."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name).strip("-")
