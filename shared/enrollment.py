"""An individual enrollment and the hub identity of its device, as values. Pure.

The words: an *enrollment* attests a device by X.509 through two *slots*, primary and secondary; DPS never gives
a certificate back, only its facts; the *hub identity* has two thumbprint slots of its own, which DPS overwrites
at every registration with the thumbprint of the certificate that was presented, twice
(azure-iot-sdk-java#1220, iotedge#2951).
"""

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from shared.certificate import Certificate, Outgoing, is_self_issued, normalize_thumbprint
from shared.errors import BadInput


class Slot(StrEnum):
    """One of the two places for a certificate in an enrollment's X.509 attestation."""

    PRIMARY = "primary"
    SECONDARY = "secondary"

    @property
    def other(self) -> "Slot":
        """The other slot."""
        return Slot.SECONDARY if self is Slot.PRIMARY else Slot.PRIMARY


@dataclass(frozen=True)
class Enrolled:
    """What DPS tells of the certificate in a slot (``X509CertificateInfo``)."""

    sha1_thumbprint: str
    sha256_thumbprint: str
    not_after: datetime
    subject: str | None = None
    """As .NET writes names, most specific part first: ``CN=dev-01, OU=Pumps, O=Example``."""
    issuer: str | None = None
    starts: datetime | None = field(default=None, compare=False)
    """From when on it is valid, where DPS tells."""

    @property
    def self_issued(self) -> bool | None:
        """Whether the certificate names itself as its issuer; None when the names are not known."""
        return is_self_issued(self.subject, self.issuer)

    def as_outgoing(self, public_key_sha256: str | None = None) -> Outgoing:
        """What the ledger keeps of it when it is to leave."""
        return Outgoing(
            sha1_thumbprint=self.sha1_thumbprint,
            sha256_thumbprint=self.sha256_thumbprint,
            not_after=self.not_after,
            public_key_sha256=public_key_sha256,
            subject=self.subject,
            issuer=self.issuer,
        )


@dataclass(frozen=True)
class Registration:
    """The registration record that DPS keeps for a device."""

    status: str
    last_updated: datetime | None
    assigned_hub: str | None
    device_id: str | None


@dataclass(frozen=True)
class Enrollment:
    """An individual enrollment as read, with the ETag that every write of it must carry."""

    registration_id: str
    device_id: str
    etag: str
    enabled: bool
    attestation: str
    """``x509``, ``tpm`` or ``symmetricKey``."""
    credential_policy: str | None
    """Set when Azure Device Registry issues this device's certificates; then they are not ours to roll."""
    slots: Mapping[Slot, Enrolled | None]
    registration: Registration | None
    body: Mapping[str, Any]
    """The service's JSON, kept whole so that a write changes nothing but the slot it means to change."""

    def slots_holding(self, sha256_thumbprint: str) -> tuple[Slot, ...]:
        """The slots whose certificate has this SHA-256 thumbprint: none, one, or both (DPS mirrors)."""
        return tuple(slot for slot in Slot if _is(self.slots[slot], sha256_thumbprint))

    def holds(self, sha256_thumbprint: str) -> bool:
        """Whether any slot holds the certificate with this SHA-256 thumbprint."""
        return bool(self.slots_holding(sha256_thumbprint))

    def certificates(self) -> list[Enrolled]:
        """The distinct certificates in the slots, primary first."""
        found: dict[str, Enrolled] = {}
        for slot in Slot:
            if (enrolled := self.slots[slot]) is not None:
                found.setdefault(enrolled.sha256_thumbprint, enrolled)
        return list(found.values())

    def body_with(self, slot: Slot, certificate: Certificate) -> dict[str, Any]:
        """The PUT body that puts ``certificate`` into ``slot`` and keeps the other slot.

        The other slot goes back with its ``info`` only, which DPS takes as "keep what is stored"; leaving it out
        would clear it (azure-iot-cli-extension ``dps.py`` and its live tests).
        """
        return self._body({slot: {"certificate": certificate.pem}})

    def body_without(self, *sha256_thumbprints: str) -> dict[str, Any]:
        """The PUT body that clears every slot holding one of these certificates and keeps the rest.

        Raises:
            BadInput: nothing would be left that lets the device in.
        """
        holding = [slot for one in sha256_thumbprints for slot in self.slots_holding(one)]
        if not any(self.slots[slot] for slot in Slot if slot not in holding):
            raise BadInput("clearing these slots would leave the enrollment without any certificate")
        return self._body(dict.fromkeys(holding))

    def body_with_status(self, *, enabled: bool) -> dict[str, Any]:
        """The PUT body that enables or disables the enrollment and keeps both slots."""
        return {**self._body({}), "provisioningStatus": "enabled" if enabled else "disabled"}

    def _body(self, changed: Mapping[Slot, Mapping[str, Any] | None]) -> dict[str, Any]:
        body = {key: deepcopy(value) for key, value in self.body.items() if key not in _READ_ONLY}
        certificates = body["attestation"]["x509"]["clientCertificates"]
        for slot in Slot:
            certificates[slot.value] = changed.get(slot, certificates.get(slot.value))
        return body


