"""A group's device is not rolled for its own sake while something else is at work on it, and a person's call wins."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.certificate import Certificate, Outgoing
from shared.enrollment import Slot
from shared.expiring import look_ahead
from shared.horizon import Expiry, Fate
from shared.overdue import overdue
from shared.plans import PLANS, Plan, Step
from shared.rollover import Incoming, Outcome, Rollover
from shared.rows import History
from shared.starting import start_rollover
from shared.surveying import survey
from shared.sweeping import sweep
from tests.certificates import NOW
from tests.fakes import World
from tests.http_api import HttpApi
from tests.member_story import (
    CA,
    CA_KEY,
    CERTIFICATE,
    DAY,
    DEVICE,
    GROUP,
    LEAF,
    LINE_CA,
    ROOT,
    ROOT_KEY,
    a_member_story,
    begin,
    deliver,
    device_registers,
    go_on,
    moves_when_asked,
    newest,
    the_rollover,
    until_asked,
)
from tests.own_ca import made, p256

pytestmark = pytest.mark.usefixtures("quiet")
NEW_KEY = p256()
NEW_CA = made("Line CA", NEW_KEY, by=(ROOT, ROOT_KEY), length=0, starts=NOW - DAY, ends=NOW + 1800 * DAY)


@pytest.fixture
def world() -> World:
    return a_member_story()


@pytest.fixture
def http(world: World, http_of) -> HttpApi:
    return http_of(world)


def of(certificate: Certificate) -> Outgoing:
    return Outgoing(certificate.sha1_thumbprint, certificate.sha256_thumbprint, certificate.not_after)


def the_group_rolls(world: World, step: Step, plan: Plan = Plan.GROUP_EXPIRY, **changes: object) -> Rollover:
    """The group's CA is rolled in the vault, and its rollover has come to ``step``."""
    kept, order = world.vault.kept[CA], PLANS[plan]
    kept.versions.append(NEW_CA)
    kept.keys[NEW_CA.sha256_thumbprint] = NEW_KEY
    done = order[: order.index(step)]
    if Step.UPLOAD_SECONDARY in done:
        world.dps.enroll_group(GROUP, LINE_CA, NEW_CA)
    new = Incoming("v2", NEW_CA.sha1_thumbprint, NEW_CA.sha256_thumbprint, NEW_CA.not_after)
    rollover = Rollover(
        id="",
        plan=plan,
        registration_id="",
        device_id="",
        group_id=GROUP,
        certificate_name=CA,
        cause="test",
        started_at=world.clock.time,
        outgoing=of(LINE_CA),
        standby=Slot.SECONDARY,
        incoming=new if Step.ISSUE_CERTIFICATE in done else None,
        done=done,
        due_at=world.clock.time + DAY,
    )
    began = world.services.ledger.begin(rollover, None, History(NOW, "test", "started", "for a test"))
    return world.services.ledger.record(replace(began, **changes), None) if changes else began


def ends(world: World, rollover: Rollover, **changes: object) -> None:
    """The group's rollover as it ended."""
    world.services.ledger.record(replace(rollover, due_at=None, **changes), None)


def started(world: World) -> tuple[str, str]:
    found = start_rollover(CERTIFICATE, "sweep", world.services, hint=False)
    return found.what, found.why


def of_device(world: World) -> list[Expiry]:
    found = look_ahead(survey(world.services, world.services.devices.all()), world.services)
    return [one for one in found if one.kind == "group_device"]


# --- its group ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", list(PLANS[Plan.GROUP_EXPIRY][:4]))
def test_while_the_waves_of_its_group_are_to_come_it_does_not_begin(world, step):
    rolls = the_group_rolls(world, step)
    assert started(world) == ("nothing", f"{rolls.id} brings it a new certificate: it is running")
    assert sweep(world.services)["begun"] == 0
    assert [(one.fate, one.rollover_id) for one in of_device(world)] == [(Fate.ROLLING, rolls.id)]


def test_a_device_that_the_waves_brought_over_is_rolled_for_its_own_sake(world):
    """Waves may last for weeks, for the sake of one device that is away; a short-lived certificate does not."""
    the_group_rolls(world, Step.INVOKE_REPROVISION_JOB)
    world.vault.kept[CERTIFICATE].versions.append(
        made(DEVICE, p256(), by=(NEW_CA, NEW_KEY), ca=False, starts=NOW, ends=NOW + 10 * DAY)
    )
    device_registers(world)
    world.clock.time = NOW + 7 * DAY
    moves_when_asked(world)
    assert sweep(world.services)["begun"] == 1
    assert go_on(world).status == "done"


