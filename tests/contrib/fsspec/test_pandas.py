"""Tables by pandas and pyarrow, and the code of the README."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas
import pyarrow.dataset
import pyarrow.parquet
import pytest

from dragonbelly.contrib.fsspec import DragonbellyFileSystem
from tests.client.test_examples import ROOT, block
from tests.integration.site import Site

pytestmark = pytest.mark.servers

FRAME = pandas.DataFrame({"n": range(100_000), "text": [f"ä {n % 100}" for n in range(100_000)]})


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_csv(options: dict[str, Any], fs: Any, name: str, ending: str) -> None:
    url = f"dragonbelly://{name}/table.{ending}"
    FRAME.to_csv(url, index=False, storage_options=options)
    assert fs.cat_file(f"{name}/table.{ending}", end=2) == (b"n," if ending == "csv" else b"\x1f\x8b")
    pandas.testing.assert_frame_equal(pandas.read_csv(url, storage_options=options), FRAME)


def test_parquet(options: dict[str, Any], name: str) -> None:
    url = f"dragonbelly://{name}/table.parquet"
    FRAME.to_parquet(url, storage_options=options)
    pandas.testing.assert_frame_equal(pandas.read_parquet(url, storage_options=options), FRAME)
    column = pandas.read_parquet(url, columns=["n"], filters=[("n", ">=", 99_000)], storage_options=options)
    assert list(column["n"]) == list(range(99_000, 100_000))


def test_a_dataset_of_many_files(fs: Any, name: str) -> None:
    table = pyarrow.Table.from_pandas(FRAME.assign(part=FRAME["n"] % 3))
    pyarrow.dataset.write_dataset(
        table, name, filesystem=fs, format="parquet", partitioning=["part"], partitioning_flavor="hive"
    )
    assert len(fs.find(name)) == 3
    read = pyarrow.dataset.dataset(name, filesystem=fs, partitioning="hive").to_table()
    assert sorted(read["n"].to_pylist()) == list(range(100_000))


def test_the_code_of_the_readme(site: Site, fs: DragonbellyFileSystem, tmp_path: Path) -> None:
    code = block("fsspec and pandas")
    assert (ROOT / "examples/fsspec/tables.py").read_text() == code
    assert "http://127.0.0.1:8080" in code
    done = subprocess.run(
        [sys.executable, "-c", code.replace("http://127.0.0.1:8080", site.daemon.url)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Bonn" in done.stdout
    assert "b'Ulm,129000\\n'" in done.stdout
    assert fs.find("tables") == ["tables/cities.csv", "tables/cities.parquet"]
