"""A breach call that takes the place of an open one knows what that one knew, and brings back what it removed."""

from datetime import timedelta

import pytest

from shared.breaching import confirm, preview
from shared.callers import Role
from shared.enrollment import Twin
from shared.errors import Unsuitable
from shared.resuming import resume_due
from shared.rollover import Rollover
from tests.builders import DEVICE, NEW_256, OLD, STRANGER, STRANGER_256, a_story, deliver_all, the_rollover
from tests.fakes import World, somebody

ONCALL = somebody("oncall", Role.BREACH_EXECUTE)
TWIN = Twin("t1", {"site": "Oslo"}, {"interval": 30})


def a_plant() -> World:
    """Both slots are filled, and the vault has no replacement yet: a breach rests contained."""
    world = a_story()
    world.dps.enroll(DEVICE, OLD, STRANGER)
    world.dps.registered(DEVICE)
    world.hub.twins[DEVICE] = TWIN
    world.vault.issues, world.replaces = (lambda _: None), world.vault.issues  # type: ignore[attr-defined]
    return world


def breach(world: World, **members: object) -> Rollover:
    shown = preview({"reason": "stolen laptop", **members}, ONCALL, world.services)
    begun = confirm({"confirm": shown["confirm_token"]}, ONCALL, world.services).rollovers[0]
    deliver_all(world)
    return begun


def recover(world: World) -> Rollover:
    """The vault gets a replacement, and the device comes back with it."""
    world.vault.issues = world.replaces  # type: ignore[attr-defined]
    for _ in range(3):
        world.clock.time = max(world.clock.time, the_rollover(world).due_at or world.clock.time)
        resume_due(world.services)
        deliver_all(world)
        world.clock.advance(timedelta(seconds=1))
        if world.dps.enrolled[DEVICE]["provisioningStatus"] == "enabled" and DEVICE not in world.hub.identities:
            world.dps.registered(DEVICE)
            world.hub.provision(DEVICE, NEW_256)
    return the_rollover(world)


def test_the_twin_that_the_first_breach_removed_is_restored_by_the_second() -> None:
    world = a_plant()
    breach(world, registration_id=DEVICE)
    assert DEVICE not in world.hub.identities
    breach(world, registration_id=DEVICE, mode="disable")
    assert recover(world).status == "done"
    assert world.hub.twins[DEVICE].equals(TWIN)


def test_what_the_first_breach_was_about_is_not_let_in_again_by_a_narrower_second() -> None:
    world = a_plant()
    breach(world, registration_id=DEVICE)
    second = breach(world, thumbprint=OLD.sha256_thumbprint, mode="disable")
    assert {one.sha256_thumbprint for one in second.leaving} == {OLD.sha256_thumbprint, STRANGER_256}
    assert recover(world).status == "done"
    assert set(world.dps.slots(DEVICE)) - {None} == {NEW_256}


def test_mode_reprovision_takes_the_place_of_no_breach_that_shuts_the_device_out() -> None:
    """Its plan restores no twin, and would have the hub accept again what is contained."""
    world = a_plant()
    first = breach(world, registration_id=DEVICE)
    with pytest.raises(Unsuitable, match=first.id):
        breach(world, registration_id=DEVICE, mode="reprovision")
    assert the_rollover(world).id == first.id
    assert recover(world).status == "done"
    assert world.hub.twins[DEVICE].equals(TWIN)
