import hypothesis.strategies as st
import pytest
from hypothesis import given

from dragonbelly.node.conditions import Part, select

TAG = '"abc"'
MODIFIED = 784111777
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = "Mon, 07 Nov 1994 08:49:37 GMT"


def ask(size: int = 100, ranges: bool = True, **headers: str) -> Part:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return select(named.get, size, TAG, MODIFIED, ranges=ranges)


WHOLE = Part(200, 0, 100)


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", Part(206, 0, 1)),
        ("bytes=10-19", Part(206, 10, 10)),
        ("bytes=90-", Part(206, 90, 10)),
        ("bytes=90-1000", Part(206, 90, 10)),
        ("bytes=0-", Part(206, 0, 100)),
        ("bytes=-1", Part(206, 99, 1)),
        ("bytes=-1000", Part(206, 0, 100)),
        (" bytes= 1-2 ", Part(206, 1, 2)),
        ("bytes=100-", Part(416, 0, 0)),
        ("bytes=100-200", Part(416, 0, 0)),
        ("bytes=-0", Part(416, 0, 0)),
        ("bytes=5-4", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=", WHOLE),
        ("bytes=a-b", WHOLE),
        ("bytes=+1-2", WHOLE),
        ("bytes=1--2", WHOLE),
        ("bytes=0-1,3-4", WHOLE),
        ("lines=0-1", WHOLE),
        ("bytes=0-" + "9" * 5000, WHOLE),
    ],
)
def test_ranges(asked: str, part: Part) -> None:
    assert ask(range=asked) == part


def test_no_range_of_nothing() -> None:
    assert ask(0, range="bytes=0-") == Part(416, 0, 0)
    assert ask(0) == Part(200, 0, 0)


def test_head_knows_no_ranges() -> None:
    assert ask(ranges=False, range="bytes=0-1") == WHOLE


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (TAG, True),
        ('"x"', False),
        (f"W/{TAG}", False),
        (DATE, True),
        (BEFORE, False),
        (AFTER, False),
        ("", False),
    ],
)
def test_if_range(condition: str, holds: bool) -> None:
    assert ask(range="bytes=0-1", if_range=condition).status == (206 if holds else 200)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_none_match": TAG}, 304),
        ({"if_none_match": f'"x", W/{TAG}'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"x"'}, 200),
        ({"if_none_match": "abc"}, 200),
        ({"if_none_match": '"x"', "if_modified_since": AFTER}, 200),
        ({"if_modified_since": DATE}, 304),
        ({"if_modified_since": AFTER}, 304),
        ({"if_modified_since": BEFORE}, 200),
        ({"if_modified_since": "yesterday"}, 200),
        ({"if_match": TAG}, 200),
        ({"if_match": "*"}, 200),
        ({"if_match": f'"x", {TAG}'}, 200),
        ({"if_match": '"x"'}, 412),
        ({"if_match": f"W/{TAG}"}, 412),
        ({"if_unmodified_since": BEFORE}, 412),
        ({"if_unmodified_since": DATE}, 200),
        ({"if_match": TAG, "if_unmodified_since": BEFORE}, 200),
        ({"if_match": TAG, "if_none_match": TAG}, 304),
        ({"if_none_match": TAG, "range": "bytes=0-1"}, 304),
        ({"if_match": '"x"', "range": "bytes=0-1"}, 412),
    ],
)
def test_preconditions(headers: dict[str, str], status: int) -> None:
    assert ask(**headers).status == status


@given(
    st.dictionaries(
        st.sampled_from(["range", "if_range", "if_match", "if_none_match", "if_modified_since"]),
        st.text(st.characters(max_codepoint=255)),
    ),
    st.integers(0, 1000),
)
def test_whatever_comes_a_part_is_inside(headers: dict[str, str], size: int) -> None:
    part = ask(size, **headers)
    assert part.status in (200, 206, 304, 412, 416)
    assert 0 <= part.start <= part.start + part.length <= size


@given(st.integers(0, 200), st.integers(0, 200))
def test_a_range_is_what_slicing_gives(start: int, stop: int) -> None:
    data = bytes(range(100))
    part = ask(range=f"bytes={start}-{stop}")
    if part.status == 206:
        assert data[part.start : part.start + part.length] == data[start : stop + 1]
    else:
        assert start > stop or start >= 100
