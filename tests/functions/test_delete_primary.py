"""The step delete_primary, carried out: neither a slot nor the hub identity holds the outgoing certificate."""

from datetime import timedelta

import pytest

from shared.enrollment import Slot
from shared.errors import ServiceUnavailable
from shared.plans import Step
from tests.builders import (
    DEVICE,
    NEW,
    NEW_256,
    OLD,
    OLD_256,
    STRANGER,
    a_story,
    deliver,
    device_moves,
    put_rollover,
    reasons,
)
from tests.certificates import NOW
from tests.fakes import World

STEP = Step.DELETE_PRIMARY


def a_world_at_this_step(*, expired: bool = True, **settings) -> World:
    world = a_story(**settings)
    put_rollover(world, STEP)
    world.clock.advance(timedelta(minutes=1))
    device_moves(world)
    if expired:
        world.clock.time = OLD.not_after
    return world


def test_the_outgoing_certificate_leaves_its_slot_and_the_rollover_is_done():
    world = a_world_at_this_step()
    after = deliver(world, STEP)
    assert OLD_256 not in world.dps.slots(DEVICE)
    assert NEW_256 in world.dps.slots(DEVICE)
    assert after.status == "done"
    assert world.topic.kinds() == ["Rollover.Completed"]


@pytest.mark.parametrize("mirror", [True, False])
@pytest.mark.parametrize("slots", [(OLD, NEW), (NEW, OLD)])
def test_both_orders_of_the_slots_end_well_whether_dps_mirrors_or_not(slots, mirror):
    world = a_world_at_this_step(mirror_primary=mirror)
    world.dps.enroll(DEVICE, *slots)
    assert deliver(world, STEP).status == "done"
    assert set(world.dps.slots(DEVICE)) - {None} == {NEW_256}


def test_nothing_is_deleted_before_the_certificate_expired():
    world = a_world_at_this_step(expired=False)
    after = deliver(world, STEP)
    assert world.dps.slots(DEVICE) == (OLD_256, NEW_256)
    assert (after.status, after.due_at) == ("waiting", OLD.not_after)
    assert world.nudges.sent == [], "a wait of a month is the timer's, not a message's"


def test_it_is_deleted_at_once_where_the_team_wants_it_so():
    world = a_world_at_this_step(expired=False, retire_when_moved=True)
    assert deliver(world, STEP).status == "done"
    assert OLD_256 not in world.dps.slots(DEVICE)


@pytest.mark.parametrize("retire_when_moved", [True, False])
def test_nothing_is_deleted_while_the_device_may_need_it(retire_when_moved):
    world = a_world_at_this_step(retire_when_moved=retire_when_moved)
    world.hub.provision(DEVICE, OLD_256)
    after = deliver(world, STEP)
    assert world.dps.slots(DEVICE) == (OLD_256, NEW_256)
    assert after.next_step is Step.INVOKE_REPROVISION_JOB


def test_nothing_is_deleted_when_the_incoming_certificate_is_not_there_any_more():
    world = a_world_at_this_step()
    world.dps.enroll(DEVICE, OLD, STRANGER)
    after = deliver(world, STEP)
    assert after.status == "needs_person"
    assert OLD_256 in world.dps.slots(DEVICE)


def test_nothing_is_deleted_when_the_incoming_certificate_expired_too():
    world = a_world_at_this_step()
    world.clock.time = NEW.not_after
    after = deliver(world, STEP)
    assert after.status == "needs_person"
    assert world.dps.slots(DEVICE) == (OLD_256, NEW_256)


def staged_and_registered_late(world: World) -> None:
    """Both thumbprints at the hub, and a registration after the outgoing one's end: only time tells of the move."""
    world.hub.put(DEVICE, OLD_256, NEW_256)
    world.clock.time = OLD.not_after + timedelta(minutes=1)
    world.dps.registered(DEVICE)


def test_slot_and_hub_are_cleared_one_after_the_other_each_with_its_record():
    world = a_world_at_this_step()
    staged_and_registered_late(world)
    after = deliver(world, STEP)
    assert OLD_256 not in world.dps.slots(DEVICE)
    assert after.next_step is STEP
    assert world.nudges.sent == [(STEP, after.id, timedelta(0))]
    after = deliver(world, STEP)
    identity = world.hub.identities[DEVICE]
    assert (identity.primary, identity.secondary) == (NEW_256, NEW_256)
    assert after.status == "done"
    assert [what for what, _ in reasons(world)] == ["started", "acts", "goes on", "acts", "done"]


def test_an_edit_by_somebody_else_in_between_is_kept():
    world = a_world_at_this_step()
    replace = world.dps.replace

    def overtaken(enrollment, body):
        world.dps.replace = replace
        world.dps.edit(DEVICE, lambda body: body.update(initialTwin={"tags": {"site": 8}}))
        replace(enrollment, body)

    world.dps.replace = overtaken
    for _ in range(2):
        after = deliver(world, STEP)
    assert world.dps.enrolled[DEVICE]["initialTwin"] == {"tags": {"site": 8}}
    assert after.status == "done"


def test_a_deletion_whose_answer_was_lost_is_seen_as_done():
    world = a_world_at_this_step()
    replace = world.dps.replace

    def lost(enrollment, body):
        replace(enrollment, body)
        raise ServiceUnavailable("DPS gave no answer")

    world.dps.replace = lost
    assert deliver(world, STEP).status == "done"


def test_a_message_for_a_rollover_that_is_done_changes_nothing():
    world = a_world_at_this_step()
    done = deliver(world, STEP)
    for step in Step:
        assert deliver(world, step) == done
    assert world.topic.kinds() == ["Rollover.Completed"]


def test_the_slot_that_is_cleared_is_the_one_that_holds_it_now_whatever_was_computed():
    world = a_story()
    put_rollover(world, STEP, standby=Slot.PRIMARY)
    world.clock.advance(timedelta(minutes=1))
    device_moves(world)
    world.clock.time = OLD.not_after
    world.dps.enroll(DEVICE, OLD, NEW)
    assert deliver(world, STEP).status == "done"
    assert world.clock() > NOW
    assert OLD_256 not in world.dps.slots(DEVICE)
