"""Storage keys can be read back, and ids are ULIDs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragonbelly.ids import created, is_ulid, ulid
from dragonbelly.keys import MARKER, is_key, key_of, looks_like_mark, parse_key, storage_key
from dragonbelly.model import Path, Replica, ReplicaState
from tests.builders import live, vid

SEGMENTS = st.text(
    st.characters(exclude_characters="/", exclude_categories=("Cs", "Cc")), min_size=1, max_size=8
)
IDS = st.builds(ulid, st.floats(0, 2**40), st.integers(0, 2**80 - 1).map(lambda n: lambda bits: n))


@given(SEGMENTS, st.lists(SEGMENTS, min_size=1, max_size=4), IDS, st.integers(0, 999_999))
def test_a_key_can_be_read_back(domain, segments, id, generation):
    path = Path(domain, "/".join(segments))
    key = storage_key(path, id, generation)
    assert parse_key(key) == (path, id, generation)
    assert key.rpartition("/")[2] == segments[-1]
    assert looks_like_mark(key.split("/")[-2])


@given(st.text(max_size=60))
def test_any_other_key_is_none_of_ours(key):
    found = parse_key(key)
    assert found is None or storage_key(*found) == key


def test_what_keys_look_like():
    path = Path("media", "a/b/c.jpg")
    assert storage_key(path, vid(1)) == f"media/a/b/@{vid(1)}/c.jpg"
    assert storage_key(path, vid(1), 3) == f"media/a/b/@{vid(1)}.3/c.jpg"
    assert storage_key(Path("media", "c.jpg"), vid(1)) == f"media/@{vid(1)}/c.jpg"


@pytest.mark.parametrize(
    "key",
    [
        MARKER,
        "",
        "media/c.jpg",
        f"@{vid(1)}/c.jpg",
        f"media/{vid(1)}/c.jpg",
        f"media/@{vid(1)}.0/c.jpg",
        f"media/@{vid(1)}.01/c.jpg",
        f"media/@{vid(1)}./c.jpg",
        f"media/@{vid(1)}.1000000/c.jpg",
        f"media/@{vid(1)}x/c.jpg",
        f"media/@{vid(1).lower()}/c.jpg",
        f"media/@{vid(1)}\n/c.jpg",
        f"media/@8{vid(1)[1:]}/c.jpg",
    ],
)
def test_what_is_no_key_of_ours(key):
    assert parse_key(key) is None


def test_an_adopted_file_keeps_its_key():
    path = Path("media", "c.jpg")
    version = live("a.2:good")
    assert key_of(path, version, version.replicas[0]) == f"media/@{vid(1)}.2/c.jpg"
    assert key_of(path, version, Replica("b", ReplicaState.GOOD, key="old/place")) == "old/place"


def test_paths_that_could_be_taken_for_a_version():
    assert looks_like_mark(f"@{vid(1)}")
    assert looks_like_mark(f"@{vid(1)}.7")
    for segment in ("@home", "@", vid(1), f"@{vid(1)}.", f"x@{vid(1)}", f"@{vid(1)} "):
        assert not looks_like_mark(segment)


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**80 - 1))
def test_an_id_says_when_it_was_made(milliseconds, chance):
    id = ulid(milliseconds / 1000, lambda bits: chance)
    assert is_ulid(id)
    assert abs(created(id) * 1000 - milliseconds) < 1.5  # a float of a second is no whole number of ms


@given(st.integers(0, 2**40), st.integers(1, 2**20), st.integers(0, 2**80 - 1), st.integers(0, 2**80 - 1))
def test_ids_are_in_the_order_of_time(moment, later, one, other):
    assert ulid(moment, lambda bits: one) < ulid(moment + later, lambda bits: other)


def test_all_of_the_randomness_is_used():
    assert ulid(0, lambda bits: 2**bits - 1) == "0" * 10 + "Z" * 16
    assert ulid(0, lambda bits: 1) == "0" * 25 + "1"
    asked = []
    ulid(0, lambda bits: asked.append(bits) or 0)
    assert asked == [80]


@pytest.mark.parametrize("text", ["", "0" * 25, "0" * 27, "8" + "0" * 25, "0" * 25 + "U", "0" * 26 + "\n"])
def test_what_is_no_id(text):
    assert not is_ulid(text)


@pytest.mark.parametrize("key", ["a", "a/b", "media/@x/é \\?#%", "...", "a" * 1200, "é" * 600])
def test_what_a_backend_may_be_given(key):
    assert is_key(key)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "a/./b",
        "a\n",
        "a\x00b",
        "\x7f",
        "\ud800",
        "a" * 1201,
        "é" * 601,
    ],
)
def test_what_no_backend_was_given(key):
    assert not is_key(key)
