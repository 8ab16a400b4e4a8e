"""What each step does that rolls what an enrollment group trusts near its expiry, from what was seen. Pure.

Every decision reads in one order: already so? harmful? too early? then act. One plan serves both kinds of anchor: a
certificate in a slot, and a CA certificate of the DPS by name; where the kinds differ, the anchors are compared by what
they are (``Group.anchors``), never by their names.

What must hold (tests walk every reachable state for it): the group never loses the last anchor that could let its
devices in; the outgoing anchor goes only when so many devices moved that the platform team calls it enough, and, by
policy, when it has expired; a device holding a certificate under either anchor can register until then.
"""

from collections.abc import Mapping
from datetime import timedelta

from shared.authority import DpsCertificate
from shared.certificate import Thumbprints, is_same
from shared.chain_of_trust import Trust, missing_links, problems_of_anchor
from shared.decide_expiry import HANDS_OFF
from shared.decide_issuance import ask_before_expiry
from shared.enrollment import Enrolled, Slot
from shared.fleet import FleetProgress
from shared.group import Group, slots_with, why_group_is_not_ours
from shared.group_target import reference_name
from shared.plans import Step
from shared.rollover import Rollover
from shared.seen import Observation, Policy, Sources, VaultVersion
from shared.verdict import Act, AlreadyDone, Back, NeedsPerson, Refuse, Verdict, Wait

MOST_AUTHORITIES = 25
"""CA certificates that a DPS takes (azure-docs about-iot-dps)."""
LOOK_AGAIN = timedelta(minutes=5)

LOOKS_AT: Mapping[Step, Sources] = {
    Step.ISSUE_CERTIFICATE: Sources(vault=True, group=True, authorities=True),
    Step.ADD_CA_CERTIFICATE: Sources(vault=True, group=True, authorities=True),
    Step.UPLOAD_SECONDARY: Sources(vault=True, group=True, authorities=True),
    Step.INVOKE_REPROVISION_JOB: Sources(vault=True, group=True, authorities=True, fleet="wave"),
    Step.DELETE_PRIMARY: Sources(vault=True, group=True, authorities=True, fleet="wave"),
    Step.DELETE_CA_CERTIFICATE: Sources(group=True, authorities=True, users=True),
}


def decide_step(step: Step, rollover: Rollover, seen: Observation, policy: Policy) -> Verdict:
    """The verdict on a step of the expiry plan of a group."""
    if seen.group is None:
        return Refuse("the enrollment group no longer exists")
    if reason := why_group_is_not_ours(seen.group):
        return Refuse(reason)
    if not seen.group.enabled:
        return Wait(f"the group is disabled; {HANDS_OFF}", timedelta(hours=1))
    match step:
        case Step.ISSUE_CERTIFICATE:
            return _issue_certificate(rollover, seen, seen.group, policy)
        case Step.ADD_CA_CERTIFICATE:
            return _add_ca_certificate(rollover, seen, seen.group, policy)
        case Step.UPLOAD_SECONDARY:
            return _upload_secondary(rollover, seen, seen.group, policy)
        case Step.INVOKE_REPROVISION_JOB:
            return _invoke_reprovision_job(rollover, seen, seen.group, policy)
        case Step.DELETE_PRIMARY:
            return _delete_primary(rollover, seen, seen.group, policy)
        case Step.DELETE_CA_CERTIFICATE:
            return _delete_ca_certificate(rollover, seen, seen.group)
        case _:
            raise ValueError(f"{step} is no step of the expiry plan of a group")


def trust_of(seen: Observation, group: Group, policy: Policy) -> Trust:
    """By what an anchor of this group is judged now."""
    return Trust(seen.authorities, group.by_reference, seen.now, policy.clock_skew)


# --- the incoming CA certificate ----------------------------------------------------------------------------------


def _issue_certificate(rollover: Rollover, seen: Observation, group: Group, policy: Policy) -> Verdict:
    latest = seen.latest
    if latest is None:
        return Refuse(f"the vault holds no certificate {rollover.certificate_name!r}")
    if not is_same(latest.certificate, rollover.outgoing):
        return _refusal(latest, rollover, seen, group, policy) or AlreadyDone(
            f"the vault holds version {latest.version}, valid until {latest.certificate.not_after:%Y-%m-%d}"
        )
    return ask_before_expiry(rollover, seen)


def _refusal(
    latest: VaultVersion, rollover: Rollover, seen: Observation, group: Group, policy: Policy
) -> Refuse | None:
    problems = [] if latest.enabled else ["it is disabled"]
    problems += problems_of_anchor(latest.certificate, (rollover.outgoing,), trust_of(seen, group, policy))
    if latest.certificate.not_after <= rollover.outgoing.not_after:
        problems.append(
            f"it ends on {latest.certificate.not_after:%Y-%m-%d %H:%M:%SZ}, not later than the outgoing one"
            f" ({rollover.outgoing.not_after:%Y-%m-%d %H:%M:%SZ})"
        )
    if not problems:
        return None
    return Refuse(
        f"version {latest.version} of the vault's certificate {rollover.certificate_name!r} cannot take over: "
        + "; ".join(problems)
    )


