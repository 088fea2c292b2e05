"""When to try again."""

from hypothesis import given
from hypothesis import strategies as st

from dragonbelly.replication.backoff import DAY, SCHEDULE, delay, spread


def test_the_schedule():
    assert [delay(n) for n in range(1, 12)] == [15, 60, 300, 1800, 3600, 7200, 14400, 28800, DAY, DAY, DAY]
    assert delay(0) == delay(-1) == 15
    assert delay(100) == DAY
    assert list(SCHEDULE) == sorted(SCHEDULE)


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 100))
def test_a_fifth_more_or_less(chance, tries):
    assert 0.8 * delay(tries) <= spread(delay(tries), lambda: chance) <= 1.2 * delay(tries)