def test_a_straggler_of_waves_that_are_over_is_brought_over_near_its_end(world):
    the_group_rolls(world, Step.DELETE_PRIMARY)
    moves_when_asked(world)
    begin(world)
    assert go_on(world).status == "done"


def test_waves_that_were_stopped_are_not_gone_on_with_by_another_way(world):
    """A bad CA must not come to devices that were not asked."""
    rolls = the_group_rolls(world, Step.INVOKE_REPROVISION_JOB)
    ends(world, rolls, outcome=Outcome.NEEDS_PERSON, next_action="find out why", ended_at=NOW)
    assert started(world) == ("cannot", f"{rolls.id} needs a person first: find out why")
    assert [one.fate for one in of_device(world)] == [Fate.UNCOVERED]


def test_a_rollover_of_its_group_that_was_refused_leaves_the_device_to_its_own(world):
    """Only the group's CA is then to blame: what it would issue must still be what the group trusts."""
    rolls = the_group_rolls(world, Step.UPLOAD_SECONDARY)
    ends(world, rolls, outcome=Outcome.REFUSED, ended_at=NOW)
    begin(world)
    assert go_on(world).status == "refused"
    world.dps.enroll_group(GROUP, LINE_CA, NEW_CA)
    world.clock.advance(DAY)
    moves_when_asked(world)
    begin(world)
    assert go_on(world).status == "done"


@pytest.mark.parametrize("asked", [False, True])
def test_an_open_one_waits_while_its_group_is_rolled_and_ends_when_the_wave_brought_the_device_over(world, asked):
    if asked:
        until_asked(world)
    else:
        begin(world)
    rolls = the_group_rolls(world, Step.INVOKE_REPROVISION_JOB)
    jobs = len(world.hub.asked)
    world.clock.advance(timedelta(hours=13))
    rollover = go_on(world)
    assert (
        rollover.waiting_for == f"its group is rolled, which brings the device a new certificate: {rolls.id} is running"
    )
    assert len(world.hub.asked) == jobs, "nobody is asked twice"
    world.vault.kept[CERTIFICATE].versions.append(
        made(DEVICE, p256(), by=(NEW_CA, NEW_KEY), ca=False, ends=NOW + 300 * DAY)
    )
    device_registers(world)
    assert go_on(world, until=2 * DAY).status == "done"
    assert the_rollover(world).incoming.sha256_thumbprint == newest(world).sha256_thumbprint


def test_waiting_for_its_group_too_long_is_told_before_the_certificate_ends(world):
    begin(world)
    the_group_rolls(world, Step.INVOKE_REPROVISION_JOB)
    rollover = go_on(world)
    policy = world.settings.policy
    assert overdue(rollover, NOW + 9 * DAY, policy) is None
    told = overdue(rollover, NOW + 11 * DAY, policy)
    assert told is not None
    assert "the rollover of its group" in told.next_step


def test_an_open_one_waits_while_its_group_is_disabled_and_goes_on_when_it_is_enabled(world):
    begin(world)
    world.dps.enroll_group(GROUP, LINE_CA, provisioningStatus="disabled")
    rollover = go_on(world)
    assert (rollover.status, world.vault.asked) == ("waiting", 0)
    assert "line-1 is disabled" in rollover.waiting_for
    world.dps.enroll_group(GROUP, LINE_CA)
    moves_when_asked(world)
    assert go_on(world, until=2 * timedelta(hours=1)).status == "done"


def test_it_takes_no_part_in_a_breach_of_its_group(world, http):
    """Containment is that of the group: what was asked for before ends with the certificate that recovery issues."""
    until_asked(world)
    token = http.post("/api/breaches", enrollment_group=GROUP, reason="stolen").json["confirm_token"]
    assert http.post("/api/breaches", confirm=token).status == 202
    assert not world.dps.group(GROUP).enabled
    world.hub.identities.clear()
    jobs, asked = len(world.hub.asked), world.vault.asked
    world.clock.advance(timedelta(hours=13))
    rollover = go_on(world)
    assert rollover.status == "waiting"
    assert (len(world.hub.asked), world.vault.asked, world.hub.identities) == (jobs, asked, {})


