"""What each step does that rolls the certificate of one device of an enrollment group, from what was seen. Pure.

No slot holds the certificate: DPS admits the device by any certificate of its name whose chain leads to what the group
trusts. So nothing is enrolled and nothing retired at DPS, and the outgoing certificate stays good there until it ends.
At the hub everything is as for a device with an enrollment, and is decided by the same functions (``decide_expiry``).

What must hold: the device is asked to take a certificate only when its group would admit it by that one now; while the
group is disabled, is rolled itself, or something keeps this one device out, nothing is done.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from shared.certificate import Certificate
from shared.chain_of_trust import Trust, path_of, problems_of_chain, problems_of_path
from shared.decide_expiry import HANDS_OFF, MOVED, ask, has_moved, refusal_of, stage
from shared.decide_issuance import ask_before_expiry
from shared.enrollment import Enrollment, HubIdentity
from shared.group import distinct, why_group_is_not_ours
from shared.plans import Step
from shared.rollover import Incoming, Rollover
from shared.seen import Observation, Policy, Sources
from shared.verdict import Act, AlreadyDone, Back, Refuse, Verdict, Wait

LEFT_TO_GROUP = "its group is rolled"
AGAIN = "mend that; the sweep begins it again within a day"

_WHOLE = Sources(vault=True, group=True, authorities=True, enrollment=True, identity=True)
LOOKS_AT: Mapping[Step, Sources] = {
    Step.ISSUE_CERTIFICATE: _WHOLE,
    Step.STAGE_HUB_THUMBPRINT: _WHOLE,
    Step.INVOKE_REPROVISION_JOB: Sources(
        vault=True, group=True, authorities=True, enrollment=True, identity=True, job=True
    ),
    Step.DELETE_PRIMARY: Sources(enrollment=True, identity=True),
}


def decide_step(step: Step, rollover: Rollover, seen: Observation, policy: Policy) -> Verdict:
    """The verdict on a step of the plan for a group's device."""
    if unfit := _unfit(step, rollover, seen):
        return unfit
    if step is Step.ISSUE_CERTIFICATE:
        return _issue_certificate(rollover, seen, policy)
    incoming = rollover.incoming
    if incoming is None:
        return Back("no incoming certificate is chosen", Step.ISSUE_CERTIFICATE)
    moved = has_moved(rollover, seen.registration, seen.identity)
    match step:
        case Step.STAGE_HUB_THUMBPRINT | Step.INVOKE_REPROVISION_JOB if moved:
            return AlreadyDone(MOVED)
        case Step.STAGE_HUB_THUMBPRINT:
            return _in_the_way(incoming, seen, policy) or stage(rollover, incoming, seen.registration, seen.identity)
        case Step.INVOKE_REPROVISION_JOB:
            return _in_the_way(incoming, seen, policy) or ask(rollover, incoming, seen.registration, seen)
        case Step.DELETE_PRIMARY:
            return _delete_primary(rollover, seen, policy, moved=moved)
        case _:
            raise ValueError(f"{step} is no step of the plan for a group's device")


def kept_out_by(enrollment: Enrollment | None, certificates: Sequence[str]) -> bool:
    """Whether a disabled enrollment of its own keeps the device out that has one of these certificates (thumbprints).

    It decides before the group does, for what it holds (azure-docs how-to-revoke-device-access-portal); another
    certificate under the group's CA gets in, which is how a disallowed device is let back.
    """
    held = enrollment.certificates() if enrollment is not None and not enrollment.enabled else []
    return any(hash_ in certificates for one in held for hash_ in (one.sha1_thumbprint, one.sha256_thumbprint))


def _unfit(step: Step, rollover: Rollover, seen: Observation) -> Verdict | None:
    if seen.enrollment is not None and seen.enrollment.enabled:
        return Refuse(
            "the device has an individual enrollment of its own now, which decides before its group does",
            "nothing is to be done: by that enrollment it is rolled from now on",
        )
    chosen = [one.sha256_thumbprint for one in (rollover.outgoing, rollover.incoming) if one is not None]
    if kept_out_by(seen.enrollment, chosen):
        return Wait(f"a disabled enrollment of its own keeps the device out; {HANDS_OFF}", timedelta(hours=1))
    if seen.identity is not None and not seen.identity.enabled:
        return Wait(f"the hub identity is disabled; {HANDS_OFF}", timedelta(hours=1))
    if not LOOKS_AT[step].group:
        return None
    if seen.group is None:
        return Refuse(f"the enrollment group {rollover.member_of} no longer exists", AGAIN)
    if reason := why_group_is_not_ours(seen.group):
        return Refuse(reason)
    if not seen.group.enabled:
        return Wait(f"the group {rollover.member_of} is disabled; {HANDS_OFF}", timedelta(hours=1))
    if seen.left_to:
        return Wait(f"{LEFT_TO_GROUP}, which brings the device a new certificate: {seen.left_to}", timedelta(hours=1))
    return None


