"""What each step does that contains a compromised CA of a group and lets the group's devices back in. Pure.

Each step is safe alone, and the state after it is one to rest in. The hub pins each device's own certificate,
whatever its CA, so nothing that is done to the group or the CA evicts anybody there: every identity that a thief may
have made is looked at by itself, in batches (``shared.fleet``).

What must hold (tests walk every reachable state for it): once contained, DPS admits nobody under a compromised CA and
the hub has no identity of the group that may be a thief's, read back; the group is not enabled while it trusts what is
compromised; it is never left without anything that it trusts. The names in the group are swapped before the CA
certificate is deleted, for whether Azure deletes one that a group names is not documented.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta

from shared.certificate import is_among, is_same
from shared.chain_of_trust import problems_of_anchor
from shared.decide_group import add_authority, broken_links, names, trust_of, verified_reference
from shared.decide_issuance import ask_after_breach, rest
from shared.enrollment import Enrolled, Slot
from shared.exposure import nobody_closes, unaccepted
from shared.exposure_group import compromised_anchors, group_door_is_open, still_to_do
from shared.fleet import FleetProgress
from shared.group import Group, slots_with, why_group_is_not_ours
from shared.incident import Incident
from shared.pacing import LATER, pace
from shared.rollover import Act, AlreadyDone, Back, NeedsPerson, Rollover, Step, Verdict, Wait, has_waited
from shared.seen import Observation, Policy, Sources

SOON = timedelta(seconds=10)
WORKING = timedelta(minutes=5)
"""While batches go on: the last one's end is told, so this is only for when that is lost."""
LET_BE = 3
"""So few devices that never came back hold up no rollover for ever: the share of a small group allows for none."""
RETRY = "then POST /api/rollovers/{id}/retry"

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
    Step.RESTORE_TWIN: Sources(group=True, authorities=True, fleet="restore"),
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


# --- recover ------------------------------------------------------------------------------------------------------


def _issue_certificate(r: Rollover, incident: Incident, group: Group, seen: Observation, policy: Policy) -> Verdict:
    latest = seen.latest
    if not r.certificate_name:
        return rest("no certificate of the vault is tied to this group by its tag", r, seen.now)
    if latest is None:
        return rest(f"the vault holds no certificate {r.certificate_name!r}", r, seen.now)
    if is_among(latest.certificate, incident.compromised):
        return ask_after_breach(r, seen, policy)
    if problems := _problems(r, group, seen, policy):
        return rest(f"version {latest.version} cannot take over: {'; '.join(problems)}", r, seen.now)
    return AlreadyDone(f"the vault holds version {latest.version}, which is not compromised")


def _problems(r: Rollover, group: Group, seen: Observation, policy: Policy) -> list[str]:
    """Why the vault's latest version must not be what the group trusts instead."""
    if seen.latest is None:
        return ["it is gone from the vault"]
    problems = [] if seen.latest.enabled else ["it is disabled"]
    incoming = seen.latest.certificate
    leaving = [one.with_key(seen.keys.get(one.sha1_thumbprint)) for one in r.leaving]
    if any(one.public_key_sha256 == incoming.public_key_sha256 for one in leaving):
        problems.append("it has a compromised key; a replacement needs a new key")
    named = {one.subject for one in r.leaving if not is_same(one, incoming)}
    if incoming.subject != incoming.issuer and incoming.issuer in named and _signed_by_leaving(r, seen):
        problems.append(f"it was issued by the compromised CA, {incoming.issuer}")
    return problems + problems_of_anchor(incoming, leaving, trust_of(seen, group, policy))


def _signed_by_leaving(r: Rollover, seen: Observation) -> bool:
    """Whether no other CA certificate of the DPS than a compromised one has the issuer's name."""
    issuer = seen.latest.certificate.issuer if seen.latest else ""
    named = [one for one in seen.authorities if one.certificate and one.certificate.subject == issuer]
    return all(is_among(one, r.leaving) for one in named)


def _add_ca_certificate(r: Rollover, _i: Incident, group: Group, seen: Observation, policy: Policy) -> Verdict:
    verdict = add_authority(r, seen, group)
    if isinstance(verdict, Act) and (back := _no_longer(r, group, seen, policy)):
        return back
    return verdict


def _no_longer(r: Rollover, group: Group, seen: Observation, policy: Policy) -> Back | None:
    incoming, latest = r.incoming, seen.latest
    if incoming is None or latest is None:
        return Back("the replacement is gone from the vault", Step.ISSUE_CERTIFICATE)
    if latest.version != incoming.version or _problems(r, group, seen, policy):
        return Back(f"version {incoming.version} is no longer the one to take", Step.ISSUE_CERTIFICATE)
    return None


