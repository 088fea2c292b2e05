"""The objects on the disk, without HTTP."""

import errno
import fcntl
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest

from dragonbelly.errors import NotFound, StartError
from dragonbelly.node.directories import StorageGone
from dragonbelly.node.incoming import Incoming, NoRoom
from dragonbelly.node.store import Store, Taken

MARK = "@01ARZ3NDEKTSV4RRFFQ69G5FAV"
KEY = f"d/a/{MARK}/photo.jpg"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> Iterator[Store]:
    store = Store(root)
    store.prepare()
    yield store
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # other threads have files, too
            assert not str(link.readlink()).startswith(str(root)), "a file was left open"
    assert store._promised == 0


def received(store: Store, data: bytes, announced: bool = True) -> Incoming:
    incoming = store.receive(len(data) if announced else None)
    for start in range(0, len(data), 1000):
        incoming.write(data[start : start + 1000])
    incoming.finished()
    return incoming


def put(store: Store, key: str, data: bytes, content_type: str | None = None) -> bool:
    return store.publish(received(store, data), key, content_type)


def get(store: Store, key: str) -> bytes:
    with os.fdopen(store.find(key).fd, "rb") as file:
        return file.read()


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


class TestPublish:
    def test_a_plain_file_at_the_key(self, store: Store, root: Path) -> None:
        data = os.urandom(5000)
        assert put(store, KEY, data, "image/x-test")
        assert (root / KEY).read_bytes() == data
        assert files(root) == [KEY]
        found = store.find(KEY)
        os.close(found.fd)
        assert (found.size, found.sha256, found.content_type) == (5000, sha256(data).digest(), "image/x-test")
        assert found.tag == f'"{sha256(data).hexdigest()}"'

    def test_invisible_until_it_is_whole(self, store: Store, root: Path) -> None:
        incoming = store.receive(10)
        incoming.write(b"12345")
        with pytest.raises(NotFound):
            store.find(KEY)
        assert not (root / "d").exists()
        incoming.aborted()
        assert files(root) == []

    def test_the_same_bytes_again(self, store: Store, root: Path) -> None:
        assert put(store, KEY, b"bytes") is True
        assert put(store, KEY, b"bytes") is False
        assert files(root) == [KEY]

    @pytest.mark.parametrize("other", [b"other", b"bytes ", b""])
    def test_never_overwritten(self, store: Store, root: Path, other: bytes) -> None:
        put(store, KEY, b"bytes")
        with pytest.raises(Taken):
            put(store, KEY, other)
        assert (root / KEY).read_bytes() == b"bytes"
        assert files(root) == [KEY]

    def test_the_bytes_are_compared_and_not_what_is_said_of_them(self, store: Store, root: Path) -> None:
        put(store, KEY, b"bytes")
        (root / KEY).write_bytes(b"bitrt")
        with pytest.raises(Taken):
            put(store, KEY, b"bytes")

    @pytest.mark.parametrize("key", ["d", "d/a", f"{KEY}/x", f"{KEY}/x/y"])
    def test_files_and_directories_do_not_mix(self, store: Store, root: Path, key: str) -> None:
        put(store, KEY, b"bytes")
        with pytest.raises(Taken):
            put(store, key, b"bytes")
        with pytest.raises(NotFound):
            store.find(key)
        assert files(root) == [KEY]

    def test_one_of_many_wins(self, store: Store, root: Path) -> None:
        bodies = [received(store, b"%d" % n) for n in range(16)]

        def publish(body: Incoming) -> bool:
            try:
                return store.publish(body, KEY, None)
            except Taken:
                return False

        with ThreadPoolExecutor(16) as threads:
            assert sum(threads.map(publish, bodies)) == 1
        assert files(root) == [KEY]

    def test_removals_do_not_get_in_the_way(self, store: Store, root: Path) -> None:
        """The version's directory is removed while others put something into it."""
        failed: list[Exception] = []

        def work(name: str) -> None:
            try:
                for _ in range(60):
                    put(store, f"d/{MARK}/{name}", name.encode())
                    store.remove(f"d/{MARK}/{name}")
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert failed == []
        assert files(root) == []

    def test_on_the_disk_before_it_appears(
        self, store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[str] = []
        fsync, link = os.fsync, os.link

        def told(fd: int) -> None:
            path = Path(f"/proc/self/fd/{fd}").readlink()
            done.append("file" if "-" in path.parts else str(path.relative_to(root)))
            fsync(fd)

        monkeypatch.setattr(os, "fsync", told)
        monkeypatch.setattr(os, "link", lambda *a, **k: (done.append("link"), link(*a, **k)))
        put(store, KEY, b"bytes")
        assert done == ["file", ".", "d", "d/a", "link", f"d/a/{MARK}"]

    def test_a_file_system_without_attributes(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*args: object) -> None:
            raise OSError(errno.ENOTSUP, "not supported")

        monkeypatch.setattr(os, "setxattr", refuse)
        put(store, KEY, b"bytes", "text/x-test")
        found = store.find(KEY)
        os.close(found.fd)
        assert (found.sha256, found.content_type) == (None, "image/jpeg")
        assert found.tag.strip('"')

    @pytest.mark.parametrize("digest", [b"", b"zz", b"abcd", b"\xff" * 64])
    def test_a_digest_that_is_none(self, store: Store, root: Path, digest: bytes) -> None:
        put(store, KEY, b"bytes")
        os.setxattr(root / KEY, "user.sha256", digest)
        os.setxattr(root / KEY, "user.content_type", b"a\r\nb: c")
        found = store.find(KEY)
        os.close(found.fd)
        assert (found.sha256, found.content_type) == (None, "image/jpeg")


class TestRoom:
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    @pytest.mark.parametrize("call", ["write", "fsync", "mkdir", "link"])
    def test_a_full_disk(
        self, store: Store, root: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
    ) -> None:
        def full(*args: object, **more: object) -> None:
            raise OSError(number, "full")

        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            incoming = store.receive(5)
            incoming.write(b"bytes")
            incoming.finished()
            if call == "write":
                assert isinstance(incoming.error, NoRoom)
            else:
                with pytest.raises(NoRoom):
                    store.publish(incoming, KEY, None)
        assert files(root) == []
        assert put(store, KEY, b"bytes")

    def test_the_reserve_is_kept(self, root: Path) -> None:
        store = Store(root, 2**60)
        store.prepare()
        for length in (0, 1, None):
            with pytest.raises(NoRoom):
                store.receive(length)
        assert store.space().free == 0

    def test_what_is_under_way_counts(self, root: Path) -> None:
        free = Store(root.parent).space().free
        assert free is not None
        store = Store(root, free - 2**30)  # about 1 GiB is left, and others write here, too
        store.prepare()
        first = store.receive(700 * 2**20)
        with pytest.raises(NoRoom):
            store.receive(700 * 2**20)
        first.aborted()
        store.receive(700 * 2**20).aborted()

    def test_a_body_without_a_length_meets_the_reserve(
        self, store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        incoming = store.receive(None)
        incoming.write(b"x" * 2**20)
        monkeypatch.setattr(store, "_reserve", 2**60)
        for _ in range(9):
            incoming.write(b"x" * 2**20)
        assert isinstance(incoming.error, NoRoom)
        assert files(root) == []


class TestRemove:
    def test_with_the_versions_directory(self, store: Store, root: Path) -> None:
        put(store, KEY, b"bytes")
        store.remove(KEY)
        assert not (root / "d/a" / MARK).exists()
        assert (root / "d/a").is_dir()

    def test_a_directory_with_more_in_it_stays(self, store: Store, root: Path) -> None:
        put(store, KEY, b"bytes")
        put(store, f"d/a/{MARK}/other", b"bytes")
        store.remove(KEY)
        assert files(root) == [f"d/a/{MARK}/other"]

    def test_another_directory_stays(self, store: Store, root: Path) -> None:
        put(store, "d/a/adopted", b"bytes")
        store.remove("d/a/adopted")
        assert (root / "d/a").is_dir()

    @pytest.mark.parametrize("key", [KEY, "d", f"d/a/{MARK}", "d/none", f"{KEY}/x", "x" * 255])
    def test_absent(self, store: Store, root: Path, key: str) -> None:
        if key != KEY:
            put(store, KEY, b"bytes")
        with pytest.raises(NotFound):
            store.remove(key)
        assert files(root) == ([] if key == KEY else [KEY])

    def test_a_reader_goes_on(self, store: Store) -> None:
        put(store, KEY, b"bytes")
        found = store.find(KEY)
        store.remove(KEY)
        with os.fdopen(found.fd, "rb") as file:
            assert file.read() == b"bytes"


class TestLinks:
    @pytest.fixture
    def outside(self, tmp_path: Path) -> Path:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "secret").write_text("secret")
        return outside

    def test_a_linked_file(self, store: Store, root: Path, outside: Path) -> None:
        (root / "d").mkdir()
        (root / "d/link").symlink_to(outside / "secret")
        for _ in range(2):
            with pytest.raises(NotFound):
                store.find("d/link")
            with pytest.raises(NotFound):
                store.remove("d/link")
            with pytest.raises(Taken):
                put(store, "d/link", b"secret")
        assert (outside / "secret").read_text() == "secret"
        assert store.page("", "", 10).keys == []

    def test_a_linked_directory(self, store: Store, root: Path, outside: Path) -> None:
        (root / "d").symlink_to(outside)
        for key in ("d/secret", "d/new"):
            with pytest.raises(NotFound):
                store.find(key)
            with pytest.raises(NotFound):
                store.remove(key)
            with pytest.raises(Taken):
                put(store, key, b"bytes")
        assert files(outside) == ["secret"]
        assert store.page("", "", 10).keys == []
        assert store.page("d", "", 10).keys == []

    def test_links_inside_are_not_followed_either(self, store: Store, root: Path) -> None:
        put(store, "d/file", b"bytes")
        (root / "d/link").symlink_to("file")
        with pytest.raises(NotFound):
            store.find("d/link")

    def test_the_root_may_be_a_link(self, root: Path, tmp_path: Path) -> None:
        (tmp_path / "disk").mkdir()
        root.symlink_to(tmp_path / "disk")
        store = Store(root)
        store.prepare()
        put(store, "d/file", b"bytes")
        assert get(store, "d/file") == b"bytes"

    def test_what_is_no_file(self, store: Store, root: Path) -> None:
        os.mkfifo(root / "pipe")
        with socket.socket(socket.AF_UNIX) as listener:
            directory = os.open(root, os.O_RDONLY)
            listener.bind(f"/proc/self/fd/{directory}/socket")  # the path itself may be too long
            os.close(directory)
        for key in ("pipe", "socket"):
            with pytest.raises(NotFound):
                store.find(key)
        assert store.page("", "", 10).keys == []


class TestStart:
    def test_leftovers_are_removed(self, store: Store, root: Path) -> None:
        put(store, KEY, b"bytes")
        for n in range(3):
            (root / "-" / f"left{n}").write_bytes(b"half")
        again = Store(root)
        assert again.prepare() == 3
        assert files(root) == [KEY]
        assert again.prepare() == 0

    def test_one_whose_name_was_given_already(self, store: Store, root: Path) -> None:
        """It died between giving the object its name and taking away the temporary one."""
        put(store, KEY, b"bytes")
        os.link(root / KEY, root / "-/left")
        Store(root).prepare()
        assert files(root) == [KEY]
        assert get(store, KEY) == b"bytes"

    def test_uploads_of_a_living_process_are_not(self, store: Store, root: Path) -> None:
        incoming = received(store, b"bytes")
        assert Store(root).prepare() == 0
        store.publish(incoming, KEY, None)
        assert get(store, KEY) == b"bytes"

    def test_a_cleaner_between_making_and_locking(
        self, store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        flock, removed = fcntl.flock, []

        def cleaner_first(fd: int, how: int) -> None:
            if not removed:
                removed.extend((root / "-").iterdir())
                removed[0].unlink()
            flock(fd, how)

        monkeypatch.setattr(fcntl, "flock", cleaner_first)
        assert put(store, KEY, b"bytes")
        assert get(store, KEY) == b"bytes"

    def test_no_place_for_files(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for root in (tmp_path / "file", tmp_path / "file/root", Path("/proc/root")):
            with pytest.raises(StartError, match=str(root)):
                Store(root).prepare()


@pytest.mark.parametrize("mount_point", [False, True])
def test_storage_that_is_gone_is_not_empty(store: Store, root: Path, mount_point: bool) -> None:
    put(store, KEY, b"bytes")
    root.rename(root.with_name("away"))
    if mount_point:
        root.mkdir()
    for ask in (
        lambda: store.find(KEY),
        lambda: store.remove(KEY),
        lambda: store.page("", "", 10),
        lambda: store.receive(5),
    ):
        with pytest.raises(StorageGone):
            ask()
