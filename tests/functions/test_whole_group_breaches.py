"""Breaches of groups from the call to the end, in memory: contained, rolled, and the devices back."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.breaching import confirm, preview
from shared.callers import Role
from shared.certificate import parse_certificate
from shared.enrollment import Slot
from shared.errors import BadInput, NotFound, Unsuitable
from shared.operating import retry
from shared.plans import Step
from shared.quota import Quota
from shared.rollover import Outcome, Rollover
from shared.starting import start_rollover
from shared.status import still_exposed
from tests.certificates import a_ca
from tests.fakes import World, somebody
from tests.group_story import (
    CERTIFICATE,
    DEVICES,
    GROUP,
    LATER,
    NEW_CA,
    NEW_ROOT,
    OLD_CA,
    OLD_ROOT,
    THE_ROOT,
    a_group_story,
    go_on,
    reasons,
    the_rollover,
    trusted,
)

pytestmark = pytest.mark.usefixtures("quiet")
ONCALL = somebody("oncall", Role.BREACH_EXECUTE)


def breach(world: World, **members) -> list[Rollover]:
    """Preview and confirm, by the group's ID unless something else is named."""
    asked = {"reason": "the CA's key was copied", **(members or {"enrollment_group": GROUP})}
    shown = preview(asked, ONCALL, world.services)
    return confirm({"confirm": shown["confirm_token"]}, ONCALL, world.services).rollovers


def enabled(world: World) -> bool:
    group = world.dps.group(GROUP)
    return group is not None and group.enabled


def come_back(world: World) -> None:
    for device_id in DEVICES:
        world.hub.provision(device_id, device_id.lower())


@pytest.mark.parametrize("by_reference", [False, True])
def test_a_breached_group_is_contained_rolled_and_its_devices_come_back(by_reference):
    world = a_group_story(by_reference=by_reference)
    old, new = (OLD_ROOT, NEW_ROOT) if by_reference else (OLD_CA, NEW_CA)
    [begun] = breach(world)
    assert not enabled(world), "the door is shut when the call is answered"
    assert begun.done == (Step.DISABLE_ENROLLMENT,)
    rollover = go_on(world)
    assert (rollover.contained, rollover.next_step) == (True, Step.RESTORE_TWIN), reasons(world)
    assert not set(DEVICES) & set(world.hub.identities)
    assert set(trusted(world).values()) - {None} == {new.sha256_thumbprint}
    assert old.sha256_thumbprint not in {one.certificate.sha256_thumbprint for one in world.authorities.all()}
    assert enabled(world)
    come_back(world)
    rollover = go_on(world, timedelta(hours=1))
    assert rollover.outcome is Outcome.DONE, reasons(world)
    kinds = ["Rollover.Started", "Rollover.Contained", "Rollover.Recovered", "Rollover.Completed"]
    assert world.topic.kinds() == kinds


def test_a_device_that_was_registering_when_the_door_was_shut_is_evicted_in_a_second_round():
    """Its registration ends a little later, and makes the identity that was just removed anew."""
    world = a_group_story()
    breach(world)
    rollover = go_on(world, timedelta(seconds=5))
    assert rollover.next_step is Step.VERIFY_CONTAINMENT
    world.hub.provision("pump-2", "MADE-BY-A-THIEF")
    rollover = go_on(world)
    assert rollover.contained, reasons(world)
    assert "pump-2" not in world.hub.identities
    assert [what for what, _ in reasons(world)].count("goes back") == 1


def test_nothing_is_called_contained_before_what_was_under_way_has_come_to_the_hub():
    world = a_group_story()
    called = world.clock.time
    breach(world)
    go_on(world)
    contained = next(r for r in world.services.ledger.history(the_rollover(world)) if r.step is Step.VERIFY_CONTAINMENT)
    done = [r for r in world.services.ledger.history(the_rollover(world)) if r.what == "done"]
    at = next(r.at for r in done if r.step is Step.VERIFY_CONTAINMENT)
    assert at - called >= world.settings.policy.settle
    assert contained.at < at


def test_a_group_above_stops_it_contained_before_the_compromised_ca_leaves_the_disabled_group():
    """Out of the disabled group, the next entry of the chain decides: a group that trusts the root."""
    world = a_group_story()
    world.dps.enroll_group("everything", ca_references=["root"])
    shown = preview({"enrollment_group": GROUP, "reason": "copied"}, ONCALL, world.services)
    assert [(one["route"], one["certain"]) for one in shown["targets"][0]["escape_routes"]] == [
        ("group everything", True)
    ]
    breach(world)
    rollover = go_on(world)
    assert (rollover.outcome, rollover.contained) == (Outcome.NEEDS_PERSON, True)
    assert "group everything" in rollover.outcome_reason
    assert OLD_CA.sha256_thumbprint in trusted(world).values()
    assert not enabled(world)


