"""The ports: what the product asks of DPS, hub, vault, Resource Manager and topic. ``shared.clients`` fills them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from shared.authority import DpsCertificate
from shared.certificate import Certificate
from shared.enrollment import Accepted, Enrollment, HubIdentity, Members, Registration, Shown, Twin
from shared.group import Group
from shared.issuing import IssuerKey, SigningRequest
from shared.pins import Pinned
from shared.quota import Quota
from shared.seen import Issuance, Job, Listed, VaultVersion


class Provisioning(Protocol):
    """The DPS service API, as far as a rollover needs it."""

    def enrollment(self, registration_id: str) -> Enrollment | None:
        """The individual enrollment, with its registration record; None when there is none."""

    def enrollments(self) -> Iterator[Enrollment]:
        """Every individual enrollment, without its registration record."""

    def groups(self) -> Iterator[Group]:
        """Every enrollment group."""

    def group(self, group_id: str) -> Group | None:
        """The enrollment group; None when there is none."""

    def count_members(self, group_id: str, *since: datetime) -> list[int]:
        """How many devices registered through a group, or tried to: in all, and since each of these moments."""

    def replace_group(self, group: Group, body: Mapping[str, Any]) -> None:
        """Write ``body`` over the group that was read (If-Match).

        Raises:
            Conflict: it was changed since.
        """

    def create(self, registration_id: str, body: Mapping[str, Any]) -> None:
        """Make an individual enrollment.

        Raises:
            Conflict: there is one.
        """

    def members(self, group_id: str, after: str | None) -> Members:
        """The next page, of a hundred or fewer, of the devices that registered through a group.

        Raises:
            ServiceRefused: it cannot go on where the last page ended; start over.
        """

    def registration(self, registration_id: str) -> Registration | None:
        """The registration record of a device; None when it never registered."""

    def replace(self, enrollment: Enrollment, body: Mapping[str, Any]) -> None:
        """Write ``body`` over the enrollment that was read (If-Match).

        Raises:
            Conflict: it was changed since.
        """


class Hub(Protocol):
    """The IoT Hub service API, as far as a rollover needs it."""

    def identity(self, device_id: str) -> HubIdentity | None:
        """The device identity; None when there is none."""

    def holders(self, thumbprints: Collection[str]) -> list[str]:
        """IDs of the devices that show one of the thumbprints in either slot, in order. The hub may tell them late."""

    def pinned(self, after: str | None) -> tuple[list[Pinned], str | None]:
        """One page of the devices that the hub admits by a thumbprint, with theirs, and where the next one begins;
        perhaps late.

        Raises:
            ServiceRefused: also where ``after`` is too old.
        """

    def accepted(self, device_ids: Collection[str]) -> Iterator[Mapping[str, Accepted | None]]:
        """What the hub accepts from these devices, page by page, perhaps late; None where a row does not tell. The IDs
        take 8,000 characters at most."""

    def by_authority(self) -> list[str]:
        """IDs of the devices that take any certificate of their name under a CA that the hub knows; perhaps late."""

    def rewrite(self, identity: HubIdentity) -> None:
        """Write thumbprints, status and status reason over the identity that was read (If-Match), changing nothing
        else.

        Raises:
            Conflict: it was changed since.
        """

    def delete(self, identity: HubIdentity) -> None:
        """Delete the identity that was read (If-Match); its twin goes with it.

        Raises:
            Conflict: it was changed since.
            NotFound: it is gone.
        """

    def shown(self, device_id: str) -> Shown | None:
        """The device as its twin shows it; None when there is no such device."""

    def delete_many(self, found: Sequence[Shown]) -> Mapping[str, str]:
        """Delete up to a hundred identities as they were shown (each by its ETag), in one call; their twins go with
        them. Gives the code of each that failed, by device ID.

        Raises:
            ServiceRefused: the call was refused as a whole.
        """

    def quota(self) -> Quota:
        """Tier and units of the hub."""

    def twin(self, device_id: str) -> Twin | None:
        """Tags and desired properties of a device; None when there is no such device."""

    def replace_twin(self, device_id: str, read: Twin, twin: Twin) -> None:
        """Put ``twin`` in the place of tags and desired properties that were ``read`` (If-Match).

        Raises:
            Conflict: they were changed since.
        """

    def start_method_job(self, job_id: str, device_id: str, method: str, payload: Mapping[str, Any]) -> None:
        """Start a job that calls a direct method of one device.

        Raises:
            Conflict: a job with this ID exists.
        """

    def start_fleet_job(self, job_id: str, device_ids: Sequence[str], method: str, payload: Mapping[str, Any]) -> None:
        """The same, of several devices; their IDs take 6,000 characters at most.

        Raises:
            Conflict: a job with this ID exists.
        """

    def job(self, job_id: str) -> Job | None:
        """How a job stands; None when there is none with this ID."""


@dataclass(frozen=True)
class Tagged:
    """The latest version of a vault certificate, with the tags that tie it to an enrollment."""

    name: str
    latest: VaultVersion
    tags: Mapping[str, str]
    versioned_id: str


class Vault(Protocol):
    """Key Vault certificates. Never their private keys, which sign where they are."""

    def certificates(self) -> Iterator[Listed]:
        """The latest version of every certificate of the vault, page by page (25 each)."""

    def latest(self, name: str) -> Tagged | None:
        """The latest version; None when there is no such certificate."""

    def versions(self, name: str) -> dict[str, str]:
        """SHA-1 thumbprint → version, of every version."""

    def public_key_sha256(self, name: str, version: str) -> str:
        """SHA-256 of the public key of one version."""

    def sha256_thumbprint(self, name: str, version: str) -> str:
        """SHA-256 thumbprint of one version."""

    def certificate(self, name: str, version: str) -> Certificate:
        """One version."""

    def issuance(self, name: str) -> Issuance | None:
        """The pending certificate operation, if any."""

    def request(self, name: str) -> SigningRequest | None:
        """The signing request that waits to be signed and merged (issuer Unknown); None when none does."""

    def merge(self, name: str, chain: Sequence[bytes]) -> None:
        """Complete the pending version with what was issued (DER, leaf first), keeping its tags.

        Raises:
            Conflict, NotFound: it is complete already, or taken back.
        """

    def signing_key(self, name: str, version: str) -> IssuerKey:
        """The key of one version, to sign with; it stays in the vault, and every signature is a call."""

    def issue(self, name: str) -> None:
        """Ask for a new version by the certificate's own policy, keeping its tags; returns at once.

        Raises:
            Conflict: one is being issued already.
        """

    def versioned_id(self, name: str, version: str) -> str:
        """The full ID of a version, which a device can fetch its secret by."""


class Authorities(Protocol):
    """The CA certificates of the DPS, managed through Azure Resource Manager."""

    def all(self) -> list[DpsCertificate]:
        """Every CA certificate; there are 25 at most (azure-docs about-iot-dps)."""

    def get(self, name: str) -> DpsCertificate | None:
        """The one of this name; None when there is none."""

    def put(self, name: str, certificate: Certificate, *, verified: bool, read: DpsCertificate | None) -> None:
        """Upload it under a name that is free, or over what was ``read`` (If-Match); ``verified`` vouches for it.

        Raises:
            Conflict: it was changed since, or is there already.
        """

    def verification_code(self, read: DpsCertificate) -> tuple[str, DpsCertificate]:
        """A new code to prove possession of its key by, and what was ``read`` with the ETag that it has now (If-Match).

        Raises:
            Conflict: it was changed since.
        """

    def verify(self, read: DpsCertificate, proof_pem: str) -> None:
        """Show a certificate with the code as its common name, signed by the CA's key (If-Match).

        Raises:
            Conflict: it was changed since.
            ServiceRefused: the proof is none.
        """

    def delete(self, read: DpsCertificate) -> None:
        """Delete what was read (If-Match).

        Raises:
            Conflict: it was changed since, or a group names it, if DPS minds.
        """


class Topic(Protocol):
    """The custom topic that lifecycle events go to."""

    def publish(self, event_id: str, event_type: str, subject: str, data: Mapping[str, Any], at: datetime) -> None:
        """Publish one CloudEvent. The same ID may be published again after a crash: subscribers deduplicate.

        Raises:
            ServiceUnavailable, ServiceRefused: it was not taken.
        """
