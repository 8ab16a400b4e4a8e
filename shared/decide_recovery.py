"""What each step does that gives a breached enrollment a replacement and lets its device back in. Pure.

What comes before, the containment, is in ``shared.decide_breach``: no step here is decided before it was seen to hold.
"""

from datetime import datetime, timedelta

from shared.certificate import problems_of_replacement
from shared.decide_issuance import ask_after_breach, rest
from shared.enrollment import Enrollment, Slot, why_not_ours
from shared.escape import Route
from shared.eviction import SOON, registered_since_enabled, wait_for_end
from shared.exposure import compromised_slots, nobody_closes, pins_compromised, unaccepted
from shared.incident import Incident
from shared.pacing import LATER, job_patience, pace
from shared.plans import Plan, Step
from shared.rollover import Rollover, has_waited
from shared.seen import Observation, Policy
from shared.verdict import Act, AlreadyDone, Back, NeedsPerson, Verdict, Wait

REPROVISION_LIMIT = timedelta(hours=1)
"""How long mode reprovision leaves a compromised certificate accepted before a person is told: whoever holds the
session may answer every call of it and do nothing."""
RETURN = timedelta(seconds=30)
RETRY = "then POST /api/rollovers/{id}/retry"
REPLACE = {"do": "replace"}
ENABLE = {"do": "enable"}


def issue_certificate(rollover: Rollover, incident: Incident, seen: Observation, policy: Policy) -> Verdict:
    """The vault holds a version that may take over."""
    latest = seen.latest
    if not rollover.certificate_name:
        return rest("no certificate of the vault is tied to this enrollment by its tag", rollover, seen.now)
    if latest is None:
        return rest(f"the vault holds no certificate {rollover.certificate_name!r}", rollover, seen.now)
    if latest.certificate.sha256_thumbprint in {one.sha256_thumbprint for one in incident.compromised}:
        return ask_after_breach(rollover, seen, policy)
    problems = _problems(rollover, seen, policy)
    if problems:
        return rest(f"version {latest.version} cannot take over: {'; '.join(problems)}", rollover, seen.now)
    return AlreadyDone(f"the vault holds version {latest.version}, which is not compromised")


def _problems(rollover: Rollover, seen: Observation, policy: Policy) -> list[str]:
    if seen.latest is None:
        return ["it is gone from the vault"]
    problems = [] if seen.latest.enabled else ["it is disabled"]
    return problems + problems_of_replacement(
        seen.latest.certificate,
        registration_id=rollover.registration_id,
        leaving=[one.with_key(seen.keys.get(one.sha1_thumbprint)) for one in rollover.leaving],
        now=seen.now,
        skew=policy.clock_skew,
    )


def upload_secondary(rollover: Rollover, incident: Incident, seen: Observation, policy: Policy) -> Verdict:
    """A slot of the enrollment holds the replacement."""
    incoming, enrollment, latest = rollover.incoming, seen.enrollment, seen.latest
    if enrollment is None:
        return _no_enrollment()
    if reason := why_not_ours(enrollment):
        return NeedsPerson(reason, f"give the device its new certificate by hand, {RETRY}")
    if incoming is None or latest is None:
        return Back("the replacement is gone from the vault", Step.ISSUE_CERTIFICATE)
    if enrollment.holds(incoming.sha256_thumbprint):
        return AlreadyDone("a slot of the enrollment holds the replacement")
    if latest.version != incoming.version or _problems(rollover, seen, policy):
        return Back(f"version {incoming.version} is no longer the one to take", Step.ISSUE_CERTIFICATE)
    slot = slot_for_replacement(rollover, enrollment, seen.now)
    if slot is None:
        return NeedsPerson(
            "both slots hold certificates that are valid and not compromised; the replacement has no place",
            f"take out the one that is not needed, {RETRY}",
        )
    return Act(f"slot {slot.value} takes the replacement; the other is kept", {"slot": slot})


def _no_enrollment() -> NeedsPerson:
    return NeedsPerson(
        "the enrollment was deleted, so there is nothing to put the replacement into",
        f"create it with the replacement certificate, disabled, {RETRY}",
    )