def why_not_ours(enrollment: Enrollment) -> str | None:
    """Why this enrollment's certificates are not ours to roll; None when they are."""
    if enrollment.credential_policy:
        return (
            f"the enrollment has the credential policy {enrollment.credential_policy!r}: Azure Device Registry issues"
            " and renews its device's certificates"
        )
    if enrollment.attestation != "x509":
        return f"the enrollment attests by {enrollment.attestation}, not by X.509 certificates"
    return None


_READ_ONLY = ("registrationState", "createdDateTimeUtc", "lastUpdatedDateTimeUtc", "etag")


def _is(enrolled: Enrolled | None, sha256_thumbprint: str) -> bool:
    return enrolled is not None and enrolled.sha256_thumbprint == sha256_thumbprint


@dataclass(frozen=True)
class HubIdentity:
    """A device identity of the hub, with everything that a rewrite of it must carry.

    The service rewrites the identity whole: what is not sent is gone (azure-iot-hub
    ``update_device_with_x509``), so the fields we do not care for are here too.
    """

    device_id: str
    etag: str
    enabled: bool
    authentication: str
    """``selfSigned`` (thumbprints), ``certificateAuthority``, ``sas`` or ``none``."""
    primary: str | None
    """Primary thumbprint, upper-case hex, SHA-1 or SHA-256; DPS writes SHA-256."""
    secondary: str | None
    iot_edge: bool = False
    status_reason: str | None = None
    device_scope: str | None = None
    parent_scopes: tuple[str, ...] = ()
    generation: str = ""
    """Another one when the ID was deleted and made again (azure-docs devguide-identity-registry)."""
    connected: bool = False
    """What the hub shows of a session; it may lag (azure-docs devguide-device-twins, connectionState)."""
    connection_changed: datetime | None = None
    queued_messages: int = 0
    """Cloud-to-device messages that wait for the device; they go with the identity."""

    def thumbprints(self) -> Iterator[str]:
        """The distinct thumbprints that the hub accepts from this device."""
        yield from dict.fromkeys(t for t in (self.primary, self.secondary) if t)

    def holds(self, sha1_thumbprint: str, sha256_thumbprint: str) -> bool:
        """Whether the hub accepts the certificate with these thumbprints, by either hash."""
        return any(t in (sha1_thumbprint, sha256_thumbprint) for t in self.thumbprints())


@dataclass(frozen=True)
class Twin:
    """The service's part of a device twin, with the ETag that a write of it must carry."""

    etag: str
    tags: Mapping[str, Any]
    desired: Mapping[str, Any]
    """Without ``$metadata`` and ``$version``, which the hub counts by itself."""

    def equals(self, other: "Twin") -> bool:
        """Whether tags and desired properties are the same to the last byte, whatever the ETag."""
        return self.canonical() == other.canonical()

    def canonical(self) -> str:
        """Tags and desired properties as one text that is the same for the same content."""
        return json.dumps({"tags": self.tags, "desired": self.desired}, sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True)
class Accepted:
    """What the hub accepts from a device, by its twin or by a query."""

    device_id: str
    enabled: bool
    primary: str | None
    """Primary thumbprint, upper-case hex, SHA-1 or SHA-256."""
    secondary: str | None

    def thumbprints(self) -> tuple[str, ...]:
        """The distinct thumbprints that the hub accepts from this device."""
        return tuple(dict.fromkeys(t for t in (self.primary, self.secondary) if t))


