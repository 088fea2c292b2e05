"""The file system's own ways: names, listings, parts, conditions, errors, processes and threads."""

from __future__ import annotations

import asyncio
import io
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.callbacks import Callback

from dragonbelly.client import AsyncReader, Client, errors
from dragonbelly.contrib.fsspec import DragonbellyFileSystem
from tests.client.meddler import Meddler
from tests.integration.site import Site
from tests.servers.ports import free_port

pytestmark = pytest.mark.servers

DATA = bytes(range(256)) * 40


@pytest.fixture
def tree(fs: Any, name: str) -> str:
    """A directory with files, one of which has another below it."""
    fs.pipe({f"{name}/{path}": path.encode() for path in ("a", "b/1", "b/2", "both", "both/c/d", "z.txt")})
    return name


# --- which server ----------------------------------------------------------------------------------------


def test_the_server_is_told_by_options_or_the_environment(
    site: Site, fs: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs.pipe_file(f"{name}/a", DATA)
    monkeypatch.delenv("DRAGONBELLY_URL", raising=False)
    with pytest.raises(ValueError, match=r"which Dragonbelly.*DRAGONBELLY_URL"):
        fsspec.filesystem("dragonbelly", skip_instance_cache=True)
    monkeypatch.setenv("DRAGONBELLY_URL", site.daemon.url)
    other = fsspec.filesystem("dragonbelly", skip_instance_cache=True)
    assert other.cat(f"{name}/a") == DATA
    with fsspec.open(f"dragonbelly://{name}/a", server=site.daemon.url) as file:
        assert file.read() == DATA


def test_the_token(site: Site, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGONBELLY_TOKEN", "from-outside")
    with Meddler(site.daemon.url, lambda method, path: None) as meddler:
        for given in ({}, {"token": "given"}):
            with pytest.raises(errors.Denied, match="this token is not known"):
                DragonbellyFileSystem(meddler.url, skip_instance_cache=True, **given).ls("")
        assert [h["Authorization"] for h in meddler.headers] == ["Bearer from-outside", "Bearer given"]


def test_the_domain(site: Site, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Client(site.daemon.url).put(f"{name}/a", DATA)
    domain = site.file(f"{name}/a")["domain"]
    assert DragonbellyFileSystem(site.daemon.admin, domain=domain).cat_file(f"{name}/a") == DATA
    with pytest.raises(errors.Error, match="domain"):
        DragonbellyFileSystem(site.daemon.admin, domain="elsewhere").ls(name)
    monkeypatch.setenv("DRAGONBELLY_DOMAIN", domain)
    outside = DragonbellyFileSystem(site.daemon.admin, skip_instance_cache=True)
    assert outside.cat_file(f"{name}/a") == DATA
    monkeypatch.setenv("DRAGONBELLY_DOMAIN", "elsewhere")
    with pytest.raises(errors.Error, match="domain"):
        DragonbellyFileSystem(site.daemon.admin, skip_instance_cache=True).ls(name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"server": "media.example.com"}, "no address of a server"),
        ({"server": "http://h", "tokn": "x"}, "no option tokn"),
        ({"url": "http://h"}, "no option url, only server, token, domain"),
        ({"server": "http://h", "token": "ä"}, "printable ASCII"),
    ],
)
def test_options_that_are_none(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        fsspec.filesystem("dragonbelly", **options)


@pytest.mark.parametrize(
    "url", ["dragonbelly://127.0.0.1:8080/a", "dragonbelly://media:80", "dragonbelly://u:/x"]
)
def test_a_server_is_no_path(url: str) -> None:
    with pytest.raises(ValueError, match=r"is a path in the domain.*storage_options.*dragonbelly:///"):
        fsspec.open(url, server="http://127.0.0.1:8080")


def test_names(fs: Any, name: str, options: dict[str, Any]) -> None:
    fs.pipe_file(f"dragonbelly:///{name}:1/a", DATA)
    for form in (f"dragonbelly:///{name}:1/a", f"/{name}:1/a", f"{name}:1/a/"):
        assert fs.cat_file(form) == DATA
    with fsspec.open(f"dragonbelly:///{name}:1/a", **options) as file:
        assert file.read() == DATA
    assert fs.unstrip_protocol(f"{name}/a") == f"dragonbelly://{name}/a"
    for bad in (f"{name}//a", f"{name}/../a"):
        assert not fs.exists(bad)
        assert not fs.isfile(bad)
        assert not fs.isdir(bad)
        with pytest.raises(ValueError, match="segment"):
            fs.pipe_file(bad, DATA)
        with pytest.raises(ValueError, match="segment"):
            fs.cat_file(bad)


# --- looking ---------------------------------------------------------------------------------------------


def test_ls(fs: Any, tree: str) -> None:
    assert fs.ls(tree, detail=False) == [f"{tree}/{n}" for n in ("a", "b", "both", "both", "z.txt")]
    listed = fs.ls(tree)
    assert [info["type"] for info in listed] == ["file", "directory", "file", "directory", "file"]
    assert listed[0] == fs.info(f"{tree}/a")
    assert listed[1] == fs.info(f"{tree}/b") == {"name": f"{tree}/b", "size": 0, "type": "directory"}
    assert fs.ls(f"{tree}/a") == [fs.info(f"{tree}/a")]
    assert fs.ls(f"{tree}/b/", detail=False) == [f"{tree}/b/1", f"{tree}/b/2"]
    assert tree in fs.ls("", detail=False)
    with pytest.raises(FileNotFoundError):
        fs.ls(f"{tree}/none")
    assert not fs.exists(f"{tree}/bo")  # where names begin alike
    assert not fs.isdir(f"{tree}/bo")


def test_a_file_with_others_below_it_is_a_file(fs: Any, tree: str, tmp_path: Path) -> None:
    both = f"{tree}/both"
    assert fs.info(both)["type"] == "file"
    assert (fs.isfile(both), fs.isdir(both), fs.exists(both)) == (True, False, True)
    assert fs.find(both) == [both, f"{both}/c/d"]
    fs.cp(both, f"{tree}/copy")
    fs.get(both, str(tmp_path / "got"))
    assert fs.cat(f"{tree}/copy") == (tmp_path / "got").read_bytes() == b"both"
    fs.mv(both, f"{tree}/moved")
    assert fs.cat(f"{tree}/moved") == b"both"
    assert (fs.isfile(both), fs.isdir(both)) == (False, True)


def test_find_is_one_flat_listing(site: Site, tree: str) -> None:
    with Meddler(site.daemon.url, lambda method, path: None) as meddler:
        fs = DragonbellyFileSystem(meddler.url)
        found = fs.find(tree)
        assert [path for _, path in meddler.seen if "/files?" in path and "delimiter" not in path] != []
        assert meddler.count("GET", "/files?") == 1
    assert found == [f"{tree}/{n}" for n in ("a", "b/1", "b/2", "both", "both/c/d", "z.txt")]


def test_find_with_its_options(fs: Any, tree: str) -> None:
    assert fs.find(tree, maxdepth=1) == [f"{tree}/{n}" for n in ("a", "both", "z.txt")]
    assert fs.find(tree, maxdepth=2) == [f"{tree}/{n}" for n in ("a", "b/1", "b/2", "both", "z.txt")]
    for depth in (1, 2, 3, None):
        detailed = fs.find(tree, maxdepth=depth, withdirs=True, detail=True)
        assert list(detailed) == fs.find(tree, maxdepth=depth, withdirs=True)
        names = {name for name, info in detailed.items() if info["type"] == "directory"}
        directories = {"", "/b"} | ({"/both/c"} if depth != 1 else set())
        assert names == {tree + n for n in directories}
        assert detailed[f"{tree}/a"] == fs.info(f"{tree}/a")
    assert fs.find(tree, prefix="b/") == [f"{tree}/b/1", f"{tree}/b/2"]
    assert fs.find(f"{tree}/none") == []
    assert fs.glob(f"{tree}/b*") == [f"{tree}/b", f"{tree}/both"]
    assert fs.glob(f"{tree}/**/d") == [f"{tree}/both/c/d"]
    assert fs.du(tree) == sum(len(n) for n in ("a", "b/1", "b/2", "both", "both/c/d", "z.txt"))
    assert fs.du(f"{tree}/b", total=False) == {f"{tree}/b/1": 3, f"{tree}/b/2": 3}
    with pytest.raises(ValueError, match="maxdepth"):
        fs.find(tree, maxdepth=0)


def test_what_is_written_is_seen_at_once(fs: Any, name: str) -> None:
    assert not fs.exists(name)
    for n in range(5):
        fs.pipe_file(f"{name}/{n}", b"x")
        assert fs.ls(name, detail=False) == [f"{name}/{m}" for m in range(n + 1)]
    fs.rm_file(f"{name}/0")
    assert not fs.exists(f"{name}/0")
    fs.rm(name, recursive=True)
    assert not fs.exists(name)
    assert fs.find(name) == []


def test_versions_and_times(site: Site, fs: Any, name: str) -> None:
    path = f"{name}/a"
    fs.pipe_file(path, b"one")
    first = (fs.ukey(path), fs.checksum(path))
    assert first[0] == site.file(path)["version"]
    assert fs.created(path) == fs.modified(path) == Client(site.daemon.url).stat(path).created
    assert (fs.ukey(path), fs.checksum(path)) == first
    fs.pipe_file(path, b"one")
    assert fs.ukey(path) != first[0]
    assert fs.checksum(path) != first[1]


def test_urls(site: Site, fs: Any, name: str) -> None:
    path = f"{name}/ä b"
    fs.pipe_file(path, DATA)
    assert fs.url(path) == site.url(path)
    assert site.store_of(fs.sign(path)) in site.stores
    with pytest.raises(NotImplementedError, match="cannot be chosen"):
        fs.sign(path, expiration=10)
    with pytest.raises(FileNotFoundError):
        fs.url(f"{name}/none")


# --- reading and writing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end"),
    [(None, None), (0, 10), (5, None), (-7, None), (None, -7), (-20, -3), (9, 3), (10**6, None)],
)
def test_cat_of_a_part(fs: Any, name: str, start: int | None, end: int | None) -> None:
    fs.pipe_file(f"{name}/a", DATA)
    assert fs.cat_file(f"{name}/a", start=start, end=end) == DATA[start:end]


