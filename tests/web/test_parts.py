"""``Parts``: a dict in pieces, none of which is large."""

from __future__ import annotations

from dragonbelly.web.parts import PARTS, Parts


def test_as_a_dict() -> None:
    parts: Parts[bytes, int] = Parts()
    for n in range(1000):
        parts.of(b"%d" % n)[b"%d" % n] = n
    assert len(parts) == 1000
    assert parts.of(b"7")[b"7"] == 7
    assert parts.of(b"1000").get(b"1000") is None
    assert sorted(parts.values()) == [*range(1000)]
    assert dict(parts.items()) == {b"%d" % n: n for n in range(1000)}
    del parts.of(b"7")[b"7"]
    assert len(parts) == 999
    parts.clear()
    assert len(parts) == 0
    assert [*parts.items()] == []


def test_no_piece_is_large() -> None:
    parts: Parts[str, int] = Parts()
    for n in range(100_000):
        parts.of(f"{n}")[f"{n}"] = n
    largest = max(len(parts.of(f"{n}")) for n in range(1000))
    assert largest < 2 * 100_000 / PARTS
