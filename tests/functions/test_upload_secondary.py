"""The step upload_secondary, carried out: the incoming certificate is in the standby slot, the other is kept."""

import pytest

from shared.enrollment import Slot
from shared.errors import ServiceRefused, ServiceUnavailable
from shared.plans import Step
from tests.builders import (
    CERTIFICATE,
    DEVICE,
    NEW,
    NEW_256,
    NEWER,
    OLD,
    OLD_256,
    STRANGER,
    STRANGER_256,
    a_story,
    deliver,
    put_rollover,
    reasons,
)
from tests.fakes import World

STEP = Step.UPLOAD_SECONDARY


def a_world_at_this_step(**changes) -> World:
    world = a_story()
    put_rollover(world, STEP, **changes)
    return world


@pytest.mark.parametrize(
    ("standby", "slots"), [(Slot.SECONDARY, (OLD_256, NEW_256)), (Slot.PRIMARY, (NEW_256, OLD_256))]
)
def test_the_standby_slot_is_filled_and_the_other_kept(standby, slots):
    world = a_world_at_this_step(standby=standby)
    after = deliver(world, STEP)
    assert world.dps.slots(DEVICE) == slots
    assert after.next_step is Step.STAGE_HUB_THUMBPRINT


def test_nothing_is_written_when_a_slot_holds_it_already():
    world = a_world_at_this_step()
    world.dps.enroll(DEVICE, OLD, NEW)
    etag = world.dps.enrolled[DEVICE]["etag"]
    assert deliver(world, STEP).next_step is Step.STAGE_HUB_THUMBPRINT
    assert world.dps.enrolled[DEVICE]["etag"] == etag


def test_five_copies_of_a_nudge_write_once():
    world = a_world_at_this_step()
    for _ in range(5):
        deliver(world, STEP)
    assert [what for what, _ in reasons(world)] == ["started", "acts", "done"]


def test_everything_else_in_the_enrollment_stays_as_it_was():
    world = a_world_at_this_step()
    world.dps.edit(DEVICE, lambda body: body.update(initialTwin={"tags": {"site": 7}}, futureField=[1]))
    before = world.dps.enrolled[DEVICE]
    deliver(world, STEP)
    after = world.dps.enrolled[DEVICE]
    changed = {"attestation", "etag"}
    assert {k: v for k, v in after.items() if k not in changed} == {k: v for k, v in before.items() if k not in changed}


def edit_in_between(world: World, change) -> None:
    """Somebody edits the enrollment between our read and our write, once."""
    replace = world.dps.replace

    def overtaken(enrollment, body):
        world.dps.replace = replace
        world.dps.edit(DEVICE, change)
        replace(enrollment, body)

    world.dps.replace = overtaken


def test_an_edit_by_somebody_else_in_between_is_kept_and_the_step_decides_anew():
    world = a_world_at_this_step()
    edit_in_between(world, lambda body: body.update(initialTwin={"tags": {"site": 8}}))
    deliver(world, STEP)
    deliver(world, STEP)
    assert world.dps.enrolled[DEVICE]["initialTwin"] == {"tags": {"site": 8}}
    assert world.dps.slots(DEVICE) == (OLD_256, NEW_256)


def test_a_certificate_that_somebody_else_puts_into_the_slot_in_between_is_not_overwritten():
    world = a_world_at_this_step()

    def meddle(body):
        other = a_story()
        other.dps.enroll(DEVICE, OLD, STRANGER)
        body["attestation"] = other.dps.enrolled[DEVICE]["attestation"]

    edit_in_between(world, meddle)
    after = deliver(world, STEP)
    assert world.dps.slots(DEVICE) == (OLD_256, STRANGER_256)
    assert after.status == "refused"
    assert STRANGER_256 in after.outcome_reason


def test_the_same_certificate_uploaded_by_somebody_else_in_between_is_as_good():
    world = a_world_at_this_step()

    def same(body):
        other = a_story()
        other.dps.enroll(DEVICE, OLD, NEW)
        body["attestation"] = other.dps.enrolled[DEVICE]["attestation"]

    edit_in_between(world, same)
    assert deliver(world, STEP).next_step is Step.STAGE_HUB_THUMBPRINT


def test_a_newer_version_in_the_vault_leads_back_to_the_vault():
    world = a_world_at_this_step()
    world.vault.kept[CERTIFICATE].versions.append(NEWER)
    after = deliver(world, STEP)
    assert (after.next_step, after.incoming) == (Step.ISSUE_CERTIFICATE, None)
    assert [step for step, _, _ in world.nudges.sent] == [Step.ISSUE_CERTIFICATE]
    assert world.dps.slots(DEVICE) == (OLD_256, OLD_256)


def test_a_service_that_cannot_be_read_is_waited_for_and_nothing_is_written():
    world = a_world_at_this_step()

    def down(_):
        raise ServiceUnavailable("DPS answered 503")

    world.dps.enrollment = down
    after = deliver(world, STEP)
    assert (after.status, after.waiting_for, after.acts) == ("waiting", "DPS answered 503", 0)


def test_a_service_that_refuses_the_write_needs_a_person():
    world = a_world_at_this_step()

    def refuse(*_):
        raise ServiceRefused("DPS answered 400 to PUT enrollment: certificate not accepted")

    world.dps.replace = refuse
    after = deliver(world, STEP)
    assert after.status == "needs_person"
    assert "certificate not accepted" in after.outcome_reason


def test_a_service_that_refuses_the_reading_needs_a_person_and_its_words_are_kept():
    """A role that was taken away must not end as "failed again and again" without the service's words."""
    world = a_world_at_this_step()

    def refuse(_):
        raise ServiceRefused("DPS answered 403 to GET enrollment: no role")

    world.dps.enrollment = refuse
    after = deliver(world, STEP)
    assert after.status == "needs_person"
    assert "403" in after.outcome_reason


def test_what_the_slots_held_before_and_after_is_in_the_history():
    world = a_world_at_this_step()
    deliver(world, STEP)
    done = world.services.ledger.history(world.services.ledger.last(DEVICE))[-1]
    assert (done.before["primary"], done.before["secondary"]) == (OLD_256, OLD_256)
    assert (done.after["primary"], done.after["secondary"]) == (OLD_256, NEW_256)
    assert done.who == "step upload_secondary"
