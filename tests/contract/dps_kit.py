"""What the tests of DPS need: certificates, callers, a device that speaks HTTPS, and a hub that takes notes."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.iot.deviceprovisioning import DeviceProvisioningClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from local.azure.dps.ca_certificates import CaCertificate
from tests.contract.target import Target, at
from tests.standin import StandIn

VERSION = "2021-10-01"


@dataclass(frozen=True)
class Credential:
    """A key, its certificate, and the certificates above it that a device would send along."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def sha256(self) -> str:
        """SHA-256 thumbprint, upper-case hex."""
        return self.certificate.fingerprint(hashes.SHA256()).hex().upper()

    def issue(self, common_name: str, **kind: Any) -> "Credential":
        """A certificate signed by this one; `above` is this one and what is above it, but no root."""
        above = self.above if self.certificate.subject == self.certificate.issuer else (self.certificate, *self.above)
        return _made(common_name, self, above, **kind)

    def showing(self, *above: "Credential") -> "Credential":
        """The same credential of a device that sends exactly these certificates along."""
        return Credential(self.key, self.certificate, tuple(one.certificate for one in above))

    def files(self, folder: Path) -> tuple[str, str]:
        """Paths of a PEM file with the chain, leaf first, and one with the key."""
        chain, key = folder / f"{self.sha256}.pem", folder / f"{self.sha256}.key"
        chain.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in (self.certificate, *self.above)))
        key.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return str(chain), str(key)


def self_signed(common_name: str, **kind: Any) -> Credential:
    """A certificate that signed itself."""
    return _made(common_name, None, (), **kind)


def _made(
    common_name: str,
    issuer: Credential | None,
    above: tuple[x509.Certificate, ...],
    *,
    ca: bool = False,
    start: timedelta = timedelta(hours=-1),
    lasts: timedelta = timedelta(days=30),
) -> Credential:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    issuer_name = issuer.certificate.subject if issuer else name
    begins = datetime.now(UTC) + start
    certificate = (
        x509.CertificateBuilder(
            issuer_name, name, key.public_key(), x509.random_serial_number(), begins, begins + lasts
        )
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(issuer.key if issuer else key, hashes.SHA256())
    )
    return Credential(key, certificate, above)


def x509_enrollment(registration_id: str, primary: Any, secondary: Any = None, **members: Any) -> dict[str, Any]:
    """The body of an individual enrollment. A slot is a Credential, Raw, an `info`, or None (sent as null)."""
    slots = {"primary": _slot(primary), "secondary": _slot(secondary)}
    attestation = {"type": "x509", "x509": {"clientCertificates": slots}}
    return {"registrationId": registration_id, "attestation": attestation, **members}


def x509_group(group_id: str, primary: Any, secondary: Any = None, **members: Any) -> dict[str, Any]:
    """The body of a group: slots that are text are CA names, others as in `x509_enrollment`."""
    member = "caReferences" if isinstance(primary or secondary, str) else "signingCertificates"
    slots = {"primary": _slot(primary), "secondary": _slot(secondary)}
    return {
        "enrollmentGroupId": group_id,
        "attestation": {"type": "x509", "x509": {member: slots}},
        **members,
    }


@dataclass(frozen=True)
class Raw:
    """Something to send as `certificate` just as it is."""

    pem: Any


def _slot(content: Any) -> Any:
    if isinstance(content, Credential | Raw):
        return {"certificate": content.pem}
    return {"info": content} if isinstance(content, dict) else content


def info_of(entry: dict[str, Any], slot: str) -> Any:
    """The `info` in a slot of an answer, or None."""
    x509_part = entry["attestation"]["x509"]
    slots = x509_part.get("clientCertificates") or x509_part.get("signingCertificates") or {}
    return (slots.get(slot) or {}).get("info")


def sha256_in(entry: dict[str, Any], slot: str) -> str | None:
    """The SHA-256 thumbprint in a slot of an answer, or None."""
    info = info_of(entry, slot)
    return info["sha256Thumbprint"] if info else None


def service(azure: StandIn | Target) -> DeviceProvisioningClient:
    """The real service client."""
    return at(azure).dps()


def token(azure: StandIn, principal: str = "operator", resource: str = "https://azure-devices-provisioning.net") -> str:
    """An access token of the local identity endpoint."""
    environment = azure.endpoints["environment"]
    answer = requests.get(
        environment["IDENTITY_ENDPOINT"],
        params={"api-version": "2019-08-01", "resource": resource, "client_id": principal},
        headers={"X-IDENTITY-HEADER": environment["IDENTITY_HEADER"]},
        timeout=10,
    )
    return str(answer.json()["access_token"])


def call(azure: StandIn | Target, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
    """A plain request of the service API, as its owner, for what the client library hides."""
    target = at(azure)
    headers = {"Authorization": target.dps_authorization(), **more.pop("headers", {})}
    params = more.pop("params", {"api-version": VERSION})
    url = target.endpoints["dps"]["service_url"] + path
    return requests.request(method, url, json=body, headers=headers, params=params, timeout=30, **more)


def add_ca(azure: StandIn, name: str, ca: Credential, *, verified: bool = True) -> None:
    """Put a CA certificate into the DPS, as ARM would."""
    azure.world.dps.keep_ca(CaCertificate(name, ca.der, verified))


@dataclass
class Device:
    """A device that registers over HTTPS with a certificate of its own."""

    azure: StandIn | Target
    registration_id: str
    credential: Credential
    folder: Path
    version: str = "2021-06-01"

    def ask(self, method: str, rest: str = "", body: Any = None) -> requests.Response:
        """One request below /{idScope}/registrations/{registrationId}."""
        dps = at(self.azure).endpoints["dps"]
        return requests.request(
            method,
            f"{dps['device_url']}/{dps['id_scope']}/registrations/{self.registration_id}{rest}",
            params={"api-version": self.version},
            json=body,
            cert=self.credential.files(self.folder),
            timeout=30,
        )

    def start(self) -> requests.Response:
        """The register request."""
        return self.ask("PUT", "/register", {"registrationId": self.registration_id})

    def register(self) -> dict[str, Any]:
        """Register and wait for the end: the registration state, whatever its status."""
        answer = self.start()
        assert answer.status_code == 202, answer.text
        pace, operation = at(self.azure).pace, answer.json()["operationId"]
        deadline = time.monotonic() + pace.patience
        while answer.status_code == 202 and time.monotonic() < deadline:
            time.sleep(pace.poll)
            answer = self.ask("GET", f"/operations/{operation}")
        assert answer.status_code == 200, answer.text
        state: dict[str, Any] = answer.json()["registrationState"]
        return state

    def refusal(self) -> tuple[int, int, str]:
        """Status, code and message of a register that is refused at once."""
        answer = self.start()
        assert answer.status_code >= 400, answer.text
        return answer.status_code, answer.json()["errorCode"], answer.json()["message"]


@dataclass
class NotingHub:
    """Takes the hub's place and notes what DPS asks of it."""

    host_name: str
    asked: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def in_place_of_the_hub(cls, azure: StandIn, monkeypatch: pytest.MonkeyPatch) -> "NotingHub":
        """Put one there until the test ends; registrations end at once."""
        noting = cls(azure.world.names.hub_host)
        monkeypatch.setattr(azure.world, "hub", noting)
        azure.control.patch("/knobs", {"assign_delay_s": 0})
        return noting

    def provision_x509(self, device_id: str, **how: Any) -> str:
        self.asked.append({"device_id": device_id, **how})
        return "initialAssignment" if len(self.asked) == 1 else "deviceDataMigrated"

    def reset(self) -> None:
        self.asked.clear()
