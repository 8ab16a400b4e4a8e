"""Values for tests, so that each test says only what matters to it.

The story they share: the device ``dev-01`` lives on generation 0 (OLD), which ends in 30 days; the vault issues
generation 1 (NEW). STRANGER is a certificate that nobody in this story made.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from functions.add_ca_certificate import upload_or_prove
from functions.delete_ca_certificate import delete_outgoing
from functions.delete_primary import retire_outgoing
from functions.enable_enrollment import let_in_again
from functions.invoke_reprovision_job import start_job
from functions.issue_certificate import ask_for_version
from functions.remove_hub_registration import evict
from functions.restore_twin import put_back
from functions.stage_hub_thumbprint import accept_both
from functions.upload_secondary import fill_standby_slot
from functions.verify_containment import begin_check
from shared.certificate import Certificate, Outgoing, parse_certificate
from shared.decide import decide
from shared.door import shut_door
from shared.enrollment import Enrollment, HubIdentity, Slot, parse_enrollment
from shared.ledger import Ledger
from shared.nudges import encode_nudge
from shared.plans import PLANS, Plan, Step
from shared.rollover import Incoming, Outcome, Rollover
from shared.rows import History
from shared.seen import Observation, Policy, VaultVersion
from shared.starting import start_rollover
from shared.stepping import Effect, carry_out
from shared.verdict import Verdict
from tests.certificates import NOW, a_certificate, generation
from tests.fakes import HUB, Kept, World, a_world, info

DEVICE = "dev-01"
CERTIFICATE = "dev-01-cert"
OLD, NEW, NEWER = (parse_certificate(generation(number).der) for number in range(3))
STRANGER = parse_certificate(a_certificate(starts=NOW - timedelta(days=1), ends=NOW + timedelta(days=500)).der)
OLD_256, NEW_256, STRANGER_256 = (c.sha256_thumbprint for c in (OLD, NEW, STRANGER))
EXPIRED = parse_certificate(a_certificate(starts=NOW - timedelta(days=800), ends=NOW - timedelta(days=1)).der)

EFFECTS: Mapping[Step, Effect] = {
    Step.ISSUE_CERTIFICATE: ask_for_version,
    Step.UPLOAD_SECONDARY: fill_standby_slot,
    Step.STAGE_HUB_THUMBPRINT: accept_both,
    Step.INVOKE_REPROVISION_JOB: start_job,
    Step.DELETE_PRIMARY: retire_outgoing,
    Step.DISABLE_ENROLLMENT: shut_door,
    Step.REMOVE_HUB_REGISTRATION: evict,
    Step.VERIFY_CONTAINMENT: begin_check,
    Step.ENABLE_ENROLLMENT: let_in_again,
    Step.RESTORE_TWIN: put_back,
    Step.ADD_CA_CERTIFICATE: upload_or_prove,
    Step.DELETE_CA_CERTIFICATE: delete_outgoing,
}
"""What each function gives to ``carry_out``."""


# --- values of the pure core ------------------------------------------------------------------------------------


def as_outgoing(certificate: Certificate, *, key_known: bool = True) -> Outgoing:
    """What the ledger keeps of an outgoing certificate."""
    key = certificate.public_key_sha256 if key_known else None
    return Outgoing(certificate.sha1_thumbprint, certificate.sha256_thumbprint, certificate.not_after, key)


def as_incoming(certificate: Certificate, version: str = "v2") -> Incoming:
    """What the ledger keeps of an incoming certificate."""
    return Incoming(version, certificate.sha1_thumbprint, certificate.sha256_thumbprint, certificate.not_after)


def a_version(certificate: Certificate, version: str = "v2", *, enabled: bool = True) -> VaultVersion:
    """The vault's latest version."""
    return VaultVersion(version, enabled, certificate)


def a_registration(at: datetime, hub: str | None = HUB) -> dict[str, Any]:
    """A registration record as DPS gives it."""
    return {
        "registrationId": DEVICE,
        "deviceId": DEVICE,
        "status": "assigned",
        "assignedHub": hub,
        "lastUpdatedDateTimeUtc": at.strftime("%Y-%m-%dT%H:%M:%S.%f0Z"),
    }


def an_enrollment(
    primary: Certificate | None,
    secondary: Certificate | None = None,
    *,
    registered: datetime | None = None,
    **members: Any,
) -> Enrollment:
    """An enrollment with these slots; ``members`` are further members of its JSON."""
    slots = {
        name: {"info": info(certificate)}
        for name, certificate in (("primary", primary), ("secondary", secondary))
        if certificate
    }
    body = {
        "registrationId": DEVICE,
        "deviceId": DEVICE,
        "etag": "ImV0YWciCg==",
        "attestation": {"type": "x509", "x509": {"clientCertificates": slots}},
        "provisioningStatus": "enabled",
        "registrationState": a_registration(registered) if registered else None,
        **members,
    }
    return parse_enrollment(body)


def an_identity(
    primary: Certificate | str | None, secondary: Certificate | str | None = None, **fields: Any
) -> HubIdentity:
    """A hub identity; certificates stand for their SHA-256 thumbprint, as DPS writes it."""
    shown = [c.sha256_thumbprint if isinstance(c, Certificate) else c for c in (primary, secondary)]
    values = {"enabled": True, "authentication": "selfSigned", **fields}
    return HubIdentity(device_id=DEVICE, etag="1", primary=shown[0], secondary=shown[1], **values)


