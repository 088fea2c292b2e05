"""Files that are open."""

from __future__ import annotations

import gc
import gzip
import io
import os
import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import fsspec
import pytest

from dragonbelly.contrib.fsspec import DragonbellyFileSystem
from tests.client.meddler import Meddler
from tests.integration.site import Site

pytestmark = pytest.mark.servers

BIG = os.urandom(3_000_000)


class Oops(Exception):
    """Goes wrong in the middle."""


# --- reading ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache_type", ["blockcache", "readahead", "bytes", "none", "background", "all"])
def test_reading_from_any_place(fs: Any, name: str, cache_type: str) -> None:
    fs.pipe_file(f"{name}/a", BIG)
    chance = random.Random(3)
    with fs.open(f"{name}/a", "rb", block_size=100_000, cache_type=cache_type) as file:
        assert file.size == len(BIG)
        for _ in range(20):
            place, length = chance.randrange(len(BIG)), chance.choice((1, 1000, 300_000))
            file.seek(place)
            assert file.read(length) == BIG[place : place + length]
        file.seek(-5, io.SEEK_END)
        assert file.read() == BIG[-5:]
        assert file.read(5) == b""
        file.seek(10**9)
        assert (file.read(), file.read(5)) == (b"", b"")


def test_lines(fs: Any, name: str) -> None:
    text = "".join(f"line {n} ä\n" for n in range(1000))
    with fs.open(f"{name}/a", "w", encoding="utf-8", newline="") as file:
        file.write(text)
    with fs.open(f"{name}/a", "r", encoding="utf-8", block_size=1000) as file:
        assert "".join(file) == text
    assert fs.cat_file(f"{name}/a") == text.encode()


def test_only_what_is_read_is_fetched_and_once(fs: Any, name: str) -> None:
    fs.pipe_file(f"{name}/a", BIG)
    fetched = []
    with fs.open(f"{name}/a", "rb", block_size=100_000) as file:
        fetch = file._fetch_range
        file.cache.fetcher = lambda start, end: fetched.append((start, end)) or fetch(start, end)
        file.seek(1_000_010)
        for _ in range(3):
            file.seek(1_000_010)
            assert file.read(10) == BIG[1_000_010:1_000_020]
    assert fetched == [(1_000_000, 1_100_000)]


def test_the_version_that_was_opened(fs: Any, name: str) -> None:
    fs.pipe_file(f"{name}/a", BIG)
    with fs.open(f"{name}/a", "rb", block_size=1000) as file:
        assert file.read(100) == BIG[:100]
        before = file.info()["version"]
        fs.pipe_file(f"{name}/a", b"other" * 1_000_000)
        file.seek(2_000_000)
        assert file.read(100) == BIG[2_000_000:2_000_100]
        assert (file.info()["version"], file.size) == (before, len(BIG))
        assert before != fs.ukey(f"{name}/a")
        pickled = pickle.dumps(file)
    with pytest.raises(OSError, match="it was overwritten"):
        pickle.loads(pickled)
    with fs.open(f"{name}/a", "rb", version=fs.ukey(f"{name}/a")) as file:
        file.seek(7)
        again = pickle.loads(pickle.dumps(file))
    assert again.read(3) == b"her"
    again.close()


def test_threads_read_one_file(fs: Any, name: str) -> None:
    fs.pipe_file(f"{name}/a", BIG)
    with fs.open(f"{name}/a", "rb") as file, ThreadPoolExecutor(8) as pool:
        starts = range(0, len(BIG), 100_000)
        parts = list(pool.map(lambda start: file._fetch_range(start, start + 100_000), starts, timeout=60))
    assert b"".join(parts) == BIG


def test_a_server_that_is_gone_is_left_for_another(site: Site, fs: Any, name: str) -> None:
    fs.pipe_file(f"{name}/a", BIG, copies=2, wait_copies=2)
    with fs.open(f"{name}/a", "rb", block_size=100_000) as file:
        assert file.read(10) == BIG[:10]
        gone = site.stores[site.store_of(file._file.sources[0])]
        gone.stop()
        try:
            assert file.read() == BIG[10:]
            assert len(file._avoid) == 1
        finally:
            gone.start()
            site.eventually(
                "it is back", lambda: all(b["observed"] == "up" for b in site.daemon.status()["backends"])
            )


# --- writing ---------------------------------------------------------------------------------------------


def test_a_file_is_there_when_it_is_closed(fs: Any, name: str) -> None:
    file = fs.open(f"{name}/a", "wb")
    for start in range(0, len(BIG), 1000):
        assert file.write(BIG[start : start + 1000]) == len(BIG[start : start + 1000])
    file.flush()
    assert file.tell() == len(BIG)
    assert not fs.exists(f"{name}/a")
    file.close()
    file.close()
    assert fs.cat_file(f"{name}/a") == BIG
    assert file.file.version == fs.ukey(f"{name}/a")
    with pytest.raises(ValueError):
        file.write(b"more")
    with pytest.raises(ValueError):
        file.flush()


def test_more_than_fits_into_memory(fs: Any, name: str) -> None:
    with fs.open(f"{name}/a", "wb") as file:
        for _ in range(10):
            file.write(memoryview(BIG))
        assert file.buffer._rolled
    assert fs.info(f"{name}/a")["size"] == 10 * len(BIG)
    assert fs.cat_file(f"{name}/a", start=-len(BIG)) == BIG


