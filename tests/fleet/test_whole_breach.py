"""A group's breach from the call to the last device, with the real works on its fleet, in memory."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from shared.breaching import confirm, preview
from shared.callers import Role
from shared.enrollment import Twin
from shared.operating import retry
from shared.plans import Step
from shared.rollover import Outcome, Rollover
from tests.fakes import World, somebody
from tests.fleet.kit import Host, names, thumbprint
from tests.group_story import (
    GROUP,
    NEW_CA,
    NEW_ROOT,
    OLD_CA,
    OLD_ROOT,
    a_group_story,
    reasons,
    the_rollover,
    trusted,
)

pytestmark = pytest.mark.usefixtures("quiet")
MANY = 230
ONCALL = somebody("oncall", Role.BREACH_EXECUTE)
MADE = "made-by-a-thief"


def a_breached_group(count: int = MANY, **knobs: Any) -> tuple[World, Host]:
    """Its devices are on, each with a twin of its own; the thief has made himself a device; the call is confirmed."""
    world = a_group_story(**knobs)
    put_on(world, [*names(count), MADE])
    host = Host(world, whole=True)
    asked = {"enrollment_group": GROUP, "reason": "the CA's key was copied"}
    token = preview(asked, ONCALL, world.services)["confirm_token"]
    confirm({"confirm": token, "break_glass": "nobody else is up"}, ONCALL, world.services)
    return world, host


def a_small_group_with_a_made_up_name(*, theft_known: bool) -> tuple[World, Host]:
    """Four devices; an hour after the theft the thief registers a name that there never was."""
    world = a_group_story(straggler_grace=timedelta(hours=3))
    put_on(world, names(4))
    world.clock.advance(timedelta(hours=1))
    since = world.clock().isoformat()
    world.clock.advance(timedelta(hours=1))
    put_on_also(world, [MADE])
    host = Host(world, whole=True)
    asked = {"enrollment_group": GROUP, "reason": "the CA's key was copied"}
    asked |= {"compromised_since": since} if theft_known else {}
    token = preview(asked, ONCALL, world.services)["confirm_token"]
    confirm({"confirm": token, "break_glass": "nobody else is up"}, ONCALL, world.services)
    until(world, host, Step.RESTORE_TWIN, timedelta(hours=1))
    return world, host


def put_on(world: World, devices: Iterable[str]) -> None:
    """These are the group's devices, and registered; the works on them are the real ones."""
    world.fleet = None
    world.dps.members_of[GROUP] = []
    world.hub.identities.clear()
    put_on_also(world, devices)


def put_on_also(world: World, devices: Iterable[str]) -> None:
    """These as well."""
    for name in devices:
        world.dps.registered(name, group=GROUP)
        world.hub.put(name, thumbprint(name), thumbprint(name), connected=True)
        world.hub.twins[name] = twin_of(name)


def twin_of(name: str) -> Twin:
    return Twin(f"t-{name}", {"site": name}, {"rate": {"every": 5, "of": name}})


def come_back(world: World, some: Iterable[str]) -> None:
    """They register under the new CA; DPS makes each a new identity with an initial twin."""
    for name in some:
        world.dps.registered(name, group=GROUP)
        world.hub.put(name, thumbprint(name, 1), thumbprint(name, 1), connected=True)
        world.hub.twins[name] = Twin("AAAAAAAAAAE=", {}, {})


def restored(world: World) -> set[str]:
    return {name for name, twin in world.hub.twins.items() if twin.equals(twin_of(name))}


def until(world: World, host: Host, step: Step | None, longest: timedelta) -> Rollover:
    host.run(lambda: the_rollover(world).next_step is step, longest)
    return the_rollover(world)


@pytest.mark.parametrize("by_reference", [False, True])
def test_a_fleet_is_contained_rolled_and_brought_back_with_every_twin(by_reference: bool) -> None:
    world, host = a_breached_group(by_reference=by_reference)
    old, new = (OLD_ROOT, NEW_ROOT) if by_reference else (OLD_CA, NEW_CA)
    rollover = until(world, host, Step.RESTORE_TWIN, timedelta(hours=1))
    assert rollover.contained, reasons(world)
    assert not world.hub.identities
    assert set(trusted(world).values()) - {None} == {new.sha256_thumbprint}
    assert old.sha256_thumbprint not in {one.certificate.sha256_thumbprint for one in world.authorities.all()}
    come_back(world, names(MANY))
    rollover = until(world, host, None, timedelta(hours=1))
    assert rollover.outcome is Outcome.DONE, reasons(world)
    assert restored(world) == set(names(MANY))
    assert MADE in reasons(world)[-1][1], "who did not come back is named"
    assert world.topic.kinds()[-1] == "Rollover.Completed"


