"""Reads what a step looks at, once, in one place."""

from collections.abc import Mapping
from typing import Any

from shared.decide import looks_at
from shared.enrollment import Enrollment, HubIdentity, Slot
from shared.errors import ServiceRefused, ServiceUnavailable
from shared.escape import Route, escape_routes, holding
from shared.group_observation import observe_group
from shared.member_observation import observe_member
from shared.plans import Plan, Step
from shared.ports import Tagged
from shared.replacement import keys_of
from shared.rollover import Rollover
from shared.seen import Observation, Sources
from shared.services import Services
from shared.tags import CA_TAG


def observe(step: Step, rollover: Rollover, services: Services) -> Observation:
    """What ``step`` needs to know, read now (``decide.LOOKS_AT``); nothing more, for the quotas are tight.

    Raises:
        ServiceUnavailable, ServiceRefused: a service did not answer.
    """
    if rollover.plan.of_group:
        return observe_group(step, rollover, services)
    if rollover.plan is Plan.MEMBER_EXPIRY:
        return observe_member(step, rollover, services)
    sources = looks_at(step, rollover.plan)
    tagged, keys = _in_vault(rollover, sources, services)
    latest = tagged.latest if tagged else None
    leaving = {one.sha256_thumbprint for one in rollover.leaving}
    ask_issuance = step is Step.ISSUE_CERTIFICATE and latest and latest.certificate.sha256_thumbprint in leaving
    job_id = rollover.job_id if sources.job else None
    identity = services.hub.identity(rollover.device_id) if sources.identity else None
    enrollment = services.provisioning.enrollment(rollover.registration_id) if sources.enrollment else None
    removed = services.ledger.removed(rollover) if sources.removed else None
    return Observation(
        now=services.now(),
        latest=latest,
        keys=keys,
        issuance=services.vault.issuance(rollover.certificate_name) if ask_issuance else None,
        issuer=tagged.tags.get(CA_TAG, "").strip() if tagged and ask_issuance else "",
        enrollment=enrollment,
        identity=identity,
        job=services.hub.job(job_id) if job_id else None,
        removed=removed,
        twin=services.hub.twin(rollover.device_id) if sources.twin and removed and identity else None,
        routes=_routes(rollover, enrollment, sources, services),
    )


def _in_vault(rollover: Rollover, sources: Sources, services: Services) -> tuple[Tagged | None, Mapping[str, str]]:
    """The vault's latest version, and the keys of what is compromised where they are not known: they are not if the
    vault could not be read when a person called.
    """
    if not sources.vault or not rollover.certificate_name:
        return None, {}
    try:
        tagged = services.vault.latest(rollover.certificate_name)
        unknown = [one.sha1_thumbprint for one in rollover.leaving if one.public_key_sha256 is None]
        ask = tagged is not None and unknown and rollover.plan.replaces
        return tagged, keys_of(unknown, rollover.certificate_name, services) if ask else {}
    except (ServiceUnavailable, ServiceRefused):
        if not sources.vault_may_be_down:
            raise
        return None, {}


def _routes(
    rollover: Rollover, enrollment: Enrollment | None, sources: Sources, services: Services
) -> tuple[Route, ...]:
    """Other ways in for what is compromised: entries of DPS that would admit it, hub identities that pin it.

    Its own disabled enrollment keeps a certificate out for as long as it holds it (azure-docs
    how-to-revoke-device-access-portal), so other entries matter when it is out, or about to be.
    """
    out = [one for one in rollover.leaving if enrollment is None or not enrollment.holds(one.sha256_thumbprint)]
    free = rollover.leaving if sources.groups else tuple(out) if sources.groups_when_out else ()
    found: list[Route] = []
    if free:
        found += escape_routes(
            free,
            registration_id=rollover.registration_id,
            device_id=rollover.device_id,
            enrollments=holding(services.provisioning.enrollments(), free),
            groups=services.provisioning.groups(),
        )
    if sources.holders and rollover.leaving:
        found += escape_routes(
            rollover.leaving,
            registration_id=rollover.registration_id,
            device_id=rollover.device_id,
            enrollments=(),
            groups=(),
            identities=_holders(rollover, services),
        )
    return tuple(found)


def _holders(rollover: Rollover, services: Services) -> list[HubIdentity]:
    thumbprints = [t for one in rollover.leaving for t in (one.sha1_thumbprint, one.sha256_thumbprint)]
    # The hub's index lags: what it names is read again, each by itself. One of type certificateAuthority pins nothing;
    # it lets in the leaf whose common name, the registration ID, is its device ID.
    others = {*services.hub.holders(thumbprints), rollover.registration_id} - {rollover.device_id}
    return [identity for identity in map(services.hub.identity, sorted(others)) if identity is not None]


def summary(seen: Observation) -> dict[str, Any]:
    """An observation as the history keeps it: thumbprints (SHA-256 unless the hub holds SHA-1) and states."""
    shown: dict[str, Any] = _group_summary(seen) if seen.group else {}
    if seen.latest is not None:
        shown["vault_version"] = seen.latest.version
    if seen.enrollment is not None:
        for slot in Slot:
            enrolled = seen.enrollment.slots[slot]
            shown[slot.value] = enrolled.sha256_thumbprint if enrolled else None
        shown["enabled"] = seen.enrollment.enabled
        if seen.enrollment.registration and seen.enrollment.registration.last_updated:
            shown["registered"] = seen.enrollment.registration.last_updated.isoformat()
    if seen.registration and seen.registration.last_updated:
        shown["registered"] = seen.registration.last_updated.isoformat()
    if seen.identity is not None:
        shown["hub"] = [seen.identity.primary, seen.identity.secondary]
        shown["hub_enabled"] = seen.identity.enabled
        shown["connected"] = seen.identity.connected
    if seen.removed is not None:
        shown["removed"] = {"at": seen.removed.at.isoformat(), "generation": seen.removed.generation}
    if seen.routes:
        shown["routes"] = [route.name for route in seen.routes]
    if seen.job is not None:
        shown["job"] = seen.job.summary
    return shown


def _group_summary(seen: Observation) -> dict[str, Any]:
    if seen.group is None:
        return {}
    anchors = seen.group.anchors(seen.authorities)
    shown: dict[str, Any] = {slot.value: one.sha256_thumbprint if (one := anchors[slot]) else None for slot in Slot}
    if seen.group.by_reference:
        shown["ca_references"] = list(seen.group.ca_references)
    shown["enabled"] = seen.group.enabled
    if seen.fleet is not None:
        shown["fleet"] = {"work": seen.fleet.work, "devices": seen.fleet.devices, "done": seen.fleet.done}
    return shown
