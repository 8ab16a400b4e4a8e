"""An enrollment group as a value. Pure.

The words: a *group* admits every device whose certificate chain leads to an *anchor*, a certificate that the group
trusts: one of its own *signing* certificates, or a CA certificate of the DPS that it names (a *CA reference*). DPS
never gives signing certificates back, only their facts; of a CA reference there is only the name.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from shared.authority import DpsCertificate
from shared.certificate import Certificate, Thumbprints, is_among
from shared.enrollment import Enrolled, Slot, parse_slot
from shared.errors import BadInput


@dataclass(frozen=True)
class Group:
    """An enrollment group as read."""

    enrollment_group_id: str
    enabled: bool
    attestation: str
    """``x509``, ``tpm`` or ``symmetricKey``."""
    signing: Mapping[Slot, Enrolled | None]
    references: Mapping[Slot, str | None]
    """Names of CA certificates of this DPS, not names in certificates; they ignore case."""
    etag: str
    body: Mapping[str, Any]
    """The service's JSON, kept whole so that a write changes nothing but what it means to change."""
    credential_policy: str | None = None
    """Set when Azure Device Registry issues its devices' certificates; then they are not ours to roll."""

    @property
    def ca_references(self) -> tuple[str, ...]:
        """The CA certificates that it names, primary first."""
        return tuple(name for slot in Slot if (name := self.references[slot]))

    @property
    def by_reference(self) -> bool:
        """Whether it trusts CA certificates by name; else it holds signing certificates. Never both (REST)."""
        return bool(self.ca_references)

    def anchors(self, authorities: Sequence[DpsCertificate]) -> dict[Slot, Enrolled | None]:
        """What each slot makes it trust; None where the slot is empty, or names what the DPS does not have."""
        if not self.by_reference:
            return {slot: self.signing[slot] for slot in Slot}
        known = {one.name.lower(): one.as_enrolled for one in authorities}
        return {slot: known.get((self.references[slot] or "").lower()) for slot in Slot}

    def dangling(self, authorities: Sequence[DpsCertificate]) -> tuple[str, ...]:
        """The CA references that name nothing."""
        known = {one.name.lower() for one in authorities}
        return tuple(name for name in self.ca_references if name.lower() not in known)

    def body_with(self, slot: Slot, certificate: Certificate) -> dict[str, Any]:
        """The PUT body that puts a signing certificate into ``slot`` and keeps the other slot, by its ``info`` only, as
        for an individual enrollment (one code path in azure-iot-cli-extension)."""
        return self._body("signingCertificates", {slot: {"certificate": certificate.pem}})

    def body_naming(self, slot: Slot, name: str) -> dict[str, Any]:
        """The PUT body that names a CA certificate of the DPS in ``slot`` and keeps the other name."""
        return self._body("caReferences", {slot: name})

    def body_without(self, *slots: Slot) -> dict[str, Any]:
        """The PUT body that clears these slots and keeps the other.

        Raises:
            BadInput: nothing would be left that lets its devices in.
        """
        held: Mapping[Slot, Any] = self.references if self.by_reference else self.signing
        if not any(held[slot] for slot in Slot if slot not in slots):
            raise BadInput("clearing these slots would leave the group without anything that it trusts")
        member = "caReferences" if self.by_reference else "signingCertificates"
        return self._body(member, dict.fromkeys(slots))

    def body_with_status(self, *, enabled: bool) -> dict[str, Any]:
        """The PUT body that enables or disables the group and keeps what it trusts."""
        return {**self._kept(), "provisioningStatus": "enabled" if enabled else "disabled"}

    def _body(self, member: str, changed: Mapping[Slot, Any]) -> dict[str, Any]:
        body = self._kept()
        slots = body["attestation"]["x509"][member]
        for slot in Slot:
            slots[slot.value] = changed.get(slot, slots.get(slot.value))
        return body

    def _kept(self) -> dict[str, Any]:
        return {key: deepcopy(value) for key, value in self.body.items() if key not in _READ_ONLY}


_READ_ONLY = ("createdDateTimeUtc", "lastUpdatedDateTimeUtc", "etag")


def slots_with(anchors: Mapping[Slot, Enrolled | None], *certificates: Thumbprints) -> tuple[Slot, ...]:
    """The slots by which a group trusts one of these certificates."""
    return tuple(slot for slot in Slot if (one := anchors[slot]) and is_among(one, certificates))


def distinct(anchors: Mapping[Slot, Enrolled | None]) -> list[Enrolled]:
    """The certificates that a group trusts, each once, primary first."""
    found: dict[str, Enrolled] = {}
    for slot in Slot:
        if (one := anchors[slot]) is not None:
            found.setdefault(one.sha1_thumbprint, one)
    return list(found.values())


def why_group_is_not_ours(group: Group) -> str | None:
    """Why what this group trusts is not ours to roll; None when it is."""
    if group.credential_policy:
        return (
            f"the group has the credential policy {group.credential_policy!r}: Azure Device Registry issues and renews"
            " its devices' certificates"
        )
    if group.attestation != "x509":
        return f"the group attests by {group.attestation}, not by X.509 certificates"
    return None


def parse_group(body: Mapping[str, Any]) -> Group:
    """Read the JSON of an enrollment group (data plane 2021-10-01; later fields are kept, unread).

    Unset members come as null or not at all, depending on the call; both mean unset. A null status is shown for a
    group that was made with one (recorded) and means enabled.

    Raises:
        BadInput: it lacks what every group has.
    """
    try:
        attestation = body["attestation"]
        x509 = attestation.get("x509") or {}
        signing = x509.get("signingCertificates") or {}
        references = x509.get("caReferences") or {}
        return Group(
            enrollment_group_id=body["enrollmentGroupId"],
            enabled=(body.get("provisioningStatus") or "enabled") == "enabled",
            attestation=attestation["type"],
            signing={slot: parse_slot(signing.get(slot.value)) for slot in Slot},
            references={slot: references.get(slot.value) or None for slot in Slot},
            etag=body["etag"],
            body=body,
            credential_policy=body.get("credentialPolicyName"),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadInput(f"not an enrollment group: {type(error).__name__} {error}") from None
