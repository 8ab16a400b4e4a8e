"""The step stage_hub_thumbprint, carried out: the hub identity accepts the outgoing and the incoming certificate."""

from datetime import timedelta

from shared.errors import ServiceUnavailable
from shared.plans import Step
from tests.builders import (
    DEVICE,
    NEW_256,
    OLD,
    OLD_256,
    STRANGER_256,
    a_story,
    deliver,
    device_moves,
    put_rollover,
    reasons,
)
from tests.fakes import World

STEP = Step.STAGE_HUB_THUMBPRINT


def a_world_at_this_step() -> World:
    world = a_story()
    put_rollover(world, STEP)
    return world


def thumbprints(world: World) -> tuple[str | None, str | None]:
    identity = world.hub.identities[DEVICE]
    return identity.primary, identity.secondary


def test_the_hub_accepts_both():
    world = a_world_at_this_step()
    assert deliver(world, STEP).next_step is Step.INVOKE_REPROVISION_JOB
    assert thumbprints(world) == (OLD_256, NEW_256)


def test_the_thumbprint_that_the_hub_holds_of_the_outgoing_one_is_kept_as_it_is():
    """The hub takes SHA-1 and SHA-256; an operator may have written SHA-1."""
    world = a_world_at_this_step()
    world.hub.put(DEVICE, None, OLD.sha1_thumbprint)
    deliver(world, STEP)
    assert thumbprints(world) == (OLD.sha1_thumbprint, NEW_256)


def test_everything_else_of_the_identity_is_carried_over():
    """The call rewrites the identity whole: what is not sent is gone (azure-iot-hub update_device_with_x509)."""
    world = a_world_at_this_step()
    fields = {
        "enabled": False,
        "iot_edge": True,
        "status_reason": "in repair",
        "device_scope": "ms-azure-iot-edge://gateway-1",
        "parent_scopes": ("ms-azure-iot-edge://gateway-1",),
    }
    world.hub.put(DEVICE, OLD_256, OLD_256, **fields)
    deliver(world, STEP)
    identity = world.hub.identities[DEVICE]
    assert {name: getattr(identity, name) for name in fields} == fields


def test_nothing_is_written_when_the_hub_accepts_both_already():
    world = a_world_at_this_step()
    world.hub.put(DEVICE, NEW_256, OLD_256)
    etag = world.hub.identities[DEVICE].etag
    assert deliver(world, STEP).next_step is Step.INVOKE_REPROVISION_JOB
    assert world.hub.identities[DEVICE].etag == etag


def test_a_device_that_moved_by_itself_is_not_given_its_old_certificate_back():
    world = a_world_at_this_step()
    device_moves(world)
    deliver(world, STEP)
    assert thumbprints(world) == (NEW_256, NEW_256)


def test_a_device_without_identity_is_left_to_its_first_registration():
    world = a_world_at_this_step()
    del world.hub.identities[DEVICE]
    assert deliver(world, STEP).next_step is Step.INVOKE_REPROVISION_JOB
    assert DEVICE not in world.hub.identities


def test_a_device_that_registers_between_reading_and_writing_is_not_overwritten():
    world = a_world_at_this_step()
    replace = world.hub.rewrite

    def overtaken(identity):
        world.hub.rewrite = replace
        device_moves(world)
        replace(identity)

    world.hub.rewrite = overtaken
    deliver(world, STEP)
    assert thumbprints(world) == (NEW_256, NEW_256)


def test_a_stranger_at_the_hub_ends_the_rollover_and_is_left_where_it_is():
    world = a_world_at_this_step()
    world.hub.put(DEVICE, OLD_256, STRANGER_256)
    after = deliver(world, STEP)
    assert after.status == "refused"
    assert STRANGER_256 in after.outcome_reason
    assert thumbprints(world) == (OLD_256, STRANGER_256)


def test_an_effect_that_never_shows_calls_a_person_in_the_end():
    """The hub takes the write and shows the old state: eight times, ever further apart, then it is enough."""
    world = a_world_at_this_step()
    world.hub.rewrite = lambda *_: None
    for _ in range(20):
        after = deliver(world, STEP)
        if after.outcome:
            break
        world.clock.time = after.due_at
    assert after.status == "needs_person"
    assert after.acts == world.settings.policy.max_acts
    assert "acted 8 times" in after.outcome_reason
    assert [what for what, _ in reasons(world)].count("acts") == 8


def test_a_hub_that_is_down_for_an_hour_costs_that_hour():
    world = a_world_at_this_step()
    hour = timedelta(hours=1)
    identity, end = world.hub.identity, world.clock() + hour

    def down(device_id):
        if world.clock() < end:
            raise ServiceUnavailable("IoT Hub answered 503")
        return identity(device_id)

    world.hub.identity = down
    for _ in range(50):
        after = deliver(world, STEP)
        if after.next_step is not STEP:
            break
        assert after.waiting_for == "IoT Hub answered 503"
        world.clock.time = after.due_at
    assert after.next_step is Step.INVOKE_REPROVISION_JOB
    assert world.clock() - end < hour
    assert [what for what, _ in reasons(world)].count("waits") == 1
