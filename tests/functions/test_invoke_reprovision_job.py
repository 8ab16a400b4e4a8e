"""The step invoke_reprovision_job, carried out: the device is asked, and the hub shows that it registered."""

import itertools
from datetime import timedelta

import pytest

from shared.errors import ServiceUnavailable
from shared.plans import Step
from shared.rollover import ACT_LEASE, Rollover
from shared.seen import Job
from tests.builders import (
    DEVICE,
    NEW_256,
    OLD,
    OLD_256,
    a_story,
    deliver,
    device_moves,
    put_rollover,
    reasons,
)
from tests.certificates import NOW
from tests.fakes import World

STEP = Step.INVOKE_REPROVISION_JOB


def a_world_at_this_step(**settings) -> World:
    world = a_story(**settings)
    put_rollover(world, STEP)
    return world


def look_again(world: World, rollover: Rollover) -> Rollover:
    """Move the clock to when the step wants to look again, and deliver a nudge."""
    world.clock.time = rollover.due_at
    return deliver(world, STEP)


def test_the_device_is_asked_by_a_job_that_names_the_new_certificate():
    world = a_world_at_this_step()
    after = deliver(world, STEP)
    [(device_id, payload)] = world.hub.asked
    assert device_id == DEVICE
    assert payload == {
        "rollover_id": after.id,
        "sha256_thumbprint": NEW_256,
        "certificate_id": "https://vault.example/certificates/dev-01-cert/v2",
        "register_again": False,
    }
    assert list(world.hub.jobs) == [after.job_id]
    assert after.status == "waiting"


def test_an_answer_of_the_device_is_no_proof():
    world = a_world_at_this_step()
    after = deliver(world, STEP)
    assert after.next_step is STEP
    assert "1 answered" in after.waiting_for


def test_the_hub_showing_the_new_certificate_through_a_registration_is_the_proof():
    world = a_world_at_this_step()
    after = deliver(world, STEP)
    device_moves(world)
    assert look_again(world, after).next_step is Step.DELETE_PRIMARY


def test_a_device_that_moved_by_itself_is_not_asked():
    world = a_world_at_this_step()
    device_moves(world)
    assert deliver(world, STEP).next_step is Step.DELETE_PRIMARY
    assert world.hub.asked == []


def test_duplicate_nudges_ask_once():
    world = a_world_at_this_step()
    for _ in range(5):
        deliver(world, STEP)
    assert len(world.hub.asked) == 1


def test_a_device_that_stays_away_is_asked_again_with_another_job_ever_more_rarely():
    world = a_world_at_this_step()
    after = deliver(world, STEP)
    while world.clock() < NOW + timedelta(days=2):
        after = look_again(world, after)
    asked = sorted(int(name.rpartition("-")[2]) for name in world.hub.jobs)
    gaps = [(later - earlier) / 60_000 for earlier, later in itertools.pairwise(asked)]
    assert len(asked) == len(world.hub.asked) == 11
    assert gaps == sorted(gaps)
    assert gaps[0] >= 5
    assert gaps[-1] >= 720


def test_a_device_that_never_comes_calls_a_person_a_week_after_its_certificate_ended():
    world = a_world_at_this_step()
    after = deliver(world, STEP)
    for _ in range(5000):
        if after.outcome:
            break
        after = look_again(world, after)
    assert after.status == "needs_person"
    assert after.ended_at == OLD.not_after + timedelta(days=7)
    assert world.dps.slots(DEVICE) == (OLD_256, NEW_256), "it can still register with its new certificate"


def test_a_device_whose_job_the_hub_never_shows_calls_a_person_in_the_end_too():
    """I4: every state leads to an end, also where the hub takes jobs and does not know them afterwards."""
    world = a_world_at_this_step()
    world.hub.job = lambda _: None
    world.clock.time = OLD.not_after + timedelta(days=8)
    after = deliver(world, STEP)
    for _ in range(30):
        if after.outcome:
            break
        after = look_again(world, after)
    assert after.status == "needs_person"


def test_a_job_that_was_made_although_its_answer_was_lost_is_not_made_twice():
    world = a_world_at_this_step()
    start = world.hub.start_method_job

    def lost(*arguments):
        start(*arguments)
        raise ServiceUnavailable("IoT Hub gave no answer to PUT job")

    world.hub.start_method_job = lost
    after = deliver(world, STEP)
    assert after.status == "waiting"
    world.hub.start_method_job = start
    look_again(world, after)
    assert len(world.hub.asked) == 1


def test_a_job_that_the_sdk_sent_twice_meets_the_one_it_made():
    """The second PUT of the same job is answered 409."""
    world = a_world_at_this_step()
    start = world.hub.start_method_job

    def twice(*arguments):
        start(*arguments)
        start(*arguments)

    world.hub.start_method_job = twice
    assert deliver(world, STEP).status == "waiting"
    assert len(world.hub.asked) == 1


def test_too_many_jobs_at_the_hub_are_waited_for():
    world = a_world_at_this_step()

    def busy(*_):
        raise ServiceUnavailable("IoT Hub answered 429", timedelta(seconds=30))

    world.hub.start_method_job = busy
    after = deliver(world, STEP)
    assert after.waiting_for == "IoT Hub answered 429"
    assert world.nudges.sent == [(STEP, after.id, timedelta(seconds=30))]


def test_a_host_that_dies_before_the_job_is_made_asks_after_the_lease():
    world = a_world_at_this_step()

    def die(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deliver(world, STEP, effect=die)
    deliver(world, STEP)
    assert world.hub.asked == []
    world.clock.advance(ACT_LEASE)
    deliver(world, STEP)
    assert len(world.hub.asked) == 1


def test_a_hub_identity_that_was_set_back_leads_back_to_staging():
    world = a_world_at_this_step()
    world.hub.provision(DEVICE, OLD_256)
    after = deliver(world, STEP)
    assert after.next_step is Step.STAGE_HUB_THUMBPRINT
    assert [step for step, _, _ in world.nudges.sent] == [Step.STAGE_HUB_THUMBPRINT]


def test_a_device_that_registered_where_the_hub_cannot_show_it_is_asked_to_register_once_more():
    world = a_world_at_this_step()
    world.clock.advance(timedelta(minutes=1))
    world.dps.registered(DEVICE)
    deliver(world, STEP)
    [(_, payload)] = world.hub.asked
    assert payload["register_again"] is True


def test_the_certificate_being_taken_out_by_somebody_needs_a_person():
    world = a_world_at_this_step()
    world.dps.enroll(DEVICE, OLD, OLD)
    after = deliver(world, STEP)
    assert after.status == "needs_person"
    assert after.next_action
    assert world.hub.asked == []


def test_a_job_still_running_is_looked_at_again_soon_at_first():
    world = a_world_at_this_step()
    start = world.hub.start_method_job

    def running(job_id, *rest):
        start(job_id, *rest)
        world.hub.jobs[job_id] = Job(finished=False, summary="running")

    world.hub.start_method_job = running
    after = deliver(world, STEP)
    assert "on its way (running)" in after.waiting_for
    assert after.due_at == NOW + timedelta(seconds=1)
    assert [what for what, _ in reasons(world)] == ["started", "acts", "waits"]
