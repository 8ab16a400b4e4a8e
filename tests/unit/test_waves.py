"""How many devices are asked at once, and whether more may be."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fleet import Wave
from shared.waves import WavePolicy, may_open_next, numbered, why_halt
from tests.certificates import NOW

POLICY = WavePolicy()
ASKED = Wave(2, size=20, moved=0, asked=True, reachable=20, asked_at=NOW)
LATER = NOW + POLICY.patience


@given(st.lists(st.integers(0, 300), max_size=8))
def test_devices_fall_into_waves_that_are_full_before_the_next_one_begins(pages: list[int]) -> None:
    waves: list[tuple[int, int]] = []
    for count in pages:
        for number, some in numbered(count, waves, POLICY):
            if number > len(waves):
                waves.append((0, 0))
            waves[-1] = (0, waves[-1][1] + some)
    sizes = [size for _, size in waves]
    assert sum(sizes) == sum(pages)
    assert sizes[:-1] == [POLICY.size(number) for number in range(1, len(sizes))]
    assert not sizes or 0 < sizes[-1] <= POLICY.size(len(sizes))


@pytest.mark.parametrize(
    ("moved", "reachable", "at", "opens", "halts"),
    [
        (18, 20, NOW, False, False),
        (19, 20, NOW, True, False),
        (18, 20, LATER, True, False),
        (17, 20, LATER, False, True),
        (9, 10, LATER, True, False),
        (0, 0, NOW, False, False),
        (0, 0, LATER, False, True),
    ],
)
def test_the_next_wave_opens_or_all_stops_by_what_moved(moved, reachable, at, opens, halts):
    wave = replace(ASKED, moved=moved, reachable=reachable)
    assert may_open_next(wave, at, POLICY) is opens
    assert (why_halt([wave], at, POLICY) is not None) is halts


def test_a_wave_of_which_nobody_had_to_be_asked_holds_up_nothing():
    wave = replace(ASKED, reachable=0, asked_at=None)
    assert may_open_next(wave, NOW, POLICY)
    assert why_halt([wave], LATER, POLICY) is None


def test_a_wave_that_is_asked_in_part_opens_nothing():
    assert not may_open_next(replace(ASKED, moved=20, asked=False), LATER, POLICY)


@given(st.integers(0, 400), st.integers(0, 400), st.floats(0.01, 1), st.floats(0.01, 1))
def test_after_its_patience_a_wave_that_was_heard_of_either_opens_the_next_one_or_stops_all(a, b, share, abort):
    policy = replace(POLICY, moved_share=share, abort_share=abort)
    moved, reachable = min(a, b), max(a, b)
    wave = replace(ASKED, moved=moved, reachable=reachable)
    at = NOW + policy.patience + timedelta(seconds=1)
    assert may_open_next(wave, at, policy) or why_halt([wave], at, policy) is not None
