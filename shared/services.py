"""The ports a function may use, and how they are built from the application settings.

Nothing of Azure is imported until the first function runs: an import error would take down every function of
the app, and the SDKs are what makes a cold start slow.
"""

import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Protocol

from shared.authority import DpsCertificate
from shared.callers import Callers, NobodyMayCall
from shared.certificate import Certificate
from shared.devices import Devices
from shared.enrollment import Enrollment, HubIdentity, Members, Registration, Shown, Twin
from shared.events import LogEvent, log
from shared.fleet_ledger import Fleets
from shared.group import Group
from shared.issuing import IssuerKey, SigningRequest
from shared.ledger import Ledger
from shared.looks import Looks
from shared.nudges import Nudges
from shared.pins import Pinned
from shared.previews import Previews
from shared.quota import Quota
from shared.seen import Issuance, Job, Listed, VaultVersion
from shared.settings import Settings, read_settings
from shared.timers import Timers
from shared.tracing import within


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


@dataclass(frozen=True)
class Services:
    """Everything a function may touch."""

    provisioning: Provisioning
    hub: Hub
    vault: Vault
    authorities: Authorities
    fleet: Fleets
    ledger: Ledger
    previews: Previews
    devices: Devices
    looks: Looks
    timers: Timers
    nudges: Nudges
    topic: Topic
    callers: Callers
    settings: Settings
    now: Callable[[], datetime]


class TraceContext(Protocol):
    """Where an invocation stands in the host's trace."""

    @property
    def trace_parent(self) -> str:
        """A W3C traceparent, or nothing."""


class Invocation(Protocol):
    """One run of a function, as the worker tells it in the parameter ``context``."""

    @property
    def trace_context(self) -> TraceContext: ...


def _export_telemetry(connection_string: str) -> None:
    """Without the setting nothing is emitted; telemetry that cannot be set up stops no rollover."""
    if not connection_string:
        return
    try:
        from shared.clients.monitor import export_telemetry

        export_telemetry(connection_string)
    except Exception as error:  # noqa: BLE001  whatever it is; the host still forwards our lines, and this one
        log(LogEvent.TELEMETRY_FAILED, why=f"{type(error).__name__}")


@cache
def services() -> Services:
    """The services of this process, built at the first call.

    Raises:
        Misconfigured: the application settings are incomplete; the message names every one.
    """
    _export_telemetry(os.environ.get("APPLICATIONINSIGHTS_CONNECTION_STRING", ""))
    settings = read_settings(os.environ)
    # Imported here: see the module's docstring.
    from azure.identity import DefaultAzureCredential

    from shared.clients.authorities import AuthoritiesClient, NoAuthorities
    from shared.clients.entra import EntraTokens
    from shared.clients.hub import HubClient
    from shared.clients.provisioning import ProvisioningClient
    from shared.clients.storage import open_storage
    from shared.clients.topic import TopicClient
    from shared.clients.vault import VaultClient

    logging.getLogger("azure").setLevel(logging.WARNING)  # else each request of an SDK is a dozen lines
    credential = DefaultAzureCredential(managed_identity_client_id=os.environ.get("AZURE_CLIENT_ID"))
    table, fleets, nudges = open_storage(settings, credential)

    def now() -> datetime:
        return datetime.now(UTC)

    issuer, audience = settings.entra_issuer, settings.entra_audience
    return Services(
        provisioning=ProvisioningClient(settings, credential),
        hub=HubClient(settings, credential),
        vault=VaultClient(settings, credential),
        authorities=AuthoritiesClient(settings, dps, credential)
        if (dps := settings.dps_resource_id)
        else NoAuthorities(),
        fleet=Fleets(fleets, nudges, settings, now),
        ledger=Ledger(table),
        previews=Previews(table),
        devices=Devices(table),
        looks=Looks(table),
        timers=Timers(table),
        nudges=nudges,
        topic=TopicClient(settings, credential),
        callers=EntraTokens(issuer, audience) if issuer and audience else NobodyMayCall(),
        settings=settings,
        now=now,
    )


@contextmanager
def invoked(invocation: Invocation) -> Iterator[Services]:
    """The services for one run of a function, whose telemetry belongs below the host's own.

    The worker puts that context in place for asynchronous functions alone (azure-functions-runtime 1.3.0,
    ``handle_event`` and ``run_sync_func``).
    """
    ports = services()
    with within(invocation.trace_context.trace_parent):
        yield ports