# --- the device itself ----------------------------------------------------------------------------------------------


def disallow(http: HttpApi, **more: str) -> None:
    answer = http.post(f"/api/devices/{DEVICE}/disallow", reason="stolen", **more)
    assert answer.status == 202, answer.json


def held_out(world: World) -> set[str]:
    enrollment = world.dps.enrollment(DEVICE)
    assert not enrollment.enabled
    return {one.sha256_thumbprint for one in enrollment.certificates()}


def test_a_disallowing_takes_its_place_and_keeps_both_certificates_out(world, http):
    """Either would let the device in by its group."""
    rolls = until_asked(world)
    disallow(http)
    assert world.services.ledger.read(rolls.id).status == "preempted"
    assert held_out(world) == {LEAF.sha256_thumbprint, newest(world).sha256_thumbprint}
    go_on(world)
    assert (the_rollover(world).plan, the_rollover(world).status) == (Plan.DISALLOW, "done")
    assert not world.hub.identities[DEVICE].enabled


@pytest.mark.parametrize("with_", ["the vault's", "the old one", "the new one"])
def test_also_before_the_hub_knows_the_new_one_and_after_the_old_one_is_gone_there(world, http, with_):
    begin(world)
    deliver(world, Step.ISSUE_CERTIFICATE)
    deliver(world, Step.ISSUE_CERTIFICATE)
    if with_ == "the new one":
        moves_when_asked(world)
        assert go_on(world).status == "done"
    sent = {"the old one": LEAF, "the new one": newest(world)}.get(with_)
    disallow(http, **({"leaf_certificate": sent.pem} if sent else {}))
    assert held_out(world) == {LEAF.sha256_thumbprint, newest(world).sha256_thumbprint}


def test_what_has_ended_need_not_be_kept_out(world, http):
    moves_when_asked(world)
    begin(world)
    go_on(world)
    world.clock.time = LEAF.not_after
    disallow(http)
    assert held_out(world) == {newest(world).sha256_thumbprint}


def test_who_is_let_back_after_that_comes_with_a_third_one_and_the_hub_accepts_that_alone(world, http):
    until_asked(world)
    disallow(http)
    go_on(world)
    for known in (LEAF, newest(world)):
        assert http.post(f"/api/devices/{DEVICE}/allow", reason="found", leaf_certificate=known.pem).status == 409
    back = made(DEVICE, p256(), by=(LINE_CA, CA_KEY), ca=False, ends=NOW + 200 * DAY)
    assert http.post(f"/api/devices/{DEVICE}/allow", reason="found", leaf_certificate=back.pem).status == 202
    assert go_on(world).status == "done"
    assert len(held_out(world)) == 2, "and they stay out"
    assert set(world.hub.identities[DEVICE].thumbprints()) == {back.sha256_thumbprint}


def test_a_disallowed_device_is_not_rolled_and_its_certificate_is_nobodys_way_in(world, http):
    disallow(http)
    go_on(world)
    assert started(world)[0] == "nothing"
    assert [one.fate for one in of_device(world)] == [Fate.IDLE]


def test_it_is_not_rolled_either_when_somebody_deletes_what_keeps_it_out(world, http):
    disallow(http)
    go_on(world)
    world.dps.enrolled.clear()
    assert "keeps the device out" in started(world)[1]


def test_a_device_that_is_let_back_by_its_group_is_rolled_again(world, http):
    disallow(http)
    go_on(world)
    back = made(DEVICE, p256(), by=(LINE_CA, CA_KEY), ca=False, ends=NOW + 20 * DAY)
    assert http.post(f"/api/devices/{DEVICE}/allow", reason="found", leaf_certificate=back.pem).status == 202
    go_on(world)
    world.vault.kept[CERTIFICATE].versions.append(back)
    device_registers(world)
    moves_when_asked(world)
    begin(world)
    assert go_on(world).status == "done"
    assert not world.dps.enrollment(DEVICE).enabled, "the old one stays out"


def test_somebody_who_disables_the_device_by_hand_stops_it_until_it_is_enabled(world):
    begin(world)
    world.hub.put(DEVICE, LEAF.sha256_thumbprint, None, enabled=False)
    assert "hub identity is disabled" in go_on(world).waiting_for
    world.hub.put(DEVICE, LEAF.sha256_thumbprint, None)
    moves_when_asked(world)
    assert go_on(world, until=2 * timedelta(hours=1)).status == "done"


