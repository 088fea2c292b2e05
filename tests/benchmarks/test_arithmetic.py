"""Paths, cores, and a store on paper."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import paths
from benchmarks.paper import GIB, Paper
from benchmarks.pinning import assigned
from benchmarks.scale import Size, sizes, table
from dragonbelly.web.paths import parse_name


class TestPaths:
    @pytest.mark.parametrize("n", [0, 999, 1000, 9_999_999])
    def test_they_have_the_length_that_memory_is_measured_with(self, n: int) -> None:
        assert len(f"{paths.DOMAIN}/{paths.name(n)}") == 55
        assert parse_name(f"/{paths.name(n)}".encode()) == paths.name(n)

    @given(st.integers(1, 5000))
    def test_a_walk_meets_each_once(self, size: int) -> None:
        step = paths.step(size)
        assert {step * n % size for n in range(size)} == set(range(size))

    def test_and_goes_far(self) -> None:
        assert 100_000 < paths.step(200_000) < 150_000


class TestCores:
    def test_one_is_for_all(self) -> None:
        cores = assigned(frozenset({3}))
        assert cores.server == cores.load == cores.rest == {3}
        assert "nothing is pinned" in str(cores)

    def test_of_two_the_server_has_one(self) -> None:
        cores = assigned(frozenset({0, 1}))
        assert (cores.server, cores.load, cores.rest) == ({0}, {1}, {1})
        assert str(cores) == "the server measured on CPU 0; load, Redis and storage servers on CPU 1"

    def test_of_more_the_rest_has_its_own(self) -> None:
        cores = assigned(frozenset({2, 4, 6, 8}))
        assert (cores.server, cores.load, cores.rest) == ({2}, {4}, {6, 8})
        assert "CPU 6,8" in str(cores)


class TestPaper:
    def test_a_thousand_million_files(self) -> None:
        paper = Paper(10**9, bytes_a_file=440, redis_cpu=10, cpu=50)
        assert paper.memory == 440e9
        # 64 GiB x 0.6 = 41.2 GB, and 440 / 41.2 = 10.7
        assert paper.masters == 11
        assert paper.lookups == 1_100_000
        assert paper.workers == 55
        assert paper.audit_rate == pytest.approx(3e9 / 2_592_000)
        text = "\n".join(paper.lines())
        for said in ("440 GB", "= 10.7, so 11", "1,100,000/s", "= 55 ", "1,157 copies/s"):
            assert said in text

    def test_what_fits_takes_one(self) -> None:
        assert Paper(1000, bytes_a_file=440, redis_cpu=10, cpu=1, node=GIB).masters == 1


class TestScale:
    def test_sizes_grow_tenfold_and_end_where_they_are_to(self) -> None:
        assert sizes(2_000_000) == [10_000, 100_000, 1_000_000, 2_000_000]
        assert sizes(10_000) == [10_000]
        assert sizes(500) == [500]

    def test_the_table_is_one_of_rest(self) -> None:
        size = Size(10_000, 1.0, 440.4, 20_000.0, 40_000.0, 50.0, 9.96, 0.5, 1.25, 60.0)
        lines = table([size, size]).splitlines()
        assert lines[0] == lines[2] == lines[-1]
        assert set(lines[0]) == {"=", " "}
        assert lines[3].split() == ["10,000", "440", "20,000", "50", "10.0", "0.50", "1.25", "40,000"]
