"""The devices of a benchmark: they register over HTTPS with mTLS as soon as a job asks for them."""

import base64
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
from azure.identity import ManagedIdentityCredential
from azure.iot.deviceprovisioning import DeviceProvisioningClient
from azure.iot.hub import IoTHubRegistryManager
from azure.keyvault.certificates import CertificateClient, CertificatePolicy

from tests.rehearsal.plant import OPERATOR

WORKERS = 6


def pem_of(der: bytes) -> str:
    """DER as PEM."""
    return "-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(bytes(der)).decode() + "-----END CERTIFICATE-----\n"


def sha256_of(der: bytes) -> str:
    """SHA-256 thumbprint, upper-case hex."""
    return hashlib.sha256(bytes(der)).hexdigest().upper()


class Fleet:
    """``count`` devices, enrolled and registered; a watcher makes them move when a job names them."""

    def __init__(self, document: dict[str, Any], prefix: str, count: int, folder: Path) -> None:
        self.names = [f"{prefix}-{n:04}" for n in range(count)]
        self._document = document
        self._folder = folder
        self._credential = ManagedIdentityCredential(client_id=OPERATOR)
        self._vault = CertificateClient(document["keyvault"]["url"], self._credential, verify_challenge_resource=False)
        self._dps = DeviceProvisioningClient.from_connection_string(document["dps"]["connection_string"])
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(WORKERS)
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Fleet":
        list(self._pool.map(self._install, self.names))
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._watcher.join(30)
        self._pool.shutdown()

    def take_away(self) -> None:
        """Delete the certificates, so that nobody finds them due."""
        for name in self.names:
            self._vault.begin_delete_certificate(name)

    def _install(self, name: str) -> None:
        policy = CertificatePolicy(
            issuer_name="Self",
            subject=f"CN={name}",
            key_type="EC",
            key_curve_name="P-256",
            exportable=True,
            content_type="application/x-pem-file",
            enhanced_key_usage=["1.3.6.1.5.5.7.3.2"],
        )
        tags = {"rollover-enrollment": name}
        made = self._vault.begin_create_certificate(name, policy, tags=tags, _polling_interval=0.1).result()
        x509 = {"clientCertificates": {"primary": {"certificate": pem_of(made.cer or b"")}}}
        body = {"registrationId": name, "attestation": {"type": "x509", "x509": x509}}
        self._dps.enrollment.create_or_update(name, body)
        self._register(name)

    def _register(self, name: str) -> None:
        token = self._credential.get_token("https://vault.azure.net/.default").token
        ca = self._document["ca_file"]
        url = f"{self._document['keyvault']['url']}/secrets/{name}?api-version=7.5"
        secret = requests.get(url, headers={"Authorization": f"Bearer {token}"}, verify=ca, timeout=30)
        path = self._folder / f"{name}.pem"
        path.write_text(secret.json()["value"])
        path.chmod(0o600)
        base = f"{self._document['dps']['service_url']}/{self._document['dps']['id_scope']}/registrations/{name}"
        with requests.Session() as session:
            session.cert, session.verify = str(path), ca
            version = {"api-version": "2021-06-01"}
            asked = session.put(f"{base}/register", params=version, json={"registrationId": name}, timeout=30)
            asked.raise_for_status()
            operation = asked.json()["operationId"]
            while session.get(f"{base}/operations/{operation}", params=version, timeout=30).status_code == 202:
                self._stop.wait(0.5)

    def _watch(self) -> None:
        hub = IoTHubRegistryManager.from_connection_string(self._document["iothub"]["connection_string"])
        seen: set[str] = set()
        while not self._stop.wait(0.2):
            # The SDK cannot read this list (azure-iot-sdk-python#423), its transport can.
            for job in _jobs(hub, self._document):
                name = job["queryCondition"].partition("'")[2].rpartition("'")[0]
                if job["jobId"] not in seen and name in self.names:
                    seen.add(job["jobId"])
                    self._pool.submit(self._register, name)


def _jobs(hub: IoTHubRegistryManager, document: dict[str, Any]) -> list[dict[str, Any]]:
    url = f"{document['iothub']['service_url']}/jobs/v2/query?api-version=2021-04-12"
    session = hub.protocol.config.credentials.signed_session()
    return list(session.get(url, verify=document["ca_file"], timeout=60).json())
