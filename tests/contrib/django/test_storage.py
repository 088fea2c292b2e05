"""The Storage API on a running Dragonbelly: what Django's own storages do, this one does."""

from __future__ import annotations

import gzip
import io
import os
import threading
import zipfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.base import ContentFile, File
from django.core.files.storage import storages
from django.core.files.storage.handler import StorageHandler
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.db.migrations.writer import MigrationWriter
from django.test import override_settings

from dragonbelly.client import Client, errors
from dragonbelly.contrib.django import DragonbellyStorage
from tests.integration.site import Site
from tests.servers.ports import free_port

pytestmark = pytest.mark.servers

DATA = os.urandom(700_000)


# --- there and back --------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"x", DATA], ids=["nothing", "a byte", "much"])
def test_save_open_delete(storage: DragonbellyStorage, data: bytes) -> None:
    assert not storage.exists("a/b.bin")
    assert storage.save("a/b.bin", ContentFile(data)) == "a/b.bin"
    assert storage.exists("a/b.bin")
    assert storage.size("a/b.bin") == len(data)
    with storage.open("a/b.bin") as file:
        assert file.read() == data
        assert (file.name, file.size, file.mode) == ("a/b.bin", len(data), "rb")
    assert file.closed
    storage.delete("a/b.bin")
    assert not storage.exists("a/b.bin")
    storage.delete("a/b.bin")  # nothing to do
    with pytest.raises(FileNotFoundError):
        storage.open("a/b.bin")
    for ask in (storage.size, storage.get_created_time, storage.get_modified_time):
        with pytest.raises(FileNotFoundError):
            ask("a/b.bin")


def test_contents_of_all_kinds(storage: DragonbellyStorage, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA)
    (tmp_path / "text").write_text("grün\n" * 10)
    temporary = TemporaryUploadedFile("t", "text/plain", len(DATA), None)
    temporary.write(DATA)

    class Chunks(File):  # type: ignore[type-arg]
        def __init__(self) -> None:
            super().__init__(None, "chunks")

        def chunks(self, chunk_size: int | None = None) -> Any:
            yield from (DATA[:5], DATA[5:])

    with (tmp_path / "file").open("rb") as file, (tmp_path / "text").open() as text:
        file.seek(100)  # a save begins at the beginning
        expected = {
            storage.save("raw", file): DATA,  # no File of Django's
            storage.save("text", File(text)): "grün\n".encode() * 10,
            storage.save("str", ContentFile("grün")): "grün".encode(),
            storage.save("temporary", temporary): DATA,
            storage.save("simple", SimpleUploadedFile("x", b"abc")): b"abc",
            storage.save("chunks", Chunks()): DATA,
            storage.save("other", storage.open("raw")): DATA,
            storage.save(None, ContentFile(b"named", name="n")): b"named",
        }
    assert len(expected) == 8
    for name, data in expected.items():
        assert storage.open(name).read() == data, name


def test_only_what_is_read_is_fetched(storage: DragonbellyStorage) -> None:
    storage.save("a.zip", ContentFile(_zip({"one": DATA, "two": b"2"})))
    with storage.open("a.zip") as file, zipfile.ZipFile(file) as archive:
        assert archive.read("two") == b"2"
    with storage.open("a.zip") as file:
        assert file.seek(-10, io.SEEK_END) == file.size - 10
        end = file.read()
        assert len(end) == 10 and file.read() == b""
        file.seek(0)
        assert file.read(2) == b"PK"
        assert b"".join(file.chunks())[-10:] == end
        assert [file.seekable(), file.readable(), file.writable()] == [True, True, False]


def test_a_closed_file_is_opened_again(storage: DragonbellyStorage) -> None:
    file = storage.open(storage.save("a", ContentFile(b"abc")))
    assert file.read() == b"abc"
    assert file.open().read() == b"abc"
    file.close()
    file.close()
    assert file.size == 3
    assert file.open("rb").read() == b"abc"