def slot_for_replacement(rollover: Rollover, enrollment: Enrollment, now: datetime) -> Slot | None:
    """Where the replacement goes: over what is compromised, rather in *secondary*; else where nothing is lost."""
    compromised = compromised_slots(rollover, enrollment)
    if compromised:
        return Slot.SECONDARY if Slot.SECONDARY in compromised else compromised[0]
    for slot in (Slot.SECONDARY, Slot.PRIMARY):
        occupant = enrollment.slots[slot]
        if occupant is None or occupant.not_after <= now:
            return slot
        if len(enrollment.slots_holding(occupant.sha256_thumbprint)) > 1:  # a mirror made by DPS
            return slot
    return None


def delete_primary(rollover: Rollover, _incident: Incident, seen: Observation, _policy: Policy) -> Verdict:
    """No slot of the enrollment holds what is compromised."""
    incoming, enrollment = rollover.incoming, seen.enrollment
    if enrollment is None:
        return _no_enrollment()
    if incoming is None or not enrollment.holds(incoming.sha256_thumbprint):
        return Back("the enrollment does not hold the replacement", Step.UPLOAD_SECONDARY)
    holding = compromised_slots(rollover, enrollment)
    if routes := unaccepted(rollover, seen):
        if for_a_person := nobody_closes(rollover, routes):
            return _routes_open(for_a_person)
        why = f"the same call is still closing {', '.join(route.name for route in routes)}"
        return Wait(why, pace(rollover, why, seen.now, SOON))
    if not holding:
        return AlreadyDone("no slot of the enrollment holds a compromised certificate")
    return Act(f"slot {' and '.join(slot.value for slot in holding)} lets go of what is compromised")


def _routes_open(routes: list[Route]) -> NeedsPerson:
    # As long as the certificate lies in this disabled enrollment, that entry decides and keeps it out (azure-docs
    # how-to-revoke-device-access-portal); taken out, the next entry of its chain decides.
    named = "; ".join(f"{route.name} ({'' if route.certain else 'perhaps: '}{route.why})" for route in routes)
    return NeedsPerson(
        f"the compromised certificate would get in another way once it is out of this disabled enrollment: {named}",
        f"close these ways, or accept them by name (accept_escape_routes), {RETRY}",
    )


def enable_enrollment(rollover: Rollover, incident: Incident, seen: Observation, _policy: Policy) -> Verdict:
    """DPS admits the device again."""
    enrollment, identity, incoming = seen.enrollment, seen.identity, rollover.incoming
    if enrollment is None:
        return _no_enrollment()
    if rollover.plan.replaces:
        if compromised_slots(rollover, enrollment):
            return Back("a slot holds a compromised certificate", Step.UPLOAD_SECONDARY)
        if incoming is None or not enrollment.holds(incoming.sha256_thumbprint):
            return Back("the enrollment does not hold the replacement", Step.UPLOAD_SECONDARY)
        if incoming.not_after <= seen.now:
            return NeedsPerson("the replacement has expired", f"issue a new version in the vault, {RETRY}")
    if identity is not None and not identity.enabled and (identity.status_reason or "").startswith("contained by "):
        if identity.connected and rollover.plan.replaces:  # enabled now, its session would live on
            return wait_for_end(rollover, identity, seen.now)
        return Act("the hub identity accepts the device again", REPLACE if incoming else ENABLE)
    if not incident.was_enabled:
        return AlreadyDone("the enrollment was disabled before, and is left so")
    if enrollment.enabled:
        return AlreadyDone("the enrollment is enabled")
    return Act("the enrollment is enabled: DPS admits the device with what is in its slots", {"do": "enrollment"})