def _issue_certificate(rollover: Rollover, seen: Observation, policy: Policy) -> Verdict:
    latest = seen.latest
    if latest is None:
        return Refuse(f"the vault holds no certificate {rollover.certificate_name!r}")
    unasked = latest.certificate.sha256_thumbprint == rollover.outgoing.sha256_thumbprint
    problems = [] if unasked else _problems_of(latest.certificate, seen, policy)
    if not unasked and not (problems and _would_help(latest.certificate, seen, policy)):
        return refusal_of(latest, rollover, seen.now, policy, problems) or AlreadyDone(
            f"the vault holds version {latest.version}, valid until {latest.certificate.not_after:%Y-%m-%d}"
        )
    if seen.issuer and (links := _problems_of_next(seen, policy)):
        return Refuse(
            f"what the vault's certificate {seen.issuer!r} issues now would not let the device in: {'; '.join(links)}",
            AGAIN,
        )
    verdict = ask_before_expiry(rollover, seen)
    if unasked or not isinstance(verdict, Act) or verdict.ask is not None:
        return verdict
    return Act(f"version {latest.version} would not let the device in, another is asked for: {'; '.join(problems)}")


def _trust_of(seen: Observation, policy: Policy) -> Trust:
    by_reference = seen.group is not None and seen.group.by_reference
    return Trust(seen.authorities, by_reference, seen.now, policy.clock_skew)


def _problems_of(leaf: Certificate, seen: Observation, policy: Policy) -> list[str]:
    anchors = distinct(seen.group.anchors(seen.authorities)) if seen.group else []
    return problems_of_chain(leaf, seen.issuers, anchors, _trust_of(seen, policy))


def _problems_of_next(seen: Observation, policy: Policy) -> list[str]:
    """The same of what the CA in the vault would issue: by its latest version."""
    anchors = distinct(seen.group.anchors(seen.authorities)) if seen.group else []
    path = [*seen.issuers[:1], *path_of(seen.issuers[0], seen.issuers)] if seen.issuers else []
    return problems_of_path(path, anchors, _trust_of(seen, policy))


def _would_help(leaf: Certificate, seen: Observation, policy: Policy) -> bool:
    """Whether another version would get in where this one does not: its CA was rolled since, and the group trusts the
    new one. What somebody else issued is not replaced."""
    ca = seen.issuers[0] if seen.issuers else None
    rolled = ca is not None and leaf.issuer == ca.subject and path_of(leaf, [ca]) == []
    return rolled and not _problems_of_next(seen, policy)


def _in_the_way(incoming: Incoming, seen: Observation, policy: Policy) -> Verdict | None:
    """Why the device is not to be brought to the incoming certificate; None when it is."""
    latest = seen.latest
    if latest is None:
        return Back("the incoming certificate is gone from the vault", Step.ISSUE_CERTIFICATE)
    if latest.version != incoming.version:
        # What the hub accepts already, the device may be using: it is left there until the device has registered.
        if _accepts(seen.identity, incoming):
            return None
        return Back(f"the vault has a newer version, {latest.version}, than {incoming.version}", Step.ISSUE_CERTIFICATE)
    if _problems_of(latest.certificate, seen, policy):
        return Back("its group would not admit the device by the incoming certificate any more", Step.ISSUE_CERTIFICATE)
    return None


def _accepts(identity: HubIdentity | None, incoming: Incoming) -> bool:
    return identity is not None and identity.holds(incoming.sha1_thumbprint, incoming.sha256_thumbprint)


def _delete_primary(rollover: Rollover, seen: Observation, policy: Policy, *, moved: bool) -> Verdict:
    outgoing, identity = rollover.outgoing, seen.identity
    if identity is None or not identity.holds(outgoing.sha1_thumbprint, outgoing.sha256_thumbprint):
        until = f"{outgoing.not_after:%Y-%m-%d %H:%M:%SZ}"
        return AlreadyDone(
            f"the hub identity does not hold the outgoing certificate; DPS takes that until it ends, on {until}"
        )
    if not moved:
        return Back("the device is no longer seen on the incoming certificate", Step.INVOKE_REPROVISION_JOB)
    if not policy.retire_when_moved and seen.now < outgoing.not_after:
        return Wait(
            f"the outgoing certificate is retired when it has expired, on {outgoing.not_after:%Y-%m-%d %H:%M:%SZ}",
            outgoing.not_after - seen.now,
        )
    return Act("the hub identity lets go of the outgoing certificate")