def test_somebody_who_keeps_it_out_by_an_enrollment_made_by_hand_stops_it_too(world):
    begin(world)
    world.dps.enroll(DEVICE, LEAF, provisioningStatus="disabled")
    assert "keeps the device out" in go_on(world).waiting_for
    assert (world.vault.asked, world.hub.asked) == (0, [])


def test_an_enrollment_of_its_own_takes_over(world):
    """From then on it is rolled by that."""
    begin(world)
    world.dps.enroll(DEVICE, LEAF)
    rollover = go_on(world)
    assert (rollover.status, "of its own" in rollover.outcome_reason) == ("refused", True)
    world.vault.issues = lambda _: None
    assert start_rollover(CERTIFICATE, "sweep", world.services).what == "begun"
    assert the_rollover(world).plan is Plan.EXPIRY


# --- people ---------------------------------------------------------------------------------------------------------


def test_a_cancelled_one_is_begun_again_after_a_day_and_goes_on_with_what_was_issued(world, http):
    until_asked(world)
    assert http.post(f"/api/rollovers/{the_rollover(world).id}/cancel", reason="no").status == 202
    assert started(world)[0] == "nothing"
    assert [one.fate for one in of_device(world)] == [Fate.ROLLS, Fate.ROLLS], "what the device uses, and what it is to"
    world.clock.advance(DAY)
    moves_when_asked(world)
    assert sweep(world.services)["begun"] == 1, "although the vault's latest version is not near its end"
    assert go_on(world).status == "done"
    assert world.vault.asked == 1
    assert [one.fate for one in of_device(world)] == [Fate.ROLLS]


def test_a_device_that_never_comes_ends_with_a_person_and_is_well_once_it_has_its_new_certificate(world):
    until_asked(world)
    world.clock.time = LEAF.not_after + timedelta(days=7, seconds=1)
    rollover = go_on(world)
    assert (rollover.status, "bring the device online" in rollover.next_action) == ("needs_person", True)
    world.clock.advance(3 * DAY)
    assert sweep(world.services)["begun"] == 0, "it is left alone until it is heard of"
    told = of_device(world)[0]
    assert (told.fate, told.rollover_id) == (Fate.UNCOVERED, rollover.id)
    device_registers(world)
    assert started(world)[1].startswith("the device's certificate is the vault's latest version")


def test_one_that_was_refused_is_told_as_long_as_the_device_lives_on_what_ends(world):
    begin(world)
    world.vault.kept[CERTIFICATE].versions.append(made("pump-2", p256(), by=(LINE_CA, CA_KEY), ca=False))
    go_on(world)
    told = {one.sha1_thumbprint: one for one in of_device(world)}[LEAF.sha1_thumbprint]
    assert (told.fate, "common name is 'pump-2'" in told.why) == (Fate.UNCOVERED, True)


def test_what_is_shown_of_it_names_its_group(world, http):
    begin(world)
    shown = http.get(f"/api/rollovers/{the_rollover(world).id}").json
    assert (shown["plan"], shown["member_of"], shown["enrollment_group"]) == ("member_expiry", GROUP, None)
    assert [one["step"] for one in shown["steps"]] == [*PLANS[Plan.MEMBER_EXPIRY]]
    assert shown["registration_id"] == DEVICE


def test_a_device_that_was_rolled_before_it_was_kept_out_comes_back_by_its_group_too(world, http):
    """It never had an enrollment of its own, whatever was rolled of it: its old certificate stays out."""
    moves_when_asked(world)
    begin(world)
    assert go_on(world).status in ("waiting", "done")
    kept_out = newest(world)
    answer = http.post(f"/api/devices/{DEVICE}/disallow", reason="stolen", leaf_certificate=kept_out.pem)
    assert answer.status == 202, answer.json
    go_on(world)
    assert http.post(f"/api/devices/{DEVICE}/allow", reason="found").status == 409, "the vault has no new one yet"
    back = made(DEVICE, p256(), by=(LINE_CA, CA_KEY), ca=False, ends=NOW + 20 * DAY)
    assert http.post(f"/api/devices/{DEVICE}/allow", reason="found", leaf_certificate=back.pem).status == 202
    assert go_on(world).status == "done"
    assert not world.dps.enrollment(DEVICE).enabled, "the old one stays out"
    assert set(world.hub.identities[DEVICE].thumbprints()) == {back.sha256_thumbprint}
