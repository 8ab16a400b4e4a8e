"""Reads what a step of a group's plan looks at, once, in one place."""

from dataclasses import replace

from shared.authorities import read_authorities, read_authorities_alone
from shared.authority import DpsCertificate, keys_in
from shared.certificate import Outgoing, is_among
from shared.decide import looks_at
from shared.errors import ServiceRefused, ServiceUnavailable
from shared.escape import Route
from shared.escape_ca import routes_of_ca, users_of
from shared.exposure import unaccepted
from shared.fleet import FleetProgress, Work
from shared.group import Group
from shared.plans import Step
from shared.ports import Tagged
from shared.replacement import keys_of
from shared.rollover import Rollover
from shared.seen import Observation, Sources, VaultVersion
from shared.services import Services
from shared.tags import CA_TAG


def observe_group(step: Step, rollover: Rollover, services: Services) -> Observation:
    """What ``step`` needs to know of the group, read now.

    Raises:
        ServiceUnavailable, ServiceRefused, Misconfigured: a service did not answer, or is not known.
    """
    sources, group_id = looks_at(step, rollover.plan), rollover.group_id or ""
    tagged, unread = _tagged(rollover, sources, services)
    latest = tagged.latest if tagged else None
    asks = step is Step.ISSUE_CERTIFICATE and latest and is_among(latest.certificate, rollover.leaving)
    # The progress first: what is read of the group after it is what holds now.
    fleet = _fleet(rollover, sources, services)
    group = services.provisioning.group(group_id) if sources.group else None
    authorities, incomplete = _authorities(rollover, sources, services)
    others = _others(group_id, sources, services)
    keys = {} if unread else _unknown_keys(rollover, sources, authorities, latest, services)
    leaving = [one.with_key(keys.get(one.sha1_thumbprint)) for one in rollover.leaving]
    seen = Observation(
        now=services.now(),
        latest=latest,
        keys=keys,
        issuance=services.vault.issuance(rollover.certificate_name) if asks else None,
        issuer=tagged.tags.get(CA_TAG, "").strip() if tagged and asks else "",
        group=group,
        authorities=authorities,
        fleet=fleet,
        users=users_of(rollover.leaving, others, authorities) if sources.users else (),
        routes=_routes(rollover, leaving, sources, group, others, authorities, latest, services),
    )
    if (failed := unread or incomplete) and unaccepted(rollover, seen):
        raise failed
    return seen


Failure = ServiceUnavailable | ServiceRefused


def _tagged(rollover: Rollover, sources: Sources, services: Services) -> tuple[Tagged | None, Failure | None]:
    if not sources.vault or not rollover.certificate_name:
        return None, None
    try:
        return services.vault.latest(rollover.certificate_name), None
    except (ServiceUnavailable, ServiceRefused) as error:
        if not sources.vault_may_be_down:
            raise
        return None, error


def _authorities(
    rollover: Rollover, sources: Sources, services: Services
) -> tuple[tuple[DpsCertificate, ...], Failure | None]:
    if not sources.authorities:
        return (), None
    if sources.vault_may_be_down:
        return read_authorities_alone(services, rollover.certificate_name)
    return read_authorities(services, rollover.certificate_name), None


def _fleet(rollover: Rollover, sources: Sources, services: Services) -> FleetProgress | None:
    """How far the step's work is. What halts the leaves that its devices need halts it, too."""
    fleet = services.fleet.progress(rollover, sources.fleet) if sources.fleet else None
    if fleet is None or sources.fleet != Work.RESTORE:
        return fleet
    leaves = services.fleet.progress(rollover, Work.LEAVES)
    return replace(fleet, halted=fleet.halted or leaves.halted) if leaves else fleet


def _unknown_keys(
    rollover: Rollover,
    sources: Sources,
    authorities: tuple[DpsCertificate, ...],
    latest: VaultVersion | None,
    services: Services,
) -> dict[str, str]:
    """The keys of what is compromised that could not be read when a person called."""
    unknown = [one.sha1_thumbprint for one in rollover.leaving if one.public_key_sha256 is None]
    if not unknown or not rollover.plan.replaces or not sources.vault:
        return {}
    told = keys_in(authorities)
    missing = [one for one in unknown if one not in told] if latest else []
    held = keys_of(missing, rollover.certificate_name, services) if missing else {}
    return held | {one: told[one] for one in unknown if one in told}


def _others(group_id: str, sources: Sources, services: Services) -> tuple[Group, ...]:
    if not (sources.users or sources.groups or sources.groups_when_out):
        return ()
    everyone = services.provisioning.groups()
    return tuple(one for one in everyone if one.enrollment_group_id.lower() != group_id.lower())


def _routes(
    rollover: Rollover,
    leaving: list[Outgoing],
    sources: Sources,
    group: Group | None,
    others: tuple[Group, ...],
    authorities: tuple[DpsCertificate, ...],
    latest: VaultVersion | None,
    services: Services,
) -> tuple[Route, ...]:
    if not (sources.groups or sources.groups_when_out):
        return ()
    found = routes_of_ca(
        leaving,
        group=group,
        others=others,
        authorities=authorities,
        latest=latest.certificate if latest else None,
        good=rollover.incoming,
        by_authority=services.hub.by_authority() if sources.holders else (),
        about_to_go=sources.groups,
    )
    return tuple(found)
