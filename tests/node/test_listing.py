"""The walk over a node's keys, page by page."""

import os
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from dragonbelly.errors import BadPath, BadRequest
from dragonbelly.node import listing
from dragonbelly.node.listing import page


def make(root: Path, *keys: str) -> None:
    for key in keys:
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(key))


def all_keys(root: Path, prefix: str = "", limit: int = 10) -> list[str]:
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        got = page(root, prefix, after, limit)
        assert len(got.keys) <= limit
        assert all(stored.size == len(stored.key) for stored in got.keys)
        found += [stored.key for stored in got.keys]
        assert got.next != after
        after = got.next
    return found


def in_order(keys: list[str]) -> list[str]:
    return sorted(keys, key=lambda key: [segment.encode() for segment in key.split("/")])


# names that sort differently as segments and as text, and that meet as files and directories
names = st.text("ab!0", min_size=1, max_size=2)
trees = st.sets(st.lists(names, min_size=1, max_size=4).map("/".join), max_size=25).map(
    lambda keys: [key for key in keys if not any(other.startswith(f"{key}/") for other in keys)]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=trees, limit=st.integers(1, 5), batch=st.integers(1, 4), most=st.integers(6, 9), data=st.data())
def test_every_key_once_in_order(
    keys: list[str],
    limit: int,
    batch: int,
    most: int,
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path_factory.mktemp("root")
    make(root, *keys)
    (root / "a!b" / "empty" / "er").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "BATCH", batch)
        patch.setattr(listing, "MAX_DIRECTORIES", most)
        assert all_keys(root, limit=limit) == in_order(keys)
        prefix = data.draw(st.sampled_from(["a", "b", "a/b", "0/!", "none"]))
        under = [key for key in keys if key.startswith(f"{prefix}/")]
        assert all_keys(root, prefix, limit) == in_order(under)


@settings(max_examples=100, deadline=None)
@given(after=st.lists(names, min_size=1, max_size=4).map("/".join))
def test_after_need_not_exist(after: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.getbasetemp() / "after"
    keys = ["a/a", "a/b/a", "a/b/b", "b", "0/0/0/0", "ab/!/a"]
    make(root, *keys)
    later = [key for key in in_order(keys) if in_order([after, key])[0] == after and key != after]
    assert [stored.key for stored in page(root, "", after, 100).keys] == later


def test_what_is_no_key_is_left_out(tmp_path: Path) -> None:
    make(tmp_path, "d/good", "-/unfinished", "d/-", ".dragonbelly/backend")
    (tmp_path / "d/back\\slash").touch()
    (tmp_path / "d/new\nline").touch()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/d/\xff")).touch()
    deep = tmp_path.joinpath(*["x" * 200] * 6)
    deep.mkdir(parents=True)
    (deep / "too long").touch()
    assert all_keys(tmp_path) == [".dragonbelly/backend", "d/-", "d/good"]


@pytest.mark.parametrize(("prefix", "after"), [("d", "e/a"), ("d", "d2/a"), ("d/a", "d")])
def test_after_lies_under_prefix(tmp_path: Path, prefix: str, after: str) -> None:
    with pytest.raises(BadRequest):
        page(tmp_path, prefix, after, 10)


@pytest.mark.parametrize("prefix", ["..", "a/../..", "/etc", "a/", "a\0"])
def test_a_prefix_is_a_key(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(BadPath):
        page(tmp_path, prefix, "", 10)


def test_a_directory_that_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "BATCH", 1)
    make(tmp_path, "a/1", "b/1", "c/1")
    first = page(tmp_path, "", "", 1)
    (tmp_path / "b/1").unlink()
    (tmp_path / "b").rmdir()
    assert [stored.key for stored in page(tmp_path, "", first.next or "", 5).keys] == ["c/1"]