def verified_reference(certificate: Thumbprints, seen: Observation) -> DpsCertificate | None:
    """The CA certificate of the DPS that a group may name to trust this certificate."""
    return next((one for one in seen.authorities if is_same(one, certificate) and one.verified), None)


def add_authority(rollover: Rollover, seen: Observation, group: Group) -> Verdict:
    """What brings the incoming CA certificate into the DPS, verified; the same on expiry and breach.

    Pre: the incoming certificate is chosen, and the vault's latest version.
    """
    incoming = rollover.incoming
    if incoming is None:
        return Back("no incoming certificate is chosen", Step.ISSUE_CERTIFICATE)
    if not group.by_reference:
        return AlreadyDone("the group holds what it trusts in its own slots; it names no CA certificate of the DPS")
    if verified := verified_reference(incoming, seen):
        return AlreadyDone(f"the incoming CA certificate is in the DPS as {verified.name!r}, verified")
    there = [one for one in seen.authorities if is_same(one, incoming)]
    if there:
        return Act(
            f"possession of the key of the CA certificate {there[0].name!r} is proved",
            {"do": "prove", "name": there[0].name},
        )
    name = reference_name(rollover.certificate_name, incoming.sha1_thumbprint)
    if any(one.name.lower() == name.lower() for one in seen.authorities):
        return NeedsPerson(
            f"the DPS has another CA certificate of the name {name!r}, which the incoming one is to have",
            "rename or delete that one, then POST /api/rollovers/{id}/retry",
        )
    if len(seen.authorities) >= MOST_AUTHORITIES:
        return NeedsPerson(
            f"the DPS has {len(seen.authorities)} CA certificates and takes no more",
            "delete one that no group needs, then POST /api/rollovers/{id}/retry",
        )
    return Act(f"the incoming CA certificate is uploaded as {name!r}", {"do": "upload", "name": name})


def _add_ca_certificate(rollover: Rollover, seen: Observation, group: Group, policy: Policy) -> Verdict:
    verdict = add_authority(rollover, seen, group)
    return verdict if not isinstance(verdict, Act) else _not_the_latest(rollover, seen, group, policy) or verdict


def _not_the_latest(rollover: Rollover, seen: Observation, group: Group, policy: Policy) -> Verdict | None:
    """Why the version that was chosen is not to be put anywhere."""
    incoming, latest = rollover.incoming, seen.latest
    if incoming is None or latest is None:
        return Back("the incoming certificate is gone from the vault", Step.ISSUE_CERTIFICATE)
    if latest.version != incoming.version:
        return Back(f"the vault has a newer version, {latest.version}, than {incoming.version}", Step.ISSUE_CERTIFICATE)
    return _refusal(latest, rollover, seen, group, policy)


def _upload_secondary(rollover: Rollover, seen: Observation, group: Group, policy: Policy) -> Verdict:
    incoming, anchors = rollover.incoming, group.anchors(seen.authorities)
    if incoming is None:
        return Back("no incoming certificate is chosen", Step.ISSUE_CERTIFICATE)
    if held := slots_with(anchors, incoming):
        return AlreadyDone(f"slot {_named(held)} holds the incoming certificate")
    if verdict := _not_the_latest(rollover, seen, group, policy):
        return verdict
    if not slots_with(anchors, rollover.outgoing):
        return Refuse("somebody changed the group since the rollover started: no slot holds the outgoing certificate")
    reference = verified_reference(incoming, seen)
    if group.by_reference and reference is None:
        return Back("the incoming CA certificate is not in the DPS, verified (any more)", Step.ADD_CA_CERTIFICATE)
    standby = standby_slot(rollover, anchors)
    if not _is_free(standby, group, anchors, seen):
        return Refuse(
            f"the standby slot ({standby.value}) trusts another certificate that devices may use; it came there since"
            " the rollover started"
        )
    ask = {"slot": standby, **({"name": reference.name} if group.by_reference and reference else {})}
    return Act(f"slot {standby.value} takes the incoming certificate; the other is kept", ask)


def standby_slot(rollover: Rollover, anchors: Mapping[Slot, Enrolled | None]) -> Slot:
    """The slot for the incoming certificate: as computed at the beginning, unless the outgoing one lies there alone."""
    holding = slots_with(anchors, rollover.outgoing)
    return rollover.standby.other if holding == (rollover.standby,) else rollover.standby


def _is_free(slot: Slot, group: Group, anchors: Mapping[Slot, Enrolled | None], seen: Observation) -> bool:
    occupant = anchors[slot]
    if occupant is None:
        # A name that the DPS does not know lets nobody in, but somebody means something by it.
        return not group.references[slot]
    mirrored = len(slots_with(anchors, occupant)) > 1
    return mirrored or occupant.not_after <= seen.now


# --- the devices --------------------------------------------------------------------------------------------------