def test_cat_of_many_files_at_once(fs: Any, name: str) -> None:
    contents = {f"{name}/{n % 5}/{n}": str(n).encode() for n in range(100)}
    fs.pipe(contents)
    assert fs.cat(list(contents)) == contents
    assert fs.cat(name, recursive=True) == contents
    assert fs.cat(f"{name}/1/1", recursive=True) == b"1"
    assert fs.cat_ranges(list(contents), 0, 1) == [content[:1] for content in contents.values()]
    with pytest.raises(FileNotFoundError):
        fs.cat([f"{name}/1/1", f"{name}/none"])


def test_what_is_not_there(fs: Any, tree: str, tmp_path: Path) -> None:
    none = f"{tree}/none"
    for call in (fs.info, fs.cat_file, fs.rm_file, fs.rm, fs.open, fs.created, fs.url, fs.sign):
        with pytest.raises(FileNotFoundError):
            call(none)
    with pytest.raises(FileNotFoundError):
        fs.rm(none, recursive=True)
    with pytest.raises(FileNotFoundError):
        fs.cp_file(none, f"{tree}/x")
    with pytest.raises(FileNotFoundError):
        fs.get_file(none, str(tmp_path / "x"))
    assert list(tmp_path.iterdir()) == []


def test_directories_are_no_files(fs: Any, tree: str) -> None:
    for call in (fs.open, fs.rm_file, fs.rm, fs.sign):
        with pytest.raises(IsADirectoryError):
            call(f"{tree}/b")
    with pytest.raises(IsADirectoryError):
        fs.open("", "wb")
    fs.mkdir(f"{tree}/new")
    fs.makedirs(f"{tree}/new/er", exist_ok=True)
    fs.rmdir(f"{tree}/new")
    assert not fs.exists(f"{tree}/new")


