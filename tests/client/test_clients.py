"""One suite for all three clients, against a running Dragonbelly on nginx and Redis."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from dragonbelly.client import UNSET, Entry, errors
from tests.client.kinds import Kind
from tests.client.meddler import Meddler, first
from tests.integration.site import Site
from tests.servers.ports import free_port

pytestmark = pytest.mark.servers

DATA = b"The quick brown dragon.\n" * 1000
BIG = random.Random(7).randbytes(3_000_001)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- there and back --------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"x", BIG], ids=["nothing", "a byte", "3 MB"])
def test_bytes_there_and_back(client: Kind, name: str, data: bytes) -> None:
    put = client.call("put", f"{name}/ä b.bin", data, content_type="image/x-test", attributes={"by": "me"})
    assert (put.path, put.size, put.sha256) == (f"{name}/ä b.bin", len(data), sha(data))
    assert put.state == "live"
    assert client.call("get", f"{name}/ä b.bin") == data
    stat = client.call("stat", f"/{name}/ä b.bin")
    assert (stat.version, stat.content_type, stat.attributes) == (put.version, "image/x-test", {"by": "me"})
    assert stat.url.startswith("http://")
    assert stat.created <= datetime.now(UTC) + timedelta(seconds=2)


def test_a_file_by_its_name_and_opened(client: Kind, name: str, tmp_path: Path) -> None:
    there = tmp_path / "file"
    there.write_bytes(BIG)
    client.call("put", f"{name}/a", there)
    assert client.call("get", f"{name}/a") == BIG
    with there.open("rb") as file:
        file.seek(1000)
        client.call("put", f"{name}/b", file)  # from where it stands
    assert client.call("get", f"{name}/b") == BIG[1000:]


def test_a_stream_whose_length_nobody_knows(client: Kind, name: str) -> None:
    chunks = [BIG[n : n + 100_000] for n in range(0, len(BIG), 100_000)]
    put = client.call("put", f"{name}/a", client.stream(chunks))
    assert (put.size, put.sha256) == (len(BIG), sha(BIG))
    assert client.call("get", f"{name}/a") == BIG
    pipe, end = os.pipe()
    os.write(end, b"through a pipe")
    os.close(end)
    with open(pipe, "rb") as file:  # noqa: PTH123 - a descriptor has no path
        client.call("put", f"{name}/b", file)
    assert client.call("get", f"{name}/b") == b"through a pipe"


def test_progress(client: Kind, name: str, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    client.call("put", f"{name}/a", BIG, progress=lambda sent, size: told.append((sent, size)))
    assert told[0] == (0, len(BIG))
    assert told[-1] == (len(BIG), len(BIG))
    assert len(told) > 5
    assert told == sorted(told)
    told.clear()
    client.call("download", f"{name}/a", tmp_path / "a", progress=lambda got, size: told.append((got, size)))
    assert told[-1] == (len(BIG), len(BIG))


def test_copies_are_waited_for(client: Kind, name: str) -> None:
    put = client.call("put", f"{name}/a", DATA, copies=3, wait_copies=3)
    assert [replica.state for replica in put.replicas] == ["good"] * 3
    assert (put.copies.owed, put.copies.held, put.copies.enough, put.copies.asked) == (3, 3, True, 3)


def test_copies_that_do_not_come_in_time(client: Kind, name: str) -> None:
    with pytest.raises(errors.NotYet, match="is there, with 2 of 4 copies so far"):
        client.call("put", f"{name}/a", DATA, wait_copies=4, wait=4 / 3)
    assert client.call("get", f"{name}/a") == DATA


def test_conditions(client: Kind, name: str) -> None:
    first = client.call("put", f"{name}/a", b"one", if_none_match=True)
    with pytest.raises(errors.PreconditionFailed, match="exists"):
        client.call("put", f"{name}/a", b"two", if_none_match=True)
    second = client.call("put", f"{name}/a", b"two", if_match=first.version)
    with pytest.raises(errors.PreconditionFailed):
        client.call("put", f"{name}/a", b"three", if_match=first.version)
    assert client.call("get", f"{name}/a") == b"two"
    assert client.call("stat", f"{name}/a").version == second.version


def test_what_a_file_asks_for_is_changed(client: Kind, name: str) -> None:
    client.call("put", f"{name}/a", DATA, attributes={"a": "1", "b": "2"})
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    changed = client.call("set", f"{name}/a", attributes={"a": None, "c": "3"}, copies=3, expires=later)
    assert changed.attributes == {"b": "2", "c": "3"}
    assert (changed.copies.asked, changed.expires) == (3, later)
    again = client.call("set", f"{name}/a", copies=None, attributes=UNSET)
    assert (again.attributes, again.copies.asked, again.expires) == ({"b": "2", "c": "3"}, None, later)
    assert client.call("set", f"{name}/a", attributes=None, expires=None).attributes == {}


def test_deleted(client: Kind, name: str) -> None:
    client.call("put", f"{name}/a", DATA)
    client.call("delete", f"{name}/a")
    for method in ("stat", "get", "delete"):
        with pytest.raises(errors.NotFound, match="no file") as caught:
            client.call(method, f"{name}/a")
        assert isinstance(caught.value, FileNotFoundError)
        assert caught.value.status == 404


def test_listing(client: Kind, name: str) -> None:
    for path in ("a", "b/1", "b/2", "c"):
        client.call("put", f"{name}/{path}", path.encode())
    flat = client.all("list", f"{name}/")
    assert [entry.path for entry in flat] == [f"{name}/{path}" for path in ("a", "b/1", "b/2", "c")]
    assert [entry.size for entry in flat] == [1, 3, 3, 1]
    level = client.all("list", f"{name}/", "/")
    assert [e.path if isinstance(e, Entry) else e for e in level] == [f"{name}/a", f"{name}/b/", f"{name}/c"]
    page = client.call("page", f"{name}/", limit=3)
    assert [entry.path for entry in page.files] == [f"{name}/{path}" for path in ("a", "b/1", "b/2")]
    assert page.next is not None
    rest = client.call("page", f"{name}/", after=page.next)
    assert [entry.path for entry in rest.files] == [f"{name}/c"]
    assert client.all("list", f"{name}/none") == []


# --- reading from anywhere -------------------------------------------------------------------------------


def test_reading_from_any_place(client: Kind, name: str) -> None:
    client.call("put", f"{name}/a", BIG, wait_copies=2)
    file = client.call("open", f"{name}/a")
    chance = random.Random(3)
    assert client.on(file, "read", 10) == BIG[:10]
    for _ in range(20):
        place, length = chance.randrange(len(BIG)), chance.choice((1, 1000, 300_000))
        assert client.on(file, "seek", place) == place
        assert client.on(file, "read", length) == BIG[place : place + length]
        assert client.on(file, "tell") == min(place + length, len(BIG))
    assert client.on(file, "seek", -5, io.SEEK_END) == len(BIG) - 5
    assert client.on(file, "read") == BIG[-5:]
    assert client.on(file, "read", 5) == b""
    client.on(file, "seek", 100)
    client.on(file, "seek", 20, io.SEEK_CUR)
    assert client.on(file, "read", 3) == BIG[120:123]
    with pytest.raises(ValueError):
        client.on(file, "seek", -1)
    client.on(file, "close")


@pytest.mark.parametrize(
    ("start", "end"),
    [(10, 20), (0, 5), (None, 7), (2_000_000, None), (-9, None), (-20, -10), (5, -5), (20, 10), (10**9, None)],
)
def test_a_part_of_a_file(client: Kind, name: str, start: int | None, end: int | None) -> None:
    client.call("put", f"{name}/a", BIG)
    assert client.call("get", f"{name}/a", start=start, end=end) == BIG[start:end]


def through(meddler: Meddler) -> Callable[[bytes], bytes]:
    """An answer of the API in which all copies are behind the meddler, which stands for all servers."""

    def change(body: bytes) -> bytes:
        file = json.loads(body)
        for replica in file.get("replicas", ()):
            if replica.get("url") is not None:
                replica["url"] = meddler.url + urlsplit(replica["url"]).path
        return json.dumps(file).encode()

    return change


def test_parts_are_asked_for_as_such_and_connections_used_again(
    site: Site, kind: type[Kind], name: str
) -> None:
    maker = kind(site.daemon.url)  # type: ignore[call-arg]
    put = maker.call("put", f"{name}/a", BIG, copies=1)
    maker.close()
    store = site.stores[put.replicas[0].backend]
    with Meddler(store.url, lambda method, path: None) as server:
        change = through(server)
        with Meddler(site.daemon.url, lambda m, path: change if "/files/" in path else None) as meddler:
            client = kind(meddler.url)  # type: ignore[call-arg]
            try:
                for start in range(0, 500_000, 100_000):
                    part = client.call("get", f"{name}/a", start=start, end=start + 1000)
                    assert part == BIG[start : start + 1000]
                for _ in range(3):
                    assert client.call("get", f"{name}/a") == BIG
            finally:
                client.close()
        assert [headers.get("Range") for headers in server.headers] == [
            *(f"bytes={start}-{start + 999}" for start in range(0, 500_000, 100_000)),
            *(None,) * 3,
        ]
        assert server.connections == 1


def test_a_file_that_is_read_is_put(client: Kind, name: str) -> None:
    client.call("put", f"{name}/a", BIG)
    file = client.call("open", f"{name}/a")
    assert client.on(file, "read", 10) == BIG[:10]
    put = client.call("put", f"{name}/b", file)
    client.on(file, "close")
    assert (put.size, put.sha256) == (len(BIG) - 10, sha(BIG[10:]))


def test_a_reader_keeps_the_version_that_it_opened(client: Kind, name: str) -> None:
    client.call("put", f"{name}/a", BIG, wait_copies=2)
    file = client.call("open", f"{name}/a")
    assert client.on(file, "read", 100) == BIG[:100]
    client.call("put", f"{name}/a", DATA, wait_copies=2)
    client.on(file, "seek", 2_000_000)
    assert client.on(file, "read", 100) == BIG[2_000_000:2_000_100]
    client.on(file, "close")
    assert client.call("get", f"{name}/a") == DATA


def test_a_storage_server_that_is_gone_is_left_for_another(site: Site, client: Kind, name: str) -> None:
    put = client.call("put", f"{name}/a", BIG, copies=2, wait_copies=2)
    file = client.call("open", f"{name}/a")
    assert client.on(file, "read", 1000) == BIG[:1000]
    gone = site.stores[put.replicas[0].backend]
    gone.stop()
    try:
        assert client.call("get", f"{name}/a") == BIG
        client.on(file, "seek", 1_500_000)
        assert client.on(file, "read", 1000) == BIG[1_500_000:1_501_000]
        other = client.call("put", f"{name}/b", DATA)
        assert client.call("get", f"{name}/b") == DATA
        assert all(
            replica.backend != put.replicas[0].backend for replica in other.replicas if replica.state == "good"
        )
    finally:
        client.on(file, "close")
        gone.start()
        site.eventually(
            "it is back", lambda: all(b["observed"] == "up" for b in site.daemon.status()["backends"])
        )


def test_reading_goes_on_when_all_were_away_and_are_back(site: Site, kind: type[Kind], name: str) -> None:
    with Meddler(site.daemon.url, lambda method, path: None) as meddler:
        client = kind(meddler.url, retries=0)  # type: ignore[call-arg]
        put = client.call("put", f"{name}/a", BIG, copies=2, wait_copies=2)
        stores = [site.stores[replica.backend] for replica in put.replicas]
        file = client.call("open", f"{name}/a")
        for store in stores:
            store.stop()
        meddler.rule = lambda method, path: "lose request"
        try:
            with pytest.raises(errors.Unavailable):
                client.on(file, "read", 1000)
        finally:
            for store in stores:
                store.start()
            site.eventually(
                "they are back", lambda: all(b["observed"] == "up" for b in site.daemon.status()["backends"])
            )
        meddler.rule = lambda method, path: None
        assert client.on(file, "read", 1000) == BIG[:1000]
        client.on(file, "close")
        client.close()


def test_a_copy_with_wrong_bytes_is_not_taken(site: Site, client: Kind, name: str, tmp_path: Path) -> None:
    put = client.call("put", f"{name}/a", DATA, copies=2, wait_copies=2)
    for replica in put.replicas[:1]:
        key = replica.url.partition("?")[0].split("/", 3)[3].replace("%40", "@")
        there = site.stores[replica.backend].root / key
        there.write_bytes(b"X" + DATA[1:])
    assert client.call("get", f"{name}/a") == DATA
    client.call("download", f"{name}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA
    for replica in put.replicas[1:]:
        key = replica.url.partition("?")[0].split("/", 3)[3].replace("%40", "@")
        (site.stores[replica.backend].root / key).write_bytes(b"X" + DATA[1:])
    with pytest.raises(errors.WrongBytes, match="not the digest"):
        client.call("get", f"{name}/a")
    with pytest.raises(errors.WrongBytes):
        client.call("download", f"{name}/a", tmp_path / "b", resume=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a"]


# --- to a file -------------------------------------------------------------------------------------------


def test_a_download_replaces_what_was_there_at_once(client: Kind, name: str, tmp_path: Path) -> None:
    client.call("put", f"{name}/a", BIG)
    target = tmp_path / "target"
    target.write_bytes(b"old")
    file = client.call("download", f"{name}/a", target)
    assert target.read_bytes() == BIG
    assert file.size == len(BIG)
    assert [each.name for each in tmp_path.iterdir()] == ["target"]


def test_a_download_takes_the_place_of_files_only(client: Kind, name: str, tmp_path: Path) -> None:
    client.call("put", f"{name}/a", DATA)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="this is a device or a pipe") as caught:
        client.call("download", f"{name}/a", pipe)
    assert caught.value.filename == str(pipe)
    assert pipe.is_fifo()

    def told(got: int, size: int | None) -> None:
        raise AssertionError("nothing of it is to be fetched")

    for directory in (tmp_path, str(tmp_path), f"{tmp_path}/", "."):
        with pytest.raises(IsADirectoryError) as caught:
            client.call("download", f"{name}/a", directory, progress=told)
    assert [each.name for each in tmp_path.iterdir()] == ["pipe"]


def test_a_download_that_fails_leaves_nothing(site: Site, kind: type[Kind], name: str, tmp_path: Path) -> None:
    client = kind(site.daemon.url)  # type: ignore[call-arg]
    client.call("put", f"{name}/a", BIG)

    def full(got: int, size: int | None) -> None:
        if got > 1_000_000:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        client.call("download", f"{name}/a", tmp_path / "a", progress=full)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="No space left"):
        client.call("download", f"{name}/a", tmp_path / "a", progress=full, resume=True)
    (part,) = tmp_path.iterdir()
    assert part.stat().st_size > 1_000_000
    places: list[int] = []
    client.call(
        "download", f"{name}/a", tmp_path / "a", resume=True, progress=lambda got, _: places.append(got)
    )
    assert places[0] > 1_000_000
    assert (tmp_path / "a").read_bytes() == BIG
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
    client.close()


# --- when something goes wrong ---------------------------------------------------------------------------


def test_no_server(kind: type[Kind]) -> None:
    client = kind(f"http://127.0.0.1:{free_port()}", retries=1)  # type: ignore[call-arg]
    with pytest.raises(errors.Unavailable, match=r"no answer from http.* 111\b") as caught:
        client.call("stat", "a")
    assert not caught.value.sent
    client.close()


def test_another_kind_of_server(site: Site, kind: type[Kind]) -> None:
    client = kind(next(iter(site.stores.values())).url)  # type: ignore[call-arg]
    with pytest.raises(errors.NotDragonbelly, match="is that its address"):
        client.call("stat", "a")
    client.close()


@pytest.mark.parametrize("path", ["a//b", "a/../b", ".", "-/x", "a\\b", "x" * 300, ""])
def test_a_path_that_is_refused(client: Kind, path: str) -> None:
    for method, args in (("put", (b"x",)), ("stat", ())):
        with pytest.raises((errors.BadRequest, errors.NotFound)) as caught:
            client.call(method, path, *args)
        assert str(caught.value)


def test_terms_that_are_refused(client: Kind, name: str) -> None:
    with pytest.raises(errors.BadRequest, match="policy"):
        client.call("put", f"{name}/a", b"x", policy="none")
    with pytest.raises(errors.BadRequest, match="copies"):
        client.call("put", f"{name}/a", b"x", copies=1000)
    with pytest.raises(ValueError, match="time zone"):
        client.call("put", f"{name}/a", b"x", expires=datetime(2040, 1, 1))
    with pytest.raises(TypeError, match=r"a time is a datetime, not timedelta: datetime\.now"):
        client.call("put", f"{name}/a", b"x", expires=timedelta(days=1))
    with pytest.raises(TypeError, match="encode"):
        client.call("put", f"{name}/a", "text")
    for text in (io.StringIO("text"), iter(["text"])):
        with pytest.raises(TypeError, match="this is text: open the file with mode 'rb', or encode each piece"):
            client.call("put", f"{name}/a", text)
    with pytest.raises(errors.NotFound):
        client.call("stat", f"{name}/a")


@pytest.mark.parametrize(("method", "arguments"), [("put", (b"x",)), ("stat", ()), ("delete", ())])
def test_a_path_that_is_no_text(client: Kind, name: str, method: str, arguments: tuple[Any, ...]) -> None:
    for path in (name.encode(), Path(name)):
        with pytest.raises(TypeError, match=f"a path in Dragonbelly is a str, not {type(path).__name__}"):
            client.call(method, path, *arguments)
    with pytest.raises(errors.BadRequest, match="path: the path is not valid Unicode"):
        client.call(method, f"{name}/\udc80", *arguments)  # what os.listdir makes of a name in Latin-1


def test_a_lost_reply_is_asked_for_again_and_done_once(site: Site, kind: type[Kind], name: str) -> None:
    with Meddler(site.daemon.url, first(2, "POST", "/complete", "lose reply")) as meddler:
        client = kind(meddler.url)  # type: ignore[call-arg]
        put = client.call("put", f"{name}/a", DATA)
        assert meddler.count("POST", "/complete") == 3
        assert meddler.count("POST", "/uploads") - meddler.count("POST", "/complete") == 1
        assert client.call("stat", f"{name}/a").version == put.version
        client.close()


def test_what_is_not_safe_is_not_done_twice(site: Site, kind: type[Kind], name: str) -> None:
    with Meddler(site.daemon.url, first(1, "DELETE", "/files", "lose reply")) as meddler:
        client = kind(meddler.url)  # type: ignore[call-arg]
        client.call("put", f"{name}/a", DATA)
        with pytest.raises(errors.Unavailable) as caught:
            client.call("delete", f"{name}/a")
        assert caught.value.sent
        assert meddler.count("DELETE") == 1
        client.close()


def test_not_now_is_asked_again(site: Site, kind: type[Kind], name: str) -> None:
    busy = b'{"title": "State store unavailable", "status": 503, "detail": "not connected"}'
    with Meddler(site.daemon.url, first(2, "GET", "/files/", (503, busy))) as meddler:
        client = kind(meddler.url)  # type: ignore[call-arg]
        client.call("put", f"{name}/a", DATA)
        assert client.call("stat", f"{name}/a").size == len(DATA)
        meddler.rule = lambda method, path: (503, busy) if method == "GET" else None
        with pytest.raises(errors.Unavailable, match="not connected") as caught:
            client.call("stat", f"{name}/a")
        assert caught.value.status == 503
        client.close()


def full(site: Site) -> Meddler:
    """A storage server without room."""
    return Meddler(site.daemon.url, lambda method, path: (507, b"full") if method == "PUT" else None)


def instead_of_first(*urls: str) -> Any:
    """The reply to ``POST uploads``, with these as the first targets."""

    def change(data: bytes) -> bytes:
        begun = json.loads(data)
        begun["targets"] = [{"method": "PUT", "url": url, "headers": {}} for url in urls] + begun["targets"]
        return json.dumps(begun).encode()

    return first(1, "POST", "/uploads", change)


def test_the_next_server_is_tried(site: Site, kind: type[Kind], name: str, tmp_path: Path) -> None:
    there = tmp_path / "file"
    there.write_bytes(BIG)
    with full(site) as server:
        nobody = f"http://127.0.0.1:{free_port()}/x"
        with Meddler(site.daemon.url, instead_of_first(nobody, server.url + "/x")) as meddler:
            client = kind(meddler.url)  # type: ignore[call-arg]
            sent: list[int] = []
            put = client.call("put", f"{name}/a", there, progress=lambda n, _: sent.append(n))
            assert (put.sha256, put.size) == (sha(BIG), len(BIG))
            assert sent.count(0) == 2, "it begins again for each server that answers"
            client.close()


def test_a_stream_cannot_be_sent_to_the_next_server(site: Site, kind: type[Kind], name: str) -> None:
    with full(site) as server, Meddler(site.daemon.url, instead_of_first(server.url + "/x")) as meddler:
        client = kind(meddler.url)  # type: ignore[call-arg]
        with pytest.raises(errors.UploadFailed, match=r"507.*cannot be sent to another server") as caught:
            client.call("put", f"{name}/a", client.stream([b"a", b"b"]))
        assert [why for _, why in caught.value.causes] == ["it answers 507"]
        assert meddler.count("DELETE", "/uploads/") == 1, "it is called off"
        with pytest.raises(errors.NotFound):
            client.call("stat", f"{name}/a")
        client.close()


def test_no_server_takes_it(site: Site, kind: type[Kind], name: str) -> None:
    def only(data: bytes) -> bytes:
        begun = json.loads(data)
        begun["targets"] = [{"method": "PUT", "url": server.url + "/x", "headers": {}}] * 2
        return json.dumps(begun).encode()

    with full(site) as server, Meddler(site.daemon.url, first(1, "POST", "/uploads", only)) as meddler:
        client = kind(meddler.url)  # type: ignore[call-arg]
        with pytest.raises(errors.UploadFailed, match=r"no storage server took the file.*507.*507"):
            client.call("put", f"{name}/a", DATA)
        client.close()


def test_a_file_that_changes_while_it_is_read(client: Kind, name: str, tmp_path: Path) -> None:
    there = tmp_path / "file"
    there.write_bytes(BIG)

    def grow(sent: int, size: int | None) -> None:
        if sent > 2_000_000:
            with there.open("ab") as file:
                file.write(b"more")

    def shrink(sent: int, size: int | None) -> None:
        os.truncate(there, 2_500_000)

    with pytest.raises(errors.Changed, match="grew"):
        client.call("put", f"{name}/a", there, progress=grow)
    there.write_bytes(BIG)
    with pytest.raises(errors.Changed, match="shrank"):
        client.call("put", f"{name}/a", there, progress=shrink)
    with pytest.raises(errors.NotFound):
        client.call("stat", f"{name}/a")


def test_a_source_that_fails(client: Kind, name: str) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 0:
                raise OSError(5, "Input/output error")
            return super().read(100)

    with pytest.raises(OSError, match="Input/output"):
        client.call("put", f"{name}/a", Broken(DATA))
    with pytest.raises(errors.NotFound):
        client.call("stat", f"{name}/a")


def test_options_that_are_wrong(kind: type[Kind]) -> None:
    for url in (
        "media.example.com",
        "ftp://x",
        "http://",
        "http://x/?a=b",
        "http://[::1",
        "http://x:port",
        "http://x:99999",
        "http://x/-/api/v1",
        "http://x/-/",
    ):
        with pytest.raises(ValueError, match="no address of a server"):
            kind(url)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="token"):
        kind("http://127.0.0.1", token="a\nb")  # type: ignore[call-arg]
