"""What each step of the expiry plan does, from what was seen. Pure.

Every decision reads in one order: already so? harmful? too early? then act.

What must hold (tests walk every reachable state for it): the enrollment never loses the last certificate that
could let its device in; until the outgoing certificate is retired, a device holding either certificate can
register; postconditions are about content ("no slot holds X"), never about emptiness, for DPS may mirror one
slot into the other.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from shared.certificate import problems_of_successor
from shared.decide_issuance import ask_before_expiry
from shared.enrollment import Enrolled, Enrollment, HubIdentity, Registration, Slot, why_not_ours
from shared.pacing import job_patience, patience
from shared.plans import Step
from shared.rollover import Incoming, Rollover
from shared.seen import Observation, Policy, Sources, VaultVersion
from shared.verdict import Act, AlreadyDone, Back, NeedsPerson, Refuse, Verdict, Wait

AGAIN = "the sweep begins it again within a day, a new version at once"
ACTING_DOES_NOT_HELP = f"see in the history what each attempt met; {AGAIN}"
NEW_VERSION = "issue a version in the vault that can take over: it begins at once"
HANDS_OFF = "nothing is rolled until it is enabled"
BRING_ONLINE = "bring the device online or give it its new certificate by hand; the sweep goes on once it registers"
"""What a person is told whose device does not come: it is left alone until it is heard of."""

LOOKS_AT: Mapping[Step, Sources] = {
    Step.ISSUE_CERTIFICATE: Sources(vault=True),
    Step.UPLOAD_SECONDARY: Sources(vault=True, enrollment=True),
    Step.STAGE_HUB_THUMBPRINT: Sources(enrollment=True, identity=True),
    Step.INVOKE_REPROVISION_JOB: Sources(enrollment=True, identity=True, job=True),
    Step.DELETE_PRIMARY: Sources(enrollment=True, identity=True),
}


def _unfit(step: Step, seen: Observation) -> Verdict | None:
    if not LOOKS_AT[step].enrollment:
        return None
    if seen.enrollment is None:
        next_step = f"create it again with the certificate that the device uses; {AGAIN}"
        return Refuse("the enrollment no longer exists", next_step)
    if reason := why_not_ours(seen.enrollment):
        return Refuse(reason)
    if not seen.enrollment.enabled:
        return Wait(f"the enrollment is disabled; {HANDS_OFF}", timedelta(hours=1))
    return None


def decide_step(step: Step, rollover: Rollover, seen: Observation, policy: Policy) -> Verdict:
    """The verdict on a step of the expiry plan."""
    return _unfit(step, seen) or _decide(step, rollover, seen, policy)


def _decide(step: Step, rollover: Rollover, seen: Observation, policy: Policy) -> Verdict:
    match step:
        case Step.ISSUE_CERTIFICATE:
            return _issue_certificate(rollover, seen, policy)
        case Step.UPLOAD_SECONDARY:
            return _upload_secondary(rollover, seen, policy)
        case Step.STAGE_HUB_THUMBPRINT:
            return _stage_hub_thumbprint(rollover, seen)
        case Step.INVOKE_REPROVISION_JOB:
            return _invoke_reprovision_job(rollover, seen)
        case Step.DELETE_PRIMARY:
            return _delete_primary(rollover, seen, policy)
        case _:
            raise ValueError(f"{step} is no step of the expiry plan")


def _issue_certificate(rollover: Rollover, seen: Observation, policy: Policy) -> Verdict:
    latest = seen.latest
    if latest is None:
        return Refuse(f"the vault holds no certificate {rollover.certificate_name!r}")
    if latest.certificate.sha256_thumbprint != rollover.outgoing.sha256_thumbprint:
        return refusal_of(latest, rollover, seen.now, policy) or AlreadyDone(
            f"the vault holds version {latest.version}, valid until {latest.certificate.not_after:%Y-%m-%d}"
        )
    return ask_before_expiry(rollover, seen)


def refusal_of(
    latest: VaultVersion, rollover: Rollover, now: datetime, policy: Policy, more: Sequence[str] = ()
) -> Refuse | None:
    """Why the vault's latest version cannot take over, with ``more`` that was found; None when it can."""
    problems = [] if latest.enabled else ["it is disabled"]
    problems += problems_of_successor(
        latest.certificate,
        registration_id=rollover.registration_id,
        outgoing=rollover.outgoing,
        now=now,
        skew=policy.clock_skew,
    )
    problems += more
    if problems:
        return Refuse(
            f"version {latest.version} of the vault's certificate {rollover.certificate_name!r} cannot take over: "
            + "; ".join(problems),
            NEW_VERSION,
        )
    return None


