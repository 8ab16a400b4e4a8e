"""A breach that hangs, and a second call then: what the first one was about is not forgotten.

In mode reprovision the enrollment lets go of the compromised certificate long before the hub does: it waits for the
device. A thief who holds the session can keep the device from it, and answers the method in its place; so the person
calls again, with a mode that does not wait.
"""

from datetime import timedelta
from typing import Any

import pytest

from shared.breaching import preview
from shared.callers import Caller, Role
from shared.enrollment import HubIdentity
from shared.errors import NotFound
from shared.operating import cancel
from shared.plans import Plan, Step
from shared.resuming import resume_due
from shared.seen import Job
from tests.builders import DEVICE, NEW_256, OLD, OLD_256, deliver_all, reasons, the_rollover
from tests.fakes import InMemoryHub, World
from tests.functions.test_whole_breaches import a_plant, breach

ONCALL = Caller("oid-1", "tid", "Ada", frozenset({Role.BREACH_EXECUTE}))
THUMBPRINTS = [{"thumbprint": OLD_256}, {"thumbprint": OLD.sha1_thumbprint}]


def waits_for_the_device() -> World:
    """Mode reprovision has come to where only the device can go on: no slot holds OLD, the hub still accepts it."""
    world = a_plant()
    breach(world, mode="reprovision")
    deliver_all(world)
    after = the_rollover(world)
    assert after.next_step is Step.INVOKE_REPROVISION_JOB
    assert OLD_256 not in world.dps.slots(DEVICE)
    assert world.hub.identities[DEVICE].primary == OLD_256
    return world


@pytest.mark.parametrize(("unanswered", "asked"), [(True, 2), (False, 1)])
def test_a_device_that_the_hub_did_not_reach_is_asked_again_soon(unanswered, asked):
    """Its thief had thrown it out at that moment; the job itself counts as completed."""
    world = waits_for_the_device()
    (job,) = world.hub.jobs
    world.hub.jobs[job] = Job(finished=True, summary="completed", unanswered=unanswered)
    world.clock.time = the_rollover(world).due_at
    resume_due(world.services)
    deliver_all(world)
    assert (len(world.hub.asked), the_rollover(world).next_step) == (asked, Step.INVOKE_REPROVISION_JOB)


def until_contained(world: World) -> None:
    deliver_all(world)
    world.clock.advance(timedelta(seconds=10))
    resume_due(world.services)
    deliver_all(world)


def reported(world: World, **asked: Any) -> list[str]:
    """The certificates that a preview takes for compromised."""
    shown = preview({"reason": "it hangs", **asked}, ONCALL, world.services)
    (target,) = shown["targets"]
    return [one["sha256_thumbprint"] for one in target["compromised"]]


@pytest.mark.parametrize("selector", [*THUMBPRINTS, {"registration_id": DEVICE}, {"device_id": DEVICE}])
@pytest.mark.parametrize("connected", [True, False])
def test_the_certificate_that_only_the_hub_still_accepts_is_contained(selector, connected):
    world = waits_for_the_device()
    world.hub.put(DEVICE, OLD_256, OLD_256, connected=connected)
    begun = breach(world, **{"registration_id": None, **selector})
    assert OLD_256 in {one.sha256_thumbprint for one in begun.leaving}
    until_contained(world)
    after = the_rollover(world)
    assert (after.plan, after.contained) == (Plan.BREACH, True)
    assert DEVICE not in world.hub.identities


@pytest.mark.parametrize("selector", THUMBPRINTS)
def test_named_by_its_thumbprint_nothing_else_is_taken_for_compromised(selector):
    assert reported(waits_for_the_device(), **selector) == [OLD_256]


def test_named_by_the_device_what_is_in_the_slots_comes_with_it():
    assert reported(waits_for_the_device(), registration_id=DEVICE) == [NEW_256, OLD_256]


def test_a_replacement_that_is_in_place_is_kept():
    world = waits_for_the_device()
    breach(world, registration_id=None, thumbprint=OLD_256)
    until_contained(world)
    assert set(world.dps.slots(DEVICE)) - {None} == {NEW_256}


def test_what_was_cancelled_can_be_called_again_by_its_thumbprint():
    world = waits_for_the_device()
    cancel(the_rollover(world).id, "another mode", ONCALL, world.services)
    assert reported(world, thumbprint=OLD_256) == [OLD_256]


def test_what_was_cancelled_is_not_taken_for_compromised_unless_it_is_named():
    """It may have been a false alarm."""
    world = waits_for_the_device()
    cancel(the_rollover(world).id, "a false alarm", ONCALL, world.services)
    assert reported(world, registration_id=DEVICE) == [NEW_256]


def test_a_breach_that_is_done_is_not_called_again_by_a_thumbprint_that_nothing_holds():
    world = a_plant()
    breach(world)
    until_contained(world)
    world.dps.registered(DEVICE)
    world.hub.provision(DEVICE, NEW_256)
    world.clock.time = the_rollover(world).due_at
    resume_due(world.services)
    deliver_all(world)
    assert the_rollover(world).status == "done"
    with pytest.raises(NotFound):
        reported(world, thumbprint=OLD_256)


class _HubOfAnEagerDevice(InMemoryHub):
    """Whose device registers as soon as the hub refuses it, which enables its identity; it connects before any look."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self.identities, self.jobs, self._version = world.hub.identities, world.hub.jobs, 100

    def identity(self, device_id: str) -> HubIdentity | None:
        known, enrolled = self.identities.get(device_id), self._world.dps.enrolled[device_id]
        if enrolled["provisioningStatus"] == "enabled" and not (known and known.enabled and known.connected):
            self._world.dps.registered(device_id)
            self.put(device_id, NEW_256, NEW_256, connected=True)
        return super().identity(device_id)


@pytest.mark.parametrize("mode", ["remove", "disable"])
def test_a_device_that_comes_back_before_the_second_look_is_not_thrown_out_again_and_again(mode):
    """Its certificate is good and DPS admits it; its session might be the thief's, so the first time it must go."""
    world = waits_for_the_device()
    world.hub.put(DEVICE, OLD_256, OLD_256, connected=True)
    world.hub = _HubOfAnEagerDevice(world)
    breach(world, registration_id=None, thumbprint=OLD_256, mode=mode)
    for _ in range(5):
        until_contained(world)
    after = the_rollover(world)
    assert (after.status, after.contained, after.backs) == ("done", True, 0), reasons(world)
    assert world.hub.identities[DEVICE].primary == NEW_256


def test_what_opens_the_hub_again_while_the_device_is_waited_for_is_evicted_behind_a_shut_door():
    """DPS admits the device by then, so it would be back before the eviction is read back twice."""
    world = a_plant()
    breach(world)
    until_contained(world)
    assert the_rollover(world).next_step is Step.RESTORE_TWIN
    world.hub = _HubOfAnEagerDevice(world)
    world.hub.put(DEVICE, OLD_256, OLD_256, connected=True)
    for _ in range(5):
        world.clock.time = max(world.clock.time, the_rollover(world).due_at or world.clock.time)
        resume_due(world.services)
        deliver_all(world)
    after = the_rollover(world)
    assert (after.status, after.contained, after.backs) == ("done", True, 2), reasons(world)
    assert world.hub.identities[DEVICE].primary == NEW_256