def test_writing_a_file(storage: DragonbellyStorage) -> None:
    with storage.open("a/b.txt", "wb") as file:
        assert file.write(b"one") == 3
        file.write(DATA)
        assert file.size == len(DATA) + 3
        assert not storage.exists("a/b.txt")
    assert storage.open("a/b.txt").read() == b"one" + DATA
    with storage.open("a/b.txt", "wb") as file:  # in its place
        file.write(b"two")
    assert storage.open("a/b.txt").read() == b"two"
    assert storage.listdir("a") == ([], ["b.txt"])


def test_what_fails_in_the_middle_is_not_written(storage: DragonbellyStorage) -> None:
    with pytest.raises(KeyError), storage.open("a", "wb") as file:
        file.write(b"half")
        raise KeyError
    assert not storage.exists("a")


@pytest.mark.parametrize("mode", ["r", "w", "ab", "r+b", "wt"])
def test_other_modes(storage: DragonbellyStorage, mode: str) -> None:
    with pytest.raises(ValueError, match=f"'rb' or 'wb', not '{mode}'".replace("+", r"\+")):
        storage.open("a", mode)


def test_text_is_wrapped(storage: DragonbellyStorage) -> None:
    storage.save("a.txt", ContentFile("ä\nö\n"))
    with storage.open("a.txt") as file:
        assert [*io.TextIOWrapper(file.file, "utf-8")] == ["ä\n", "ö\n"]
    with storage.open("a.txt") as file:
        assert [*file] == ["ä\n".encode(), "ö\n".encode()]


# --- names -----------------------------------------------------------------------------------------------


def test_a_name_that_is_taken(storage: DragonbellyStorage) -> None:
    names = [storage.save("a/b.txt", ContentFile(bytes([n]))) for n in range(3)]
    assert names[0] == "a/b.txt"
    assert all(name.startswith("a/b_") and name.endswith(".txt") for name in names[1:])
    assert [storage.open(name).read() for name in names] == [b"\0", b"\1", b"\2"]


def test_a_name_has_its_length(storage: DragonbellyStorage) -> None:
    names = {storage.save("a/bcdefghijkl.txt", ContentFile(b""), max_length=16) for _ in range(3)}
    assert len(names) == 3
    assert max(map(len, names)) == 16
    with pytest.raises(SuspiciousFileOperation):
        storage.save("a/b.textfile.with.long.ext", ContentFile(b""), max_length=10)


@pytest.mark.parametrize(
    "root", ["x" * 300, "本" * 84, "本" * 90, "é" * 126 + "x"], ids=["x", "all but", "many bytes", "two bytes"]
)
def test_a_name_that_is_too_long_for_the_server_is_cut(storage: DragonbellyStorage, root: str) -> None:
    names = [storage.save(f"a/{root}.txt", ContentFile(b"")) for _ in range(2)]
    for name in names:
        assert name.startswith(f"a/{root[0]}") and name.endswith(".txt")
        assert len(name.removeprefix("a/").encode()) <= 255
        assert storage.exists(name)
    assert len({*names}) == 2
    assert storage.save(f"b/{root}.txt", ContentFile(b""), max_length=40).endswith(".txt")
    with pytest.raises(SuspiciousFileOperation, match="longer than 255 bytes"):
        storage.save("a." + root * 3, ContentFile(b""))