def _upload_secondary(rollover: Rollover, seen: Observation, policy: Policy) -> Verdict:
    incoming, enrollment, latest = rollover.incoming, seen.enrollment, seen.latest
    if incoming is None or latest is None or enrollment is None:
        return Back("the incoming certificate is gone from the vault", Step.ISSUE_CERTIFICATE)
    if enrollment.holds(incoming.sha256_thumbprint):
        return AlreadyDone(f"slot {_slots(enrollment, incoming.sha256_thumbprint)} holds the incoming certificate")
    if latest.version != incoming.version:
        return Back(
            f"the vault has a newer version, {latest.version}, than {incoming.version}",
            Step.ISSUE_CERTIFICATE,
        )
    if refusal := refusal_of(latest, rollover, seen.now, policy):
        return refusal
    if not enrollment.holds(rollover.outgoing.sha256_thumbprint):
        return Refuse(
            "somebody changed the enrollment since the rollover started: no slot holds the outgoing certificate",
            f"see that a slot holds the certificate that the device uses; {AGAIN}",
        )
    standby = standby_slot(rollover, enrollment)
    occupant = enrollment.slots[standby]
    if occupant is not None and not _may_overwrite(occupant, enrollment, rollover, seen.now):
        return Refuse(
            f"the standby slot ({standby.value}) holds another certificate (SHA-256 {occupant.sha256_thumbprint})"
            " that came there, or may have come into use, since the rollover started",
            f"take it out if no device uses it; {AGAIN}",
        )
    return Act(f"slot {standby.value} takes the incoming certificate; the other is kept", {"slot": standby})


def standby_slot(rollover: Rollover, enrollment: Enrollment) -> Slot:
    """The slot for the incoming certificate: as computed when the rollover began, unless somebody has since left
    the outgoing certificate in that slot alone; it is never overwritten while it may be needed.
    """
    holding = enrollment.slots_holding(rollover.outgoing.sha256_thumbprint)
    return rollover.standby.other if holding == (rollover.standby,) else rollover.standby


def _may_overwrite(occupant: Enrolled, enrollment: Enrollment, rollover: Rollover, now: datetime) -> bool:
    # A slot that repeats the other's certificate is a mirror made by DPS, not a second certificate.
    mirrored = len(enrollment.slots_holding(occupant.sha256_thumbprint)) > 1
    # A superseded certificate that still lives may be what a device fell back to, if it registered meanwhile.
    idle = _registered_since_start(rollover, enrollment.registration) is None
    superseded = occupant.sha256_thumbprint == rollover.replaces and idle
    return mirrored or occupant.not_after <= now or superseded


def _stage_hub_thumbprint(rollover: Rollover, seen: Observation) -> Verdict:
    if rollover.incoming is None or seen.enrollment is None:
        return Back("no incoming certificate is chosen", Step.ISSUE_CERTIFICATE)
    return stage(rollover, rollover.incoming, seen.enrollment.registration, seen.identity)


def stage(
    rollover: Rollover, incoming: Incoming, registration: Registration | None, identity: HubIdentity | None
) -> Verdict:
    """What makes the hub accept both certificates; the same for every device, whatever admits it at DPS."""
    if has_moved(rollover, registration, identity):
        return AlreadyDone("the device is on the incoming certificate already")
    if identity is None:
        return AlreadyDone("the device has no hub identity yet; its first registration makes one")
    if identity.authentication != "selfSigned":
        return Refuse(
            f"the hub identity authenticates by {identity.authentication}, not by thumbprint (selfSigned);"
            " DPS did not make it",
            f"delete the identity and let the device register, so that DPS makes it; {AGAIN}",
        )
    if identity.holds(incoming.sha1_thumbprint, incoming.sha256_thumbprint):
        return AlreadyDone("the hub identity accepts the incoming certificate")
    outgoing = rollover.outgoing
    strangers = [
        thumbprint
        for thumbprint in identity.thumbprints()
        if thumbprint not in (outgoing.sha1_thumbprint, outgoing.sha256_thumbprint, rollover.replaces)
    ]
    if strangers:
        return Refuse(
            f"the hub identity accepts a certificate that is not in this rollover: {strangers[0]}",
            f"take it out of the hub identity if no device uses it; {AGAIN}",
        )
    return Act("the hub identity is to accept the outgoing and the incoming certificate")


def has_moved(rollover: Rollover, registration: Registration | None, identity: HubIdentity | None) -> bool:
    """Whether the cloud itself shows the device on the incoming certificate, through a registration.

    DPS writes the presented certificate's thumbprint into *both* hub slots (azure-iot-sdk-java#1220), while our
    own staging always leaves the outgoing one in; so "incoming in, outgoing out, registered since we started" is
    a move. Where DPS does not do so (reprovision policy "never", or a service that copies the enrollment's two
    certificates), both stay accepted and only time can tell: a registration after the outgoing certificate's
    end cannot have used it.
    """
    incoming, outgoing = rollover.incoming, rollover.outgoing
    if incoming is None or identity is None or incoming.sha256_thumbprint not in identity.thumbprints():
        return False
    accepts_outgoing = identity.holds(outgoing.sha1_thumbprint, outgoing.sha256_thumbprint)
    if rollover.on_incoming_at_start and not accepts_outgoing:
        return True
    registered = _registered_since_start(rollover, registration)
    return registered is not None and (not accepts_outgoing or registered > outgoing.not_after)


