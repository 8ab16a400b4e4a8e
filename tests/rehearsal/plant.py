"""Stand-in, Azurite and the Functions host as parts that a test can start, kill and look into."""

import base64
import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import requests
from azure.identity import ManagedIdentityCredential
from azure.iot.deviceprovisioning import DeviceProvisioningClient
from azure.keyvault.certificates import CertificateClient, CertificatePolicy

from local.children import tied
from local.functions_host import settings
from local.rehearse.calling import Api, api_of
from tests.standin import StandIn

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_S = 40.0
OPERATOR = str(uuid.uuid5(uuid.NAMESPACE_URL, "https://rollover.local/principals/operator"))
FAST_QUEUES = {"maxPollingInterval": "00:00:00.200", "visibilityTimeout": "00:00:01", "maxDequeueCount": 5}


class Plant:
    """The whole installation on one loopback net; the host comes and goes."""

    def __init__(self, standin: StandIn, storage: str, net: str, folder: Path) -> None:
        self.standin = standin
        self.document = {**standin.endpoints, "storage": {"connection_string": storage}}
        self.address = f"{net}.1"
        self.clock_file = folder / "clock"
        self.keys_file = folder / "keys.json"
        self.app = _app_with_fast_queues(folder / "app")
        self.dps = DeviceProvisioningClient.from_connection_string(self.document["dps"]["connection_string"])
        standin.world.clock.subscribe(self._write_clock)
        self._write_clock(timedelta())

    def _write_clock(self, _distance: timedelta) -> None:
        fresh = self.clock_file.with_suffix(".new")
        fresh.write_text(str(self.standin.world.clock.offset.total_seconds()))
        fresh.replace(self.clock_file)

    @property
    def credential(self) -> ManagedIdentityCredential:
        """The operator's. Made anew each time: one that cached its token is out of date after a move of the clock."""
        return ManagedIdentityCredential(client_id=OPERATOR)

    @property
    def vault(self) -> CertificateClient:
        """The vault, as the operator."""
        return CertificateClient(self.document["keyvault"]["url"], self.credential, verify_challenge_resource=False)

    @property
    def ca_file(self) -> str:
        return str(self.document["ca_file"])

    def move_clock(self, **by: float) -> None:
        """Move the time of the whole installation."""
        self.standin.control.put("/clock", {"advance_s": timedelta(**by).total_seconds()})

    def host(self, *options: str, **app_settings: str) -> "Host":
        """Start the Functions host."""
        return Host(self, options, app_settings)

    def secret(self, name: str) -> str:
        """The private key and certificate of a vault certificate's latest version, as PEM text."""
        token = self.credential.get_token("https://vault.azure.net/.default").token
        url = f"{self.document['keyvault']['url']}/secrets/{name}?api-version=7.5"
        found = requests.get(url, headers={"Authorization": f"Bearer {token}"}, verify=self.ca_file, timeout=10)
        found.raise_for_status()
        return str(found.json()["value"])

    def install(self, name: str, folder: Path, **enrollment: Any) -> "PocketDevice":
        """A device with its certificate in the vault and its enrollment, registered once."""
        policy = CertificatePolicy(
            issuer_name="Self",
            subject=f"CN={name}",
            key_type="EC",
            key_curve_name="P-256",
            exportable=True,
            content_type="application/x-pem-file",
            enhanced_key_usage=["1.3.6.1.5.5.7.3.2"],
            validity_in_months=12,
        )
        tags = {"rollover-enrollment": name}
        made = self.vault.begin_create_certificate(name, policy, tags=tags, _polling_interval=0.1).result()
        pem = "-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(bytes(made.cer or b"")).decode()
        pem += "-----END CERTIFICATE-----\n"
        x509 = {"clientCertificates": {"primary": {"certificate": pem}}}
        body = {"registrationId": name, "attestation": {"type": "x509", "x509": x509}, **enrollment}
        self.dps.enrollment.create_or_update(name, body)
        device = PocketDevice(self, name, folder)
        device.take_latest()
        until(device.register, f"{name} registers for the first time", within_s=10)
        return device

    def end_state(self, name: str) -> dict[str, Any]:
        """What DPS, hub and vault hold for a device, by which of its certificates, oldest = 0."""
        versions = sorted(self.vault.list_properties_of_certificate_versions(name), key=lambda v: v.created_on)
        order = {bytes(v.x509_thumbprint).hex().upper(): n for n, v in enumerate(versions)}
        body = self.dps.enrollment.get(name)
        slots = body["attestation"]["x509"]["clientCertificates"]
        shown = {s: order.get(((slots.get(s) or {}).get("info") or {}).get("sha1Thumbprint")) for s in slots}
        return {"slots": dict(sorted(shown.items())), "versions": len(versions)}

    def event(self, name: str) -> dict[str, Any]:
        """A near-expiry event as Event Grid delivers it."""
        return {
            "id": str(uuid.uuid4()),
            "source": "/subscriptions/x/resourceGroups/x/providers/Microsoft.KeyVault/vaults/x",
            "type": "Microsoft.KeyVault.CertificateNearExpiry",
            "subject": name,
            "time": "2026-11-24T01:08:33.1036736Z",
            "specversion": "1.0",
            "data": {"Id": f"{self.document['keyvault']['url']}/certificates/{name}/x", "ObjectName": name},
        }


