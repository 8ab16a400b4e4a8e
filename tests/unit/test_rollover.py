"""A rollover as facts: what comes next, how it stands, and what each verdict makes of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest

from shared.plans import ESTABLISHES, PLANS, Plan, Step
from shared.rollover import ACT_LEASE, Outcome
from shared.rows import from_row, to_row
from shared.transitions import advance, intend, unacted
from shared.verdict import Act, AlreadyDone, Back, NeedsPerson, Refuse, Wait
from tests.builders import NEW, NEWER, a_rollover, as_incoming
from tests.certificates import NOW

ORDER = PLANS[Plan.EXPIRY]
LATER = NOW + timedelta(minutes=7)


def test_the_expiry_plan_keeps_the_order_that_no_device_can_lose_its_connection_in():
    """The outgoing certificate goes last; both accept the incoming one before the device is asked."""
    assert ORDER == (
        Step.ISSUE_CERTIFICATE,
        Step.UPLOAD_SECONDARY,
        Step.STAGE_HUB_THUMBPRINT,
        Step.INVOKE_REPROVISION_JOB,
        Step.DELETE_PRIMARY,
    )
    assert set(ESTABLISHES) == set(Step)


@pytest.mark.parametrize("step", Step)
def test_queue_names_are_names_that_azure_storage_takes(step):
    """3 to 63 lower-case letters, digits and single dashes (azure-docs: naming queues and metadata)."""
    name = f"{step.queue}-poison"
    assert 3 <= len(name) <= 63
    assert name.replace("-", "").isalnum()
    assert name == name.lower()
    assert "--" not in name


@pytest.mark.parametrize(("step", "following"), list(pairwise(ORDER)))
def test_a_step_that_is_done_leads_to_the_next_at_once(step, following):
    before = a_rollover(step, acts=3, acted_at=NOW, waiting_for="x", waiting_since=NOW)
    after = advance(before, AlreadyDone("so"), LATER, incoming=as_incoming(NEW))
    assert after.next_step is following
    assert after.due_at == LATER
    assert (after.acts, after.acted_at, after.waiting_for, after.waiting_since) == (0, None, None, None)
    assert after.status == "running"


def test_the_last_step_done_ends_the_rollover():
    after = advance(a_rollover(Step.DELETE_PRIMARY), AlreadyDone("nothing holds it"), LATER)
    assert (after.outcome, after.status, after.ended_at) == (Outcome.DONE, "done", LATER)
    assert after.outcome_reason == "nothing holds it"
    assert after.next_step is None
    assert after.due_at is None


def test_the_first_step_done_chooses_the_version_that_it_looked_at():
    after = advance(a_rollover(), AlreadyDone("so"), LATER, incoming=as_incoming(NEW))
    assert after.incoming == as_incoming(NEW)


def test_later_steps_never_change_the_choice():
    after = advance(a_rollover(Step.UPLOAD_SECONDARY), AlreadyDone("so"), LATER, incoming=as_incoming(NEWER, "v3"))
    assert after.incoming == as_incoming(NEW)


@pytest.mark.parametrize("to", ORDER[:-1])
def test_going_back_undoes_what_is_remembered_from_that_step_on(to):
    before = a_rollover(Step.DELETE_PRIMARY, acts=2, acted_at=NOW, waiting_for="x", waiting_since=NOW)
    after = advance(before, Back("it no longer holds", to), LATER)
    assert after.next_step is to
    assert after.done == ORDER[: ORDER.index(to)]
    assert (after.acts, after.acted_at, after.waiting_for, after.due_at) == (0, None, None, LATER)


PAUSES = {0: 0, 1: 1, 2: 3, 3: 7, 9: 511, 10: 720, 16: 720}
"""Minutes by how often it went back before: none at first, then doubling, at most half a day."""


@pytest.mark.parametrize(("before", "minutes"), PAUSES.items())
def test_a_rollover_that_goes_back_again_and_again_does_so_ever_more_rarely(before, minutes):
    rollover = a_rollover(Step.DELETE_PRIMARY, backs=before)
    after = advance(rollover, Back("undone", Step.STAGE_HUB_THUMBPRINT), LATER)
    assert after.due_at == LATER + timedelta(minutes=minutes)
    assert after.waiting_for == ("undone" if minutes else None)
    assert after.backs > before or before == 16


def test_going_on_does_not_forget_how_often_it_went_back():
    after = advance(a_rollover(Step.STAGE_HUB_THUMBPRINT, backs=3), AlreadyDone("so"), LATER)
    assert after.backs == 3


def test_going_back_to_the_vault_forgets_the_choice_and_nothing_else_does():
    before = a_rollover(Step.DELETE_PRIMARY)
    assert advance(before, Back("x", Step.ISSUE_CERTIFICATE), LATER).incoming is None
    assert advance(before, Back("x", Step.UPLOAD_SECONDARY), LATER).incoming == as_incoming(NEW)


def test_going_on_acting_keeps_the_count_of_acts():
    before = a_rollover(Step.DELETE_PRIMARY, acts=2, acted_at=NOW, due_at=NOW + ACT_LEASE)
    after = advance(before, Act("more to do"), LATER)
    assert (after.acts, after.acted_at, after.due_at) == (2, NOW, LATER)


def test_waiting_says_for_what_since_when_and_until_when():
    after = advance(a_rollover(), Wait("the vault", timedelta(minutes=3)), LATER)
    assert (after.waiting_for, after.waiting_since, after.due_at) == ("the vault", LATER, LATER + timedelta(minutes=3))
    assert after.status == "waiting"


def test_waiting_on_keeps_since_when():
    first = advance(a_rollover(), Wait("the vault: busy", timedelta(minutes=3)), NOW)
    again = advance(first, Wait("the vault: still busy", timedelta(minutes=3)), LATER)
    assert (again.waiting_for, again.waiting_since) == ("the vault: still busy", NOW)


def test_a_refusal_ends_it_with_its_reason():
    after = advance(a_rollover(Step.UPLOAD_SECONDARY), Refuse("a stranger"), LATER)
    assert (after.status, after.outcome_reason, after.next_action) == ("refused", "a stranger", None)
    assert (after.ended_at, after.due_at, after.next_step) == (LATER, None, None)


def test_a_refusal_at_the_vault_remembers_the_version_that_was_refused():
    """So that a new version, and only a new version, begins the rollover again before its time."""
    after = advance(a_rollover(), Refuse("wrong name"), LATER, incoming=as_incoming(NEW))
    assert after.incoming == as_incoming(NEW)
    later = advance(a_rollover(Step.UPLOAD_SECONDARY), Refuse("x"), LATER, incoming=as_incoming(NEWER, "v3"))
    assert later.incoming == as_incoming(NEW)


def test_needing_a_person_ends_it_with_what_to_do():
    after = advance(a_rollover(), NeedsPerson("the vault cannot", "mend the issuer"), LATER)
    assert (after.status, after.outcome_reason, after.next_action) == (
        "needs_person",
        "the vault cannot",
        "mend the issuer",
    )


@pytest.mark.parametrize(
    "verdict", [Act("x"), AlreadyDone("x"), Wait("x", timedelta(1)), Back("x", ORDER[0]), Refuse("x")]
)
def test_nothing_changes_a_rollover_that_ended(verdict):
    ended = advance(a_rollover(), NeedsPerson("over", "look"), NOW)
    assert advance(ended, verdict, LATER) is ended


def test_an_intention_counts_the_act_and_leases_the_rollover():
    before = a_rollover(acts=1, waiting_for="x", waiting_since=NOW)
    after = intend(before, LATER)
    assert (after.acts, after.acted_at, after.due_at) == (2, LATER, LATER + ACT_LEASE)
    assert (after.waiting_for, after.waiting_since, after.status) == (None, None, "running")


def test_an_act_that_never_got_to_its_service_is_not_counted_and_the_wait_goes_on():
    before = a_rollover(acts=1, waiting_for="DPS answered 503: busy", waiting_since=NOW)
    after = unacted(intend(before, LATER), before)
    assert (after.acts, after.waiting_since) == (1, NOW)
    waited = advance(after, Wait("DPS answered 503: still busy", timedelta(seconds=5)), LATER)
    assert waited.waiting_since == NOW, "so that the waits for a service that is down grow"


def test_a_wait_for_another_reason_begins_anew():
    before = a_rollover(waiting_for="the outgoing certificate is retired when it has expired", waiting_since=NOW)
    waited = advance(before, Wait("DPS answered 403", timedelta(seconds=5)), LATER)
    assert waited.waiting_since == LATER


DUE = {
    "its time has come": (timedelta(0), True),
    "its time is long past": (-timedelta(days=3), True),
    "its time comes in half a second, for queues count whole ones": (timedelta(milliseconds=500), True),
    "its time comes in a second": (timedelta(seconds=1), False),
}


@pytest.mark.parametrize(("ahead", "due"), DUE.values(), ids=DUE.keys())
def test_a_rollover_is_due_or_not_when(ahead, due):
    assert a_rollover(due_at=NOW + ahead).is_due(NOW) is due


def test_there_is_no_job_before_the_device_was_asked():
    assert a_rollover(Step.INVOKE_REPROVISION_JOB).job_id is None


def test_the_job_of_an_attempt_keeps_its_name_through_the_ledger():
    """A creation that is repeated after a lost answer must meet the job it made."""
    when = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
    asked = intend(a_rollover(Step.INVOKE_REPROVISION_JOB), when)
    assert from_row(to_row(asked), "1").job_id == asked.job_id
    assert replace(asked, records=9, waiting_for="x", etag="7").job_id == asked.job_id


def test_the_job_has_the_same_name_whatever_the_time_zone_of_the_reader():
    asked = intend(a_rollover(Step.INVOKE_REPROVISION_JOB), NOW)
    east = NOW.astimezone(timezone(timedelta(hours=9)))
    assert replace(asked, acted_at=east).job_id == asked.job_id


def test_every_attempt_and_every_rollover_has_a_job_of_its_own():
    first = intend(a_rollover(Step.INVOKE_REPROVISION_JOB), NOW)
    names = [
        first.job_id,
        intend(first, NOW + timedelta(milliseconds=1)).job_id,
        replace(first, id="individual.dev-01.2").job_id,
        replace(first, id="individual.dev-02.1").job_id,
        replace(first, started_at=LATER).job_id,
    ]
    assert len(set(names)) == len(names)


def test_a_job_name_is_one_that_the_hub_takes_whatever_the_registration_id():
    """At most 64 characters of letters, digits and some signs (azure-rest-api IoT Hub jobs)."""
    job_id = intend(a_rollover(Step.INVOKE_REPROVISION_JOB, id=f"individual.{'x' * 128}.1"), NOW).job_id
    assert job_id is not None
    assert len(job_id) <= 64
    assert job_id.replace("-", "").isalnum()
