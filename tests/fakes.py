"""In-memory services for tests of the product: small, with the surprises of Azure that the product leans on.

They are not the stand-in (``local/azure``), share no code with it, and are fast enough for walking every state.
"""

import base64
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.callers import Caller, Role
from shared.certificate import Certificate, parse_certificate
from shared.decide import Issuance, Job, Policy, VaultVersion
from shared.enrollment import Enrollment, HubIdentity, parse_enrollment
from shared.errors import Conflict, NotAuthenticated, NotFound, ServiceUnavailable
from shared.ledger import Ledger, Row, Write
from shared.rollover import Step
from shared.services import Listed, Services, Tagged
from shared.settings import Settings
from shared.target import Due
from tests.certificates import NOW

HUB = "hub.azure-devices.net"


@dataclass
class Clock:
    """The time, moved by hand."""

    time: datetime = NOW

    def __call__(self) -> datetime:
        return self.time

    def advance(self, delta: timedelta) -> None:
        self.time += delta


class InMemoryTable:
    """The ledger's table: transactions by partition, an ETag per row."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], tuple[Row, int]] = {}
        self.version = 0

    def read(self, partition: str, row: str) -> tuple[Row, str] | None:
        found = self.rows.get((partition, row))
        return (dict(found[0]), str(found[1])) if found else None

    def commit(self, writes: Sequence[Write]) -> list[str]:
        assert len({w.row["PartitionKey"] for w in writes}) == 1, "a transaction is within one partition"
        for write in writes:
            key = (write.row["PartitionKey"], write.row["RowKey"])
            current = self.rows.get(key)
            assert write.etag != "*", "every write carries the ETag that was read"
            if (write.etag is None) != (current is None) or (current and write.etag != str(current[1])):
                raise Conflict(f"row {key} is not the one that was read")
        etags = []
        for write in writes:
            self.version += 1
            self.rows[write.row["PartitionKey"], write.row["RowKey"]] = (dict(write.row), self.version)
            etags.append(str(self.version))
        return etags

    def scan(self, prefix: str, *, partition: str | None = None, due: str | None = None) -> Iterator[tuple[Row, str]]:
        for (where, key), (row, version) in sorted(self.rows.items()):
            if not key.startswith(prefix) or partition not in (None, where):
                continue
            if due is None or (row["open"] and row["due_at"] <= due) or row["unpublished"]:
                yield dict(row), str(version)


class RecordedNudges:
    """Nudges that were sent and not yet delivered."""

    def __init__(self) -> None:
        self.sent: list[tuple[Step, str, timedelta]] = []

    def send(self, step: Step, rollover_id: str, delay: timedelta = timedelta(), life: timedelta | None = None) -> None:
        self.sent.append((step, rollover_id, delay))


class RecordedTopic:
    """Lifecycle events that were published."""

    def __init__(self) -> None:
        self.published: list[tuple[str, str, str]] = []
        self.down = False

    def publish(self, event_id: str, event_type: str, subject: str, data: Mapping[str, Any], at: datetime) -> None:
        if self.down:
            raise ServiceUnavailable("the topic is down")
        self.published.append((event_id, event_type, subject))

    def kinds(self) -> list[str]:
        return [kind for _, kind, _ in self.published]


def info(certificate: Certificate) -> dict[str, Any]:
    """The ``info`` object DPS keeps of a certificate, as far as the product reads it."""
    return {
        "subjectName": f"CN={certificate.common_name}",
        "sha1Thumbprint": certificate.sha1_thumbprint,
        "sha256Thumbprint": certificate.sha256_thumbprint,
        "notBeforeUtc": certificate.not_before.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "notAfterUtc": certificate.not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


class InMemoryDps:
    """Individual enrollments: ETags, info-only slots kept, null slots cleared, a lone primary mirrored."""

    def __init__(self, clock: Callable[[], datetime], *, mirror_primary: bool = True) -> None:
        self.enrollments: dict[str, dict[str, Any]] = {}
        self.registrations: dict[str, dict[str, Any]] = {}
        self.mirror_primary = mirror_primary
        self._clock = clock
        self._version = 0

    def enroll(self, registration_id: str, *certificates: Certificate, **extra: Any) -> None:
        """Create an enrollment as an operator would."""
        slots = dict(zip(("primary", "secondary"), ({"info": info(c)} for c in certificates), strict=False))
        body = {
            "registrationId": registration_id,
            "deviceId": registration_id,
            "attestation": {"type": "x509", "x509": {"clientCertificates": slots}},
            "provisioningStatus": "enabled",
            "reprovisionPolicy": {"updateHubAssignment": True, "migrateDeviceData": True},
            **extra,
        }
        self._store(registration_id, body)

    def edit(self, registration_id: str, change: Callable[[dict[str, Any]], None]) -> None:
        """What a person does in the portal, between our read and our write."""
        body = copy.deepcopy(self.enrollments[registration_id.lower()])
        change(body)
        self._store(registration_id, body)

    def slots(self, registration_id: str) -> tuple[str | None, str | None]:
        """SHA-256 thumbprints of primary and secondary."""
        body = self.enrollments.get(registration_id.lower())
        if body is None:
            return (None, None)
        certificates = body["attestation"]["x509"]["clientCertificates"]
        return tuple(  # type: ignore[return-value]
            (certificates.get(slot) or {}).get("info", {}).get("sha256Thumbprint") for slot in ("primary", "secondary")
        )

    def _store(self, registration_id: str, body: dict[str, Any]) -> None:
        certificates = body["attestation"].get("x509", {}).get("clientCertificates", {})
        for slot in ("primary", "secondary"):
            if not certificates.get(slot):
                certificates.pop(slot, None)
        if self.mirror_primary and "primary" in certificates and "secondary" not in certificates:
            certificates["secondary"] = copy.deepcopy(certificates["primary"])
        self._version += 1
        body["etag"] = base64.b64encode(f'"{self._version}"'.encode()).decode()
        self.enrollments[registration_id.lower()] = body

    def enrollment(self, registration_id: str) -> Enrollment | None:
        body = self.enrollments.get(registration_id.lower())
        if body is None:
            return None
        unassigned = {"registrationId": registration_id, "status": "unassigned"}
        state = self.registrations.get(registration_id.lower(), unassigned)
        return parse_enrollment(copy.deepcopy({**body, "registrationState": state}))

    def replace(self, enrollment: Enrollment, body: Mapping[str, Any]) -> None:
        current = self.enrollments.get(enrollment.registration_id.lower())
        assert enrollment.etag not in ("", "*"), "every write carries the ETag that was read"
        if current is None:
            raise NotFound("no such enrollment")
        if current["etag"] != enrollment.etag:
            raise Conflict("412")
        assert "etag" not in body
        assert "registrationState" not in body
        stored = current["attestation"]["x509"]["clientCertificates"]
        new = copy.deepcopy(dict(body))
        certificates = new["attestation"]["x509"]["clientCertificates"]
        for slot, sent in list(certificates.items()):
            if sent is None:
                continue
            if pem := sent.get("certificate"):
                certificates[slot] = {"info": info(parse_certificate(_der(pem)))}
            elif sent["info"]["sha256Thumbprint"] != stored[slot]["info"]["sha256Thumbprint"]:
                raise AssertionError("an info-only slot must be the one that is stored there")
        assert any(certificates.values()), "DPS refuses an entry without any certificate"
        self._store(enrollment.registration_id, new)

    def registered(self, registration_id: str, hub: str = HUB) -> None:
        """Note a completed registration."""
        self.registrations[registration_id.lower()] = {
            "registrationId": registration_id,
            "deviceId": registration_id,
            "status": "assigned",
            "assignedHub": hub,
            "lastUpdatedDateTimeUtc": self._clock().strftime("%Y-%m-%dT%H:%M:%S.%f0Z"),
        }


def _der(pem: str) -> bytes:
    return base64.b64decode("".join(pem.strip().splitlines()[1:-1]))


class InMemoryHub:
    """Device identities and jobs. A job answers as ``on_job`` says."""

    def __init__(self) -> None:
        self.identities: dict[str, HubIdentity] = {}
        self.jobs: dict[str, Job] = {}
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self._version = 0

    def provision(self, device_id: str, sha256_thumbprint: str) -> None:
        """What a DPS registration writes: one thumbprint, twice."""
        self.put(device_id, sha256_thumbprint, sha256_thumbprint)

    def put(self, device_id: str, primary: str | None, secondary: str | None, **fields: Any) -> None:
        self._version += 1
        values = {"enabled": True, "authentication": "selfSigned", **fields}
        self.identities[device_id] = HubIdentity(
            device_id=device_id, etag=str(self._version), primary=primary, secondary=secondary, **values
        )

    def identity(self, device_id: str) -> HubIdentity | None:
        return self.identities.get(device_id)

    def replace_thumbprints(self, identity: HubIdentity, primary: str, secondary: str) -> None:
        assert identity.etag not in ("", "*"), "every write carries the ETag that was read"
        current = self.identities.get(identity.device_id)
        if current is None:
            raise NotFound("no such device")
        if current.etag != identity.etag:
            raise Conflict("412")
        self.put(
            identity.device_id,
            primary,
            secondary,
            enabled=identity.enabled,
            iot_edge=identity.iot_edge,
            status_reason=identity.status_reason,
            device_scope=identity.device_scope,
            parent_scopes=identity.parent_scopes,
        )

    def start_method_job(self, job_id: str, device_id: str, method: str, payload: Mapping[str, Any]) -> None:
        if job_id in self.jobs:
            raise Conflict("409")
        self.asked.append((device_id, payload))
        self.jobs[job_id] = Job(finished=True, summary="completed: 1 answered, 0 not reached")

    def job(self, job_id: str) -> Job | None:
        return self.jobs.get(job_id)


@dataclass
class Kept:
    """A certificate of the vault with its versions, oldest first."""

    versions: list[Certificate]
    tags: dict[str, str] = field(default_factory=dict)
    enabled: bool = True
    pending: Issuance | None = None


class InMemoryVault:
    """Certificates by name. ``issue`` adds what ``issues`` makes."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}
        self.issues: Callable[[str], Certificate | None] = lambda name: None
        self.asked = 0

    def certificates(self) -> Iterator[Listed]:
        return (Listed(name, kept.versions[-1].not_after) for name, kept in sorted(self.kept.items()))

    def latest(self, name: str) -> Tagged | None:
        kept = self.kept.get(name)
        if kept is None:
            return None
        version = f"v{len(kept.versions)}"
        latest = VaultVersion(version, kept.enabled, kept.versions[-1])
        return Tagged(name, latest, dict(kept.tags), self.versioned_id(name, version))

    def versions(self, name: str) -> dict[str, str]:
        return {c.sha1_thumbprint: f"v{n}" for n, c in enumerate(self.kept[name].versions, 1)}

    def public_key_sha256(self, name: str, version: str) -> str:
        return self.kept[name].versions[int(version[1:]) - 1].public_key_sha256

    def issuance(self, name: str) -> Issuance | None:
        return self.kept[name].pending

    def issue(self, name: str) -> None:
        self.asked += 1
        if (new := self.issues(name)) is not None:
            self.kept[name].versions.append(new)

    def versioned_id(self, name: str, version: str) -> str:
        return f"https://vault.example/certificates/{name}/{version}"


