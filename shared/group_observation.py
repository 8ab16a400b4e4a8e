"""Reads what a step of a group's plan looks at, once, in one place."""

from shared.authorities import read_authorities
from shared.authority import DpsCertificate
from shared.certificate import is_among
from shared.decide import looks_at
from shared.escape import Route
from shared.escape_ca import routes_of_ca, users_of
from shared.group import Group
from shared.rollover import Rollover, Step
from shared.seen import Observation, Sources, VaultVersion
from shared.services import Services
from shared.tags import CA_TAG


def observe_group(step: Step, rollover: Rollover, services: Services) -> Observation:
    """What ``step`` needs to know of the group, read now.

    Raises:
        ServiceUnavailable, ServiceRefused, Misconfigured: a service did not answer, or is not known.
    """
    sources, group_id = looks_at(step, rollover.plan), rollover.group_id or ""
    tagged = services.vault.latest(rollover.certificate_name) if sources.vault and rollover.certificate_name else None
    latest = tagged.latest if tagged else None
    asks = step is Step.ISSUE_CERTIFICATE and latest and is_among(latest.certificate, rollover.leaving)
    # The progress first: what is read of the group after it is what holds now.
    fleet = services.fleet.progress(rollover, sources.fleet) if sources.fleet else None
    group = services.provisioning.group(group_id) if sources.group else None
    authorities = read_authorities(services, rollover.certificate_name) if sources.authorities else ()
    others = _others(group_id, sources, services)
    return Observation(
        now=services.now(),
        latest=latest,
        issuance=services.vault.issuance(rollover.certificate_name) if asks else None,
        issuer=tagged.tags.get(CA_TAG, "").strip() if tagged and asks else "",
        group=group,
        authorities=authorities,
        fleet=fleet,
        users=users_of(rollover.leaving, others, authorities) if sources.users else (),
        routes=_routes(rollover, sources, group, others, authorities, latest, services),
    )


def _others(group_id: str, sources: Sources, services: Services) -> tuple[Group, ...]:
    if not (sources.users or sources.groups or sources.groups_when_out):
        return ()
    everyone = services.provisioning.groups()
    return tuple(one for one in everyone if one.enrollment_group_id.lower() != group_id.lower())


def _routes(
    rollover: Rollover,
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
        rollover.leaving,
        group=group,
        others=others,
        authorities=authorities,
        latest=latest.certificate if latest else None,
        good=rollover.incoming,
        by_authority=services.hub.by_authority() if sources.holders else (),
        about_to_go=sources.groups,
    )
    return tuple(found)