def test_a_server_that_does_not_answer_says_nothing_of_files() -> None:
    fs = DragonbellyFileSystem(f"http://127.0.0.1:{free_port()}", retries=0)
    for call in (fs.exists, fs.isfile, fs.isdir, fs.info, fs.ls, fs.find, fs.cat_file):
        with pytest.raises(ConnectionError, match="no answer"):
            call("a")


def test_options_of_an_upload(fs: Any, name: str, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(DATA)
    asked = {"content_type": "image/x-test", "attributes": {"by": "me"}}
    fs.pipe_file(f"{name}/piped", DATA, **asked)
    fs.put_file(str(local), f"{name}/put", **asked)
    with fs.open(f"{name}/opened", "wb", **asked) as file:
        file.write(DATA)
    fs.cp_file(f"{name}/put", f"{name}/copied")
    for path in ("piped", "put", "opened", "copied"):
        info = fs.info(f"{name}/{path}")
        assert (info["content_type"], info["attributes"]) == ("image/x-test", {"by": "me"})
        assert fs.cat_file(f"{name}/{path}") == DATA
    with pytest.raises(TypeError, match="colour"):
        fs.pipe_file(f"{name}/x", DATA, colour="red")


def test_only_if_there_is_none(fs: Any, name: str, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(DATA)
    fs.put_file(str(local), f"{name}/a", mode="create")
    with pytest.raises(FileExistsError) as caught:
        fs.put_file(str(local), f"{name}/a", mode="create")
    assert caught.value.filename == f"{name}/a"
    with pytest.raises(errors.PreconditionFailed):
        fs.pipe_file(f"{name}/a", b"new", if_match="01ARZ3NDEKTSV4RRFFQ69G5FAV")
    fs.pipe_file(f"{name}/a", b"new", if_match=fs.ukey(f"{name}/a"))
    with pytest.raises(ValueError, match="mode is"):
        fs.pipe_file(f"{name}/a", b"new", mode="append")
    assert fs.cat_file(f"{name}/a") == b"new"


def test_a_large_file_is_copied_piece_by_piece(fs: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(9 * 2**20)
    fs.pipe_file(f"{name}/a", data)
    monkeypatch.delattr(AsyncReader, "read")
    fs.cp_file(f"{name}/a", f"{name}/b")
    assert fs.cat_file(f"{name}/b") == data


def test_what_is_moved_onto_itself_is_not_lost(fs: Any, tree: str) -> None:
    for target in (f"dragonbelly://{tree}/b/1", f"{tree}/b", f"{tree}/b/"):
        with pytest.raises(shutil.SameFileError):
            fs.mv(f"{tree}/b/1", target)
    assert fs.cat(f"{tree}/b/1") == b"b/1"
    fs.mv(f"{tree}/b", f"{tree}/e", recursive=True)
    assert fs.find(f"{tree}/e") == [f"{tree}/e/1", f"{tree}/e/2"]
    assert fs.find(f"{tree}/b") == []


def test_rm_of_patterns(fs: Any, tree: str) -> None:
    fs.rm(f"{tree}/b/*")
    assert fs.find(f"{tree}/b") == []
    fs.rm([f"{tree}/a", f"{tree}/both"], recursive=True)
    assert fs.find(tree) == [f"{tree}/z.txt"]


def test_get_into_an_open_file(fs: Any, name: str) -> None:
    fs.pipe_file(f"{name}/a", DATA)
    out, callback = io.BytesIO(), Callback()
    fs.get_file(f"{name}/a", out, callback=callback)
    assert out.getvalue() == DATA
    assert (callback.size, callback.value) == (len(DATA), len(DATA))


def test_progress(fs: Any, name: str, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(DATA)
    put, got = Callback(), Callback()
    fs.put_file(str(local), f"{name}/a", callback=put)
    fs.get_file(f"{name}/a", str(tmp_path / "deep/er/copy"), callback=got)
    assert (put.size, put.value) == (got.size, got.value) == (len(DATA), len(DATA))
    assert (tmp_path / "deep/er/copy").read_bytes() == DATA


# --- processes, threads, loops ---------------------------------------------------------------------------


def test_instances_are_shared_and_pickled(fs: Any, name: str, options: dict[str, Any]) -> None:
    assert fsspec.filesystem("dragonbelly", **options) is fs
    assert pickle.loads(pickle.dumps(fs)) is fs
    assert fsspec.filesystem("dragonbelly", **options, domain="x").fsid != fs.fsid
    again = fsspec.AbstractFileSystem.from_json(fs.to_json())
    assert again is fs


def _read(fs: Any, path: str) -> bytes:
    return fs.cat_file(path)  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_another_process_has_a_file_system_of_its_own(fs: Any, name: str, method: str) -> None:
    fs.pipe_file(f"{name}/a", DATA)
    with get_context(method).Pool(1) as pool:
        assert pool.apply_async(_read, (fs, f"{name}/a")).get(60) == DATA
    assert fs.cat_file(f"{name}/a") == DATA


def test_threads(fs: Any, name: str) -> None:
    def work(n: int) -> bytes:
        path = f"{name}/{n}"
        with fs.open(path, "wb") as file:
            file.write(str(n).encode())
        with fs.open(path, "rb") as file:
            return file.read()  # type: ignore[no-any-return]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(40), timeout=60)) == [str(n).encode() for n in range(40)]


def test_in_a_loop_of_ones_own(options: dict[str, Any], name: str) -> None:
    made: list[DragonbellyFileSystem] = []

    async def work() -> bytes:
        fs = DragonbellyFileSystem(**options, asynchronous=True)
        made.append(fs)
        await fs._pipe_file(f"{name}/a", DATA)
        async with await fs.open_async(f"{name}/a") as file:
            file.seek(10)
            assert await file.read(5) == DATA[10:15]
        with pytest.raises(io.UnsupportedOperation):
            await fs.open_async(f"{name}/a", "wb")
        return await fs._cat_file(f"{name}/a")

    for _ in range(3):  # the instance is the same, its connections belong to a loop
        assert asyncio.run(work()) == DATA
        assert len(made.pop()._clients) == 1


ENDING = """
import gc, sys, time
import psutil
from dragonbelly.contrib.fsspec import DragonbellyFileSystem

def connections():
    mine = psutil.Process().net_connections()
    return sum(one.status == "ESTABLISHED" and one.raddr.port == int(sys.argv[2]) for one in mine)

fs = DragonbellyFileSystem(sys.argv[1], skip_instance_cache=True)
fs.ls("")
assert connections() == 1
del fs
gc.collect()
until = time.monotonic() + 20
while connections() and time.monotonic() < until:
    time.sleep(0.05)
assert connections() == 0
DragonbellyFileSystem(sys.argv[1]).ls("")  # and one that is there at the end
"""


def test_connections_are_closed_with_the_file_system(site: Site) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ENDING, site.daemon.url, str(site.daemon.public)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
