"""Keeps one device of an enrollment group out: by an individual enrollment of its own, disabled, with its leaf.

DPS walks a device's chain from the leaf up and the first entry found decides, so a disabled individual enrollment that
holds the leaf keeps the device out of an enabled group (azure-docs how-to-revoke-device-access-portal). Whoever deletes
that entry lets the device in again through the group. Only that leaf is kept out, and, where the device was last rolled
from or to another one, that too: a third one under the group's CA gets in, which is how the device is let back.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from shared.certificate import Certificate, is_among, is_same, parse_certificate, problems_of_replacement
from shared.enrollment import Enrollment
from shared.errors import BadInput, NotFound, Unsuitable
from shared.plans import Plan
from shared.rollover import Incoming, Rollover
from shared.selecting import REGISTRATION_ID
from shared.services import Services
from shared.tags import ENROLLMENT_TAG, LEAVES_TAG, ca_of_leaf, leaf_name

LONGEST_PEM = 10_000
READMITS = (
    "its disabled enrollment is what keeps this device out: whoever deletes that lets the device in again through its"
    " group"
)


def leaf_of(body: Mapping[str, Any]) -> Certificate | None:
    """The device's certificate that a call brings, in PEM; None when it brings none.

    Raises:
        BadInput: it is none, or a private key lies beside it.
    """
    text = body.get("leaf_certificate")
    if text is None:
        return None
    if not isinstance(text, str) or len(text) > LONGEST_PEM:
        raise BadInput("leaf_certificate must be the device's certificate in PEM")
    if "PRIVATE KEY" in text:
        raise BadInput(
            "leaf_certificate must be the certificate alone: there is a private key in it; treat it as leaked"
        )
    try:
        return parse_certificate(x509.load_pem_x509_certificate(text.encode()).public_bytes(Encoding.DER))
    except ValueError:
        raise BadInput("leaf_certificate must be the device's certificate in PEM") from None


def check_may_be_of_group(device_id: str, services: Services) -> None:
    """See that this may be a device of a group, as the hub calls it. DPS takes a registration ID in any letters, but to
    the hub another letter case is another device: it would have none, which would pass for one that is out.

    Raises:
        NotFound: no group's device has this ID, or it is the registration ID of another device.
    """
    if not re.fullmatch(REGISTRATION_ID, device_id, re.ASCII):
        raise NotFound(f"there is no device {device_id[:160]!r}: no registration ID is like that")
    enrollment = services.provisioning.enrollment(device_id)
    record = enrollment.registration if enrollment else services.provisioning.registration(device_id)
    known_as = (record.device_id if record else None) or (enrollment.device_id if enrollment else device_id)
    if enrollment is not None or known_as != device_id:
        raise NotFound(
            f"there is no device {device_id!r}: DPS has its registration for {known_as!r} (letter case counts)"
        )


def leaves_to_keep_out(
    device_id: str, sent: Certificate | None, last: Rollover | None, services: Services
) -> tuple[Certificate, Certificate | None, str]:
    """The leaf of a device that has no enrollment of its own; another one that would let it in as well, if there is
    one; and the vault's certificate that they are versions of, if one is. ``last`` is the device's latest rollover.

    Raises:
        NotFound: neither the call nor the vault has it.
        Unsuitable: it is not what the hub shows this device to use, or not this device's.
    """
    identity = services.hub.identity(device_id)
    name = _vault_certificate(device_id, services)
    known = _versions(name, last, services)
    accepted = [one for one in known if identity and identity.holds(one.sha1_thumbprint, one.sha256_thumbprint)]
    leaf = sent or next(iter(accepted or known), None)
    if leaf is None:
        raise NotFound(
            f"there is no individual enrollment for the device {device_id!r}, and no certificate of the vault is tagged"
            f" {ENROLLMENT_TAG}={device_id}: if it is a device of a group, send its certificate as leaf_certificate"
        )
    if (leaf.common_name or "").lower() != device_id.lower():
        raise Unsuitable(f"the certificate's common name is {leaf.common_name!r}, not {device_id!r}")
    if identity is not None and not identity.holds(leaf.sha1_thumbprint, leaf.sha256_thumbprint):
        shown = ", ".join(identity.thumbprints()) or "none"
        raise Unsuitable(
            f"the hub accepts another certificate of {device_id} ({shown}) than this one (SHA-256"
            f" {leaf.sha256_thumbprint}); send the one that it uses as leaf_certificate"
        )
    others = (one for one in known if not is_same(one, leaf) and one.not_after > services.now())
    return leaf, next(others, None), name


def _vault_certificate(device_id: str, services: Services) -> str:
    """By its own tag, or by its name, where the tag of a group's CA says how its devices' certificates are called."""
    listed = list(services.vault.certificates())
    tagged = (one for one in listed if ENROLLMENT_TAG in one.tags)
    if name := next((one.name for one in tagged if one.tags[ENROLLMENT_TAG].strip().lower() == device_id.lower()), ""):
        return name
    by_name = {one.name.lower(): one for one in listed}
    for ca in (one for one in listed if "*" in one.tags.get(LEAVES_TAG, "")):
        found = by_name.get(leaf_name(ca.tags[LEAVES_TAG].strip(), device_id).lower())
        if found is not None and ca_of_leaf(found, lambda name: by_name.get(name.lower())) == ca:
            return found.name
    return ""


def _versions(name: str, last: Rollover | None, services: Services) -> list[Certificate]:
    """The versions of the vault's certificate that the device may have: the latest, and those of its last rollover."""
    tagged = services.vault.latest(name) if name else None
    if tagged is None:
        return []
    found = [tagged.latest.certificate]
    rolled = (last.outgoing, last.incoming) if last is not None and last.plan is Plan.MEMBER_EXPIRY else ()
    versions = services.vault.versions(name) if rolled else {}
    for one in rolled:
        if one is not None and not is_among(one, found) and (version := versions.get(one.sha1_thumbprint)):
            found.append(services.vault.certificate(name, version))
    return found