def test_another_group_that_trusts_the_ca_is_no_containment():
    world = a_group_story()
    world.dps.enroll_group("line-2", OLD_CA)
    breach(world)
    rollover = go_on(world)
    assert (rollover.outcome, rollover.contained) == (Outcome.NEEDS_PERSON, False)
    assert "not contained: group line-2" in rollover.outcome_reason
    assert still_exposed(rollover, world.services) == ["group line-2: it trusts the compromised CA certificate itself"]


def test_a_breach_that_needs_a_person_is_not_taken_out_of_the_persons_hands():
    """The group is mended by hand, but line-2 still admits what is compromised: a rollover in the breach's place would
    make the retry impossible that the person was told of."""
    world = a_group_story()
    world.dps.enroll_group("line-2", OLD_CA)
    breach(world)
    ended = go_on(world)
    assert ended.outcome is Outcome.NEEDS_PERSON
    world.dps.enroll_group(GROUP, NEW_CA)
    newer = parse_certificate(a_ca("Line CA", THE_ROOT, **LATER).der)
    world.vault.kept[CERTIFICATE].versions += [NEW_CA, newer]
    assert start_rollover(CERTIFICATE, "sweep", world.services, hint=False).what == "cannot"
    (said,) = world.services.ledger.refused_inputs()
    assert said.reason == f"{ended.id} needs a person first: {ended.next_action}"
    assert the_rollover(world) == ended
    del world.dps.grouped["line-2"]
    assert retry(ended.id, "line-2 is gone", (), ONCALL, world.services).outcome is None


def test_a_thumbprint_that_two_groups_trust_rolls_both_by_one_call():
    world = a_group_story(by_reference=True)
    world.dps.enroll_group("line-2", ca_references=["line-root"])
    world.dps.registered("valve-1", group="line-2")
    world.vault.kept["line-2-ca"] = replace(
        world.vault.kept[CERTIFICATE], versions=[OLD_ROOT], tags={"rollover-group": "line-2"}
    )
    begun = breach(world, thumbprint=OLD_ROOT.sha256_thumbprint)
    assert sorted(one.group_id for one in begun) == ["line-1", "line-2"]
    for _ in range(40):
        for one in begun:
            rollover = world.services.ledger.read(one.id)
            if rollover.next_step and rollover.due_at and rollover.due_at <= world.clock.time + timedelta(minutes=2):
                world.clock.time = max(world.clock.time, rollover.due_at)
                _deliver(world, rollover)
    ends = [world.services.ledger.read(one.id) for one in begun]
    assert [one.next_step for one in ends] == [Step.RESTORE_TWIN] * 2
    assert [one.certificate.sha256_thumbprint for one in world.authorities.all()] == [NEW_ROOT.sha256_thumbprint]


def _deliver(world: World, rollover: Rollover) -> None:
    from shared.nudges import encode_nudge
    from shared.stepping import carry_out
    from tests.builders import EFFECTS

    carry_out(rollover.next_step, encode_nudge(rollover.id).encode(), world.services, EFFECTS[rollover.next_step])


def test_both_slots_compromised_are_swapped_without_ever_being_empty():
    world = a_group_story()
    other = parse_certificate(a_ca("Line CA", THE_ROOT, **LATER).der)
    world.dps.enroll_group(GROUP, OLD_CA, other)
    breach(world)
    rollover = go_on(world)
    assert rollover.next_step is Step.RESTORE_TWIN, reasons(world)
    assert trusted(world) == {Slot.PRIMARY: None, Slot.SECONDARY: NEW_CA.sha256_thumbprint}


def test_without_a_replacement_it_rests_contained_and_goes_on_with_a_new_version():
    world = a_group_story()
    world.vault.issues = lambda _: None
    breach(world)
    rollover = go_on(world, timedelta(minutes=2))
    assert (rollover.contained, rollover.next_step) == (True, Step.ISSUE_CERTIFICATE)
    world.vault.kept[CERTIFICATE].versions.append(NEW_CA)
    start_rollover(CERTIFICATE, "event", world.services)
    assert go_on(world).next_step is Step.RESTORE_TWIN


def test_the_preview_counts_the_devices_and_the_fuse_blows_by_them():
    world = a_group_story()
    world.settings = replace(world.settings, breach_fuse=2)
    shown = preview({"enrollment_group": GROUP, "reason": "copied"}, ONCALL, world.services)
    assert (shown["devices"], shown["fuse"]) == (3, {"limit": 2, "exceeded": True})
    [target] = shown["targets"]
    assert (target["enrollment_group"], target["devices"], target["trusts"]) == (GROUP, 3, "signing_certificates")
    [begun] = confirm({"confirm": shown["confirm_token"]}, ONCALL, world.services).rollovers
    assert begun.status == "awaiting_approval"
    assert enabled(world)


