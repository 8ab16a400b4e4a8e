"""What each step does that contains a compromised CA of a group and lets the group's devices back in. Pure.

Each step is safe alone, and the state after it is one to rest in. The hub pins each device's own certificate,
whatever its CA, so nothing that is done to the group or the CA evicts anybody there: every identity that a thief may
have made is looked at by itself, in batches (``shared.fleet``).

What must hold (tests walk every reachable state for it): once contained, DPS admits nobody under a compromised CA and
the hub has no identity of the group that may be a thief's, read back; the group is not enabled while it trusts what is
compromised; it is never left without anything that it trusts. What comes after containment is in
``shared.decide_group_recovery``.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta

from shared import decide_group_recovery as recovery
from shared.decide_group import names
from shared.decide_group_recovery import RETRY, SOON, WORKING
from shared.exposure import nobody_closes, unaccepted
from shared.exposure_group import group_door_is_open, still_to_do
from shared.fleet import FleetProgress
from shared.group import Group
from shared.incident import Incident
from shared.pacing import pace
from shared.plans import Step
from shared.rollover import Rollover, has_waited
from shared.seen import Observation, Policy, Sources
from shared.verdict import Act, AlreadyDone, Back, NeedsPerson, Verdict, Wait

LOOKS_AT: Mapping[Step, Sources] = {
    # The first two do without Resource Manager, which tells what a name stands for: it may be down.
    Step.DISABLE_ENROLLMENT: Sources(group=True),
    Step.REMOVE_HUB_REGISTRATION: Sources(group=True, fleet="evict"),
    Step.VERIFY_CONTAINMENT: Sources(
        vault=True,
        vault_may_be_down=True,
        group=True,
        authorities=True,
        fleet="check",
        holders=True,
        groups_when_out=True,
    ),
    Step.ISSUE_CERTIFICATE: Sources(vault=True, group=True, authorities=True),
    Step.ADD_CA_CERTIFICATE: Sources(vault=True, group=True, authorities=True),
    Step.UPLOAD_SECONDARY: Sources(vault=True, group=True, authorities=True, groups=True),
    Step.DELETE_PRIMARY: Sources(vault=True, group=True, authorities=True, groups=True),
    Step.DELETE_CA_CERTIFICATE: Sources(group=True, authorities=True, users=True),
    Step.ENABLE_ENROLLMENT: Sources(vault=True, group=True, authorities=True, groups=True),
    Step.RESTORE_TWIN: Sources(vault=True, vault_may_be_down=True, group=True, authorities=True, fleet="restore"),
}


def decide_step(step: Step, rollover: Rollover, seen: Observation, policy: Policy) -> Verdict:
    """The verdict on a step of the breach plan of a group."""
    incident, group = rollover.incident, seen.group
    if incident is None:
        raise ValueError(f"{rollover.id} has no incident")
    if group is None:
        return _no_group()
    if Step.DISABLE_ENROLLMENT in rollover.done and group_door_is_open(rollover, seen):
        return Back("somebody enabled the group while it trusts what is compromised", Step.DISABLE_ENROLLMENT)
    return _DECISIONS[step](rollover, incident, group, seen, policy)


def _no_group() -> Verdict:
    return NeedsPerson(
        "the enrollment group was deleted, and with it the list of its devices; the hub may still accept them",
        f"create it with the replacement, disabled, {RETRY}; or remove its devices' identities from the hub by hand",
    )


# --- contain ------------------------------------------------------------------------------------------------------


def _disable_enrollment(r: Rollover, _i: Incident, group: Group, seen: Observation, _p: Policy) -> Verdict:
    if not group.enabled:
        return AlreadyDone("the group is disabled: DPS admits none of its devices")
    if not group_door_is_open(r, seen):
        return AlreadyDone("the group trusts nothing that is compromised any more")
    return Act("the group is disabled first: one write shuts the door at DPS, whatever the fleet's size")


def _remove_hub_registration(r: Rollover, incident: Incident, _g: Group, seen: Observation, _p: Policy) -> Verdict:
    fleet = seen.fleet
    if fleet is None:
        return Act(
            "the identities of the group's devices are removed from the hub, batch by batch; their twins are kept",
            {"do": "begin", "work": "evict"},
        )
    if fleet.complete:
        return AlreadyDone(
            f"the hub has none of the identities that had to leave ({fleet.devices}){_spared(incident, fleet)}"
        )
    if stuck := _stuck(fleet, "removed"):
        return stuck
    why = f"identities are being removed from the hub: {still_to_do(fleet)}"
    return Wait(why, pace(r, why, seen.now, WORKING))


def _spared(incident: Incident, fleet: FleetProgress) -> str:
    if not incident.suspects_only or incident.compromised_since is None:
        return ""
    since = f"{incident.compromised_since:%Y-%m-%d %H:%M:%SZ}"
    return f"; {fleet.spared} others, which did not register since {since}, were left alone"


def _stuck(fleet: FleetProgress, what: str) -> NeedsPerson | None:
    if fleet.halted:
        return NeedsPerson(f"not all are {what}: {fleet.halted}", f"mend that, {RETRY}")
    if fleet.finished:
        return NeedsPerson(
            f"{fleet.devices - fleet.done} of {fleet.devices} could not be {what}: {names(fleet)}",
            f"see in the log what the hub says of them, mend it, {RETRY}",
        )
    return None


def _verify_containment(r: Rollover, incident: Incident, group: Group, seen: Observation, policy: Policy) -> Verdict:
    if others := nobody_closes(r, unaccepted(r, seen)):
        named = "; ".join(f"{route.name}: {route.why}" for route in others)
        return NeedsPerson(
            f"not contained: {named}",
            f"disable or roll these too, or accept them by name in the retry; {RETRY}",
        )
    if routes := unaccepted(r, seen):
        why = f"not contained yet: the same call is still closing {', '.join(route.name for route in routes)}"
        return Wait(why, pace(r, why, seen.now, SOON))
    fleet = seen.fleet
    if fleet is None:
        # What DPS had admitted before the door was shut has come to the hub by then, and into the list that is read.
        why = "the identities are gone; all are looked at again, when what was under way has come to the hub"
        left = policy.settle - has_waited(r, why, seen.now)
        if r.quiet_at is not None:
            left = max(left, r.quiet_at - seen.now)
        if left > timedelta():
            return Wait(why, left)
        return Act("every device of the group is looked at again", {"do": "begin", "work": "check"})
    if not fleet.finished:
        why = f"every device of the group is looked at again: {still_to_do(fleet)}"
        return Wait(why, pace(r, why, seen.now, WORKING))
    if not fleet.complete:
        return Back(
            f"{fleet.devices - fleet.done} of the group's devices are at the hub again ({names(fleet)}): their"
            " registrations were under way when the door was shut",
            Step.REMOVE_HUB_REGISTRATION,
        )
    shut = "the group is disabled" if not group.enabled else "the group trusts nothing compromised"
    return AlreadyDone(
        f"contained, read back twice: {shut}; of {fleet.devices} devices the hub has no identity that had to leave"
        f" ({incident.mode.value}){_spared(incident, fleet)}"
    )


_DECISIONS: Mapping[Step, Callable[[Rollover, Incident, Group, Observation, Policy], Verdict]] = {
    Step.DISABLE_ENROLLMENT: _disable_enrollment,
    Step.REMOVE_HUB_REGISTRATION: _remove_hub_registration,
    Step.VERIFY_CONTAINMENT: _verify_containment,
    Step.ISSUE_CERTIFICATE: recovery.issue_certificate,
    Step.ADD_CA_CERTIFICATE: recovery.add_ca_certificate,
    Step.UPLOAD_SECONDARY: recovery.upload_secondary,
    Step.DELETE_PRIMARY: recovery.delete_primary,
    Step.DELETE_CA_CERTIFICATE: recovery.delete_ca_certificate,
    Step.ENABLE_ENROLLMENT: recovery.enable_enrollment,
    Step.RESTORE_TWIN: recovery.restore_twin,
}