@dataclass(frozen=True)
class Shown(Accepted):
    """A device as its twin shows it: one read, from the quota of twins, and none from that of the registry."""

    identity_etag: str
    """The ETag of the identity (``deviceEtag``), not of the twin."""
    authentication: str
    connected: bool
    twin: Twin


@dataclass(frozen=True)
class Removed:
    """What is kept of a hub identity when it is deleted: its twin goes with it (azure-docs#75861)."""

    at: datetime
    generation: str
    connected: bool
    """Whether the hub still showed a session then; it ends it within a minute (azure-iot-sdk-c#2300)."""
    twin: Twin


def parse_enrollment(body: Mapping[str, Any]) -> Enrollment:
    """Read the JSON of an individual enrollment (data plane 2021-10-01; later fields are kept, unread).

    Unset members come as null or not at all, depending on the call; both mean unset.

    Raises:
        BadInput: it lacks what every enrollment has.
    """
    try:
        attestation = body["attestation"]
        x509 = attestation.get("x509") or {}
        certificates = x509.get("clientCertificates") or {}
        return Enrollment(
            registration_id=body["registrationId"],
            device_id=body.get("deviceId") or body["registrationId"],
            etag=body["etag"],
            enabled=(body.get("provisioningStatus") or "enabled") == "enabled",
            attestation=attestation["type"],
            credential_policy=body.get("credentialPolicyName"),
            slots={slot: parse_slot(certificates.get(slot.value)) for slot in Slot},
            registration=parse_registration(body.get("registrationState")),
            body=body,
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadInput(f"not an individual enrollment: {type(error).__name__} {error}") from None


def parse_slot(slot: Mapping[str, Any] | None) -> Enrolled | None:
    """Read a slot (``X509CertificateWithInfo``); None when it is empty, however that is written.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: it is no such thing.
    """
    info = (slot or {}).get("info")
    if not info:
        return None
    return Enrolled(
        sha1_thumbprint=normalize_thumbprint(info["sha1Thumbprint"]),
        sha256_thumbprint=normalize_thumbprint(info["sha256Thumbprint"]),
        not_after=parse_time(info["notAfterUtc"]),
        subject=info.get("subjectName") or None,
        issuer=info.get("issuerName") or None,
        starts=parse_time(info["notBeforeUtc"]) if info.get("notBeforeUtc") else None,
    )


def parse_registration(state: Mapping[str, Any] | None) -> Registration | None:
    """Read a registration record; None when the device never registered."""
    if not state or state.get("status") in (None, "unassigned"):
        return None
    updated = state.get("lastUpdatedDateTimeUtc")
    return Registration(
        status=state["status"],
        last_updated=parse_time(updated) if updated else None,
        assigned_hub=state.get("assignedHub"),
        device_id=state.get("deviceId"),
    )


@dataclass(frozen=True)
class Member:
    """A device that tried to register through an enrollment group."""

    registration_id: str
    device_id: str
    """As registered; the registration ID where DPS names none: a group's devices have it for their ID (azure-docs
    concepts-service)."""
    status: str
    last_updated: datetime | None
    assigned_hub: str | None
    first_registered: datetime | None = None
    """When DPS made the record (``createdDateTimeUtc``); later registrations leave that as it is."""


@dataclass(frozen=True)
class Members:
    """One page of a group's devices."""

    members: tuple[Member, ...]
    more: str | None
    """Where the next page begins; None on the last one."""


def parse_member(state: Mapping[str, Any]) -> Member:
    """Read the registration record of a group's device.

    Raises:
        BadInput: it lacks what every record has.
    """
    try:
        updated, created = state.get("lastUpdatedDateTimeUtc"), state.get("createdDateTimeUtc")
        return Member(
            registration_id=state["registrationId"],
            device_id=state.get("deviceId") or state["registrationId"],
            status=state.get("status") or "unassigned",
            last_updated=parse_time(updated) if updated else None,
            assigned_hub=state.get("assignedHub"),
            first_registered=parse_time(created) if created else None,
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadInput(f"not a registration record: {type(error).__name__} {error}") from None


def parse_time(text: str) -> datetime:
    """A service's timestamp as an aware UTC time; seven fractional digits are usual and are cut to six."""
    parsed = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