def invoke_reprovision_job(rollover: Rollover, _incident: Incident, seen: Observation, _policy: Policy) -> Verdict:
    """Mode reprovision only: the enrollment admits nothing but the replacement by now, so a registration is with it."""
    if registered_since_enabled(rollover, seen.enrollment) is not None:
        return AlreadyDone("the device has registered again; DPS admits it with the replacement only")
    identity = seen.identity
    if identity is None or not pins_compromised(rollover, identity):
        return AlreadyDone("the hub accepts no compromised certificate")
    not_yet = "the device has not registered with the replacement yet, and the hub accepts what is compromised"
    if seen.now - (rollover.reopened_at or rollover.started_at) >= REPROVISION_LIMIT:
        return NeedsPerson(f"not contained: {not_yet}", "call the breach again with mode remove; a retry waits on")
    # A thief throws the device out of the hub for moments: one that was missed is asked again soon.
    missed = seen.job is not None and seen.job.unanswered
    patience = min(SOON * rollover.acts, job_patience(rollover)) if missed else job_patience(rollover)
    asked = rollover.acted_at is not None and seen.now - rollover.acted_at < patience
    if seen.job is not None and (asked or not seen.job.finished):
        longest = patience if missed else LATER
        return Wait(f"{not_yet}: {seen.job.summary}", pace(rollover, not_yet, seen.now, longest))
    return Act("the device is asked to register again with its new certificate", {"register_again": True})


def restore_twin(rollover: Rollover, incident: Incident, seen: Observation, policy: Policy) -> Verdict:
    """The device is back, with its twin."""
    identity, enrollment, removed = seen.identity, seen.enrollment, seen.removed
    if enrollment is None:
        return _no_enrollment()
    if compromised_slots(rollover, enrollment):
        return Back("a slot holds a compromised certificate again", Step.UPLOAD_SECONDARY)
    if not enrollment.enabled and not incident.was_enabled:
        return NeedsPerson(
            "the certificate is replaced; the enrollment was disabled before the breach and is left so",
            f"enable it when the device may come back, {RETRY}: its twin is kept",
        )
    if not enrollment.enabled:
        return Back("somebody disabled the enrollment again", Step.ENABLE_ENROLLMENT)
    if rollover.plan is Plan.BREACH_REPROVISION and removed is None and identity is not None:
        return AlreadyDone("the identity was kept, and with it its twin; nothing is to be restored")
    if not _is_back(rollover, seen):
        if undone := _would_stay_out(rollover, enrollment, seen, policy):
            return undone
        why = "the device is not back yet: it must register with its new certificate"
        return Wait(
            why, pace(rollover, why, seen.now, RETURN if has_waited(rollover, why, seen.now) < LATER else LATER)
        )
    if removed is None or identity is None:
        return AlreadyDone("the device is back; this rollover removed no identity, so it has no twin to put back")
    if seen.twin is None:
        return Wait("the hub shows no twin yet", timedelta(seconds=2))
    if seen.twin.equals(removed.twin):
        return AlreadyDone("the device is back, with the tags and desired properties that it had")
    return Act("the device is back; its tags and desired properties are restored")


def _would_stay_out(rollover: Rollover, enrollment: Enrollment, seen: Observation, policy: Policy) -> Back | None:
    """Why the device that is waited for could not come: the replacement is in no slot any more, or the vault has a
    newer version, and a device that fetches only the newest would come with that.
    """
    incoming, latest = rollover.incoming, seen.latest
    if incoming is None or not enrollment.holds(incoming.sha256_thumbprint):
        return Back("the enrollment does not hold the replacement any more", Step.UPLOAD_SECONDARY)
    newer = latest is not None and latest.version != incoming.version and not _problems(rollover, seen, policy)
    # Mode reprovision would take back what it says of the containment; and nothing that is valid is overwritten.
    if latest is None or not newer or rollover.plan is not Plan.BREACH:
        return None
    if enrollment.holds(latest.certificate.sha256_thumbprint) or slot_for_replacement(rollover, enrollment, seen.now):
        why = f"the vault has a newer version, {latest.version}, than {incoming.version}"
        return Back(why, Step.ISSUE_CERTIFICATE)
    return None


def _is_back(rollover: Rollover, seen: Observation) -> bool:
    """Whether the cloud shows the device on a certificate that is not compromised; never the device's word."""
    identity = seen.identity
    if identity is None or not identity.enabled:
        return False
    if registered_since_enabled(rollover, seen.enrollment) is not None:
        return True
    # Kept and rewritten, it accepts nothing but the replacement, so a session of it is one with that.
    return identity.connected