def _registered_since_start(rollover: Rollover, record: Registration | None) -> datetime | None:
    registered = record.last_updated if record and record.status == "assigned" else None
    if registered is None or (rollover.baseline is not None and registered <= rollover.baseline):
        return None
    return registered


def _invoke_reprovision_job(rollover: Rollover, seen: Observation) -> Verdict:
    incoming, enrollment = rollover.incoming, seen.enrollment
    if incoming is None or enrollment is None:
        return Back("no incoming certificate is chosen", Step.ISSUE_CERTIFICATE)
    if has_moved(rollover, enrollment.registration, seen.identity):
        return AlreadyDone(MOVED)
    if not enrollment.holds(incoming.sha256_thumbprint):
        return _taken_out()
    return ask(rollover, incoming, enrollment.registration, seen)


MOVED = "the hub identity shows the incoming certificate through a registration"


def ask(rollover: Rollover, incoming: Incoming, registration: Registration | None, seen: Observation) -> Verdict:
    """What makes a device register again that has not moved, and that DPS admits with the incoming certificate."""
    identity = seen.identity
    if incoming.not_after <= seen.now:
        return Refuse("the incoming certificate expired before the device took it", NEW_VERSION)
    if identity is None:
        why = "the device has never registered; a job cannot reach it"
        return Wait(why, patience(rollover, seen.now), next_step=BRING_ONLINE)
    if not identity.holds(incoming.sha1_thumbprint, incoming.sha256_thumbprint):
        return Back("the hub identity does not accept the incoming certificate (any more)", Step.STAGE_HUB_THUMBPRINT)
    if rollover.acted_at is not None and seen.job is not None and not seen.job.finished:
        why = f"the reprovision job is on its way ({seen.job.summary})"
        return Wait(why, patience(rollover, seen.now), next_step=BRING_ONLINE)
    asked = rollover.acted_at is not None and seen.now - rollover.acted_at < job_patience(rollover)
    if asked and seen.job is not None:
        return Wait(
            f"the reprovision job ended ({seen.job.summary}); the device has not registered with the incoming"
            " certificate yet",
            patience(rollover, seen.now),
            next_step=BRING_ONLINE,
        )
    registered = _registered_since_start(rollover, registration) is not None
    unclear = registered or seen.now >= rollover.outgoing.not_after
    return Act(
        "the device is asked to register again with its new certificate",
        # A device that moved where the hub cannot show it must register once more to be seen (``has_moved``).
        {"register_again": unclear},
    )


def _taken_out() -> NeedsPerson:
    return NeedsPerson(
        "somebody took the incoming certificate out of the enrollment",
        "find out who and why; the sweep starts over within a day unless the vault's certificate is disabled",
    )


def _delete_primary(rollover: Rollover, seen: Observation, policy: Policy) -> Verdict:
    incoming, outgoing, identity, enrollment = (
        rollover.incoming,
        rollover.outgoing,
        seen.identity,
        seen.enrollment,
    )
    if incoming is None or enrollment is None:
        return Back("no incoming certificate is chosen", Step.ISSUE_CERTIFICATE)
    enrolled = enrollment.holds(outgoing.sha256_thumbprint)
    accepted = identity is not None and identity.holds(outgoing.sha1_thumbprint, outgoing.sha256_thumbprint)
    if not enrolled and not accepted:
        return AlreadyDone("neither the enrollment nor the hub identity holds the outgoing certificate")
    if not enrollment.holds(incoming.sha256_thumbprint):
        return _taken_out()
    if incoming.not_after <= seen.now:
        return NeedsPerson(
            "the incoming certificate has expired; deleting the outgoing one would lock the device out",
            "issue a new version of the certificate in the vault; the next sweep rolls to it",
        )
    if not has_moved(rollover, enrollment.registration, identity):
        return Back("the device is no longer seen on the incoming certificate", Step.INVOKE_REPROVISION_JOB)
    if not policy.retire_when_moved and seen.now < outgoing.not_after:
        return Wait(
            f"the outgoing certificate is retired when it has expired, on {outgoing.not_after:%Y-%m-%d %H:%M:%SZ}",
            outgoing.not_after - seen.now,
        )
    if enrolled:
        return Act(f"slot {_slots(enrollment, outgoing.sha256_thumbprint)} lets go of the outgoing certificate")
    return Act("the hub identity lets go of the outgoing certificate")


def _slots(enrollment: Enrollment, sha256_thumbprint: str) -> str:
    return " and ".join(slot.value for slot in enrollment.slots_holding(sha256_thumbprint))
