"""fsspec's own suite, all of it, on a real Dragonbelly."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Any

import pytest
from fsspec.tests import abstract

pytestmark = pytest.mark.servers


class Fixtures(abstract.AbstractFixtures):  # type: ignore[misc]
    @pytest.fixture
    def fs(self, options: dict[str, Any]) -> Any:
        import fsspec

        return fsspec.filesystem("dragonbelly", **options)

    @pytest.fixture
    def fs_path(self, name: str) -> str:
        return name

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return posixpath.join

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False


class TestCopy(abstract.AbstractCopyTests, Fixtures):  # type: ignore[misc]
    pass


class TestGet(abstract.AbstractGetTests, Fixtures):  # type: ignore[misc]
    pass


class TestPut(abstract.AbstractPutTests, Fixtures):  # type: ignore[misc]
    pass


class TestOpen(abstract.AbstractOpenTests, Fixtures):  # type: ignore[misc]
    pass


class TestPipe(abstract.AbstractPipeTests, Fixtures):  # type: ignore[misc]
    pass
