"""Which works there are."""

from shared.fleet import Work
from shared.fleet_work import FIRST, TURNS


def test_every_work_has_turns_and_a_line_to_wait_in() -> None:
    assert set(TURNS) == set(FIRST) == set(Work)
