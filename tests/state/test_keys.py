import zlib

import pytest

from dragonbelly.model import Path
from dragonbelly.state.keys import Keys, partition


def test_names_as_designed() -> None:
    keys = Keys(64)
    path = Path("media", "a/é.jpg")
    q = zlib.crc32("media/a/é.jpg".encode()) % 64
    assert keys.partition(path) == partition(path.member, 64) == q
    assert keys.record(path) == f"db:f:{{{q}}}:media/a/é.jpg"
    assert [name(7) for name in (keys.ls, keys.due, keys.thin, keys.use)] == [
        "db:{7}:ls",
        "db:{7}:due",
        "db:{7}:thin",
        "db:{7}:use",
    ]
    assert (keys.backends, keys.meta) == ("db:backends", "db:meta")


def test_a_partition_is_for_ever() -> None:
    """Known values: another function would lose every record there is."""
    assert [partition(f"media/{name}", 64) for name in ("a", "b", "a/photo.jpg", "é")] == [2, 56, 4, 11]


@pytest.mark.parametrize("prefix", ["db", "a*b", "x:f:{1}:", "é"])
@pytest.mark.parametrize("name", ["a", "a/b", "x:f:{2}:y", "日本", "line\nbreak"])
def test_the_path_is_read_back_from_its_key(prefix: str, name: str) -> None:
    keys = Keys(64, prefix)
    path = Path("media", name)
    assert keys.path_of(keys.record(path).encode()) == path


def test_foreign_keys() -> None:
    keys = Keys(64)
    right = keys.record(Path("media", "a")).encode()
    q = keys.partition(Path("media", "a"))
    wrong = right.replace(b"{%d}" % q, b"{%d}" % ((q + 1) % 64))
    for key in [
        b"",
        b"db:meta",
        b"db:{1}:ls",
        b"xdb" + right[2:],
        wrong,
        b"db:f:{1}:",
        b"db:f:{1}:\xff",
        b"db:f:{x}:a",
    ]:
        assert keys.path_of(key) is None
