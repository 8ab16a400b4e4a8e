"""Reads what a step looks at, once, in one place."""

from typing import Any

from shared.decide import LOOKS_AT, Observation
from shared.enrollment import Slot
from shared.rollover import Rollover, Step
from shared.services import Services


def observe(step: Step, rollover: Rollover, services: Services) -> Observation:
    """What ``step`` needs to know, read now (``decide.LOOKS_AT``); nothing more, for the quotas are tight.

    Raises:
        ServiceUnavailable, ServiceRefused: a service did not answer.
    """
    sources = LOOKS_AT[step]
    tagged = services.vault.latest(rollover.certificate_name) if sources.vault else None
    latest = tagged.latest if tagged else None
    on_outgoing = latest and latest.certificate.sha256_thumbprint == rollover.outgoing.sha256_thumbprint
    ask_issuance = step is Step.ISSUE_CERTIFICATE and on_outgoing
    job_id = rollover.job_id if sources.job else None
    return Observation(
        now=services.now(),
        latest=latest,
        issuance=services.vault.issuance(rollover.certificate_name) if ask_issuance else None,
        enrollment=services.provisioning.enrollment(rollover.registration_id) if sources.enrollment else None,
        identity=services.hub.identity(rollover.device_id) if sources.identity else None,
        job=services.hub.job(job_id) if job_id else None,
    )


def summary(seen: Observation) -> dict[str, Any]:
    """An observation as the history keeps it: thumbprints (SHA-256 unless the hub holds SHA-1) and states."""
    shown: dict[str, Any] = {}
    if seen.latest is not None:
        shown["vault_version"] = seen.latest.version
    if seen.enrollment is not None:
        for slot in Slot:
            enrolled = seen.enrollment.slots[slot]
            shown[slot.value] = enrolled.sha256_thumbprint if enrolled else None
        if seen.enrollment.registration and seen.enrollment.registration.last_updated:
            shown["registered"] = seen.enrollment.registration.last_updated.isoformat()
    if seen.identity is not None:
        shown["hub"] = [seen.identity.primary, seen.identity.secondary]
    if seen.job is not None:
        shown["job"] = seen.job.summary
    return shown
