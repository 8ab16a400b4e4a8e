"""Reads what a step looks at that rolls the certificate of a group's device."""

from collections.abc import Sequence
from dataclasses import replace

from shared.authorities import read_authorities
from shared.certificate import Certificate, Thumbprints, is_among, is_same
from shared.chain_of_trust import path_of
from shared.decide import looks_at
from shared.group import Group, distinct
from shared.plans import Plan, Step
from shared.ports import Tagged
from shared.rollover import Outcome, Rollover
from shared.seen import Observation
from shared.services import Services
from shared.tags import CA_TAG, LONGEST_CHAIN, group_of


def observe_member(step: Step, rollover: Rollover, services: Services) -> Observation:
    """What ``step`` needs to know, read now.

    Raises:
        ServiceUnavailable, ServiceRefused: a service did not answer.
    """
    sources, job_id = looks_at(step, rollover.plan), rollover.job_id
    seen = Observation(
        now=services.now(),
        enrollment=services.provisioning.enrollment(rollover.registration_id),
        registration=services.provisioning.registration(rollover.registration_id),
        identity=services.hub.identity(rollover.device_id),
        job=services.hub.job(job_id) if sources.job and job_id else None,
    )
    if not sources.group:
        return seen
    tagged = services.vault.latest(rollover.certificate_name)
    group = services.provisioning.group(rollover.member_of or "")
    issuer = tagged.tags.get(CA_TAG, "").strip() if tagged else ""
    authorities = read_authorities(services, issuer)
    issues = step is Step.ISSUE_CERTIFICATE and tagged is not None
    return replace(
        seen,
        latest=tagged.latest if tagged else None,
        issuance=services.vault.issuance(rollover.certificate_name) if issues else None,
        issuer=issuer,
        issuers=issuers_of(tagged, distinct(group.anchors(authorities)), services) if tagged and group else (),
        group=group,
        authorities=authorities,
        left_to=_left_to(rollover, seen, group, services),
    )


def _left_to(rollover: Rollover, seen: Observation, group: Group | None, services: Services) -> str:
    outgoing, identity = rollover.outgoing, seen.identity
    if group is None or (identity and not identity.holds(outgoing.sha1_thumbprint, outgoing.sha256_thumbprint)):
        return ""
    brings = brings_another(group.enrollment_group_id, rollover.certificate_name, outgoing, services)
    return f"{brings.id} is {brings.status}" if brings else ""


def issuers_of(leaf: Tagged, anchors: Sequence[Thumbprints], services: Services) -> tuple[Certificate, ...]:
    """The CA certificates above a device's vault certificate, by the tags ``rollover-ca``: of each the latest version,
    the next one first, and where the group trusts an older one, that.
    """
    found: list[Certificate] = []
    trusted = {one.sha1_thumbprint for one in anchors}
    name = leaf.tags.get(CA_TAG, "").strip()
    for _ in range(LONGEST_CHAIN):
        ca = services.vault.latest(name) if name else None
        if ca is None:
            break
        found.append(ca.latest.certificate)
        if not is_among(ca.latest.certificate, anchors) or len(anchors) > 1:
            versions = services.vault.versions(ca.name)
            older = [one for one in versions if one in trusted and one != ca.latest.certificate.sha1_thumbprint]
            found += [services.vault.certificate(ca.name, versions[one]) for one in older]
        if group_of(ca):
            break
        name = ca.tags.get(CA_TAG, "").strip()
    return tuple(found)


def brings_another(group_id: str, certificate_name: str, in_use: Thumbprints, services: Services) -> Rollover | None:
    """The rollover of its group that is there to bring a device another certificate than ``in_use``; None when there
    is none, or that one is under the incoming CA already.

    One that needs a person counts as soon as the group trusts the incoming CA: a wave that was stopped must not go on
    by another way.
    """
    last = services.ledger.last_of_group(group_id)
    if last is None or not _is_at_work(last):
        return None
    if last.incoming is None:
        return last
    incoming = services.vault.certificate(last.certificate_name, last.incoming.version)
    version = services.vault.versions(certificate_name).get(in_use.sha1_thumbprint)
    leaf = services.vault.certificate(certificate_name, version) if version else None
    path = path_of(leaf, [incoming, *_between(certificate_name, services)]) if leaf else []
    return None if any(is_same(one, incoming) for one in path) else last


def _is_at_work(last: Rollover) -> bool:
    if last.plan is Plan.GROUP_EXPIRY and Step.INVOKE_REPROVISION_JOB in last.done:
        return False
    begun = last.plan is Plan.GROUP_BREACH or Step.UPLOAD_SECONDARY in last.done
    return last.outcome is None or (last.outcome is Outcome.NEEDS_PERSON and begun)


def _between(certificate_name: str, services: Services) -> tuple[Certificate, ...]:
    tagged = services.vault.latest(certificate_name)
    return issuers_of(tagged, (), services) if tagged else ()