def a_rollover(step: Step = Step.ISSUE_CERTIFICATE, **changes: Any) -> Rollover:
    """A rollover from OLD to NEW that has come to ``step``; begun at NOW, the device registered a year before."""
    order = PLANS[Plan.EXPIRY]
    rollover = Rollover(
        id=f"individual.{DEVICE}.1",
        plan=Plan.EXPIRY,
        registration_id=DEVICE,
        device_id=DEVICE,
        certificate_name=CERTIFICATE,
        cause="test",
        started_at=NOW,
        outgoing=as_outgoing(OLD),
        standby=Slot.SECONDARY,
        baseline=NOW - timedelta(days=335),
        incoming=None if step is Step.ISSUE_CERTIFICATE else as_incoming(NEW),
        done=order[: order.index(step)],
        due_at=NOW,
        records=1,
    )
    return replace(rollover, **changes)


def begin_next(ledger: Ledger, rollover: Rollover, record: History) -> Rollover:
    """Begin a rollover after the last one of its target, which has ended by then."""
    last = ledger.last(rollover.registration_id)
    if last is not None and last.outcome is None:
        last = ledger.record(replace(last, outcome=Outcome.DONE, due_at=None), None)
    return ledger.begin(rollover, last, record)


# --- deciding ---------------------------------------------------------------------------------------------------

Case = tuple[Observation, type[Verdict], str]
"""What is seen at a step, the verdict, and a part of its reason."""


def seen(**parts: Any) -> Observation:
    """What was read for a step, at NOW unless said otherwise."""
    return Observation(**{"now": NOW, **parts})


def verdict(step: Step, what: Observation, rollover: Rollover | None = None, **policy: Any) -> Verdict:
    """What ``step`` decides when it sees ``what``."""
    return decide(step, rollover or a_rollover(step), what, Policy(**policy))


def check_verdict(step: Step, case: Case, rollover: Rollover | None = None, **policy: Any) -> None:
    """Assert that ``step`` decides as the case says."""
    what, kind, said = case
    found = verdict(step, what, rollover, **policy)
    assert isinstance(found, kind), found
    assert said in found.why


# --- the same story in a whole world ----------------------------------------------------------------------------


def a_story(**settings: Any) -> World:
    """Everything in place for a rollover: enrolled with OLD, registered, seen by the hub, OLD in the vault."""
    world = a_world(**settings)
    world.dps.enroll(DEVICE, OLD)
    world.clock.time = NOW - timedelta(days=335)
    world.dps.registered(DEVICE)
    world.clock.time = NOW
    world.hub.provision(DEVICE, OLD.sha256_thumbprint)
    world.vault.kept[CERTIFICATE] = Kept([OLD])
    world.vault.issues = lambda _: NEW
    return world


def put_rollover(world: World, step: Step, **changes: Any) -> Rollover:
    """Put a rollover that has come to ``step`` into the ledger, and the world into the state of that step.

    The device has not moved yet; ``device_moves`` makes it.
    """
    if step is not Step.ISSUE_CERTIFICATE:
        world.vault.kept[CERTIFICATE] = Kept([OLD, NEW])
    if step not in (Step.ISSUE_CERTIFICATE, Step.UPLOAD_SECONDARY):
        world.dps.enroll(DEVICE, OLD, NEW)
    if step in (Step.INVOKE_REPROVISION_JOB, Step.DELETE_PRIMARY):
        world.hub.put(DEVICE, OLD.sha256_thumbprint, NEW.sha256_thumbprint)
    rollover = a_rollover(step, **changes)
    return world.services.ledger.begin(rollover, None, History(NOW, "test", "started", "for a test"))


def device_moves(world: World) -> None:
    """The device registers with NEW: DPS notes it and writes the thumbprint into both hub slots."""
    world.dps.registered(DEVICE)
    world.hub.provision(DEVICE, NEW.sha256_thumbprint)


def deliver(world: World, step: Step, rollover_id: str | None = None, *, effect: Effect | None = None) -> Rollover:
    """One run of a step's function with a nudge; the target's rollover as it then stands."""
    message = encode_nudge(rollover_id or f"individual.{DEVICE}.1").encode()
    carry_out(step, message, world.services, effect or EFFECTS[step])
    return the_rollover(world)


def deliver_all(world: World) -> None:
    """Deliver every nudge whose delay is up to a minute, moving the clock as far as it has to wait."""
    for _ in range(100):
        soon = [nudge for nudge in world.nudges.sent if nudge[2] <= timedelta(minutes=1)]
        if not soon:
            return
        world.nudges.sent.remove(soon[0])
        step, rollover_id, delay = soon[0]
        world.clock.advance(delay)
        deliver(world, step, rollover_id)
    raise AssertionError("the rollover does not come to rest")


def carry_on(world: World, latest: Callable[[World], Rollover], until: timedelta) -> Rollover:
    """Carry out whatever is due of a story's ``latest`` rollover, moving the clock over waits of up to ``until``."""
    for _ in range(100):
        rollover = latest(world)
        if rollover.next_step is None or rollover.due_at is None or rollover.due_at > world.clock.time + until:
            return rollover
        world.clock.time = max(world.clock.time, rollover.due_at)
        carry_out(rollover.next_step, encode_nudge(rollover.id).encode(), world.services, EFFECTS[rollover.next_step])
    raise AssertionError(f"the rollover does not come to rest: {latest(world).waiting_for}")


def begin(world: World, cause: str = "sweep") -> Rollover:
    """Begin the story's rollover as the sweep would."""
    started = start_rollover(CERTIFICATE, cause, world.services)
    assert started.what == "begun", started
    return the_rollover(world)


def the_rollover(world: World) -> Rollover:
    """The target's latest rollover as it lies in the ledger."""
    rollover = world.services.ledger.last(DEVICE)
    assert rollover is not None
    return rollover


def reasons(world: World) -> list[tuple[str, str]]:
    """What happened and why, oldest first, of the target's latest rollover."""
    return [(record.what, record.why) for record in world.services.ledger.history(the_rollover(world))]
