"""A line before a quota: moments one after another, slower after a 429, faster again by and by."""

from datetime import timedelta

from shared.line import BACK_OFF, RECOVERY, SLOWEST, Line, claimed, slowed
from shared.lines import Lane, Lines
from shared.quota import Quota
from tests.certificates import NOW
from tests.fakes import Clock, InMemoryTable

SECOND = timedelta(seconds=1)


def test_moments_follow_each_other_by_their_costs() -> None:
    line, moments = claimed(Line(NOW), [10, 20, 5], 10.0, NOW, NOW + timedelta(minutes=1))
    assert moments == [NOW, NOW + SECOND, NOW + 3 * SECOND]
    assert line.next_at == NOW + 3.5 * SECOND


def test_no_moment_is_given_beyond_the_horizon() -> None:
    line, moments = claimed(Line(NOW), [10] * 9, 10.0, NOW, NOW + 2 * SECOND)
    assert len(moments) == 3
    assert claimed(line, [10], 10.0, NOW, NOW + 2 * SECOND) == (line, [])


def test_a_throttled_line_waits_as_it_is_told_and_goes_half_as_fast() -> None:
    for told, waits in ((3 * SECOND, 3 * SECOND), (None, BACK_OFF)):
        line = slowed(Line(NOW), NOW, told)
        assert (line.next_at, line.slowness_at(NOW)) == (NOW + waits, 2.0)
        assert line.slowness_at(NOW + RECOVERY) == 1.0


def test_moments_that_were_given_before_do_not_slow_the_line_again() -> None:
    """A fleet's batches have theirs up to two minutes ahead, and all of those may meet the 429 that the first met."""
    line, _ = claimed(Line(NOW), [10] * 60, 10.0, NOW, NOW + timedelta(minutes=2))
    for second in range(60):
        line = slowed(line, NOW + second * SECOND, 5 * SECOND)
    assert line.slowness == 2.0
    again = slowed(line, NOW + timedelta(minutes=2), None)
    assert again.slowness == 2.0, "by then it was back at its pace"
    assert slowed(again, again.next_at, None).slowness > 3.0


def test_a_line_is_never_slower_than_so_much() -> None:
    line = Line(NOW)
    for _ in range(20):
        line = slowed(line, line.next_at, None)
    assert line.slowness == SLOWEST


def test_a_line_that_the_release_before_wrote_goes_on() -> None:
    table, clock = InMemoryTable(), Clock(NOW)
    lines = Lines(table, clock)
    lines.slow_down(Lane.EVICTIONS, None)
    [(key, (row, version))] = table.rows.items()
    table.rows[key] = ({name: value for name, value in row.items() if name != "given_until"}, version)
    assert lines.last_place(Lane.EVICTIONS, 1, Quota()) == NOW + BACK_OFF
