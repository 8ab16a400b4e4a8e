"""How long a step may wait, and what is said when it waited longer."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.decide import decide
from shared.incident import Incident, Mode
from shared.overdue import FOR_DEVICES, OF_BREACH, OF_EXPIRY, budget_ends, overdue
from shared.plans import PLANS, Plan, Step
from shared.rollover import Outcome, Rollover
from shared.seen import Issuance, Policy
from shared.transitions import UNDONE_OFTEN, advance, approved, reopened
from shared.verdict import AlreadyDone, Back, HeldUp, Wait
from tests.builders import OLD, a_rollover, a_version, an_enrollment, seen
from tests.certificates import NOW

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
POLICY = Policy()


def waiting(step: Step, why: str = "something", **changes) -> Rollover:
    """A rollover that came to ``step`` at NOW and waits."""
    here = a_rollover(step, **{"arrived_at": NOW, **changes})
    return advance(here, Wait(why, timedelta(minutes=1)), NOW)


def is_overdue(rollover: Rollover, after: timedelta, **policy) -> bool:
    return overdue(rollover, NOW + after, Policy(**policy)) is not None


@pytest.mark.parametrize(("plan", "step"), [(plan, step) for plan in Plan for step in PLANS[plan]])
def test_every_step_of_every_plan_has_a_budget_and_says_what_to_do(plan, step):
    order = PLANS[plan]
    incident = Incident("i", Mode.REMOVE, "stolen", "Ada", "1", ()) if not plan.expires else None
    rollover = replace(waiting(Step.UPLOAD_SECONDARY), plan=plan, done=order[: order.index(step)], incident=incident)
    ends = budget_ends(rollover, step, POLICY)
    assert NOW < ends <= NOW + timedelta(days=31)
    assert overdue(rollover, ends - timedelta(seconds=1), POLICY) is None
    found = overdue(rollover, ends, POLICY)
    assert found is not None
    assert step.value in found.why
    assert "something" in found.why
    assert found.next_step


def test_a_step_is_in_one_table_or_is_given_what_devices_are_given():
    of_expiry = {step for plan in Plan if plan.expires for step in PLANS[plan]}
    of_breach = {step for plan in Plan if not plan.expires for step in PLANS[plan]}
    assert of_expiry == set(OF_EXPIRY) | {Step.INVOKE_REPROVISION_JOB}
    assert of_breach == set(OF_BREACH) | set(FOR_DEVICES)


def test_reasons_that_take_turns_are_one_wait():
    rollover = waiting(Step.UPLOAD_SECONDARY, "DPS answered 503")
    for minute in range(1, 60):
        why = f"{('DPS', 'Key Vault')[minute % 2]} answered 503"
        rollover = advance(rollover, Wait(why, timedelta(minutes=1)), NOW + timedelta(minutes=minute))
        assert not is_overdue(rollover, timedelta(minutes=minute))
    assert is_overdue(rollover, HOUR)


def test_a_step_that_goes_on_begins_a_new_wait():
    rollover = replace(waiting(Step.UPLOAD_SECONDARY), told_overdue_at=NOW)
    on = advance(rollover, AlreadyDone("so"), NOW + 2 * HOUR)
    assert (on.here_since, on.told_overdue_at) == (NOW + 2 * HOUR, None)


def test_a_persons_retry_begins_a_new_wait():
    ended = replace(waiting(Step.UPLOAD_SECONDARY), told_overdue_at=NOW, outcome=Outcome.NEEDS_PERSON)
    again = reopened(ended, NOW + DAY)
    assert (again.here_since, again.told_overdue_at) == (NOW + DAY, None)


def test_a_wait_for_approval_has_its_own_end_and_takes_nothing_of_the_budget():
    incident = Incident("i", Mode.REMOVE, "stolen", "Ada", "1", (), approve_by=NOW + HOUR)
    asked = replace(a_rollover(), plan=Plan.BREACH, done=(), incident=incident)
    assert not is_overdue(asked, timedelta(minutes=59))
    agreed = approved(asked, "Bob", NOW + timedelta(minutes=59))
    assert not is_overdue(agreed, HOUR)
    assert is_overdue(agreed, timedelta(minutes=64))


def test_what_ended_waits_for_nothing():
    assert not is_overdue(replace(waiting(Step.UPLOAD_SECONDARY), outcome=Outcome.DONE), 99 * DAY)


# --- devices ----------------------------------------------------------------------------------------------------


def test_a_device_is_given_three_days():
    rollover = waiting(Step.INVOKE_REPROVISION_JOB)
    assert not is_overdue(rollover, 3 * DAY - HOUR)
    assert is_overdue(rollover, 3 * DAY)


def test_a_fleet_that_sleeps_for_longer_is_given_more():
    """OLD ends in 30 days: no more than half of that."""
    rollover = waiting(Step.INVOKE_REPROVISION_JOB)
    assert not is_overdue(rollover, 14 * DAY, device_budget=45 * DAY)
    assert is_overdue(rollover, 15 * DAY, device_budget=45 * DAY)


def test_a_device_whose_certificate_ends_tomorrow_is_missed_while_it_still_connects():
    ends_soon = waiting(Step.INVOKE_REPROVISION_JOB)
    ends_soon = replace(ends_soon, outgoing=replace(ends_soon.outgoing, not_after=NOW + DAY))
    assert not is_overdue(ends_soon, 11 * HOUR)
    assert is_overdue(ends_soon, 12 * HOUR)


def test_a_device_whose_certificate_has_ended_is_given_an_hour():
    ended = waiting(Step.INVOKE_REPROVISION_JOB)
    ended = replace(ended, outgoing=replace(ended.outgoing, not_after=NOW - DAY))
    assert not is_overdue(ended, timedelta(minutes=59))
    assert is_overdue(ended, HOUR)


@pytest.mark.parametrize(("contained", "given"), [(False, 4 * HOUR), (True, 3 * DAY)])
def test_a_breach_that_only_the_devices_return_contains_is_given_hours(contained, given):
    order = PLANS[Plan.BREACH_REPROVISION]
    done = order[: order.index(Step.INVOKE_REPROVISION_JOB)] if not contained else order[:-1]
    rollover = replace(waiting(Step.INVOKE_REPROVISION_JOB), plan=Plan.BREACH_REPROVISION, done=done)
    assert not is_overdue(rollover, given - timedelta(minutes=1))
    assert is_overdue(rollover, given)


# --- what a plan itself waits for -------------------------------------------------------------------------------


def test_the_outgoing_certificates_end_is_waited_for_in_peace():
    rollover = waiting(Step.DELETE_PRIMARY)
    assert not is_overdue(rollover, OLD.not_after - NOW + timedelta(minutes=59))
    assert is_overdue(rollover, OLD.not_after - NOW + HOUR)


def test_nothing_is_waited_for_where_it_retires_when_moved():
    assert is_overdue(waiting(Step.DELETE_PRIMARY), HOUR, retire_when_moved=True)


def test_what_a_person_does_in_working_hours_is_given_a_day():
    """Said as the decisions say it."""
    disabled = an_enrollment(OLD, provisioningStatus="disabled")
    at = a_rollover(Step.UPLOAD_SECONDARY, arrived_at=NOW)
    signing = seen(latest=a_version(OLD, "v1"), issuance=Issuance(in_progress=True, needs_signing=True, error=None))
    waits = [
        (at, decide(Step.UPLOAD_SECONDARY, at, seen(enrollment=disabled, latest=a_version(OLD)), POLICY), "enable it"),
        (a_rollover(), decide(Step.ISSUE_CERTIFICATE, a_rollover(), signing, POLICY), "sign the vault's"),
    ]
    for rollover, verdict, action in waits:
        assert isinstance(verdict, Wait), verdict
        waits_now = advance(rollover, verdict, NOW)
        assert not is_overdue(waits_now, 23 * HOUR)
        found = overdue(waits_now, NOW + DAY, POLICY)
        assert found is not None
        assert action in found.next_step


# --- what is said -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "says"), [(HeldUp.REFUSED, "role"), (HeldUp.UNANSWERED, "quota of the service"), (None, "online")]
)
def test_what_to_do_fits_what_is_in_the_way(by, says):
    rollover = a_rollover(Step.INVOKE_REPROVISION_JOB, arrived_at=NOW)
    rollover = advance(rollover, Wait("x", timedelta(minutes=1), by), NOW)
    found = overdue(rollover, NOW + 4 * DAY, POLICY)
    assert found is not None
    assert says in found.next_step


def test_a_step_that_records_nothing_is_overdue_and_points_at_its_function():
    found = overdue(a_rollover(Step.UPLOAD_SECONDARY, arrived_at=NOW), NOW + HOUR, POLICY)
    assert found is not None
    assert "the function upload_secondary" in found.next_step
    assert "upload-secondary" in found.next_step


def test_what_is_undone_again_and_again_is_told_once_and_anew_after_a_retry():
    rollover = a_rollover(Step.STAGE_HUB_THUMBPRINT, arrived_at=NOW, backs=UNDONE_OFTEN - 1)
    assert not is_overdue(rollover, timedelta())
    rollover = advance(rollover, Back("a slot lost it", Step.UPLOAD_SECONDARY), NOW)
    found = overdue(rollover, NOW, POLICY)
    assert found is not None
    assert "undone 5 times" in found.why
    told = advance(replace(rollover, told_overdue_at=NOW), Back("again", Step.UPLOAD_SECONDARY), NOW + HOUR)
    assert told.told_overdue_at == NOW
    assert not is_overdue(reopened(replace(told, outcome=Outcome.CANCELLED), NOW), timedelta())


def test_the_row_of_an_earlier_release_counts_from_what_it_waits_for():
    old = a_rollover(Step.UPLOAD_SECONDARY, waiting_for="x", waiting_since=NOW + DAY)
    assert not is_overdue(old, DAY)
    assert is_overdue(old, DAY + HOUR)