def test_a_device_that_comes_back_when_all_is_done_gets_its_twin_too() -> None:
    world, host = a_breached_group()
    until(world, host, Step.RESTORE_TWIN, timedelta(hours=1))
    late = names(MANY)[:3]
    come_back(world, names(MANY)[3:])
    assert until(world, host, None, timedelta(hours=1)).outcome is Outcome.DONE, reasons(world)
    host.run_for(timedelta(hours=2))
    come_back(world, late)
    host.run(lambda: restored(world) == set(names(MANY)), timedelta(hours=1))


def test_devices_that_do_not_come_back_are_a_persons_and_a_retry_takes_them_in() -> None:
    world, host = a_breached_group(20, straggler_grace=timedelta(hours=3))
    until(world, host, Step.RESTORE_TWIN, timedelta(hours=1))
    come_back(world, names(20)[5:])
    host.run(lambda: the_rollover(world).outcome is not None, timedelta(hours=4))
    rollover = the_rollover(world)
    assert (rollover.outcome, rollover.contained) == (Outcome.NEEDS_PERSON, True)
    assert (rollover.outcome_reason or "").startswith("6 of 21 devices are not back"), rollover.outcome_reason
    assert MADE in (rollover.outcome_reason or "")
    assert "or cancel it" in (rollover.next_action or "")
    host.run_for(timedelta(hours=1))
    come_back(world, names(20)[:5])
    world.hub.put(MADE, "A", "A")  # there was such a device after all
    retry(rollover.id, "they have their leaves now", (), ONCALL, world.services)
    assert until(world, host, None, timedelta(hours=1)).outcome is Outcome.DONE, reasons(world)
    assert restored(world) == {*names(20), MADE}


def test_nobody_waits_for_a_name_that_registered_for_the_first_time_since_the_theft() -> None:
    world, host = a_small_group_with_a_made_up_name(theft_known=True)
    come_back(world, names(4)[:3])
    host.run_for(timedelta(minutes=30))
    assert the_rollover(world).outcome is None, "a device that was there before is waited for"
    come_back(world, names(4)[3:])
    assert until(world, host, None, timedelta(minutes=30)).outcome is Outcome.DONE, reasons(world)
    why = reasons(world)[-1][1]
    assert why.startswith("4 of 5 devices are back")
    assert "(1 of them registered for the first time since the theft): made-by-a-thief" in why


def test_a_new_device_of_the_fleet_gets_its_twin_although_nobody_waits_for_it() -> None:
    world, host = a_small_group_with_a_made_up_name(theft_known=True)
    come_back(world, [*names(4), MADE])
    host.run(lambda: restored(world) == {*names(4), MADE}, timedelta(hours=1))


def test_a_made_up_name_in_a_small_group_does_not_hold_up_its_breach_for_ever() -> None:
    """Nobody said when the theft was, so nothing tells it from a device: it is waited for, and then let be by name."""
    world, host = a_small_group_with_a_made_up_name(theft_known=False)
    come_back(world, names(4))
    host.run_for(timedelta(hours=1))
    assert the_rollover(world).outcome is None
    assert until(world, host, None, timedelta(hours=3)).outcome is Outcome.DONE, reasons(world)
    assert reasons(world)[-1][1].startswith("1 of 5 devices are not back"), reasons(world)[-1]
    assert MADE in reasons(world)[-1][1]


def test_a_small_group_most_of_which_is_missing_is_a_persons() -> None:
    world, host = a_small_group_with_a_made_up_name(theft_known=False)
    come_back(world, names(4)[:2])
    host.run(lambda: the_rollover(world).outcome is not None, timedelta(hours=4))
    assert the_rollover(world).outcome is Outcome.NEEDS_PERSON
    assert (the_rollover(world).outcome_reason or "").startswith("3 of 5 devices are not back")