def body_keeping_out(rollover: Rollover) -> dict[str, Any]:
    """The PUT body of the disabled enrollment that holds the leaf."""
    incident = rollover.incident
    if incident is None or not incident.leaf:
        raise NotFound("the device's certificate")
    slots = {"primary": {"certificate": incident.leaf}}
    if incident.other_leaf:
        slots["secondary"] = {"certificate": incident.other_leaf}
    return {
        "registrationId": rollover.registration_id,
        "deviceId": rollover.device_id,
        "attestation": {"type": "x509", "x509": {"clientCertificates": slots}},
        "provisioningStatus": "disabled",
    }


def made_for_disallowing(last: Rollover | None) -> bool:
    """Whether the target's enrollment is one that a disallowing made, and the group lets the device in otherwise."""
    return last is not None and bool(last.incident and last.incident.leaf)


def had_enrollment(rollovers: Iterable[Rollover]) -> bool:
    """Whether one of the target's rollovers found an enrollment of its own: what a disallowing made in the place of
    a deleted one keeps no group from letting the device in, and is enabled again.
    """
    return any(not made_for_disallowing(one) and one.member_of is None for one in rollovers)


def leaf_to_let_in(
    enrollment: Enrollment, last: Rollover, sent: Certificate | None, services: Services
) -> tuple[Incoming, str]:
    """The new leaf by which a device of a group comes back, and which vault certificate it is, if one is.

    Raises:
        Unsuitable: there is none, or it cannot be the device's.
    """
    name = last.certificate_name
    tagged = services.vault.latest(name) if name and sent is None else None
    leaf = sent or (tagged.latest.certificate if tagged else None)
    held_out = [one.as_outgoing(last.outgoing.public_key_sha256) for one in enrollment.certificates()]
    if leaf is None or enrollment.holds(leaf.sha256_thumbprint):
        raise Unsuitable(
            "a device of a group is let back with a new certificate: issue one under the group's CA and send it as"
            " leaf_certificate; the old one stays kept out"
        )
    problems = problems_of_replacement(
        leaf,
        registration_id=enrollment.registration_id,
        leaving=held_out,
        now=services.now(),
        skew=services.settings.policy.clock_skew,
    )
    if problems:
        raise Unsuitable(f"the new certificate cannot let the device in: {'; '.join(problems)}")
    version = tagged.latest.version if tagged else ""
    return Incoming(version, leaf.sha1_thumbprint, leaf.sha256_thumbprint, leaf.not_after), name
