"""The judge of the chaos, on histories whose verdict is plain."""

from __future__ import annotations

from math import inf

import pytest

from tests.chaos.contents import content, origin
from tests.chaos.history import LOST, WRONG_BYTES, Delete, History, Upload


def upload(op: int, begun: float, accepted: float, seen: float | None = None, **more: object) -> Upload:
    made = Upload(op, "a", begun, accepted, sent=True, **more)  # type: ignore[arg-type]
    if seen is not None:
        made.acknowledged = made.seen = seen
    return made


def history(*events: Upload | Delete) -> History:
    made = History()
    for event in events:
        made.upload(event) if isinstance(event, Upload) else made.delete(event)
    return made


def verdict(made: History, op: int | None, began: float, ended: float) -> str | None:
    fault = made.read("a", op, began, ended)
    return fault and fault.kind


FIRST, SECOND = upload(1, 1, 2, 3), upload(2, 4, 5, 6)
DELETED = Delete(9, "a", 4, 5, acknowledged=True)


@pytest.mark.parametrize(
    ("events", "op", "began", "ended", "expected"),
    [
        ([], None, 0, 1, None),
        ([upload(1, 1, 2)], 1, 3, 4, None),
        ([upload(1, 1, 2)], None, 3, 4, None),
        ([FIRST], 1, 4, 5, None),
        ([FIRST], None, 4, 5, LOST),
        ([FIRST], None, 2.5, 5, None),  # asked before it was acknowledged
        ([FIRST], 7, 4, 5, WRONG_BYTES),
        ([FIRST, SECOND], 2, 7, 8, None),
        ([FIRST, SECOND], 1, 7, 8, WRONG_BYTES),
        ([FIRST, SECOND], 1, 5, 8, None),  # asked before the second was acknowledged
        ([upload(1, 1, 4.5, 4.6), SECOND], 1, 7, 8, None),  # accepted at the same time: either may be newer
        ([FIRST, upload(2, 4, 5)], 1, 7, 8, None),
        ([FIRST, DELETED], None, 7, 8, None),
        ([FIRST, DELETED], 1, 7, 8, WRONG_BYTES),
        ([FIRST, DELETED], 1, 4.5, 8, None),
        ([FIRST, Delete(9, "a", 4)], None, 7, 8, None),  # nobody knows
        ([FIRST, Delete(9, "a", 4)], 1, 7, 8, None),
        ([DELETED, upload(1, 6, 7, 8)], None, 9, 10, LOST),
        ([Delete(9, "a", 4), upload(1, 6, 7, 8)], None, 9, 10, None),  # it may still come
        ([upload(1, 1, 2, why_never="cut")], 1, 3, 4, WRONG_BYTES),
        ([Upload(1, "a", 1, 2)], 1, 3, 4, WRONG_BYTES),  # never sent
    ],
)
def test_what_an_answer_may_be(
    events: list[Upload | Delete], op: int | None, began: float, ended: float, expected: str | None
) -> None:
    assert verdict(history(*events), op, began, ended) == expected


def test_what_was_read_once_stays() -> None:
    made = history(upload(1, 1, 2, 3), upload(2, 4, 5))
    assert verdict(made, 1, 6, 7) is None
    assert verdict(made, 2, 8, 9) is None, "it was in doubt"
    assert verdict(made, 1, 10, 11) == WRONG_BYTES, "and is not any more"


def test_what_was_gone_does_not_come_back() -> None:
    made = history(upload(1, 1, 2, 3), Delete(9, "a", 4))
    assert verdict(made, None, 5, 6) is None
    assert verdict(made, 1, 7, 8) == WRONG_BYTES


def test_since_when_an_answer_was_out_of_date() -> None:
    made = history(FIRST, SECOND, Delete(9, "a", 8, 9, acknowledged=True))
    behind = made.read("a", 1, 20, 21)
    assert behind is not None
    assert behind.since == 6, "the second was seen then"
    deleted = made.read("a", 2, 20, 21)
    assert deleted is not None
    assert deleted.since == 9
    never = made.read("a", 7, 20, 21)
    assert never is not None
    assert never.since == -inf, "it is no file of the path, however long one waits"


@pytest.mark.parametrize("size", [50, 5000])
def test_contents_say_whose_they_are(size: int) -> None:
    data = content("d/f", 3, size)
    assert len(data) >= size
    assert origin(data) == ("d/f", 3)
    flipped = bytes([data[-1] ^ 1])
    for wrong in (data[:-1], data + b"x", b"x" + data[1:], data[:-1] + flipped):
        assert origin(wrong) is None
    assert origin(b"") is None
    assert content("d/f", 4, size) != data
