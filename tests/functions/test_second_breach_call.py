"""A breach call that takes the place of an open one knows what that one knew, and brings back what it removed."""

from dataclasses import replace
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


def disabled_by_a_person(world: World) -> None:
    world.dps.edit(DEVICE, lambda body: body.update(provisioningStatus="disabled"))


def test_what_a_person_disabled_after_a_breach_was_done_is_left_disabled_by_the_next_one() -> None:
    """The first had enabled it at its end; who disabled it since may have sold the device."""
    world = a_plant()
    breach(world, registration_id=DEVICE)
    assert recover(world).status == "done"
    disabled_by_a_person(world)
    second = breach(world, registration_id=DEVICE)
    assert second.incident is not None
    assert not second.incident.was_enabled


def test_what_a_person_disabled_while_nobody_approved_is_left_disabled() -> None:
    """A call that came to nothing disabled nothing."""
    world = a_plant()
    world.settings = replace(world.settings, breach_fuse=0)
    breach(world, registration_id=DEVICE)
    disabled_by_a_person(world)
    world.settings = replace(world.settings, breach_fuse=9)
    second = breach(world, registration_id=DEVICE)
    assert second.incident is not None
    assert not second.incident.was_enabled


def test_what_an_open_breach_disabled_is_enabled_by_the_one_that_takes_its_place() -> None:
    world = a_plant()
    breach(world, registration_id=DEVICE)
    second = breach(world, registration_id=DEVICE, mode="disable")
    assert second.incident is not None
    assert second.incident.was_enabled


def test_so_it_is_where_the_first_has_gone_back_to_its_beginning() -> None:
    """Somebody enabled the enrollment, or DPS showed it late: no step is done then, no act counted; but it acted."""
    world = a_plant()
    first = world.services.ledger.read(breach(world, registration_id=DEVICE).id)
    world.services.ledger.record(replace(first, done=(), acts=0, backs=1), None)
    second = breach(world, registration_id=DEVICE, mode="disable")
    assert second.incident is not None
    assert second.incident.was_enabled


def test_so_it_is_where_dps_did_what_the_first_asked_and_its_answer_was_lost() -> None:
    """What got no answer is not counted as an act, and may have been one."""
    world = a_plant()
    first = world.services.ledger.read(breach(world, registration_id=DEVICE).id)
    world.services.ledger.record(replace(first, done=(), acts=0, acted_at=world.clock.time), None)
    second = breach(world, registration_id=DEVICE, mode="disable")
    assert second.incident is not None
    assert second.incident.was_enabled


def test_so_it_is_where_a_call_that_nobody_approved_lies_between_the_two() -> None:
    world = a_plant()
    breach(world, registration_id=DEVICE)
    world.settings = replace(world.settings, breach_fuse=0)
    assert breach(world, registration_id=DEVICE, mode="disable").awaits_approval
    world.settings = replace(world.settings, breach_fuse=9)
    third = breach(world, registration_id=DEVICE)
    assert third.incident is not None
    assert third.incident.was_enabled


def given_up(world: World) -> None:
    """A breach has removed the device, somebody was called when it did not come back, and then it came."""
    breach(world, registration_id=DEVICE)
    world.vault.issues = world.replaces  # type: ignore[attr-defined]
    for _ in range(4):
        world.clock.advance(timedelta(days=3))
        resume_due(world.services)
        deliver_all(world)
    assert the_rollover(world).status == "needs_person"
    world.dps.registered(DEVICE)
    world.hub.provision(DEVICE, NEW_256)


@pytest.mark.parametrize("mode", ["remove", "disable", "reprovision"])
def test_a_twin_that_was_kept_is_restored_though_the_device_came_back_after_somebody_was_called(mode: str) -> None:
    """What a registration made has nothing in it that anybody would miss."""
    world = a_plant()
    given_up(world)
    breach(world, thumbprint=OLD.sha256_thumbprint, mode=mode)
    recover(world)
    world.dps.registered(DEVICE)
    world.hub.provision(DEVICE, NEW_256)
    assert recover(world).status == "done"
    assert world.hub.twins[DEVICE].equals(TWIN)


def test_a_twin_that_somebody_has_worked_on_since_is_not_overwritten_by_the_kept_one() -> None:
    world = a_plant()
    given_up(world)
    world.hub.twins[DEVICE] = Twin("t9", {"site": "Bergen"}, {})
    second = breach(world, registration_id=DEVICE, mode="disable")
    assert second.incident is not None
    assert second.incident.restores is None
