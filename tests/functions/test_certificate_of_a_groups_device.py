"""The certificate of a group's device is rolled near its own end, from the trigger to the end, by the functions."""

from datetime import datetime, timedelta

import pytest

from shared.certificate import Certificate
from shared.certificate_event import take_event
from shared.issuing import issued_by
from shared.plans import Plan, Step
from shared.resuming import resume_due
from shared.starting import start_rollover
from shared.sweeping import sweep
from tests.certificates import NOW
from tests.fakes import World
from tests.member_story import (
    CA,
    CA_KEY,
    CERTIFICATE,
    DAY,
    DEVICE,
    GROUP,
    LEAF,
    LINE_CA,
    a_member_story,
    begin,
    device_registers,
    go_on,
    moves_when_asked,
    newest,
    reasons,
    the_rollover,
    until_asked,
)
from tests.own_ca import made, p256

pytestmark = pytest.mark.usefixtures("quiet")


def event(world: World, kind: str) -> None:
    vault = world.settings.vault_url
    data = {"Id": f"{vault}/certificates/{CERTIFICATE}/v1", "VaultName": "vault", "ObjectName": CERTIFICATE}
    take_event(f"Microsoft.KeyVault.{kind}", "1", "vault", CERTIFICATE, data, world.services)


def a_leaf(ends: datetime) -> Certificate:
    return made(DEVICE, p256(), by=(LINE_CA, CA_KEY), ca=False, ends=ends)


def shown(world: World) -> set[str]:
    """What the hub accepts."""
    return set(world.hub.identities[DEVICE].thumbprints())


def test_it_rolls_by_itself_from_the_event_to_the_end():
    world = a_member_story()
    moves_when_asked(world)
    event(world, "CertificateNearExpiry")
    rollover = go_on(world)
    assert (rollover.plan, rollover.status, rollover.member_of) == (Plan.MEMBER_EXPIRY, "done", GROUP)
    assert issued_by(newest(world), LINE_CA)
    assert shown(world) == {newest(world).sha256_thumbprint}
    assert world.vault.asked == 1
    assert [device for device, _ in world.hub.asked] == [DEVICE]
    assert world.topic.kinds() == ["Rollover.Started", "Rollover.DeviceMoved", "Rollover.Completed"]
    assert world.dps.enrolled == {}, "nothing is enrolled for it"


def test_it_rolls_by_the_sweep_alone_and_once():
    world = a_member_story()
    moves_when_asked(world)
    assert sweep(world.services) == {"begun": 1, "nothing": 1}
    assert go_on(world).status == "done"
    assert sweep(world.services) == {"nothing": 2}
    assert the_rollover(world).id == f"individual.{DEVICE}.1"


def test_the_timer_carries_it_to_its_end_when_every_nudge_is_lost():
    world = a_member_story()
    moves_when_asked(world)
    begin(world)
    for _ in range(20):
        world.nudges.sent.clear()
        world.clock.advance(timedelta(minutes=3))
        resume_due(world.services)
        go_on(world, timedelta())
    assert the_rollover(world).status == "done"


def test_the_device_is_told_which_certificate_and_accepted_with_both_until_it_has_registered():
    world = a_member_story()
    rollover = until_asked(world)
    assert rollover.next_step is Step.INVOKE_REPROVISION_JOB
    assert shown(world) == {LEAF.sha256_thumbprint, newest(world).sha256_thumbprint}
    (device, payload) = world.hub.asked[0]
    assert (device, payload["sha256_thumbprint"]) == (DEVICE, newest(world).sha256_thumbprint)
    device_registers(world)
    assert go_on(world, DAY).status == "done"


def test_what_is_done_says_that_the_old_certificate_is_not_revoked():
    world = a_member_story()
    moves_when_asked(world)
    begin(world)
    assert "DPS takes that until it ends" in go_on(world).outcome_reason


def test_a_new_version_that_somebody_else_issued_is_brought_to_the_device_though_nothing_is_near_its_end():
    """Whatever made it: the vault itself, or a person. Its event may be lost."""
    world = a_member_story(a_leaf(NOW + 300 * DAY))
    world.vault.kept[CERTIFICATE].versions.append(a_leaf(NOW + 350 * DAY))
    moves_when_asked(world)
    assert sweep(world.services)["begun"] == 1
    assert go_on(world).status == "done"
    assert shown(world) == {newest(world).sha256_thumbprint}
    assert world.vault.asked == 0


def test_where_dps_leaves_the_hub_alone_the_old_certificate_leaves_it_at_its_end():
    """Reprovision policy "never": a registration refreshes no thumbprint, so only time can tell (decision 3)."""
    world = a_member_story()
    until_asked(world)
    for _ in range(2):
        world.clock.time = LEAF.not_after + timedelta(seconds=1)
        world.dps.registered(DEVICE)
        go_on(world, DAY)
    assert the_rollover(world).status == "done"
    assert shown(world) == {newest(world).sha256_thumbprint}


# --- what makes it refuse, before anything is written ---------------------------------------------------------------


