"""What each step does that contains a compromised certificate and brings the device back, from what was seen. Pure.

Each step is safe alone, and the state after it is one to rest in. Before anything else every step looks whether the
containment still holds, and goes back to the step that mends it: a registration that was under way when the door was
shut ends at the hub a little later, and a person may enable what was disabled.

What must hold (tests walk every reachable state for it): once contained, neither DPS nor the hub accepts a
compromised certificate, read back; the enrollment is not enabled while a slot holds one; nothing that is deleted at
the hub is deleted before its twin is kept. Postconditions are about content ("no slot holds X"), for DPS may mirror
one slot into the other.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from shared.certificate import problems_of_replacement
from shared.decide_issuance import ask_after_breach, rest
from shared.enrollment import Enrollment, HubIdentity, Slot, why_not_ours
from shared.escape import Route
from shared.exposure import (
    compromised_slots,
    door_is_open,
    exposures,
    hub_accepts,
    nobody_closes,
    old_session,
    pins_compromised,
    unaccepted,
)
from shared.incident import Incident, Mode
from shared.pacing import LATER, job_patience, pace
from shared.rollover import Act, AlreadyDone, Back, NeedsPerson, Plan, Rollover, Step, Verdict, Wait, has_waited
from shared.seen import Observation, Policy, Sources

EVICTION_PATIENCE = timedelta(minutes=2)
"""How long the hub is given to end the session of a disabled identity: it takes seconds to a minute
(azure-iot-sdk-c#2300), and what it shows of sessions may lag."""
EVICTION_LIMIT = timedelta(minutes=10)
REPROVISION_LIMIT = timedelta(hours=1)
"""How long mode reprovision leaves a compromised certificate accepted before a person is told: whoever holds the
session may answer every call of it and do nothing."""
SOON = timedelta(seconds=10)
RETURN = timedelta(seconds=30)

ACTING_DOES_NOT_HELP = (
    "see in the history what each attempt met, mend it, then POST /api/rollovers/{id}/retry; what is contained stays so"
)
RETRY = "then POST /api/rollovers/{id}/retry"

LOOKS_AT: Mapping[Step, Sources] = {
    Step.DISABLE_ENROLLMENT: Sources(enrollment=True),
    Step.REMOVE_HUB_REGISTRATION: Sources(enrollment=True, identity=True, removed=True),
    Step.VERIFY_CONTAINMENT: Sources(enrollment=True, identity=True, removed=True, holders=True, groups_when_out=True),
    Step.ISSUE_CERTIFICATE: Sources(vault=True, enrollment=True, identity=True),
    Step.UPLOAD_SECONDARY: Sources(vault=True, enrollment=True, identity=True),
    Step.DELETE_PRIMARY: Sources(enrollment=True, identity=True, groups=True),
    Step.ENABLE_ENROLLMENT: Sources(enrollment=True, identity=True),
    Step.INVOKE_REPROVISION_JOB: Sources(enrollment=True, identity=True, job=True),
    Step.RESTORE_TWIN: Sources(
        vault=True, vault_may_be_down=True, enrollment=True, identity=True, removed=True, twin=True
    ),
}


def decide_step(step: Step, rollover: Rollover, seen: Observation, policy: Policy) -> Verdict:
    """The verdict on a step of a plan that a person's call began."""
    incident = rollover.incident
    if incident is None:
        raise ValueError(f"{rollover.id} has no incident")
    if back := _broken(step, rollover, seen):
        return back
    return _DECISIONS[step](rollover, incident, seen, policy)


def _broken(step: Step, rollover: Rollover, seen: Observation) -> Back | None:
    """Whether a containment that an earlier step established holds no longer."""
    if Step.DISABLE_ENROLLMENT in rollover.done and door_is_open(rollover, seen.enrollment):
        return Back("somebody enabled the enrollment while a compromised certificate is in it", Step.DISABLE_ENROLLMENT)
    if Step.DISABLE_ENROLLMENT in rollover.done and _entry_is_missing(rollover, seen):
        return Back("the enrollment that keeps the device out was deleted", Step.DISABLE_ENROLLMENT)
    if Step.REMOVE_HUB_REGISTRATION in rollover.done and hub_accepts(rollover, seen.identity):
        return Back(
            "the hub accepts a compromised certificate again: a registration was under way when the door was shut,"
            " or somebody wrote the identity",
            Step.REMOVE_HUB_REGISTRATION,
        )
    return None


def _entry_is_missing(rollover: Rollover, seen: Observation) -> bool:
    """Whether the disabled enrollment that keeps a device of a group out is not there."""
    leaf = rollover.incident.leaf if rollover.incident else ""
    return rollover.plan is Plan.DISALLOW and bool(leaf) and seen.enrollment is None


# --- contain ----------------------------------------------------------------------------------------------------


def _disable_enrollment(rollover: Rollover, _incident: Incident, seen: Observation, _policy: Policy) -> Verdict:
    enrollment = seen.enrollment
    if _entry_is_missing(rollover, seen):
        why = "the device gets an enrollment of its own, disabled, with its certificate: that decides before its group"
        return Act(why, {"do": "create"})
    if enrollment is None:
        return AlreadyDone("there is no individual enrollment any more")
    if not enrollment.enabled:
        return AlreadyDone("the enrollment is disabled: DPS admits the device with no certificate")
    if not door_is_open(rollover, enrollment):
        return AlreadyDone("no slot of the enrollment holds a compromised certificate any more")
    return Act("the enrollment is disabled first: one write shuts the door at DPS")


def _remove_hub_registration(rollover: Rollover, incident: Incident, seen: Observation, _policy: Policy) -> Verdict:
    identity = seen.identity
    if identity is None:
        return AlreadyDone(f"the hub has no identity {rollover.device_id}")
    if incident.mode is Mode.REPROVISION:
        return _replace_at_hub(rollover, incident, seen, identity)
    if not pins_compromised(rollover, identity) and not identity.connected:
        return AlreadyDone("the hub identity accepts no compromised certificate and has no session")
    if identity.enabled and identity.authentication in _CAN_BE_DISABLED:
        return Act("the hub identity is disabled: that ends its session and every new connect is refused", _DISABLE)
    if incident.mode is Mode.DISABLE:
        return _wait_for_end(rollover, identity, seen.now)
    why = f"the hub has not ended the session of the disabled identity {identity.device_id} yet"
    waited = has_waited(rollover, why, seen.now)
    if identity.connected and not identity.enabled and waited < EVICTION_PATIENCE:
        return Wait(why, pace(rollover, why, seen.now, SOON))
    return Act("the hub identity is removed; its twin is kept, to be restored when the device is back", _REMOVE)


_CAN_BE_DISABLED = ("selfSigned", "certificateAuthority")
"""A rewrite of any other identity would have to carry its keys, which we do not read."""
_DISABLE = {"do": "disable"}
_REMOVE = {"do": "remove"}
_ENABLE = {"do": "enable"}
_REPLACE = {"do": "replace"}


def _wait_for_end(rollover: Rollover, identity: HubIdentity, now: datetime) -> Verdict:
    if identity.enabled:
        return NeedsPerson(
            f"the hub identity authenticates by {identity.authentication}: disabling it would rewrite its keys",
            "call the breach again with mode remove",
        )
    if not identity.connected:
        return AlreadyDone("the hub identity is disabled and has no session")
    why = f"the hub has not ended the session of the disabled identity {identity.device_id} yet"
    if has_waited(rollover, why, now) >= EVICTION_LIMIT:
        return NeedsPerson(why, "call the breach again with mode remove, or look into the hub: what it shows may lag")
    return Wait(why, pace(rollover, why, now, SOON))


def _replace_at_hub(rollover: Rollover, incident: Incident, seen: Observation, identity: HubIdentity) -> Verdict:
    """Mode reprovision: the device has registered; what DPS did not replace at the hub is replaced here.

    Disabled first, then replaced: the identity accepted what is compromised after the registration too, so by its
    time alone a session of the thief could not be told from one of the device.
    """
    if not identity.enabled and identity.status_reason == incident.mark:
        if identity.connected:
            return _wait_for_end(rollover, identity, seen.now)
        if pins_compromised(rollover, identity):
            return Act("no session is left; the hub identity gets the replacement and is enabled again", _REPLACE)
        return Act("the session from before has ended; the hub identity is enabled again", _ENABLE)
    if pins_compromised(rollover, identity):
        if _registered_since_enabled(rollover, seen.enrollment) is None:
            return Back("the device has not registered again yet", Step.INVOKE_REPROVISION_JOB)
        if identity.enabled:
            why = "the device registered, and DPS did not replace its certificate at the hub: the identity is disabled"
            return Act(f"{why}, so that no session is left when it is replaced", _DISABLE)
        return Act("the device registered, and DPS did not replace its certificate at the hub", _REPLACE)
    if old_session(rollover, seen):
        return Act("the hub may still have a session that a compromised certificate began", _DISABLE)
    return AlreadyDone("the hub accepts no compromised certificate and has no session from before")


def _verify_containment(rollover: Rollover, incident: Incident, seen: Observation, policy: Policy) -> Verdict:
    if others := nobody_closes(rollover, unaccepted(rollover, seen)):
        named = "; ".join(f"{route.name}: {route.why}" for route in others)
        return NeedsPerson(
            f"not contained: {named}",
            "take the certificate out there, or accept the route by name in the retry; " + RETRY,
        )
    identity = seen.identity
    if identity is not None and identity.enabled and old_session(rollover, seen):
        return Back("the hub has a session that may be a compromised certificate's", Step.REMOVE_HUB_REGISTRATION)
    if found := exposures(rollover, seen):
        why = f"not contained yet: {'; '.join(found)}"
        return Wait(why, pace(rollover, why, seen.now, SOON))
    why = "nothing compromised is accepted; looking again, for what was under way to show"
    left = policy.settle - has_waited(rollover, why, seen.now)
    if rollover.quiet_at is not None:
        # A step of the rollover whose place this one took may have a write on its way, against what was read before.
        left = max(left, rollover.quiet_at - seen.now)
    if left > timedelta():
        return Wait(why, left)
    shut = "the enrollment is disabled" if seen.enrollment and not seen.enrollment.enabled else "no slot holds it"
    gone = "the hub has no identity" if identity is None else "the hub identity does not accept it, no session lives"
    return AlreadyDone(f"contained, read back twice: {shut}; {gone} ({incident.mode.value})")


# --- recover ----------------------------------------------------------------------------------------------------


def _issue_certificate(rollover: Rollover, incident: Incident, seen: Observation, policy: Policy) -> Verdict:
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


def _upload_secondary(rollover: Rollover, incident: Incident, seen: Observation, policy: Policy) -> Verdict:
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


def _delete_primary(rollover: Rollover, _incident: Incident, seen: Observation, _policy: Policy) -> Verdict:
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


def _enable_enrollment(rollover: Rollover, incident: Incident, seen: Observation, _policy: Policy) -> Verdict:
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
            return _wait_for_end(rollover, identity, seen.now)
        return Act("the hub identity accepts the device again", _REPLACE if incoming else _ENABLE)
    if not incident.was_enabled:
        return AlreadyDone("the enrollment was disabled before, and is left so")
    if enrollment.enabled:
        return AlreadyDone("the enrollment is enabled")
    return Act("the enrollment is enabled: DPS admits the device with what is in its slots", {"do": "enrollment"})


def _registered_since_enabled(rollover: Rollover, enrollment: Enrollment | None) -> datetime | None:
    record = enrollment.registration if enrollment else None
    registered = record.last_updated if record and record.status == "assigned" else None
    if registered is None or (rollover.baseline is not None and registered <= rollover.baseline):
        return None
    return registered


def _invoke_reprovision_job(rollover: Rollover, _incident: Incident, seen: Observation, _policy: Policy) -> Verdict:
    """Mode reprovision only: the enrollment admits nothing but the replacement by now, so a registration is with it."""
    if _registered_since_enabled(rollover, seen.enrollment) is not None:
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


def _restore_twin(rollover: Rollover, incident: Incident, seen: Observation, policy: Policy) -> Verdict:
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
    if rollover.plan is Plan.BREACH_REPROVISION and removed is None:
        return AlreadyDone("the identity was kept, and with it its twin; nothing is to be restored")
    if not _is_back(rollover, seen):
        if undone := _would_stay_out(rollover, enrollment, seen, policy):
            return undone
        why = "the device is not back yet: it must register with its new certificate"
        return Wait(
            why, pace(rollover, why, seen.now, RETURN if has_waited(rollover, why, seen.now) < LATER else LATER)
        )
    if removed is None or identity is None:
        return AlreadyDone("the device is back; its identity was kept, and with it its twin")
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
    if _registered_since_enabled(rollover, seen.enrollment) is not None:
        return True
    # Kept and rewritten, it accepts nothing but the replacement, so a session of it is one with that.
    return identity.connected


_DECISIONS: Mapping[Step, Callable[[Rollover, Incident, Observation, Policy], Verdict]] = {
    Step.DISABLE_ENROLLMENT: _disable_enrollment,
    Step.REMOVE_HUB_REGISTRATION: _remove_hub_registration,
    Step.VERIFY_CONTAINMENT: _verify_containment,
    Step.ISSUE_CERTIFICATE: _issue_certificate,
    Step.UPLOAD_SECONDARY: _upload_secondary,
    Step.DELETE_PRIMARY: _delete_primary,
    Step.ENABLE_ENROLLMENT: _enable_enrollment,
    Step.INVOKE_REPROVISION_JOB: _invoke_reprovision_job,
    Step.RESTORE_TWIN: _restore_twin,
}
