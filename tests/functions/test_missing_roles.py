"""A role that is missing: waited for as long as an assignment takes to arrive, then a person is told which."""

import itertools
from datetime import timedelta

import pytest

from shared.errors import NotAllowed, ServiceRefused, ServiceUnavailable
from shared.plans import Step
from shared.stepping import ROLE_PATIENCE
from tests.builders import DEVICE, NEW_256, a_story, deliver, put_rollover
from tests.fakes import World

STEP = Step.UPLOAD_SECONDARY
SAID = "DPS answered 403 to PUT enrollment: no role"


def a_world_without_role(method: str) -> World:
    """DPS lets us neither read (``enrollment``) nor write (``replace``)."""
    world = a_story()
    put_rollover(world, STEP)

    def refuse(*_):
        raise NotAllowed(SAID)

    setattr(world.dps, method, refuse)
    return world


BOTH = pytest.mark.parametrize("method", ["enrollment", "replace"])


@BOTH
def test_a_role_that_may_be_on_its_way_is_waited_for(method):
    """Assignments take up to ten minutes to arrive (azure-docs role-based-access-control troubleshooting)."""
    world = a_world_without_role(method)
    after = deliver(world, STEP)
    assert (after.status, after.waiting_for) == ("waiting", SAID)
    assert world.nudges.sent == [(STEP, after.id, timedelta(minutes=1))]


@BOTH
def test_a_role_that_arrives_lets_the_step_go_on(method):
    world = a_world_without_role(method)
    for _ in range(5):
        world.clock.time = deliver(world, STEP).due_at
    delattr(world.dps, method)
    assert deliver(world, STEP).next_step is Step.STAGE_HUB_THUMBPRINT
    assert NEW_256 in world.dps.slots(DEVICE)


@BOTH
def test_a_role_that_does_not_arrive_calls_a_person_with_the_words_of_the_service(method):
    world = a_world_without_role(method)
    start = world.clock()
    for _ in range(60):
        after = deliver(world, STEP)
        if after.outcome:
            break
        world.clock.time = after.due_at
    assert (after.status, after.outcome_reason) == ("needs_person", SAID)
    assert after.ended_at == start + ROLE_PATIENCE
    assert world.topic.kinds() == ["Rollover.NeedsPerson"]


TROUBLES = {
    "another service that refuses": NotAllowed("IoT Hub answered 403 to GET device: no role"),
    "the same one, which is down in between": ServiceUnavailable("DPS answered 503 to GET enrollment"),
}


@pytest.mark.parametrize("other", TROUBLES.values(), ids=TROUBLES)
def test_a_refusal_that_takes_turns_calls_a_person_as_soon_with(other):
    """Else each would be news to the last, and the quarter of an hour never be over."""
    world = a_story()
    put_rollover(world, STEP)
    start, turns = world.clock(), itertools.cycle([NotAllowed(SAID), other])

    def refuse(*_):
        raise next(turns)

    world.dps.enrollment = refuse
    while (after := deliver(world, STEP)).outcome is None:
        world.clock.time = after.due_at
        assert world.clock() < start + 2 * ROLE_PATIENCE
    assert after.status == "needs_person"


def test_a_look_that_came_through_in_between_begins_the_patience_anew():
    world = a_world_without_role("enrollment")
    world.clock.time = deliver(world, STEP).due_at
    refused, world.dps.enrollment = world.dps.enrollment, type(world.dps).enrollment.__get__(world.dps)
    world.dps.edit(DEVICE, lambda body: body.update(provisioningStatus="disabled"))
    world.clock.time = deliver(world, STEP).due_at  # an hour later
    world.dps.enrollment = refused
    assert deliver(world, STEP).status == "waiting"


@BOTH
def test_any_other_refusal_calls_a_person_at_once(method):
    world = a_world_without_role(method)

    def refuse(*_):
        raise ServiceRefused("DPS answered 400 to PUT enrollment: no")

    setattr(world.dps, method, refuse)
    assert deliver(world, STEP).status == "needs_person"