class InMemoryCallers:
    """Callers by what follows ``Bearer``."""

    def __init__(self) -> None:
        self.known = {
            "oncall": somebody("oncall", Role.BREACH_EXECUTE),
            "oncall-2": somebody("oncall-2", Role.BREACH_EXECUTE),
            "operator": somebody("operator", Role.ROLLOVER_OPERATE),
            "auditor": somebody("auditor", Role.ROLLOVER_READ),
            "stranger": somebody("stranger"),
        }

    def identify(self, authorization: str | None) -> Caller:
        found = self.known.get((authorization or "").removeprefix("Bearer "))
        if found is None:
            raise NotAuthenticated("there is no bearer token")
        return found


def somebody(name: str, *roles: Role) -> Caller:
    """A caller with these roles."""
    return Caller(object_id=f"id-of-{name}", tenant_id="tenant", name=name, roles=frozenset(roles))


def some_settings(**policy: Any) -> Settings:
    """Settings that no test depends on, with a policy."""
    return Settings(
        dps_endpoint="https://dps.example",
        hub_hostname=HUB,
        vault_url="https://vault.example",
        topic_endpoint="https://topic.example/api/events",
        storage_connection="x",
        queue_url=None,
        table_url=None,
        policy=Policy(**policy),
        due=Due(window=timedelta(days=30), share=0.34),
        reprovision_method="reprovision",
        entra_issuer="https://entra.example/tenant/v2.0",
        entra_audience="api",
        breach_fuse=10,
        verify_challenge_resource=True,
    )


@dataclass
class World:
    """All services at once, in memory."""

    clock: Clock
    dps: InMemoryDps
    hub: InMemoryHub
    vault: InMemoryVault
    table: InMemoryTable
    nudges: RecordedNudges
    topic: RecordedTopic
    callers: InMemoryCallers
    settings: Settings

    @property
    def services(self) -> Services:
        """As a function sees them."""
        return Services(
            provisioning=self.dps,
            hub=self.hub,
            vault=self.vault,
            ledger=Ledger(self.table),
            nudges=self.nudges,
            topic=self.topic,
            callers=self.callers,
            settings=self.settings,
            now=self.clock,
        )


def a_world(*, mirror_primary: bool = True, **policy: Any) -> World:
    """An empty world at ``tests.certificates.NOW``."""
    clock = Clock()
    return World(
        clock=clock,
        dps=InMemoryDps(clock, mirror_primary=mirror_primary),
        hub=InMemoryHub(),
        vault=InMemoryVault(),
        table=InMemoryTable(),
        nudges=RecordedNudges(),
        topic=RecordedTopic(),
        callers=InMemoryCallers(),
        settings=some_settings(**policy),
    )