def _upload_secondary(r: Rollover, _i: Incident, group: Group, seen: Observation, policy: Policy) -> Verdict:
    if reason := why_group_is_not_ours(group):
        return NeedsPerson(reason, f"give its devices new certificates by hand, {RETRY}")
    incoming, anchors = r.incoming, group.anchors(seen.authorities)
    if incoming is not None and slots_with(anchors, incoming):
        return AlreadyDone("the group trusts the replacement")
    if back := _no_longer(r, group, seen, policy):
        return back
    reference = verified_reference(incoming, seen) if incoming else None
    if group.by_reference and reference is None:
        return Back("the replacement is not in the DPS, verified (any more)", Step.ADD_CA_CERTIFICATE)
    slot = slot_for_replacement(r, group, seen)
    if slot is None:
        return NeedsPerson(
            "both slots trust certificates that are valid and not compromised; the replacement has no place",
            f"take out the one that is not needed, {RETRY}",
        )
    if _takes_out(slot, r, anchors) and (verdict := _open_routes(r, seen)):
        return verdict
    ask = {"slot": slot, **({"name": reference.name} if group.by_reference and reference else {})}
    return Act(f"slot {slot.value} takes the replacement; the other is kept", ask)


def slot_for_replacement(r: Rollover, group: Group, seen: Observation) -> Slot | None:
    """Where the replacement goes: where nothing is lost, rather in *secondary*; else over what is compromised."""
    anchors, compromised = group.anchors(seen.authorities), compromised_anchors(r, seen)
    order = (Slot.SECONDARY, Slot.PRIMARY)
    free = [slot for slot in order if _is_free(anchors[slot], anchors, seen)]
    over = [slot for slot in order if slot in compromised]
    return next(iter((*free, *over)), None)


def _is_free(occupant: Enrolled | None, anchors: Mapping[Slot, Enrolled | None], seen: Observation) -> bool:
    if occupant is None:
        # A name that the DPS does not know (any more) lets nobody in; in a breach it has no rights.
        return True
    mirrored = len(slots_with(anchors, occupant)) > 1
    return mirrored or occupant.not_after <= seen.now


def _takes_out(slot: Slot, r: Rollover, anchors: Mapping[Slot, Enrolled | None]) -> bool:
    """Whether filling this slot takes a compromised certificate out of the disabled group, which keeps it out."""
    occupant = anchors[slot]
    if occupant is None or not is_among(occupant, r.leaving):
        return False
    return slots_with(anchors, occupant) == (slot,)


def _delete_primary(r: Rollover, _i: Incident, group: Group, seen: Observation, _p: Policy) -> Verdict:
    incoming, anchors = r.incoming, group.anchors(seen.authorities)
    if incoming is None or not slots_with(anchors, incoming):
        return Back("the group does not trust the replacement", Step.UPLOAD_SECONDARY)
    if verdict := _open_routes(r, seen):
        return verdict
    holding = compromised_anchors(r, seen)
    if not holding:
        return AlreadyDone("the group trusts nothing that is compromised")
    named = " and ".join(slot.value for slot in holding)
    return Act(f"slot {named} lets go of what is compromised", {"slots": holding})


def _open_routes(r: Rollover, seen: Observation) -> Verdict | None:
    """As long as the disabled group holds it, that entry is found and keeps it out; then the next of the chain decides
    (azure-docs how-to-revoke-device-access-portal)."""
    routes = unaccepted(r, seen)
    if for_a_person := nobody_closes(r, routes):
        named = "; ".join(f"{one.name} ({'' if one.certain else 'perhaps: '}{one.why})" for one in for_a_person)
        return NeedsPerson(
            f"devices under the compromised CA would get in another way once it is out of this disabled group: {named}",
            f"close these ways (a disabled group that holds the CA certificate keeps it out), or accept them by name"
            f" (accept_escape_routes), {RETRY}",
        )
    if routes:
        why = f"the same call is still closing {', '.join(route.name for route in routes)}"
        return Wait(why, pace(r, why, seen.now, SOON))
    return None


def _delete_ca_certificate(r: Rollover, incident: Incident, _g: Group, seen: Observation, _p: Policy) -> Verdict:
    there = [one for one in seen.authorities if is_among(one, r.leaving)]
    if not there:
        return AlreadyDone("nothing that is compromised is among the CA certificates of the DPS")
    if compromised_anchors(r, seen):
        return Back("the group trusts what is compromised (again)", Step.UPLOAD_SECONDARY)
    waits = [use for use in seen.users if use.partition(" names")[0] in incident.together]
    if waits:
        why = f"the same call takes it out elsewhere first: {'; '.join(waits)}"
        return Wait(why, pace(r, why, seen.now, SOON))
    naming = [use for use in seen.users if use.endswith(" names it")]
    if naming:
        return AlreadyDone(
            f"kept in the DPS as {there[0].name!r}: {'; '.join(naming)}, which the caller accepted as a way in"
        )
    return Act(f"the compromised CA certificate {there[0].name!r} leaves the DPS", {"name": there[0].name})


