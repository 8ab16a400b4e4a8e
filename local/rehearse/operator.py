"""What a person with all the rights does and sees, through the real Azure SDK clients and the app's HTTP functions."""

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests
from azure.iot.deviceprovisioning import DeviceProvisioningClient
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import Twin, TwinProperties
from azure.keyvault.certificates import (
    CertificateClient,
    CertificateContentType,
    CertificatePolicy,
    CertificatePolicyAction,
    KeyCurveName,
    KeyType,
    LifetimeAction,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from local.rehearse.calling import api_of
from local.rehearse.moving import Identity, MovedClock
from local.rehearse.pki import CertificateAuthority, Validity, ders_of

ENROLLMENT_TAG, GROUP_TAG = "rollover-enrollment", "rollover-group"
VALIDITY_MONTHS = 12
CREATION_S = 20.0


@dataclass(frozen=True)
class VaultCertificate:
    """The latest version of a vault certificate."""

    der: bytes
    sha256: str
    """Thumbprint, upper-case hex."""
    not_after: datetime


class _Clients:
    """SDK clients for the time between two moves of the clock: they keep tokens."""

    def __init__(self, document: Mapping[str, Any], clock: MovedClock) -> None:
        identity = Identity("operator", clock)
        # The stand-in's address is not under the vault's token audience.
        self.vault = CertificateClient(document["keyvault"]["url"], identity, verify_challenge_resource=False)
        self.dps = DeviceProvisioningClient(document["dps"]["service_url"], identity)
        hub = document["iothub"]["service_url"].removeprefix("https://")
        self.hub = IoTHubRegistryManager.from_token_credential(hub, identity)


class Operator:
    """Acts on the endpoints of `document` and on nothing else. May be used by several threads."""

    def __init__(self, document: Mapping[str, Any], clock: MovedClock) -> None:
        self._document = document
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[int, _Clients] | None = None

    @property
    def _azure(self) -> _Clients:
        with self._lock:
            moves = self._clock.moves
            if self._kept is None or self._kept[0] != moves:
                self._kept = (moves, _Clients(self._document, self._clock))
            return self._kept[1]

    def create_certificates(self, names: Mapping[str, CertificateContentType]) -> dict[str, VaultCertificate]:
        """One exportable EC P-256 certificate for each name, which is common name and tagged registration ID too."""
        for name, content_type in names.items():
            policy = CertificatePolicy(
                issuer_name="Self",
                subject=f"CN={name}",
                exportable=True,
                key_type=KeyType.ec,
                key_curve_name=KeyCurveName.p_256,
                reuse_key=False,
                content_type=content_type,
                validity_in_months=VALIDITY_MONTHS,
                # No renewal by the vault: near expiry it says so, and the app asks for the new version.
                lifetime_actions=[LifetimeAction(CertificatePolicyAction.email_contacts, days_before_expiry=30)],
            )
            self._azure.vault.begin_create_certificate(name, policy, tags={ENROLLMENT_TAG: name})
        deadline = time.monotonic() + CREATION_S
        while any(self._azure.vault.get_certificate_operation(name).status == "inProgress" for name in names):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the vault did not make {len(names)} certificates within {CREATION_S:g} s")
            time.sleep(0.1)
        return {name: self.latest(name) for name in names}

    def issue_by(
        self,
        ca: CertificateAuthority,
        names: Sequence[str],
        tags: Callable[[str], dict[str, str]],
        validity: Validity | None = None,
    ) -> None:
        """A certificate for each device, exportable, that the vault asked for (issuer Unknown) and this CA signed; it
        ends with its CA unless told otherwise."""
        for name in names:
            policy = CertificatePolicy(
                issuer_name="Unknown",
                subject=f"CN={name}",
                exportable=True,
                key_type=KeyType.ec,
                key_curve_name=KeyCurveName.p_256,
                reuse_key=False,
                content_type=CertificateContentType.pem,
            )
            self._azure.vault.begin_create_certificate(name, policy, tags=tags(name))
            request = self._azure.vault.get_certificate_operation(name).csr
            chain = ca.sign(x509.load_der_x509_csr(bytes(request or b"")), validity or ca.validity)
            self._azure.vault.merge_certificate(name, ders_of(chain))

    def import_ca(self, name: str, ca: CertificateAuthority, group_id: str) -> None:
        """Put a CA with its key into the vault, as a new version if there is one of this name, for this group."""
        policy = CertificatePolicy(
            issuer_name="Unknown", exportable=False, reuse_key=False, content_type=CertificateContentType.pkcs12
        )
        self._azure.vault.import_certificate(name, ca.pfx, policy=policy, tags={GROUP_TAG: group_id})

    def latest(self, name: str) -> VaultCertificate:
        """The latest version of a certificate."""
        der = bytes(self._azure.vault.get_certificate(name).cer or b"")
        certificate = x509.load_der_x509_certificate(der)
        thumbprint = certificate.fingerprint(hashes.SHA256()).hex().upper()
        return VaultCertificate(der, thumbprint, certificate.not_valid_after_utc)

    def current_versions(self) -> dict[str, bytes]:
        """Name → SHA-1 thumbprint of the latest version, of every certificate in the vault."""
        listed = self._azure.vault.list_properties_of_certificates()
        return {str(one.name): bytes(one.x509_thumbprint or b"") for one in listed}

    def enroll(self, registration_id: str, certificate: VaultCertificate) -> None:
        """An individual enrollment with this certificate as its primary one."""
        body = {
            "registrationId": registration_id,
            "deviceId": registration_id,
            "provisioningStatus": "enabled",
            "reprovisionPolicy": {"updateHubAssignment": True, "migrateDeviceData": True},
            "attestation": {
                "type": "x509",
                "x509": {
                    "clientCertificates": {"primary": {"certificate": base64.b64encode(certificate.der).decode()}}
                },
            },
        }
        self._azure.dps.enrollment.create_or_update(registration_id, body)

    def slots(self, registration_id: str) -> dict[str, str]:
        """Slot name → SHA-256 thumbprint of the certificate in it; a slot that is empty is left out."""
        body = self._azure.dps.enrollment.get(registration_id)
        held = body["attestation"]["x509"]["clientCertificates"]
        return {
            slot: str(held[slot]["info"]["sha256Thumbprint"]).upper()
            for slot in ("primary", "secondary")
            if held.get(slot)
        }

    def hub_thumbprints(self, device_id: str) -> set[str]:
        """The thumbprints that the device's hub identity accepts."""
        shown = self._azure.hub.get_device(device_id).authentication.x509_thumbprint
        return {str(one).upper() for one in (shown.primary_thumbprint, shown.secondary_thumbprint) if one}

    def write_twin(self, device_id: str, tags: Mapping[str, Any], desired: Mapping[str, Any]) -> None:
        """Let the device's twin have these tags and desired properties, and no others."""
        properties = TwinProperties(desired=dict(desired))
        self._azure.hub.replace_twin(device_id, Twin(tags=dict(tags), properties=properties))

    def twin_text(self, device_id: str) -> str:
        """Tags and desired properties as one JSON text, names in order; what the hub itself keeps of them is left out.

        Two twins are the same if these texts are, byte for byte.
        """
        twin = self._azure.hub.get_twin(device_id)
        desired = {name: value for name, value in twin.properties.desired.items() if not name.startswith("$")}
        return json.dumps({"tags": twin.tags, "desired": desired}, sort_keys=True, ensure_ascii=False)

    def queue_messages(self, device_id: str, count: int) -> None:
        """Let cloud-to-device messages wait for the device."""
        body = {"device_id": device_id, "count": count}
        requests.post(f"{self._document['control']['url']}/queued-messages", json=body, timeout=30).raise_for_status()

    def maltreat_events(self, switches: Mapping[str, Any]) -> None:
        """Let Event Grid lose, repeat or reorder what the vault says; see the stand-in's `Switches`."""
        url = f"{self._document['control']['url']}/events/drop"
        requests.post(url, json=dict(switches), timeout=30).raise_for_status()

    def rollovers(self) -> list[dict[str, Any]]:
        """What GET /api/rollovers lists, latest first."""
        answer = api_of(self._document, "operator").call("GET", "/api/rollovers", params={"limit": "1000"})
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["rollovers"]
        return found

    def journal(self, since: int) -> list[dict[str, Any]]:
        """What the stand-in noted after entry `since`."""
        answer = requests.get(f"{self._document['control']['url']}/journal", params={"since": since}, timeout=30)
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found
