"""In-memory services for tests of the product: small, with the surprises of Azure that the product leans on.

They are not the stand-in (``local/azure``), share no code with it, and are fast enough for walking every state.
"""

import base64
import copy
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import batched
from types import MappingProxyType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from shared.authority import DpsCertificate
from shared.callers import Caller, Role
from shared.certificate import Certificate, parse_certificate
from shared.devices import Devices
from shared.enrollment import (
    Accepted,
    Enrollment,
    HubIdentity,
    Members,
    Registration,
    Shown,
    Twin,
    parse_enrollment,
    parse_member,
    parse_registration,
)
from shared.errors import Conflict, NotAuthenticated, NotFound, ServiceRefused, ServiceUnavailable
from shared.fleet import FleetProgress
from shared.fleet_ledger import Fleets
from shared.group import Group, parse_group
from shared.issuing import IssuerKey, SigningRequest
from shared.ledger import Ledger, Row, Write
from shared.looks import Looks
from shared.pins import Pinned, Pins
from shared.plans import Step
from shared.ports import Tagged
from shared.previews import Previews
from shared.quota import Quota
from shared.rollover import Rollover
from shared.seen import Issuance, Job, Listed, Policy, VaultVersion
from shared.services import Services
from shared.settings import Settings
from shared.suspects import count_since
from shared.target import Due
from shared.timers import Timers
from shared.tracing import here
from shared.waves import WavePolicy
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
        assert len({w.row["RowKey"] for w in writes}) == len(writes) <= 100, "at most 100 rows, each once"
        assert sum(len(json.dumps(w.row).encode()) for w in writes) < 4 << 20, "a transaction has 4 MiB at most"
        texts = [(name, value) for w in writes for name, value in w.row.items() if isinstance(value, str)]
        too_long = [name for name, value in texts if len(value.encode("utf-16-le")) > 64 << 10]
        if too_long:
            raise ServiceRefused(f"400 PropertyValueTooLarge: {too_long[0]} has more than 64 KiB of UTF-16")
        for write in writes:
            key = (write.row["PartitionKey"], write.row["RowKey"])
            current = self.rows.get(key)
            assert write.etag != "*", "every write carries the ETag that was read"
            if (write.etag is None) != (current is None) or (current and write.etag != str(current[1])):
                raise Conflict(f"row {key} is not the one that was read")
        etags = []
        for write in writes:
            self.version += 1
            key = (write.row["PartitionKey"], write.row["RowKey"])
            kept = self.rows[key][0] if write.merge else {}
            self.rows[key] = (kept | write.row, self.version)
            etags.append(str(self.version))
        return etags

    def slice(
        self,
        partition: str,
        first: str,
        beyond: str,
        *,
        columns: Sequence[str] | None = None,
        due: str | None = None,
        is_open: bool = False,
    ) -> Iterator[tuple[Row, str]]:
        for (where, key), (row, version) in sorted(self.rows.items()):
            if where != partition or not first <= key < beyond:
                continue
            if (due is not None or is_open) and not row["open"]:
                continue
            if due is not None and not "" < row["due_at"] <= due:
                continue
            yield {name: row[name] for name in columns or row if name in row}, str(version)

    def scan(
        self,
        prefix: str,
        *,
        partition: str | None = None,
        due: str | None = None,
        is_open: bool = False,
        given_up: str | None = None,
        after: str = "",
        equal: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterator[tuple[Row, str]]:
        for (where, key), (row, version) in sorted(self.rows.items()):
            if not key.startswith(prefix) or partition not in (None, where) or where <= after:
                continue
            if any(row.get(column) != value for column, value in equal.items()):
                continue
            if is_open and not row["open"]:
                continue
            if given_up and (row["plan"] != given_up or row["open"] or row["status"] in ("done", "preempted")):
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
        self.traces: list[str] = []
        """Where each belongs in a trace."""
        self.down = False

    def publish(self, event_id: str, event_type: str, subject: str, data: Mapping[str, Any], at: datetime) -> None:
        if self.down:
            raise ServiceUnavailable("the topic is down")
        self.published.append((event_id, event_type, subject))
        self.traces.append(here())

    def kinds(self) -> list[str]:
        return [kind for _, kind, _ in self.published]


def info(certificate: Certificate) -> dict[str, Any]:
    """The ``info`` object DPS keeps of a certificate, as far as the product reads it."""
    parsed = x509.load_der_x509_certificate(certificate.der)
    return {
        "subjectName": _name(parsed.subject),
        "issuerName": _name(parsed.issuer),
        "sha1Thumbprint": certificate.sha1_thumbprint,
        "sha256Thumbprint": certificate.sha256_thumbprint,
        "notBeforeUtc": certificate.not_before.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "notAfterUtc": certificate.not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _name(name: x509.Name) -> str:
    return ", ".join(f"{one.rfc4514_attribute_name}={one.value}" for one in reversed(list(name)))


class InMemoryDps:
    """Individual enrollments: ETags, info-only slots kept, null slots cleared, a lone primary mirrored."""

    def __init__(self, clock: Callable[[], datetime], *, mirror_primary: bool = True) -> None:
        self.enrolled: dict[str, dict[str, Any]] = {}
        self.grouped: dict[str, dict[str, Any]] = {}
        self.registrations: dict[str, dict[str, Any]] = {}
        self.members_of: dict[str, list[str]] = {}
        """Registration IDs by group, in the order in which they are listed."""
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

    def enroll_group(
        self, group_id: str, *signing: Certificate, ca_references: Sequence[str] = (), **extra: Any
    ) -> None:
        """Create a group as an operator would: with signing certificates, or with names of CA certificates."""
        trusted: Sequence[Any] = ca_references or [{"info": info(c)} for c in signing]
        member = "caReferences" if ca_references else "signingCertificates"
        slots = dict(zip(("primary", "secondary"), trusted, strict=False))
        if member == "signingCertificates":
            self._mirror(slots)
        self._version += 1
        self.grouped[group_id.lower()] = {
            "enrollmentGroupId": group_id,
            "attestation": {"type": "x509", "x509": {member: slots}},
            "provisioningStatus": "enabled",
            "etag": str(self._version),
            **extra,
        }

    def edit(self, registration_id: str, change: Callable[[dict[str, Any]], None]) -> None:
        """What a person does in the portal, between our read and our write."""
        body = copy.deepcopy(self.enrolled[registration_id.lower()])
        change(body)
        self._store(registration_id, body)

    def slots(self, registration_id: str) -> tuple[str | None, str | None]:
        """SHA-256 thumbprints of primary and secondary."""
        body = self.enrolled.get(registration_id.lower())
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
        self._mirror(certificates)
        self._version += 1
        body["etag"] = base64.b64encode(f'"{self._version}"'.encode()).decode()
        self.enrolled[registration_id.lower()] = body

    def _mirror(self, slots: dict[str, Any]) -> None:
        """Recorded, 2023: a lone primary comes back in both slots; of names it was not."""
        if self.mirror_primary and slots.get("primary") and not slots.get("secondary"):
            slots["secondary"] = copy.deepcopy(slots["primary"])

    def enrollment(self, registration_id: str) -> Enrollment | None:
        body = self.enrolled.get(registration_id.lower())
        if body is None:
            return None
        unassigned = {"registrationId": registration_id, "status": "unassigned"}
        state = self.registrations.get(registration_id.lower(), unassigned)
        return parse_enrollment(copy.deepcopy({**body, "registrationState": state}))

    def enrollments(self) -> Iterator[Enrollment]:
        """A query's answer has no registration states."""
        return (parse_enrollment(copy.deepcopy(body)) for body in list(self.enrolled.values()))

    def groups(self) -> Iterator[Group]:
        return (parse_group(copy.deepcopy(body)) for body in list(self.grouped.values()))

    def create(self, registration_id: str, body: Mapping[str, Any]) -> None:
        if registration_id.lower() in self.enrolled:
            raise Conflict("409")
        new = copy.deepcopy(dict(body))
        slots = new["attestation"]["x509"]["clientCertificates"]
        for slot, sent in list(slots.items()):
            slots[slot] = {"info": info(parse_certificate(_der(sent["certificate"])))}
        self._store(registration_id, new)

    def replace(self, enrollment: Enrollment, body: Mapping[str, Any]) -> None:
        current = self.enrolled.get(enrollment.registration_id.lower())
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

    def group(self, group_id: str) -> Group | None:
        body = self.grouped.get(group_id.lower())
        return parse_group(copy.deepcopy(body)) if body is not None else None

    def count_members(self, group_id: str, *since: datetime) -> list[int]:
        states = (self.registrations[name.lower()] for name in self.members_of.get(group_id.lower(), []))
        return count_since((parse_member(state) for state in states), since)

    def replace_group(self, group: Group, body: Mapping[str, Any]) -> None:
        current = self.grouped.get(group.enrollment_group_id.lower())
        assert group.etag not in ("", "*"), "every write carries the ETag that was read"
        if current is None:
            raise NotFound("no such group")
        if current["etag"] != group.etag:
            raise Conflict("412")
        assert "etag" not in body
        new = copy.deepcopy(dict(body))
        stored = current["attestation"]["x509"]
        x509_sent = new["attestation"]["x509"]
        signing = x509_sent.get("signingCertificates") or {}
        for slot, sent in list(signing.items()):
            if sent is None:
                del signing[slot]
            elif pem := sent.get("certificate"):
                signing[slot] = {"info": info(parse_certificate(_der(pem)))}
            elif sent["info"]["sha256Thumbprint"] != stored["signingCertificates"][slot]["info"]["sha256Thumbprint"]:
                raise AssertionError("an info-only slot must be the one that is stored there")
        if signing:
            self._mirror(signing)
        references = x509_sent.get("caReferences") or {}
        assert any(signing.values()) or any(references.values()), "DPS refuses an entry without any certificate"
        self._version += 1
        new["etag"] = str(self._version)
        self.grouped[group.enrollment_group_id.lower()] = new

    def members(self, group_id: str, after: str | None) -> Members:
        names = self.members_of.get(group_id.lower(), [])
        first = int(after or 0)
        states = [self.registrations[name.lower()] for name in names[first : first + 100]]
        more = str(first + 100) if len(names) > first + 100 else None
        return Members(tuple(parse_member(copy.deepcopy(state)) for state in states), more)

    def registration(self, registration_id: str) -> Registration | None:
        return parse_registration(self.registrations.get(registration_id.lower()))

    def registered(self, registration_id: str, hub: str = HUB, group: str | None = None) -> None:
        """Note a completed registration, through a group or not."""
        names = self.members_of.setdefault(group.lower(), []) if group else []
        if registration_id not in names:
            names.append(registration_id)
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%S.%f0Z")
        before = self.registrations.get(registration_id.lower(), {})
        self.registrations[registration_id.lower()] = {
            "registrationId": registration_id,
            "deviceId": registration_id,
            "status": "assigned",
            "assignedHub": hub,
            "createdDateTimeUtc": before.get("createdDateTimeUtc", now),
            "lastUpdatedDateTimeUtc": now,
        }


def _der(pem: str) -> bytes:
    return base64.b64decode("".join(pem.strip().splitlines()[1:-1]))


class InMemoryAuthorities:
    """CA certificates of the DPS. Every call on one gives it another ETag; a proof is taken as such."""

    def __init__(self) -> None:
        self.kept: dict[str, DpsCertificate] = {}
        self.codes: dict[str, str] = {}
        self._version = 0

    def add(self, name: str, certificate: Certificate, *, verified: bool = True) -> None:
        """Upload one as an operator would."""
        self._version += 1
        self.kept[name.lower()] = DpsCertificate(name, certificate, verified, f"e{self._version}")

    def all(self) -> list[DpsCertificate]:
        return [self.kept[name] for name in sorted(self.kept)]

    def get(self, name: str) -> DpsCertificate | None:
        return self.kept.get(name.lower())

    def put(self, name: str, certificate: Certificate, *, verified: bool, read: DpsCertificate | None) -> None:
        current = self.kept.get(name.lower())
        if (current is None) != (read is None) or (current and read and current.etag != read.etag):
            raise Conflict("412")
        self.add(name, certificate, verified=verified)

    def verification_code(self, read: DpsCertificate) -> tuple[str, DpsCertificate]:
        current = self._as_read(read)
        key = current.name.lower()
        self._version += 1
        self.kept[key] = replace(current, etag=f"e{self._version}")
        self.codes[key] = f"code-{self._version}"
        return self.codes[key], self.kept[key]

    def verify(self, read: DpsCertificate, proof_pem: str) -> None:
        current = self._as_read(read)
        if parse_certificate(_der(proof_pem)).common_name != self.codes.get(current.name.lower()):
            raise ServiceRefused("400: the proof has another common name than the verification code")
        self._version += 1
        self.kept[current.name.lower()] = replace(current, verified=True, etag=f"e{self._version}")

    def delete(self, read: DpsCertificate) -> None:
        del self.kept[self._as_read(read).name.lower()]

    def _as_read(self, read: DpsCertificate) -> DpsCertificate:
        current = self.kept.get(read.name.lower())
        if current is None:
            raise NotFound("no such CA certificate")
        if current.etag != read.etag:
            raise Conflict("412")
        return current


class InMemoryHub:
    """Device identities and jobs. A job answers as ``on_job`` says."""

    def __init__(self) -> None:
        self.identities: dict[str, HubIdentity] = {}
        self.twins: dict[str, Twin] = {}
        self.jobs: dict[str, Job] = {}
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.page = 1000
        """Devices that one page of a query shows."""
        self.tier = Quota("S3", 1)
        self._version = 0

    def provision(self, device_id: str, sha256_thumbprint: str) -> None:
        """What a DPS registration writes: one thumbprint, twice."""
        self.put(device_id, sha256_thumbprint, sha256_thumbprint)

    def put(self, device_id: str, primary: str | None, secondary: str | None, **fields: Any) -> None:
        self._version += 1
        known = self.identities.get(device_id)
        generation = known.generation if known else f"g{self._version}"
        values = {"enabled": True, "authentication": "selfSigned", "generation": generation, **fields}
        self.identities[device_id] = HubIdentity(
            device_id=device_id, etag=str(self._version), primary=primary, secondary=secondary, **values
        )

    def identity(self, device_id: str) -> HubIdentity | None:
        return self.identities.get(device_id)

    def holders(self, thumbprints: Collection[str]) -> list[str]:
        held = {device_id: {*identity.thumbprints()} for device_id, identity in self.identities.items()}
        return sorted(device_id for device_id, shown in held.items() if not shown.isdisjoint(thumbprints))

    def pinned(self, after: str | None) -> tuple[list[Pinned], str | None]:
        ours = [one for _, one in sorted(self.identities.items()) if one.authentication == "selfSigned"]
        first = int(after or 0)
        shown = [Pinned(one.device_id, tuple(sorted(one.thumbprints()))) for one in ours[first : first + self.page]]
        return shown, str(first + self.page) if len(ours) > first + self.page else None

    def accepted(self, device_ids: Collection[str]) -> Iterator[Mapping[str, Accepted | None]]:
        assert sum(len(one) + 4 for one in device_ids) < 8100, "a query has 8,192 characters at most"
        found = [self.identities[one] for one in sorted(device_ids) if one in self.identities]
        for page in batched(found, self.page, strict=False):
            yield {one.device_id: Accepted(one.device_id, one.enabled, one.primary, one.secondary) for one in page}
        if not found:
            yield {}

    def by_authority(self) -> list[str]:
        return sorted(one.device_id for one in self.identities.values() if one.authentication == "certificateAuthority")

    def rewrite(self, identity: HubIdentity) -> None:
        current = self._as_read(identity)
        self._version += 1
        connected = current.connected and identity.enabled  # a disabled identity loses its session
        self.identities[identity.device_id] = replace(
            identity, etag=str(self._version), connected=connected, generation=current.generation
        )

    def delete(self, identity: HubIdentity) -> None:
        self._as_read(identity)
        del self.identities[identity.device_id]
        self.twins.pop(identity.device_id, None)

    def shown(self, device_id: str) -> Shown | None:
        one, twin = self.identities.get(device_id), self.twin(device_id)
        if one is None or twin is None:
            return None
        return Shown(
            device_id, one.enabled, one.primary, one.secondary, one.etag, one.authentication, one.connected, twin
        )

    def delete_many(self, found: Sequence[Shown]) -> Mapping[str, str]:
        assert 0 < len(found) <= 100, "a bulk call takes up to a hundred devices"
        failed = {}
        for one in found:
            current = self.identities.get(one.device_id)
            if current is None:
                failed[one.device_id] = "DeviceNotFound"
            elif current.etag != one.identity_etag:
                failed[one.device_id] = "PreconditionFailed"
            else:
                self.delete(current)
        return failed

    def quota(self) -> Quota:
        return self.tier

    def twin(self, device_id: str) -> Twin | None:
        if device_id not in self.identities:
            return None
        return self.twins.get(device_id, Twin("t0", {}, {}))

    def replace_twin(self, device_id: str, read: Twin, twin: Twin) -> None:
        current = self.twin(device_id)
        if current is None:
            raise NotFound("no such device")
        assert read.etag not in ("", "*"), "every write carries the ETag that was read"
        if current.etag != read.etag:
            raise Conflict("412")
        self._version += 1
        self.twins[device_id] = Twin(f"t{self._version}", twin.tags, twin.desired)

    def _as_read(self, identity: HubIdentity) -> HubIdentity:
        assert identity.etag not in ("", "*"), "every write carries the ETag that was read"
        current = self.identities.get(identity.device_id)
        if current is None:
            raise NotFound("no such device")
        if current.etag != identity.etag:
            raise Conflict("412")
        return current

    def start_method_job(self, job_id: str, device_id: str, method: str, payload: Mapping[str, Any]) -> None:
        if job_id in self.jobs:
            raise Conflict("409")
        self.asked.append((device_id, payload))
        self.jobs[job_id] = Job(finished=True, summary="completed: 1 answered, 0 not reached")

    def start_fleet_job(self, job_id: str, device_ids: Sequence[str], method: str, payload: Mapping[str, Any]) -> None:
        assert sum(len(one) + 4 for one in device_ids) < 8192, "a condition has 8,192 characters at most"
        if job_id in self.jobs:
            raise Conflict("409")
        self.asked += [(device_id, payload) for device_id in device_ids]
        self.jobs[job_id] = Job(finished=True, summary=f"completed: {len(device_ids)} answered, 0 not reached")

    def job(self, job_id: str) -> Job | None:
        return self.jobs.get(job_id)


class InMemoryFleet:
    """Works on the devices of groups, each done in one go when it is begun; a wave only asks."""

    def open_works(self) -> Iterator[tuple[Any, ...]]:
        return iter(())

    def __init__(self, hub: InMemoryHub, dps: InMemoryDps) -> None:
        self.hub = hub
        self.dps = dps
        self.pins = Pins(InMemoryTable())
        self.moved: set[str] = set()
        self.begun: list[tuple[str, str, int]] = []
        self.halted: str | None = None
        self.enough = 1.0
        """Which share of moved, or returned, devices is the threshold."""

    def progress(self, rollover: Rollover, work: str) -> FleetProgress | None:
        if (rollover.id, work, rollover.round) not in self.begun:
            return None
        devices = self.dps.members_of.get((rollover.group_id or "").lower(), [])
        left = [one for one in devices if not self._is_done(one, work)]
        done = len(devices) - len(left)
        return FleetProgress(
            work=work,
            listed=True,
            devices=len(devices),
            done=done,
            batches=1,
            batches_done=int(work in ("evict", "check") or not left),
            stragglers=tuple(left[:100]),
            halted=self.halted,
            threshold_reached=work in ("wave", "restore") and done >= self.enough * len(devices),
        )

    def _is_done(self, device_id: str, work: str) -> bool:
        if work == "wave":
            return device_id in self.moved
        return (device_id in self.hub.identities) == (work == "restore")

    def begin(self, rollover: Rollover, work: str) -> None:
        key = (rollover.id, work, rollover.round)
        if key in self.begun:
            raise Conflict("begun already")
        self.begun.append(key)
        if work == "evict":
            for device_id in self.dps.members_of.get((rollover.group_id or "").lower(), []):
                self.hub.identities.pop(device_id, None)


@dataclass
class Kept:
    """A certificate of the vault with its versions, oldest first."""

    versions: list[Certificate]
    tags: dict[str, str] = field(default_factory=dict)
    enabled: bool = True
    pending: Issuance | None = None
    keys: dict[str, IssuerKey] = field(default_factory=dict)
    """SHA-256 thumbprint → key, of the versions whose key is known to the test."""
    asks_for_signature: Callable[[], IssuerKey] | None = None
    """Makes the key of a new version, where the issuer is unknown to the vault."""
    waiting: IssuerKey | None = None


class InMemoryVault:
    """Certificates by name. ``issue`` adds what ``issues`` makes."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}
        self.issues: Callable[[str], Certificate | None] = lambda name: None
        self.asked = 0
        self.chains: dict[str, list[bytes]] = {}
        """SHA-256 thumbprint → what was merged above it."""

    def certificates(self) -> Iterator[Listed]:
        for name, kept in sorted(self.kept.items()):
            latest = kept.versions[-1]
            yield Listed(name, latest.not_after, latest.sha1_thumbprint, dict(kept.tags), latest.not_before)

    def latest(self, name: str) -> Tagged | None:
        kept = self.kept.get(name)
        if kept is None:
            return None
        version = f"v{len(kept.versions)}"
        latest = VaultVersion(version, kept.enabled, kept.versions[-1])
        return Tagged(name, latest, dict(kept.tags), self.versioned_id(name, version))

    def versions(self, name: str) -> dict[str, str]:
        """An unknown name has none (recorded of the service)."""
        versions = self.kept[name].versions if name in self.kept else []
        return {c.sha1_thumbprint: f"v{n}" for n, c in enumerate(versions, 1)}

    def public_key_sha256(self, name: str, version: str) -> str:
        return self.kept[name].versions[int(version[1:]) - 1].public_key_sha256

    def sha256_thumbprint(self, name: str, version: str) -> str:
        return self.kept[name].versions[int(version[1:]) - 1].sha256_thumbprint

    def certificate(self, name: str, version: str) -> Certificate:
        return self.kept[name].versions[int(version[1:]) - 1]

    def issuance(self, name: str) -> Issuance | None:
        return self.kept[name].pending

    def request(self, name: str) -> SigningRequest | None:
        kept = self.kept[name]
        if kept.waiting is None:
            return None
        subject = x509.load_der_x509_certificate(kept.versions[-1].der).subject
        csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(kept.waiting, hashes.SHA256())
        return SigningRequest(csr.public_bytes(Encoding.DER), months=12)

    def merge(self, name: str, chain: Sequence[bytes]) -> None:
        kept = self.kept[name]
        if kept.waiting is None:
            raise Conflict("409: no request waits")
        new = parse_certificate(chain[0])
        assert x509.load_der_x509_certificate(new.der).public_key() == kept.waiting.public_key()
        self.chains[new.sha256_thumbprint] = list(chain[1:])
        kept.keys[new.sha256_thumbprint] = kept.waiting
        kept.waiting = kept.pending = None
        kept.versions.append(new)

    def signing_key(self, name: str, version: str) -> IssuerKey:
        return self.kept[name].keys[self.certificate(name, version).sha256_thumbprint]

    def issue(self, name: str) -> None:
        self.asked += 1
        if (make := self.kept[name].asks_for_signature) is not None:
            if self.kept[name].waiting is not None:
                raise Conflict("409: one is pending")
            self.kept[name].waiting = make()
            self.kept[name].pending = Issuance(in_progress=True, needs_signing=True, error=None)
        elif (new := self.issues(name)) is not None:
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
        hub_name=HUB.partition(".")[0],
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
        waves=WavePolicy(),
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
    fleet: InMemoryFleet | None
    authorities: InMemoryAuthorities = field(default_factory=InMemoryAuthorities)
    fleets: InMemoryTable = field(default_factory=InMemoryTable)

    @property
    def services(self) -> Services:
        """As a function sees them."""
        return Services(
            provisioning=self.dps,
            hub=self.hub,
            vault=self.vault,
            authorities=self.authorities,
            fleet=self.fleet or Fleets(self.fleets, self.nudges, self.settings, self.clock),
            ledger=Ledger(self.table),
            previews=Previews(self.table),
            devices=Devices(self.table),
            looks=Looks(self.table),
            timers=Timers(self.table),
            nudges=self.nudges,
            topic=self.topic,
            callers=self.callers,
            settings=self.settings,
            now=self.clock,
        )


def a_world(*, mirror_primary: bool = True, **policy: Any) -> World:
    """An empty world at ``tests.certificates.NOW``."""
    clock = Clock()
    hub = InMemoryHub()
    dps = InMemoryDps(clock, mirror_primary=mirror_primary)
    return World(
        clock=clock,
        dps=dps,
        hub=hub,
        fleet=InMemoryFleet(hub, dps),
        vault=InMemoryVault(),
        table=InMemoryTable(),
        nudges=RecordedNudges(),
        topic=RecordedTopic(),
        callers=InMemoryCallers(),
        settings=some_settings(**policy),
    )
