"""What a person is told comes true: what is to be mended is named, and what goes on by itself does; nothing else."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.decide_expiry import BRING_ONLINE
from shared.errors import ServiceRefused, ServiceUnavailable, Unsuitable
from shared.operating import allow, cancel, disallow, retry
from shared.plans import Step
from shared.resuming import resume_due
from shared.rollover import Rollover
from shared.seen import Issuance
from shared.starting import TRY_AGAIN_AFTER, start_rollover
from shared.status import next_in_words
from tests.builders import (
    CERTIFICATE,
    DEVICE,
    NEW,
    NEW_256,
    NEWER,
    OLD,
    OLD_256,
    STRANGER,
    STRANGER_256,
    a_story,
    begin,
    deliver,
    deliver_all,
    put_rollover,
    the_rollover,
)
from tests.fakes import World
from tests.functions.test_whole_breaches import ONCALL, breach

GRACE = timedelta(days=7)
WITHIN_A_DAY = "the sweep begins it again within a day"


def _swept(world: World) -> str:
    return start_rollover(CERTIFICATE, "sweep", world.services, hint=False).what


def _waits_too_long(world: World, step: Step) -> Rollover:
    """The rollover, once its patience is over."""
    deliver(world, step)
    world.clock.time = OLD.not_after + GRACE
    ended = deliver(world, step)
    assert ended.status == "needs_person"
    return ended


def test_who_waits_for_a_signature_is_not_told_to_bring_a_device_online() -> None:
    world = a_story()
    begin(world)
    pending = Issuance(in_progress=True, needs_signing=True, error=None)
    world.vault.kept[CERTIFICATE].pending = pending
    ended = _waits_too_long(world, Step.ISSUE_CERTIFICATE)
    assert "waits to be signed and merged" in (ended.outcome_reason or "")
    assert ended.next_action == f"mend what it waits for; {WITHIN_A_DAY}"
    world.clock.advance(TRY_AGAIN_AFTER)
    assert _swept(world) == "begun"


def test_who_waits_for_a_device_is_told_so_and_goes_on_as_soon_as_it_registers() -> None:
    world = a_story()
    put_rollover(world, Step.INVOKE_REPROVISION_JOB)
    assert _waits_too_long(world, Step.INVOKE_REPROVISION_JOB).next_action == BRING_ONLINE
    world.clock.advance(timedelta(days=30))
    assert _swept(world) == "nothing", "it is left alone until it is heard of"
    world.dps.registered(DEVICE)
    world.hub.provision(DEVICE, NEW_256)
    assert _swept(world) == "begun"


def test_a_device_that_was_locked_out_by_a_refusal_is_rolled_when_that_is_mended() -> None:
    """The enrollment never got the new certificate, so the device cannot register and be heard of."""
    world = a_story()
    put_rollover(world, Step.UPLOAD_SECONDARY)
    world.clock.time = OLD.not_after + timedelta(days=1)

    def refuse(*_: object) -> None:
        raise ServiceRefused("DPS answered 400")

    ended = deliver(world, Step.UPLOAD_SECONDARY, effect=refuse)
    assert "sweep begins it again" in (ended.next_action or "")
    world.clock.advance(TRY_AGAIN_AFTER)
    assert _swept(world) == "begun"


def test_an_outage_of_the_hub_is_no_fault_of_the_device() -> None:
    world = a_story()
    put_rollover(world, Step.INVOKE_REPROVISION_JOB)

    def down(*_: object) -> None:
        raise ServiceUnavailable("IoT Hub answered 503")

    world.hub.identity = down  # type: ignore[method-assign, assignment]
    ended = _waits_too_long(world, Step.INVOKE_REPROVISION_JOB)
    assert ended.next_action == f"mend what it waits for; {WITHIN_A_DAY}"
    world.clock.advance(TRY_AGAIN_AFTER)
    del world.hub.identity
    assert _swept(world) == "begun"


@pytest.mark.parametrize(("waited", "delay"), [(0, 2), (60, 30), (7200, 1800), (86400, 1800)])
def test_a_ca_that_takes_days_is_not_asked_every_two_seconds(waited: int, delay: int) -> None:
    world = a_story()
    begin(world)
    world.vault.issues = lambda _: None
    deliver(world, Step.ISSUE_CERTIFICATE)
    world.vault.kept[CERTIFICATE].pending = Issuance(in_progress=True, needs_signing=False, error=None)
    world.clock.time = the_rollover(world).acted_at + timedelta(seconds=waited)  # type: ignore[operator]
    world.clock.time = max(world.clock.time, the_rollover(world).due_at)  # type: ignore[type-var]
    after = deliver(world, Step.ISSUE_CERTIFICATE)
    assert after.due_at == world.clock.time + timedelta(seconds=delay)


def test_a_breach_that_needs_a_person_is_not_taken_out_of_the_persons_hands() -> None:
    """The enrollment is mended and enabled, but the hub accepts the stolen certificate. A rollover in its place would
    make the retry impossible that the person was told of, and a second call would not find the certificate any more."""
    world = a_story()
    breach(world, mode="reprovision")
    deliver_all(world)
    world.hub.put(DEVICE, OLD_256, NEW_256)
    world.clock.advance(timedelta(hours=2))
    resume_due(world.services)
    deliver_all(world)
    ended = the_rollover(world)
    assert ended.status == "needs_person"
    world.vault.kept[CERTIFICATE].versions.append(NEWER)
    assert _swept(world) == "cannot"
    (said,) = world.services.ledger.refused_inputs()
    assert said.reason == f"{ended.id} needs a person first: {ended.next_action}"
    assert retry(ended.id, "mended", (), ONCALL, world.services).outcome is None


@pytest.mark.parametrize("call", ["allow", "disallow"])
def test_a_device_of_a_breach_that_needs_a_person_is_neither_allowed_nor_disallowed(call: str) -> None:
    """What takes the place of the breach would leave the twin that it keeps without anybody to restore it."""
    world = a_story()
    breach(world)
    deliver_all(world)
    world.clock.advance(timedelta(days=8))
    resume_due(world.services)
    deliver_all(world)
    ended = the_rollover(world)
    assert ended.status == "needs_person"
    with pytest.raises(Unsuitable, match=rf"{ended.id} needs a person first: .*POST /api/rollovers/{ended.id}/retry"):
        allow(DEVICE, "found", ONCALL, world.services) if call == "allow" else disallow(
            DEVICE, "lost", None, ONCALL, world.services
        )
    assert the_rollover(world) == ended


def test_who_cancels_a_breach_is_told_that_the_sweep_goes_on() -> None:
    world = a_story()
    begun = breach(world)
    assert "the sweep rolls it" in (cancel(begun.id, "false alarm", ONCALL, world.services).next_action or "")


def _disables_new(world: World) -> None:
    world.vault.kept[CERTIFICATE].enabled = False


REFUSALS = {
    "a version that cannot take over": (Step.ISSUE_CERTIFICATE, _disables_new, "issue a version in the vault"),
    "an enrollment that is gone": (Step.UPLOAD_SECONDARY, lambda world: world.dps.enrolled.clear(), "create it again"),
    "an outgoing certificate that somebody took out": (
        Step.UPLOAD_SECONDARY,
        lambda world: world.dps.enroll(DEVICE, STRANGER),
        "see that a slot holds the certificate that the device uses",
    ),
    "a stranger in the standby slot": (
        Step.UPLOAD_SECONDARY,
        lambda world: world.dps.enroll(DEVICE, OLD, STRANGER),
        "take it out if no device uses it",
    ),
    "a stranger at the hub": (
        Step.STAGE_HUB_THUMBPRINT,
        lambda world: world.hub.put(DEVICE, OLD_256, STRANGER_256),
        "take it out of the hub identity",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_who_is_refused_is_told_what_to_do_about_it(case: str) -> None:
    step, happens, told = REFUSALS[case]
    world = a_story()
    put_rollover(world, step)
    if step is Step.ISSUE_CERTIFICATE:
        world.vault.kept[CERTIFICATE].versions.append(NEW)
    happens(world)
    ended = deliver(world, step)
    assert ended.status == "refused"
    assert next_in_words(ended).startswith(f"A person: {told}")


def test_who_was_not_approved_in_time_is_told_to_call_again() -> None:
    world = a_story()
    world.settings = replace(world.settings, breach_fuse=0)
    breach(world)
    world.clock.advance(timedelta(hours=2))
    resume_due(world.services)
    deliver_all(world)
    assert next_in_words(the_rollover(world)) == "A person: call the breach again"
