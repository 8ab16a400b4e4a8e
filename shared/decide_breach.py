"""What each step does that contains a compromised certificate, from what was seen. Pure.

Each step is safe alone, and the state after it is one to rest in. Before anything else every step looks whether the
containment still holds, and goes back to the step that mends it: a registration that was under way when the door was
shut ends at the hub a little later, and a person may enable what was disabled.

What must hold (tests walk every reachable state for it): once contained, neither DPS nor the hub accepts a
compromised certificate, read back; the enrollment is not enabled while a slot holds one; nothing that is deleted at
the hub is deleted before its twin is kept. Postconditions are about content ("no slot holds X"), for DPS may mirror
one slot into the other. What brings the device back is in ``shared.decide_recovery``.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta

from shared import decide_recovery as recovery
from shared.decide_recovery import ENABLE, REPLACE, RETRY
from shared.enrollment import HubIdentity
from shared.eviction import EVICTION_PATIENCE, SOON, registered_since_enabled, wait_for_end
from shared.exposure import (
    door_is_open,
    exposures,
    hub_accepts,
    nobody_closes,
    old_session,
    pins_compromised,
    unaccepted,
)
from shared.incident import Incident, Mode
from shared.pacing import pace
from shared.plans import Plan, Step
from shared.rollover import Rollover, has_waited
from shared.seen import Observation, Policy, Sources
from shared.verdict import Act, AlreadyDone, Back, NeedsPerson, Verdict, Wait

ACTING_DOES_NOT_HELP = (
    "see in the history what each attempt met, mend it, then POST /api/rollovers/{id}/retry; what is contained stays so"
)

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
    if rollover.plan is not Plan.BREACH and not door_is_open(rollover, enrollment):
        return AlreadyDone("no slot of the enrollment holds a compromised certificate any more")
    return Act("the enrollment is disabled first: one write shuts the door at DPS")


def _remove_hub_registration(rollover: Rollover, incident: Incident, seen: Observation, _policy: Policy) -> Verdict:
    """Evict first; what is evicted stays so only while DPS admits nobody. Else the device, with a certificate that is
    good, is connected again before a containment was seen to hold, and nobody can tell it from the thief.
    """
    verdict = _evict(rollover, incident, seen)
    if rollover.plan is not Plan.BREACH or seen.enrollment is None or not seen.enrollment.enabled:
        return verdict
    opened_again = rollover.acts > 0 and seen.identity is not None and seen.identity.enabled
    if opened_again or isinstance(verdict, AlreadyDone):
        return Back("DPS admits the device: it would be at the hub again before anybody looks", Step.DISABLE_ENROLLMENT)
    return verdict


def _evict(rollover: Rollover, incident: Incident, seen: Observation) -> Verdict:
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
        return wait_for_end(rollover, identity, seen.now)
    why = f"the hub has not ended the session of the disabled identity {identity.device_id} yet"
    waited = has_waited(rollover, why, seen.now)
    if identity.connected and not identity.enabled and waited < EVICTION_PATIENCE:
        return Wait(why, pace(rollover, why, seen.now, SOON))
    return Act("the hub identity is removed; its twin is kept, to be restored when the device is back", _REMOVE)


_CAN_BE_DISABLED = ("selfSigned", "certificateAuthority")
"""A rewrite of any other identity would have to carry its keys, which we do not read."""
_DISABLE = {"do": "disable"}
_REMOVE = {"do": "remove"}


def _replace_at_hub(rollover: Rollover, incident: Incident, seen: Observation, identity: HubIdentity) -> Verdict:
    """Mode reprovision: the device has registered; what DPS did not replace at the hub is replaced here.

    Disabled first, then replaced: the identity accepted what is compromised after the registration too, so by its
    time alone a session of the thief could not be told from one of the device.
    """
    if not identity.enabled and identity.status_reason == incident.mark:
        if identity.connected:
            return wait_for_end(rollover, identity, seen.now)
        if pins_compromised(rollover, identity):
            return Act("no session is left; the hub identity gets the replacement and is enabled again", REPLACE)
        return Act("the session from before has ended; the hub identity is enabled again", ENABLE)
    if pins_compromised(rollover, identity):
        if registered_since_enabled(rollover, seen.enrollment) is None:
            return Back("the device has not registered again yet", Step.INVOKE_REPROVISION_JOB)
        if identity.enabled:
            why = "the device registered, and DPS did not replace its certificate at the hub: the identity is disabled"
            return Act(f"{why}, so that no session is left when it is replaced", _DISABLE)
        return Act("the device registered, and DPS did not replace its certificate at the hub", REPLACE)
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


_DECISIONS: Mapping[Step, Callable[[Rollover, Incident, Observation, Policy], Verdict]] = {
    Step.DISABLE_ENROLLMENT: _disable_enrollment,
    Step.REMOVE_HUB_REGISTRATION: _remove_hub_registration,
    Step.VERIFY_CONTAINMENT: _verify_containment,
    Step.ISSUE_CERTIFICATE: recovery.issue_certificate,
    Step.UPLOAD_SECONDARY: recovery.upload_secondary,
    Step.DELETE_PRIMARY: recovery.delete_primary,
    Step.ENABLE_ENROLLMENT: recovery.enable_enrollment,
    Step.INVOKE_REPROVISION_JOB: recovery.invoke_reprovision_job,
    Step.RESTORE_TWIN: recovery.restore_twin,
}