def _invoke_reprovision_job(rollover: Rollover, seen: Observation, group: Group, policy: Policy) -> Verdict:
    fleet = seen.fleet
    if fleet is not None and fleet.complete:
        return AlreadyDone(f"every device of the group moved ({fleet.devices})")
    if unsafe := _not_in_place(rollover, seen, group, policy):
        return unsafe
    if fleet is None:
        return Act("the group's devices are asked in waves to register again", {"do": "begin", "work": "wave"})
    if fleet.threshold_reached and (policy.retire_when_moved or seen.now >= rollover.outgoing.not_after):
        return AlreadyDone(f"{moved(fleet)}, which is enough; left: {names(fleet)}")
    if fleet.halted:
        return NeedsPerson(
            f"the waves are stopped, {moved(fleet)}: {fleet.halted}",
            "find out why the devices that were asked did not move; then POST /api/rollovers/{id}/retry goes on asking",
        )
    left = f"; left: {names(fleet)}" if fleet.finished else ""
    return Wait(f"the devices are on their way: {moved(fleet)}{left}", LOOK_AGAIN)


def _not_in_place(rollover: Rollover, seen: Observation, group: Group, policy: Policy) -> Verdict | None:
    """Why devices could not get in by the incoming anchor now, so that none may be asked to and the other must stay."""
    incoming = rollover.incoming
    if incoming is None:
        return Back("no incoming certificate is chosen", Step.ISSUE_CERTIFICATE)
    if not slots_with(group.anchors(seen.authorities), incoming):
        return NeedsPerson(
            "somebody took the incoming certificate out of the group, or out of the DPS",
            "find out who and why; the sweep starts over within a day unless the vault's certificate is disabled",
        )
    if incoming.not_after <= seen.now:
        return NeedsPerson(
            "the incoming certificate has expired",
            "issue a new version of the certificate in the vault; the next sweep rolls to it",
        )
    links = broken_links(incoming, seen, group, policy)
    if links:
        return NeedsPerson(
            f"devices cannot get in by the incoming certificate: {'; '.join(links)}",
            "mend that in the DPS, then POST /api/rollovers/{id}/retry",
        )
    return None


def broken_links(incoming: Thumbprints, seen: Observation, group: Group, policy: Policy) -> list[str]:
    """Why DPS would not follow chains through this anchor to a verified CA certificate any more."""
    if group.by_reference:
        known = verified_reference(incoming, seen)
        return [] if known else ["the CA certificate that the group names is not verified (any more)"]
    latest = seen.latest
    if latest is None or not is_same(latest.certificate, incoming):
        return []  # the vault has another one by now, and DPS does not give it back: it was checked when it went in
    return missing_links(latest.certificate, trust_of(seen, group, policy))


def _delete_primary(rollover: Rollover, seen: Observation, group: Group, policy: Policy) -> Verdict:
    outgoing, anchors, fleet = rollover.outgoing, group.anchors(seen.authorities), seen.fleet
    holding = slots_with(anchors, outgoing)
    if not holding:
        return AlreadyDone("the group does not trust the outgoing certificate any more")
    if unsafe := _not_in_place(rollover, seen, group, policy):
        return unsafe
    if fleet is None or not (fleet.complete or fleet.threshold_reached):
        return Back("not enough devices are seen to have moved (any more)", Step.INVOKE_REPROVISION_JOB)
    if not policy.retire_when_moved and seen.now < outgoing.not_after:
        return Wait(
            f"the outgoing certificate is retired when it has expired, on {outgoing.not_after:%Y-%m-%d %H:%M:%SZ}",
            outgoing.not_after - seen.now,
        )
    left = "" if fleet.complete else f"; left behind: {names(fleet)}"
    return Act(f"slot {_named(holding)} lets go of the outgoing certificate; {moved(fleet)}{left}", {"slots": holding})


def _delete_ca_certificate(rollover: Rollover, seen: Observation, group: Group) -> Verdict:
    there = [one for one in seen.authorities if is_same(one, rollover.outgoing)]
    if not there:
        return AlreadyDone("the outgoing certificate is not among the CA certificates of the DPS")
    if not group.by_reference:
        return AlreadyDone("the group holds what it trusts in its own slots; the CA certificates of the DPS are kept")
    if slots_with(group.anchors(seen.authorities), rollover.outgoing):
        return Back("the group names the outgoing CA certificate (again)", Step.DELETE_PRIMARY)
    if seen.users:
        return AlreadyDone(f"kept in the DPS as {there[0].name!r}: {'; '.join(seen.users)}")
    return Act(f"the CA certificate {there[0].name!r} leaves the DPS; no group needs it", {"name": there[0].name})


# --- words --------------------------------------------------------------------------------------------------------


def moved(fleet: FleetProgress) -> str:
    """How many devices moved."""
    return f"{fleet.done} of {fleet.devices}{'' if fleet.listed else ' or more'} moved"


def names(fleet: FleetProgress) -> str:
    """Who is left: some by name, all by number."""
    left = fleet.devices - fleet.done
    shown = ", ".join(fleet.stragglers[:20])
    more = left - min(len(fleet.stragglers), 20)
    return (f"{shown} and {more} more" if shown else f"{left} devices") if more > 0 else shown


def _named(slots: tuple[Slot, ...]) -> str:
    return " and ".join(slot.value for slot in slots)
