import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragonbelly.units import Amount, Duration, Interval, Size

milliseconds = st.integers(0, Duration.MOST)
sizes = st.integers(0, Size.MOST)


@given(milliseconds)
def test_durations_are_read_as_they_are_shown(value):
    duration = Duration(value / 1000)
    assert Duration.parse(str(duration)) == duration
    assert Duration.parse(value / 1000) == duration


@given(sizes | sizes.map(lambda size: size // 2**30 * 2**30) | sizes.map(lambda size: size // 10**9 * 10**9))
def test_sizes_are_read_as_they_are_shown(value):
    assert Size.parse(str(Size(value))) == Size.parse(value) == value


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("15m", 900, "15m"),
        ("1h30m", 5400, "1h30m"),
        ("90m", 5400, "1h30m"),
        ("500ms", 0.5, "500ms"),
        ("0.5s", 0.5, "500ms"),
        ("1.5s", 1.5, "1.5s"),
        ("1s500ms", 1.5, "1.5s"),
        ("1.5h", 5400, "1h30m"),
        ("2d", 172_800, "2d"),
        ("1m0.007s", 60.007, "1m7ms"),
        (90, 90, "1m30s"),
        (0.25, 0.25, "250ms"),
        (0, 0, "0s"),
        ("0s", 0, "0s"),
    ],
)
def test_durations(text, seconds, shown):
    duration = Duration.parse(text)
    assert duration == seconds
    assert str(duration) == shown
    assert repr(duration) == f"Duration('{shown}')"


@pytest.mark.parametrize(
    ("text", "size", "shown"),
    [
        ("5GiB", 5 * 2**30, "5GiB"),
        ("10MB", 10**7, "10MB"),
        ("1.5 KiB", 1536, "1536B"),
        ("1024kib", 2**20, "1MiB"),
        ("128 kB", 128_000, "125KiB"),  # the same number of bytes
        ("7b", 7, "7B"),
        (4096, 4096, "4KiB"),
        (0, 0, "0B"),
    ],
)
def test_sizes(text, size, shown):
    assert Size.parse(text) == size
    assert str(Size(size)) == shown
    assert repr(Size(size)) == f"Size('{shown}')"


@pytest.mark.parametrize(
    "value", ["", "15", "m", "15 m", "15m ", "-1s", "1x", "1hh", "1e3s", "1.s", "٣s", True, None, [], "1h-2m"]
)
def test_what_is_no_duration(value):
    with pytest.raises(ValueError, match=r'^a duration such as "15m"'):
        Duration.parse(value)


@pytest.mark.parametrize("value", [-1, "40000000d", float("inf"), float("nan"), 10**400])
def test_durations_out_of_range(value):
    with pytest.raises(ValueError, match=r"^a duration of 0s to 365250d$"):
        Duration.parse(value)


@pytest.mark.parametrize("value", ["0.5ms", 0.0001])
def test_durations_too_fine(value):
    with pytest.raises(ValueError, match=r"^a duration of whole milliseconds$"):
        Duration.parse(value)


@pytest.mark.parametrize("value", ["", "5", "GiB", "5G", "5 gb ", "-1B", "1e3B", 1.5, True, None, []])
def test_what_is_no_size(value):
    with pytest.raises(ValueError, match=r'^a size such as "5GiB"'):
        Size.parse(value)


@pytest.mark.parametrize("value", [-1, 2**63, "9000PiB", 10**400])
def test_sizes_out_of_range(value):
    with pytest.raises(ValueError, match=r"^a size of 0B to 9223372036854775807B$"):
        Size.parse(value)


def test_sizes_too_fine():
    with pytest.raises(ValueError, match=r"^a size of whole bytes$"):
        Size.parse("0.3B")


def test_some_may_not_be_zero():
    with pytest.raises(ValueError, match=r"^a duration of 1ms to"):
        Interval.parse("0s")
    with pytest.raises(ValueError, match=r"^a size of 1B to"):
        Amount.parse(0)
    assert isinstance(Interval.parse("1s"), Interval)
    assert isinstance(Amount.parse("1B"), Amount)
