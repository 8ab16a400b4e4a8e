"""What each step does that gives a breached group a CA to trust again, and lets its devices back in. Pure.

The names in the group are swapped before the CA certificate is deleted, for whether Azure deletes one that a group
names is not documented. The group is not enabled while it trusts what is compromised, and it is never left without
anything that it trusts.
"""

from collections.abc import Mapping
from datetime import timedelta

from shared.certificate import is_among, is_same
from shared.chain_of_trust import problems_of_anchor
from shared.decide_group import add_authority, broken_links, names, trust_of, verified_reference
from shared.decide_issuance import ask_after_breach, rest
from shared.enrollment import Enrolled, Slot
from shared.exposure import nobody_closes, unaccepted
from shared.exposure_group import compromised_anchors, still_to_do
from shared.group import Group, slots_with, why_group_is_not_ours
from shared.incident import Incident
from shared.pacing import LATER, pace
from shared.plans import Step
from shared.rollover import Rollover, has_waited
from shared.seen import Observation, Policy
from shared.verdict import Act, AlreadyDone, Back, NeedsPerson, Verdict, Wait

SOON = timedelta(seconds=10)
WORKING = timedelta(minutes=5)
"""While batches go on: the last one's end is told, so this is only for when that is lost."""
LET_BE = 3
"""So few devices that never came back hold up no rollover for ever: the share of a small group allows for none."""
RETRY = "then POST /api/rollovers/{id}/retry"


def issue_certificate(r: Rollover, incident: Incident, group: Group, seen: Observation, policy: Policy) -> Verdict:
    """The vault holds a version that may take over."""
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


def add_ca_certificate(r: Rollover, _i: Incident, group: Group, seen: Observation, policy: Policy) -> Verdict:
    """Where the group names its CA: the new one is in the DPS, verified."""
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


def upload_secondary(r: Rollover, _i: Incident, group: Group, seen: Observation, policy: Policy) -> Verdict:
    """A slot of the group trusts the replacement."""
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


def delete_primary(r: Rollover, _i: Incident, group: Group, seen: Observation, _p: Policy) -> Verdict:
    """The group trusts nothing that is compromised."""
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


def delete_ca_certificate(r: Rollover, incident: Incident, _g: Group, seen: Observation, _p: Policy) -> Verdict:
    """The compromised CA certificate is not in the DPS."""
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


def enable_enrollment(r: Rollover, incident: Incident, group: Group, seen: Observation, policy: Policy) -> Verdict:
    """DPS admits the group's devices again."""
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


def restore_twin(r: Rollover, incident: Incident, group: Group, seen: Observation, policy: Policy) -> Verdict:
    """The devices are back, with their twins."""
    if compromised_anchors(r, seen):
        return Back("the group trusts what is compromised again", Step.UPLOAD_SECONDARY)
    if not group.enabled and not incident.was_enabled:
        return NeedsPerson(
            "what the group trusts is replaced; it was disabled before the breach and is left so",
            f"enable it when its devices may come back, {RETRY}: their twins are kept",
        )
    if not group.enabled:
        return Back("somebody disabled the group again", Step.ENABLE_ENROLLMENT)
    if r.incoming is None or not slots_with(group.anchors(seen.authorities), r.incoming):
        return Back("the group does not trust the replacement (any more)", Step.UPLOAD_SECONDARY)
    if links := broken_links(r.incoming, seen, group, policy):
        return NeedsPerson(f"no device can get in (any more): {'; '.join(links)}", f"mend that in the DPS, {RETRY}")
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
