"""Which works there are."""

from shared.fleet import BUILT, Work, why_not_yet
from shared.fleet_work import TURNS
from shared.rollover import Plan


def test_what_is_said_to_be_built_is_what_has_turns() -> None:
    assert set(TURNS) == BUILT


def test_no_plan_begins_that_lacks_a_work_and_none_is_held_back_that_has_all() -> None:
    """Half of a plan would leave a group's devices outside."""
    for plan in (Plan.GROUP_EXPIRY, Plan.GROUP_BREACH):
        assert why_not_yet(plan, frozenset(Work)) is None
    assert why_not_yet(Plan.GROUP_BREACH, frozenset(Work) - {Work.RESTORE}) is not None
    assert why_not_yet(Plan.GROUP_EXPIRY, frozenset(Work) - {Work.WAVE}) is not None