def _app_with_fast_queues(folder: Path) -> Path:
    folder.mkdir()
    for part in ("function_app.py", "functions", "shared"):
        (folder / part).symlink_to(REPOSITORY / part)
    host_json = json.loads((REPOSITORY / "host.json").read_text())
    host_json["extensions"]["queues"].update(FAST_QUEUES)
    (folder / "host.json").write_text(json.dumps(host_json))
    return folder


class Host:
    """One run of the Functions host."""

    def __init__(self, plant: Plant, options: tuple[str, ...], app_settings: Mapping[str, str]) -> None:
        self.plant = plant
        self.url = f"http://{plant.address}:7071"
        command = [sys.executable, "-m", "local.host", "--app", str(plant.app), "--address", plant.address]
        command += ["--clock-file", str(plant.clock_file), "--keys-file", str(plant.keys_file)]
        command += ["--queue-lease", "1.5", *options]
        self.log = plant.clock_file.parent / f"host-{uuid.uuid4().hex[:6]}.log"
        environment = {**settings(plant.document), **app_settings}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(tied(command), cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
        until(self._running, "the host runs", self.tail)

    def _running(self) -> bool:
        assert self.process.poll() is None, self.tail()
        try:
            return requests.get(f"{self.url}/admin/host/status", headers=self._master, timeout=5).ok
        except (requests.ConnectionError, OSError, ValueError):
            return False

    def tail(self) -> str:
        """The last lines it said."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-25:])

    @property
    def keys(self) -> dict[str, str]:
        return dict(json.loads(self.plant.keys_file.read_text()))

    @property
    def _master(self) -> dict[str, str]:
        return {"x-functions-key": self.keys["master"]}

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def deliver(self, event: dict[str, Any]) -> bool:
        """Post an event as Event Grid does; whether it was taken."""
        url = f"{self.url}/runtime/webhooks/eventgrid"
        query = {"functionName": "on_certificate_event", "code": self.keys["eventgrid_extension"]}
        headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
        try:
            return requests.post(url, params=query, json=event, headers=headers, timeout=30).status_code == 202
        except requests.ConnectionError:
            return False

    def run_now(self, function: str) -> None:
        """Run a function that HTTP does not trigger."""
        requests.post(f"{self.url}/admin/functions/{function}", headers=self._master, json={}, timeout=10)

    def writes(self) -> list[str]:
        """What the app has written so far."""
        return list(requests.get(f"{self.url}/admin/local/writes", headers=self._master, timeout=10).json())

    def api(self, principal: str = "operator") -> Api:
        """The app's HTTP API, as this principal."""
        return api_of({**self.plant.document, "functions": {"url": self.url}}, principal)

    def rollovers(self, name: str | None = None) -> list[dict[str, Any]]:
        """The app's own list, of individual enrollments."""
        query = {"limit": "1000", **({"registration_id": name} if name else {})}
        try:
            answer = self.api().call("GET", "/api/rollovers", params=query)
        except requests.ConnectionError:
            return []  # killed at this moment
        return [one for one in answer.json()["rollovers"] if one["registration_id"]] if answer.ok else []

    def show(self, rollover_id: str) -> dict[str, Any]:
        """One rollover with its history."""
        return dict(self.api().call("GET", f"/api/rollovers/{rollover_id}").json())

    def stop(self) -> None:
        """End it in an orderly way."""
        if self.alive:
            self.process.terminate()
        self.process.wait(20)


class PocketDevice:
    """A device that fits into a thread: it takes new certificates from the vault and registers over HTTPS with mTLS.

    It is never connected, so a job reports it as not reached; it moves once a job has asked for it, as if it had
    been reached: then every step of the plan has something to write.
    """

    def __init__(self, plant: Plant, name: str, folder: Path) -> None:
        self.name = name
        self._plant = plant
        self._folder = folder
        self._held: str | None = None
        self._registered: str | None = None
        self.answered: set[str] = set()
        """Jobs that it registered for."""
        self._watches = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)

    def take_latest(self) -> None:
        """Fetch the newest certificate and key from the vault."""
        pem = self._plant.secret(self.name)
        if pem != self._held:
            path = self._folder / f"{self.name}.pem"
            path.write_text(pem)
            path.chmod(0o600)
            self._held = pem

    def register(self) -> bool:
        """Register with the certificate it holds; whether DPS assigned it."""
        held, document = self._held, self._plant.document
        base = f"{document['dps']['service_url']}/{document['dps']['id_scope']}/registrations/{self.name}"
        tls: dict[str, Any] = {"cert": str(self._folder / f"{self.name}.pem"), "verify": self._plant.ca_file}
        version = {"api-version": "2021-06-01"}
        body = {"registrationId": self.name}
        try:
            asked = requests.put(f"{base}/register", params=version, json=body, timeout=10, **tls)
            if asked.status_code != 202:
                return False
            operation = asked.json()["operationId"]
            time.sleep(0.1)
            for _ in range(20):
                answer = requests.get(f"{base}/operations/{operation}", params=version, timeout=10, **tls)
                if answer.status_code == 200:
                    if answer.json()["status"] != "assigned":
                        return False  # disabled: it tries again
                    self._registered = held
                    return True
                time.sleep(0.7)
        except requests.ConnectionError:
            return False
        return False

    def live(self, *, watches: bool = False) -> "PocketDevice":
        """Take and register new certificates from now on; with ``watches`` also when nobody asks."""
        self._watches = watches
        self._thread.start()
        return self

    def _live(self) -> None:
        while not self._stop.wait(0.3):
            asked = self._asked()
            if self._watches:
                with suppress(requests.RequestException):
                    self.take_latest()
            if not asked - self.answered and self._held == self._registered:
                continue
            with suppress(requests.RequestException):
                self.take_latest()
                if self.register():
                    self.answered |= asked
                elif self._watches:
                    self._stop.wait(1.5)  # DPS takes five questions in ten seconds

    def stolen(self) -> Path:
        """A copy of the certificate and key that it holds now."""
        path = self._folder / f"{self.name}-stolen.pem"
        path.write_text(str(self._held))
        path.chmod(0o600)
        return path

    def hold(self, pem: Path) -> None:
        """Go back to a certificate and key that were copied before."""
        self._held = pem.read_text()
        (self._folder / f"{self.name}.pem").write_text(self._held)

    def _asked(self) -> set[str]:
        try:
            jobs = self._plant.standin.world.hub.jobs.list(None, None)
        except RuntimeError:  # the stand-in's own thread makes a job at this moment
            return set()
        return {str(job["jobId"]) for job in jobs if f"'{self.name}'" in job["queryCondition"]}

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)


def until[T](
    look: Callable[[], T],
    what: str,
    explain: Callable[[], str] = str,
    within_s: float = PATIENCE_S,
    every_s: float = 0.1,
) -> T:
    """Wait until ``look`` gives something true; fail with what was waited for."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(every_s)
    raise AssertionError(f"not within {within_s:g} s: {what}\n{explain()}")