@pytest.mark.parametrize(
    ("tier", "units", "seconds"),
    # The published registry quota: 100 a minute for each unit of S1, 5,000 of S3.
    [("S1", 1, 720.0), ("S1", 10, 72.0), ("S3", 1, 14.4)],
)
def test_the_preview_says_how_long_eviction_takes_at_this_hub(tier, units, seconds):
    world = a_group_story()
    world.hub.tier = Quota(tier, units)
    world.dps.members_of[GROUP] = [f"pump-{number}" for number in range(1200)]
    for name in world.dps.members_of[GROUP]:
        world.dps.registered(name)
    shown = preview({"enrollment_group": GROUP, "reason": "copied"}, ONCALL, world.services)
    assert shown["targets"][0]["eviction_bound_s"] == pytest.approx(seconds)
    assert shown["eta"]["evicted_s"] > seconds
    assert any("queued cloud-to-device messages" in one for one in shown["targets"][0]["loses"])


@pytest.mark.parametrize("mode", ["disable", "reprovision"])
def test_a_group_is_contained_by_removing_identities_only(mode):
    world = a_group_story()
    with pytest.raises(Unsuitable, match="mode remove only"):
        preview({"enrollment_group": GROUP, "reason": "copied", "mode": mode}, ONCALL, world.services)


@pytest.mark.parametrize(
    ("selector", "error"),
    [
        ({"enrollment_group": "line-9"}, NotFound),
        ({"enrollment_group": "no good"}, BadInput),
        ({"enrollment_group": GROUP, "registration_id": "pump-1"}, BadInput),
        ({"enrollment_group": GROUP, "leaf_keys_safe": True}, BadInput),
    ],
)
def test_a_slip_of_the_pen_names_no_group(selector, error):
    with pytest.raises(error):
        preview({"reason": "copied", **selector}, ONCALL, a_group_story().services)


@pytest.mark.parametrize(
    "selector",
    [
        {"enrollment_group": "LINE-1"},
        {"certificate_name": CERTIFICATE},
        {"thumbprint": OLD_CA.sha1_thumbprint},
        {"thumbprint": OLD_CA.sha256_thumbprint},
    ],
)
def test_a_group_is_named_by(selector):
    shown = preview({"reason": "copied", **selector}, ONCALL, a_group_story().services)
    assert [one["enrollment_group"] for one in shown["targets"]] == [GROUP]


def test_the_http_api_shows_a_group_its_devices_and_what_is_exposed(http_of):
    """Every answer is held against docs/openapi.yaml."""
    world = a_group_story()
    http = http_of(world)
    token = http.post("/api/breaches", enrollment_group=GROUP, reason="copied").json["confirm_token"]
    answer = http.post("/api/breaches", confirm=token)
    assert (answer.status, answer.json["rollovers"][0]["id"]) == (202, "group.line-1.1")
    shown = http.get("/api/rollovers/group.line-1.1").json
    assert (shown["enrollment_group"], shown["registration_id"], shown["contained"]) == (GROUP, None, False)
    assert [one.partition(":")[0] for one in shown["still_exposed"]] == ["IoT Hub"]
    go_on(world)
    shown = http.get("/api/rollovers/group.line-1.1").json
    assert (shown["contained"], shown["still_exposed"]) == (True, [])
    assert [(work["work"], work["left"]) for work in shown["fleet"]] == [("evict", 0), ("check", 0), ("restore", 3)]
    listed = http.get("/api/rollovers", enrollment_group="LINE-1").json["rollovers"]
    assert [one["id"] for one in listed] == ["group.line-1.1"]
    assert http.get("/api/rollovers", enrollment_group="x", registration_id="y").status == 400
    assert http.post("/api/rollovers/group.line-1.1/cancel", reason="false alarm").status == 202
    assert http.post("/api/rollovers/group.line-1.1/retry", reason="it was none").status == 202


def test_a_replacement_that_somebody_took_out_of_the_group_is_put_there_again():
    """Else the rollover would wait for devices that DPS does not admit, or take those of before for all."""
    world = a_group_story()
    breach(world)
    assert go_on(world).next_step is Step.RESTORE_TWIN
    world.dps.enroll_group(GROUP, parse_certificate(a_ca("Another CA", THE_ROOT).der))
    world.clock.advance(timedelta(hours=1))
    assert go_on(world).next_step is Step.RESTORE_TWIN, reasons(world)
    assert NEW_CA.sha256_thumbprint in trusted(world).values()


def test_devices_under_a_ca_that_left_the_dps_are_not_waited_for():
    world = a_group_story()
    breach(world)
    assert go_on(world).next_step is Step.RESTORE_TWIN
    world.authorities.kept.clear()
    rollover = go_on(world, timedelta(hours=1))
    assert rollover.outcome is Outcome.NEEDS_PERSON
    assert "no device can get in (any more)" in (rollover.outcome_reason or "")