def test_ten_threads_save_under_one_name(storage: DragonbellyStorage) -> None:
    names: list[str] = []
    start = threading.Barrier(10)

    def save(n: int) -> None:
        start.wait(20)
        names.append(storage.save("a.txt", ContentFile(str(n)), max_length=20))

    threads = [threading.Thread(target=save, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(names)) == 10
    assert {storage.open(name).read() for name in names} == {str(n).encode() for n in range(10)}


def test_a_name_that_is_taken_meanwhile(storage: DragonbellyStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the question whether it is free and the upload."""
    storage.save("a.txt", ContentFile(b"first"))
    asked: list[str] = []

    def exists(name: str) -> bool:
        asked.append(name)
        return len(asked) > 1 and DragonbellyStorage.exists(storage, name)

    monkeypatch.setattr(storage, "exists", exists)
    name = storage.save("a.txt", ContentFile(b"second"), max_length=15)
    assert name != "a.txt" and len(name) <= 15
    assert asked[:2] == ["a.txt", "a.txt"]
    assert (storage.open("a.txt").read(), storage.open(name).read()) == (b"first", b"second")


def test_what_can_be_read_once_is_not_saved_under_another_name(
    storage: DragonbellyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been read already: nothing would be left of it."""
    storage.save("a.txt", ContentFile(b"first"))

    class Once(File):  # type: ignore[type-arg]
        def chunks(self, chunk_size: int | None = None) -> Any:
            yield b"second"

    asked = iter([False])
    monkeypatch.setattr(storage, "exists", lambda name: next(asked, name == "a.txt"))
    with pytest.raises(errors.PreconditionFailed):
        storage.save("a.txt", Once(None, "a.txt"))


def test_names_that_are_always_taken(storage: DragonbellyStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.save("a.txt", ContentFile(b"first"))
    monkeypatch.setattr(storage, "get_available_name", lambda name, max_length=None: name)
    with pytest.raises(errors.PreconditionFailed):
        storage.save("a.txt", ContentFile(b"second"))
    assert storage.open("a.txt").read() == b"first"


def test_overwriting(name: str) -> None:
    storage = DragonbellyStorage(location=name, allow_overwrite=True)
    assert [storage.save("a.txt", ContentFile(text), max_length=10) for text in ("1", "2")] == ["a.txt"] * 2
    assert storage.open("a.txt").read() == b"2"
    long = storage.save("a/bcdefghijkl.txt", ContentFile(b""), max_length=15)
    assert len(long) == 15


@pytest.mark.parametrize(
    "bad",
    [
        "../a",
        "a/../../b",
        "/a",
        "//a",
        "..",
        "a\nb",
        "a\0b",
        "a/@01ARZ3NDEKTSV4RRFFQ69G5FAV/b",
        "a." + "x" * 300,
        "..\\a",
    ],
)
def test_suspicious_names(storage: DragonbellyStorage, bad: str) -> None:
    for ask in (storage.open, storage.exists, storage.size, storage.delete, storage.url, storage.listdir):
        with pytest.raises(SuspiciousFileOperation):
            ask(bad)
    for save in (storage.save, storage._save):
        with pytest.raises(SuspiciousFileOperation):
            save(bad, ContentFile(b""))


def test_names_are_made_normal(storage: DragonbellyStorage) -> None:
    storage.save("a/b", ContentFile(b"x"))
    for name in ("a//b", "./a/b", "a/./b", "c/../a/b", "a\\b"):
        assert storage.exists(name), name
        assert storage.url(name) == storage.url("a/b")
    assert storage._save("c/../d", ContentFile(b"")) == "d"
    with pytest.raises(ValueError):
        storage.delete("")


def test_a_location_is_a_storage_of_its_own(name: str, site: Site) -> None:
    one, two = DragonbellyStorage(location=f"/{name}/one/"), DragonbellyStorage(location=f"{name}/two")
    one.save("a", ContentFile(b"1"))
    assert not two.exists("a")
    assert site.get(f"{name}/one/a") == b"1"
    assert DragonbellyStorage(location=name).listdir("") == (["one"], [])


# --- listing ---------------------------------------------------------------------------------------------


def test_listdir(storage: DragonbellyStorage) -> None:
    assert storage.listdir("") == ([], [])
    for name in ("a", "ä b", "d/1", "d/e/2", "d/e/3", "f/4"):
        storage.save(name, ContentFile(b""))
    assert storage.listdir("") == storage.listdir(".") == (["d", "f"], ["a", "ä b"])
    assert storage.listdir("d") == storage.listdir("d/") == (["e"], ["1"])
    assert storage.listdir("d/e") == ([], ["2", "3"])
    assert storage.listdir("nothing") == ([], [])
    assert storage.exists("d") and storage.exists("d/e") and storage.exists("")
    assert not storage.exists("d/e/2/3") and not storage.exists("D")


def test_many_files(storage: DragonbellyStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragonbelly.client.core.PAGE", 3)
    names = [f"f{n}" for n in range(8)]
    for name in names:
        storage.save(name, ContentFile(b""))
    assert storage.listdir("")[1] == names


# --- URLs ------------------------------------------------------------------------------------------------


def test_urls_lead_to_the_bytes(storage: DragonbellyStorage, site: Site) -> None:
    for name in ("a.txt", "ä b/ö?#%.txt", "a;b=c&d"):
        storage.save(name, ContentFile(name))
        url = storage.url(name)
        assert url.isascii() and " " not in url
        assert url.startswith(site.daemon.url)
        assert requests.get(url, timeout=20).content == name.encode()


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "http://localhost:1/a%20b/%C3%A4%3F"),
        ({"public_url": "https://media.example.com/"}, "https://media.example.com/a%20b/%C3%A4%3F"),
        ({"base_url": "/media/"}, "/media/a%20b/%C3%A4%3F"),
        ({"location": "x y"}, "http://localhost:1/x%20y/a%20b/%C3%A4%3F"),
        ({"base_url": "/media/", "location": "x y"}, "/media/a%20b/%C3%A4%3F"),
    ],
)
def test_urls_ask_nobody(options: dict[str, str], url: str) -> None:
    storage = DragonbellyStorage(url="http://localhost:1", **options)
    assert storage.url("a b/ä?") == url
    assert storage.url("a b/") == url.removesuffix("%C3%A4%3F")
    assert storage.url("") == storage.url(None) == url.removesuffix("a%20b/%C3%A4%3F")


# --- times -----------------------------------------------------------------------------------------------


def test_times(storage: DragonbellyStorage) -> None:
    storage.save("a", ContentFile(b""))
    now = datetime.now(UTC)
    for ask in (storage.get_created_time, storage.get_modified_time):
        aware = ask("a")
        assert aware.utcoffset() == timedelta(0)
        assert abs(now - aware) < timedelta(seconds=60)
        with override_settings(USE_TZ=False):  # Asia/Kolkata
            naive = ask("a")
        assert naive.tzinfo is None
        assert naive.replace(tzinfo=timezone(timedelta(hours=5, minutes=30))) == aware
    with pytest.raises(NotImplementedError):
        storage.get_accessed_time("a")
    with pytest.raises(NotImplementedError):
        storage.path("a")


# --- what is asked for -----------------------------------------------------------------------------------


def test_options_of_files(name: str) -> None:
    storage = DragonbellyStorage(location=name, copies=3, wait_copies=2, attributes={"by": "django"})
    storage.save("a", ContentFile(b"x"))
    file = storage.stat("a")
    assert (file.attributes, file.copies.asked) == ({"by": "django"}, 3)
    assert file.copies.held >= 2


def test_too_few_copies_leave_nothing(storage: DragonbellyStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    put = Client.put

    def hurried(self: Client, *args: Any, **more: Any) -> Any:
        return put(self, *args, **{**more, "wait": 0.5})

    monkeypatch.setattr(Client, "put", hurried)
    hopeful = DragonbellyStorage(location=storage.options.location, wait_copies=9)
    with pytest.raises(errors.NotYet):
        hopeful.save("a", ContentFile(b"x"))
    assert not storage.exists("a")


@pytest.mark.parametrize(
    ("name", "said", "told"),
    [
        ("a.jpg", "text/html", "image/jpeg"),  # a browser may say anything
        ("a.txt", None, "text/plain"),
        ("a.tar.gz", None, "application/gzip"),
        ("a.unheard-of", "image/x-odd", "image/x-odd"),
        ("a", None, None),
    ],
)
def test_content_types(storage: DragonbellyStorage, name: str, said: str | None, told: str | None) -> None:
    storage.save(name, SimpleUploadedFile("x", gzip.compress(b""), said))  # type: ignore[arg-type]
    assert storage.stat(name).content_type == told


# --- settings --------------------------------------------------------------------------------------------


def test_settings(site: Site, name: str) -> None:
    assert isinstance(storages["default"], DragonbellyStorage)
    chosen = {"BACKEND": "dragonbelly.contrib.django.DragonbellyStorage", "OPTIONS": {"location": f"{name}/x"}}
    StorageHandler({"default": chosen})["default"].save("a", ContentFile(b"1"))
    assert site.get(f"{name}/x/a") == b"1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"urll": "http://a"}, "no option 'urll'; there are allow_overwrite, attributes,"),
        ({"allow": "a.b"}, "no option 'allow'"),
        ({"url": "media.example.com"}, "url: 'media.example.com' is no address"),
        ({"url": ""}, "needs a url"),
        ({"public_url": "/media/"}, "public_url: '/media/' is no address"),
        (
            {"base_url": "/media"},
            "base_url: expected a URL with a slash at its end such as /media/, found '/media'",
        ),
        ({"location": "a/../b"}, r"location: expected a directory such as 'media/', found 'a/../b'"),
        ({"url": "http://me:geheim@a"}, "has a password"),
        ({"location": None}, "location: expected a directory"),
        ({"wait_copies": 0}, "wait_copies: expected a number from 1 on, found 0"),
        ({"wait_copies": True}, "wait_copies: expected a number from 1 on, found True"),
        ({"wait_copies": 3, "copies": 2}, "wait_copies: expected at most copies, which is 2; found 3"),
        ({"copies": "3"}, "copies: expected a number from 1 on, found '3'"),
        ({"copies": 0}, "copies: expected a number from 1 on, found 0"),
        ({"timeout": "30"}, "timeout: expected seconds, more than none, found '30'"),
        ({"timeout": 0}, "timeout: expected seconds, more than none, found 0"),
        ({"retries": -1}, "retries: expected a number from 0 on, found -1"),
        ({"policy": 7}, "policy: expected a string, found 7"),
        ({"attributes": {"year": 2026}}, "attributes: expected a dict of strings, found {'year': 2026}"),
        ({"attributes": "a=b"}, "attributes: expected a dict of strings, found 'a=b'"),
        ({"allow_overwrite": "no"}, "allow_overwrite: expected True or False, found 'no'"),
    ],
)
def test_mistakes_in_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=message):
        DragonbellyStorage(**options)