@pytest.mark.parametrize(
    "how",
    [
        {"mode": "wb"},
        {"mode": "xb"},
        {"mode": "w"},
        {"mode": "x", "compression": "gzip"},
        {"mode": "wb", "compression": "gzip"},
    ],
)
def test_an_exception_calls_it_off(fs: Any, name: str, how: dict[str, Any]) -> None:
    with pytest.raises(Oops), fs.open(f"{name}/a", **how) as file:
        file.write("half" if "b" not in how["mode"] else b"half")
        raise Oops
    assert file.closed
    del file
    assert not fs.exists(f"{name}/a")
    with fs.open(f"{name}/a", **how) as file:
        file.write("whole" if "b" not in how["mode"] else b"whole")
    assert file.closed
    data = fs.cat_file(f"{name}/a")
    assert (gzip.decompress(data) if "compression" in how else data) == b"whole"


@pytest.mark.parametrize("how", [{"mode": "wb"}, {"mode": "w"}, {"mode": "wb", "compression": "gzip"}])
def test_one_that_is_forgotten_is_no_file(fs: Any, name: str, how: dict[str, Any]) -> None:
    with pytest.warns(ResourceWarning, match=f"{name}/a was not closed"):
        fs.open(f"{name}/a", **how).write("half" if "b" not in how["mode"] else b"half")
    assert not fs.exists(f"{name}/a")


def test_compression_by_the_name_and_text(fs: Any, name: str, recwarn: pytest.WarningsRecorder) -> None:
    with fs.open(f"{name}/a.gz", "wt", compression="infer", encoding="utf-8") as file:
        file.write("ä\n")
    assert gzip.decompress(fs.cat_file(f"{name}/a.gz")) == "ä\n".encode()
    with fs.open(f"{name}/a.gz", "rt", compression="infer", encoding="utf-8") as file:
        assert file.read() == "ä\n"
    for wrong in ({"compression": "none such"}, {"encoding": "none such"}):
        with pytest.raises((ValueError, LookupError)):
            fs.open(f"{name}/b", "w", **wrong)
    gc.collect()
    assert [str(w.message) for w in recwarn if "not closed" in str(w.message)] == []
    assert not fs.exists(f"{name}/b")


def test_modes(fs: Any, name: str) -> None:
    for mode in ("ab", "r+b", "a"):
        with pytest.raises(io.UnsupportedOperation):
            fs.open(f"{name}/a", mode)
    for mode in ("wb", "rb"):
        with pytest.raises(TypeError):
            fs.open(f"{name}/a", mode, colour="red").close()


def test_of_two_that_create_a_file_one_wins(fs: Any, name: str) -> None:
    one, two = fs.open(f"{name}/a", "xb"), fs.open(f"{name}/a", "xb")
    one.write(b"one")
    two.write(b"two")
    one.close()
    with pytest.raises(FileExistsError):
        two.close()
    assert two.closed
    assert fs.cat_file(f"{name}/a") == b"one"
    with pytest.raises(FileExistsError):
        fs.open(f"{name}/a", "x")


def test_a_failed_upload_is_told_by_close(site: Site, name: str) -> None:
    busy = b'{"status": 507, "detail": "no room"}'
    with Meddler(site.daemon.url, lambda m, path: (413, busy) if "/uploads" in path else None) as meddler:
        fs = DragonbellyFileSystem(meddler.url, retries=0)
        file = fs.open(f"{name}/a", "wb")
        file.write(b"x")
        with pytest.raises(Exception, match="no room"):
            file.close()
        assert file.closed
        assert file.buffer.closed


def test_a_transaction(fs: Any, name: str) -> None:
    with fs.transaction:
        for n in range(3):
            with fs.open(f"{name}/{n}", "wb") as file:
                file.write(b"x")
        with pytest.raises(Oops), fs.open(f"{name}/called-off", "wb") as file:
            file.write(b"half")
            raise Oops
        assert fs.find(name) == []
    assert fs.find(name) == [f"{name}/{n}" for n in range(3)]
    with pytest.raises(Oops), fs.transaction:
        with fs.open(f"{name}/3", "wb") as file:
            file.write(b"x")
        raise Oops
    assert file.buffer.closed
    assert len(fs.find(name)) == 3
    with fs.open(f"{name}/4", "wb") as file:  # and all is as before
        file.write(b"x")
    assert fs.exists(f"{name}/4")


def test_by_its_url(options: dict[str, Any], fs: Any, name: str) -> None:
    with fsspec.open_files(f"dragonbelly://{name}/*.txt", "wt", num=3, **options) as files:
        for n, file in enumerate(files):
            file.write(str(n))
    assert fs.cat(name, recursive=True) == {f"{name}/{n}.txt": str(n).encode() for n in range(3)}
    with fsspec.open(f"simplecache::dragonbelly://{name}/1.txt", dragonbelly=options) as file:
        assert file.read() == b"1"
    mapper = fs.get_mapper(name)
    mapper["4.txt"] = b"4"
    assert sorted(mapper) == ["0.txt", "1.txt", "2.txt", "4.txt"]
    del mapper["4.txt"]
    assert "4.txt" not in mapper
