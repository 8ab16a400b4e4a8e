"""Breaches from the call to the end, through the functions: contained at once, recovered with a replacement."""

from datetime import timedelta

import pytest

from shared.breaching import confirm, preview
from shared.callers import Caller, Role
from shared.enrollment import Removed, Twin
from shared.plans import Step
from shared.resuming import resume_due
from shared.rollover import ACT_LEASE, Rollover
from tests.builders import DEVICE, NEW, NEW_256, OLD_256, a_story, deliver_all, put_rollover, reasons, the_rollover
from tests.fakes import World, info

ONCALL = Caller("oid-1", "tid", "Ada", frozenset({Role.BREACH_EXECUTE}))
TWIN = Twin("t1", {"site": "Oslo", "rows": [1, 2.5, None]}, {"interval": 30, "nested": {"ø": True}})


def a_plant(**settings) -> World:
    world = a_story(**settings)
    world.hub.twins[DEVICE] = TWIN
    return world


def breach(world: World, **members) -> Rollover:
    """Preview and confirm, by registration ID unless something else is named."""
    asked = {"registration_id": DEVICE, "reason": "stolen laptop", **members}
    shown = preview(asked, ONCALL, world.services)
    return confirm({"confirm": shown["confirm_token"]}, ONCALL, world.services).rollovers[0]


def admits(world: World) -> bool:
    return world.dps.enrolled[DEVICE]["provisioningStatus"] == "enabled"


def comes_back(world: World) -> None:
    """The rightful device registers with the replacement."""
    world.clock.advance(timedelta(seconds=1))
    world.dps.registered(DEVICE)
    world.hub.provision(DEVICE, NEW_256)


@pytest.mark.parametrize("mirror", [True, False])
def test_a_breach_is_contained_and_the_device_comes_back_with_its_twin(mirror):
    world = a_plant(mirror_primary=mirror)
    begun = breach(world)
    assert not admits(world), "the door is shut when the call is answered"
    assert begun.done == (Step.DISABLE_ENROLLMENT,)
    deliver_all(world)
    after = the_rollover(world)
    assert (after.contained, after.next_step) == (True, Step.RESTORE_TWIN)
    assert DEVICE not in world.hub.identities
    assert set(world.dps.slots(DEVICE)) - {None} == {NEW_256}
    assert admits(world)
    comes_back(world)
    world.clock.time = after.due_at
    resume_due(world.services)
    deliver_all(world)
    after = the_rollover(world)
    assert after.status == "done", reasons(world)
    assert world.hub.twins[DEVICE].equals(TWIN)
    kinds = ["Rollover.Started", "Rollover.Contained", "Rollover.Recovered", "Rollover.Completed"]
    assert world.topic.kinds() == kinds


def issued_by_a_ca(world: World) -> None:
    """The device's certificate names an issuer, and an enabled group trusts some CA."""

    def name_issuer(body):
        for slot in body["attestation"]["x509"]["clientCertificates"].values():
            slot["info"]["issuerName"] = "CN=Factory CA"

    world.dps.edit(DEVICE, name_issuer)
    world.dps.enroll_group("line-1", ca_references=["factory"])


def test_a_way_around_the_disabled_enrollment_stops_the_plan_before_the_certificate_leaves_it():
    """DPS takes the first entry that it finds; with the certificate taken out that would be the group."""
    world = a_plant()
    issued_by_a_ca(world)
    breach(world)
    deliver_all(world)
    after = the_rollover(world)
    assert (after.status, after.contained) == ("needs_person", True)
    assert "group line-1" in after.outcome_reason
    assert OLD_256 in world.dps.slots(DEVICE)
    assert not admits(world)


def test_a_certificate_that_somebody_took_out_of_its_disabled_enrollment_is_not_called_contained():
    world = a_plant()
    issued_by_a_ca(world)
    breach(world)
    world.dps.edit(
        DEVICE, lambda body: body["attestation"]["x509"].update(clientCertificates={"primary": {"info": info(NEW)}})
    )
    deliver_all(world)
    after = the_rollover(world)
    assert (after.status, after.contained) == ("needs_person", False)
    assert "not contained: group line-1" in after.outcome_reason


def test_a_way_that_the_caller_accepted_does_not_stop_it():
    world = a_plant()
    issued_by_a_ca(world)
    shown = preview({"registration_id": DEVICE, "reason": "stolen laptop"}, ONCALL, world.services)
    assert [one["route"] for one in shown["targets"][0]["escape_routes"]] == ["group line-1"]
    call = {"confirm": shown["confirm_token"], "accept_escape_routes": ["group line-1"]}
    confirm(call, ONCALL, world.services)
    deliver_all(world)
    assert the_rollover(world).next_step is Step.RESTORE_TWIN


def test_a_breach_in_mode_reprovision_restores_the_twin_that_one_before_it_removed():
    """Whoever calls with mode remove and then with reprovision must not lose the twin in between."""
    world = a_plant()
    begun = breach(world, mode="reprovision")
    world.services.ledger.keep_removed(begun.id, Removed(world.clock.time, "before", False, TWIN))
    world.hub.delete(world.hub.identities[DEVICE])
    deliver_all(world)
    comes_back(world)
    for _ in range(5):
        world.clock.advance(timedelta(minutes=10))
        resume_due(world.services)
        deliver_all(world)
    after = the_rollover(world)
    assert after.status == "done", reasons(world)
    assert world.hub.twins[DEVICE].equals(TWIN)


def test_nothing_is_called_contained_while_a_step_of_the_rollover_before_may_still_write():
    """What was preempted between its intention and its write may write yet, as long as its lease lasts."""
    world = a_plant()
    put_rollover(world, Step.STAGE_HUB_THUMBPRINT, acts=1, acted_at=world.clock.time)
    quiet = world.clock.time + ACT_LEASE
    breach(world, compromised=["primary"])
    for _ in range(20):
        deliver_all(world)
        if world.clock.time >= quiet - timedelta(seconds=30):
            break
        world.clock.advance(timedelta(seconds=10))
        resume_due(world.services)
    assert the_rollover(world).next_step is Step.VERIFY_CONTAINMENT
    world.clock.time = quiet
    resume_due(world.services)
    deliver_all(world)
    assert the_rollover(world).contained