def test_it_is_refused_with_the_missing_link_when_the_group_does_not_trust_the_ca_that_would_issue():
    """The CA was rolled in the vault, and the group's own rollover did not bring it into the group."""
    world = a_member_story()
    key = p256()
    other = made("Line CA", key, ends=NOW + 1000 * DAY)
    world.vault.kept[CA].versions.append(other)
    world.vault.kept[CA].keys[other.sha256_thumbprint] = key
    begin(world)
    rollover = go_on(world)
    assert rollover.status == "refused"
    assert other.sha256_thumbprint in rollover.outcome_reason
    assert "the group trusts CN=Line CA" in rollover.outcome_reason
    assert (world.vault.asked, shown(world)) == (0, {LEAF.sha256_thumbprint})
    assert "mend that" in rollover.next_action


def test_it_is_refused_with_the_missing_link_when_the_root_above_the_group_is_not_verified():
    world = a_member_story()
    world.authorities.kept.clear()
    begin(world)
    rollover = go_on(world)
    assert rollover.status == "refused"
    assert "CN=Root is not among the verified CA certificates" in rollover.outcome_reason


@pytest.mark.parametrize(
    ("why", "leaf"),
    [
        ("its common name is 'pump-2'", lambda: made("pump-2", p256(), by=(LINE_CA, CA_KEY), ca=False)),
        ("no CA certificate that issued it", lambda: made(DEVICE, p256(), ca=False)),
        ("not later than the outgoing one", lambda: a_leaf(NOW + 10 * DAY)),
    ],
)
def test_a_version_that_would_lock_the_device_out_is_refused(why, leaf):
    world = a_member_story()
    begin(world)
    world.vault.kept[CERTIFICATE].versions.append(leaf())
    rollover = go_on(world)
    assert rollover.status == "refused"
    assert why in rollover.outcome_reason
    assert shown(world) == {LEAF.sha256_thumbprint}


def test_a_version_under_an_older_ca_that_the_group_let_go_of_is_replaced_by_another():
    """Issued before the CA was rolled: its own CA is in the group no more, the new one is."""
    world = a_member_story()
    gone = p256()
    before = made("Line CA", gone, length=0, ends=NOW + 100 * DAY)
    world.vault.kept[CERTIFICATE].versions.append(
        made(DEVICE, p256(), by=(before, gone), ca=False, ends=NOW + 90 * DAY)
    )
    world.vault.kept[CA].versions.insert(0, before)
    moves_when_asked(world)
    begin(world)
    assert go_on(world).status == "done"
    assert issued_by(newest(world), LINE_CA)
    assert any("another is asked for" in why for _, why in reasons(world))


# --- what keeps it from beginning -----------------------------------------------------------------------------------


def started(world: World) -> tuple[str, str]:
    found = start_rollover(CERTIFICATE, "sweep", world.services, hint=False)
    return found.what, found.why


CANNOT = {
    "it never registered": (lambda w: w.dps.registrations.clear(), "knows no registration"),
    "the hub has no identity": (lambda w: w.hub.identities.clear(), "no identity of this device"),
    "it is another hub's": (
        lambda w: w.dps.registrations[DEVICE].update(assignedHub="other.azure-devices.net"),
        "assigned to the hub other",
    ),
    "it got its certificate elsewhere": (lambda w: w.hub.provision(DEVICE, "A" * 64), "got it elsewhere"),
    "the hub has it disabled": (lambda w: w.hub.put(DEVICE, LEAF.sha256_thumbprint, None, enabled=False), "disabled"),
    "it authenticates by SAS": (lambda w: w.hub.put(DEVICE, None, None, authentication="sas"), "by sas"),
    "the vault has it disabled": (lambda w: setattr(w.vault.kept[CERTIFICATE], "enabled", False), "is disabled"),
    "there is no such group": (lambda w: w.dps.grouped.clear(), "no enrollment group 'line-1'"),
    "Azure issues for the group": (
        lambda w: w.dps.enroll_group(GROUP, LINE_CA, credentialPolicyName="adr"),
        "credential policy 'adr'",
    ),
    "the certificate is not called as the tag says": (
        lambda w: w.vault.kept[CA].tags.update({"rollover-leaves": "leaf*"}),
        "is called 'leafpump-1'",
    ),
}


@pytest.mark.parametrize(("change", "said"), CANNOT.values(), ids=CANNOT.keys())
def test_it_cannot_begin_and_says_so_once_when(change, said):
    world = a_member_story()
    change(world)
    for _ in range(2):
        what, why = started(world)
        assert (what, said in why) == ("cannot", True), why
    assert world.topic.kinds() == ["Rollover.CannotBegin"]


def test_what_is_not_near_its_end_is_left_in_peace_whatever_its_device_is():
    """A device that has not registered yet is nobody's business when its first certificate is made."""
    world = a_member_story(a_leaf(NOW + 300 * DAY))
    for change in (world.hub.identities.clear, world.dps.registrations.clear):
        change()
        assert started(world)[0] == "nothing"
    assert world.topic.kinds() == []


def test_a_disabled_group_is_left_alone():
    world = a_member_story()
    world.dps.enroll_group(GROUP, LINE_CA, provisioningStatus="disabled")
    assert started(world) == ("nothing", f"the group {GROUP} is disabled; nothing is rolled until it is enabled")


def test_a_certificate_that_ends_with_its_ca_is_left_to_the_ca():
    leaf = a_leaf(NOW + 20 * DAY)
    world = a_member_story(leaf)
    world.vault.kept[CA].versions = [made("Line CA", CA_KEY, ends=leaf.not_after)]
    assert started(world) == ("nothing", "it ends with its CA, and is renewed when that is rolled")
