"""Which enrollments a breach call names: exactly those, or none. A slip of the pen must never select more. Which
groups it names: ``shared.group_targets``.

A certificate is named by its whole thumbprint, SHA-1 (40 hex digits) or SHA-256 (64), each compared with its own
kind only. Registration IDs ignore case, device IDs do not (azure-docs concepts-service, devguide-identity-registry).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.certificate import Outgoing, normalize_thumbprint
from shared.enrollment import Enrollment
from shared.errors import BadInput, NotFound, Unsuitable
from shared.rollover import Outcome, Rollover
from shared.services import Services
from shared.tags import enrollment_of

KINDS = ("registration_id", "enrollment_group", "thumbprint", "certificate_name", "device_id")
REGISTRATION_ID = r"[A-Za-z0-9._:\-]{1,128}"
CERTIFICATE_NAME = r"[A-Za-z0-9\-]{1,127}"
"""Of an object in the vault (azure-docs key-vault about-keys-secrets-certificates)."""


@dataclass(frozen=True)
class Selector:
    """One of ``KINDS``, and what it must equal."""

    kind: str
    value: str


def parse_selector(body: Mapping[str, Any]) -> Selector:
    """The one selector of a call.

    Raises:
        BadInput: none, several, or one that cannot name anything.
    """
    given = [kind for kind in KINDS if body.get(kind) is not None]
    if len(given) != 1:
        raise BadInput(f"exactly one of {', '.join(KINDS)} must say what is compromised; there are {len(given)}")
    kind, value = given[0], body[given[0]]
    if not isinstance(value, str) or not value.strip():
        raise BadInput(f"{kind} must be a text")
    value = value.strip()
    if kind == "thumbprint":
        value = normalize_thumbprint(value)
        if not re.fullmatch(r"[0-9A-F]{40}|[0-9A-F]{64}", value):
            raise BadInput("a thumbprint is 40 hex digits (SHA-1) or 64 (SHA-256), whole")
    if kind == "registration_id" and not re.fullmatch(REGISTRATION_ID, value, re.ASCII):
        raise BadInput(f"{value[:160]!r} cannot be a registration ID")
    if kind == "enrollment_group" and not re.fullmatch(REGISTRATION_ID, value, re.ASCII):
        raise BadInput(f"{value[:160]!r} cannot be the ID of an enrollment group")
    if kind == "certificate_name" and not re.fullmatch(CERTIFICATE_NAME, value, re.ASCII):
        raise BadInput(f"{value[:160]!r} cannot be the name of a certificate in the vault")
    return Selector(kind, value)


def select(selector: Selector, services: Services) -> list[Enrollment]:
    """The enrollments that the selector names, each with its registration record.

    Raises:
        NotFound: there is none.
        Unsuitable: a device ID that several enrollments give their device; the text lists them.
    """
    match selector.kind:
        case "registration_id":
            return [_enrollment(selector.value, services)]
        case "certificate_name":
            return [_of_certificate(selector.value, services)]
        case "device_id":
            return [_of_device(selector.value, services)]
        case _:
            return _of_thumbprint(selector.value, services)


def device_of(enrollment: Enrollment) -> str:
    """The device as it registered; the enrollment's own device ID may have been edited since."""
    registered = enrollment.registration.device_id if enrollment.registration else None
    return registered or enrollment.device_id


def _enrollment(registration_id: str, services: Services) -> Enrollment:
    found = services.provisioning.enrollment(registration_id)
    if found is None:
        raise NotFound(f"there is no individual enrollment {registration_id!r}")
    return found


def _of_certificate(name: str, services: Services) -> Enrollment:
    tagged = services.vault.latest(name)
    if tagged is None:
        raise NotFound(f"the vault holds no certificate {name!r}")
    registration_id, how = enrollment_of(tagged)
    if registration_id is None:
        raise NotFound(f"the vault's certificate {name!r} names no enrollment: {how}")
    return _enrollment(registration_id, services)


def _of_device(device_id: str, services: Services) -> Enrollment:
    named = {one.registration_id for one in services.provisioning.enrollments() if one.device_id == device_id}
    # A device keeps the ID that it registered with when the enrollment's is edited.
    same = services.provisioning.enrollment(device_id) if re.fullmatch(REGISTRATION_ID, device_id, re.ASCII) else None
    if same is not None and device_of(same) == device_id:
        named.add(same.registration_id)
    found = [one for one in map(services.provisioning.enrollment, sorted(named)) if one is not None]
    found = [one for one in found if device_of(one) == device_id]
    if not found:
        raise NotFound(f"no individual enrollment is for the device ID {device_id!r} (letter case counts)")
    if len(found) > 1:
        names = ", ".join(one.registration_id for one in found)
        raise Unsuitable(
            f"several enrollments are for the device ID {device_id!r}: {names}; name one by registration_id"
        )
    return found[0]


def _of_thumbprint(thumbprint: str, services: Services) -> list[Enrollment]:
    def holds(enrollment: Enrollment) -> bool:
        shown = enrollment.certificates()
        return any(thumbprint in (one.sha1_thumbprint, one.sha256_thumbprint) for one in shown)

    named = [one.registration_id for one in services.provisioning.enrollments() if holds(one)]
    found = [one for one in map(services.provisioning.enrollment, named) if one is not None and holds(one)]
    named = [one for one in _reported(thumbprint, services) if one not in {has.registration_id for has in found}]
    found += [one for one in map(services.provisioning.enrollment, named) if one is not None]
    if not found:
        kind = "SHA-1" if len(thumbprint) == 40 else "SHA-256"
        raise NotFound(f"no slot of any individual enrollment holds a certificate with the {kind} {thumbprint}")
    return found


def _reported(thumbprint: str, services: Services) -> list[str]:
    """The enrollments whose latest rollover is a breach of this certificate that is not done."""
    rollovers = (one for one in services.ledger.rollovers() if not one.plan.of_group)
    ids = {one.registration_id for one in rollovers if _names(unfinished(one, thumbprint), thumbprint)}
    return [one for one in sorted(ids) if _names(unfinished(services.ledger.last(one), thumbprint), thumbprint)]


def unfinished(last: Rollover | None, thumbprint: str | None) -> list[Outgoing]:
    """What the target's latest rollover leaves to a breach call that comes after it, or takes its place.

    An enrollment may have let go of a compromised certificate that the hub still accepts. What a person cancelled may
    have been a false alarm, and counts only if it is named; what nobody approved was never agreed to be compromised.
    """
    incident = last.incident if last is not None and last.plan.replaces else None
    if last is None or incident is None or incident.awaits_approval:
        return []
    if last.outcome in (Outcome.DONE, Outcome.PREEMPTED):
        return []
    left = list(incident.compromised)
    return _names(left, thumbprint) if last.outcome is Outcome.CANCELLED else left


def _names(certificates: Sequence[Outgoing], thumbprint: str | None) -> list[Outgoing]:
    return [one for one in certificates if thumbprint in (one.sha1_thumbprint, one.sha256_thumbprint)]