def _enable_enrollment(r: Rollover, incident: Incident, group: Group, seen: Observation, policy: Policy) -> Verdict:
    incoming, anchors = r.incoming, group.anchors(seen.authorities)
    if compromised_anchors(r, seen):
        return Back("the group trusts what is compromised", Step.UPLOAD_SECONDARY)
    if incoming is None or not slots_with(anchors, incoming):
        return Back("the group does not trust the replacement", Step.UPLOAD_SECONDARY)
    if not incident.was_enabled:
        return AlreadyDone("the group was disabled before, and is left so")
    if group.enabled:
        return AlreadyDone("the group is enabled")
    if incoming.not_after <= seen.now:
        return NeedsPerson("the replacement has expired", f"issue a new version in the vault, {RETRY}")
    if links := broken_links(incoming, seen, group, policy):
        return NeedsPerson(f"no device could get in: {'; '.join(links)}", f"mend that in the DPS, {RETRY}")
    if verdict := _open_routes(r, seen):
        return verdict
    return Act("the group is enabled: DPS admits its devices under the replacement", {"do": "enrollment"})


def _restore_twin(r: Rollover, incident: Incident, group: Group, seen: Observation, policy: Policy) -> Verdict:
    if compromised_anchors(r, seen):
        return Back("the group trusts what is compromised again", Step.UPLOAD_SECONDARY)
    if not group.enabled and not incident.was_enabled:
        return NeedsPerson(
            "what the group trusts is replaced; it was disabled before the breach and is left so",
            f"enable it when its devices may come back, {RETRY}: their twins are kept",
        )
    if not group.enabled:
        return Back("somebody disabled the group again", Step.ENABLE_ENROLLMENT)
    fleet = seen.fleet
    if fleet is None:
        return Act("the twins of the devices are restored as they come back", {"do": "begin", "work": "restore"})
    if fleet.complete:
        return AlreadyDone(f"every device is back, with the tags and desired properties that it had ({fleet.devices})")
    if fleet.threshold_reached:
        # Who comes later gets his twin, too; and who was made by a thief never comes.
        new = f" ({fleet.newcomers} of them registered for the first time since the theft)" if fleet.newcomers else ""
        return AlreadyDone(
            f"{fleet.done} of {fleet.devices} devices are back, which is enough; the others' twins are kept{new}:"
            f" {names(fleet)}"
        )
    if fleet.halted:
        return NeedsPerson(f"not all devices are back: {fleet.halted}", f"mend that, {RETRY}: their twins are kept")
    if seen.now >= (r.reopened_at or r.started_at) + policy.straggler_grace:
        left = fleet.devices - fleet.done
        why = f"{left} of {fleet.devices} devices are not back {policy.straggler_grace.days} days after the call"
        if left <= LET_BE and left < fleet.done:
            return AlreadyDone(f"{why}, and nobody waits for so few (perhaps a thief made them): {names(fleet)}")
        return NeedsPerson(
            f"{why}: {names(fleet)}",
            f"give them new certificates, {RETRY}: their twins are kept; or cancel it, when they never come back"
            " (perhaps a thief made them): all else is done",
        )
    why = f"devices come back with new certificates: {still_to_do(fleet)}"
    return Wait(why, pace(r, why, seen.now, WORKING if has_waited(r, why, seen.now) < LATER else LATER))


_DECISIONS: Mapping[Step, Callable[[Rollover, Incident, Group, Observation, Policy], Verdict]] = {
    Step.DISABLE_ENROLLMENT: _disable_enrollment,
    Step.REMOVE_HUB_REGISTRATION: _remove_hub_registration,
    Step.VERIFY_CONTAINMENT: _verify_containment,
    Step.ISSUE_CERTIFICATE: _issue_certificate,
    Step.ADD_CA_CERTIFICATE: _add_ca_certificate,
    Step.UPLOAD_SECONDARY: _upload_secondary,
    Step.DELETE_PRIMARY: _delete_primary,
    Step.DELETE_CA_CERTIFICATE: _delete_ca_certificate,
    Step.ENABLE_ENROLLMENT: _enable_enrollment,
    Step.RESTORE_TWIN: _restore_twin,
}