def test_no_settings_at_all() -> None:
    with override_settings(DRAGONBELLY={}), pytest.raises(ImproperlyConfigured, match="DRAGONBELLY = "):
        DragonbellyStorage()
    with override_settings(DRAGONBELLY="http://a"), pytest.raises(ImproperlyConfigured, match="a dict"):
        DragonbellyStorage()


def test_settings_that_a_test_overrides(site: Site) -> None:
    storage, mine = DragonbellyStorage(location="x"), DragonbellyStorage(location="x", url=site.daemon.url)
    before = storage.client
    with override_settings(DRAGONBELLY={"url": "http://other.example.com", "copies": 3}):
        assert storage.url("a") == "http://other.example.com/x/a"
        assert storage.client is not before
        assert mine.url("a") == f"{site.daemon.url}/x/a"
        assert mine.options.copies == 3
    with override_settings(DRAGONBELLY={}), pytest.raises(ImproperlyConfigured, match="DRAGONBELLY = "):
        storage.exists("a")
    assert not storage.exists("a")


def test_a_token_is_not_shown(site: Site) -> None:
    storage = DragonbellyStorage(token="geheim")
    assert "geheim" not in repr(storage.options)


def test_a_migration_names_it() -> None:
    written, imports = MigrationWriter.serialize(DragonbellyStorage(location="x", copies=2))
    assert written == "dragonbelly.contrib.django.DragonbellyStorage(copies=2, location='x')"
    assert imports == {"import dragonbelly.contrib.django"}


# --- trouble ---------------------------------------------------------------------------------------------


def test_no_server() -> None:
    storage = DragonbellyStorage(url=f"http://127.0.0.1:{free_port()}", retries=0)
    for ask in (storage.exists, storage.open, storage.delete, storage.listdir):
        with pytest.raises(errors.Unavailable):
            ask("a")
    with pytest.raises(errors.Unavailable):
        storage.save("a", ContentFile(b""))


def test_a_fork_has_connections_of_its_own(storage: DragonbellyStorage) -> None:
    storage.save("a", ContentFile(DATA))
    mine = storage.client
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            good = storage.client is not mine and storage.open("a").read() == DATA
            os.write(writing, b"good" if good else b"bad")
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        assert answer.read() == b"good"
    os.waitpid(child, 0)
    assert storage.client is mine
    assert storage.open("a").read() == DATA


def _zip(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()
