"""What the contract tests of the hub share: real clients aimed at the stand-in, and devices with real certificates."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from azure.iot.device import X509, IoTHubDeviceClient
from azure.iot.hub import IoTHubJobManager, IoTHubRegistryManager

from local.azure import sas
from local.azure.x509 import sha256_thumbprint
from tests.certificates import Made, a_certificate
from tests.contract.target import Target, at
from tests.standin import StandIn

PATIENCE_S = 10.0


def registry_manager(azure: StandIn | Target) -> IoTHubRegistryManager:
    """The service client, of the hub's owner."""
    return at(azure).registry()


def job_manager(azure: StandIn | Target) -> IoTHubJobManager:
    """The job client, of the hub's owner."""
    return at(azure).jobs()


class Rest:
    """The service API without a client in between."""

    def __init__(self, azure: StandIn | Target, authorization: str | None = None, about: str = "device") -> None:
        target = at(azure)
        self.about = about  # the device that a test's helpers speak of
        self._url = target.endpoints["iothub"]["service_url"]
        self._session = requests.Session()
        self._session.headers["Authorization"] = authorization or target.hub_authorization()

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        """One request; underscores in header names stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self._url}{path}{'&' if '?' in path else '?'}api-version=2021-04-12"
        return self._session.request(method, url, json=body, headers=named, timeout=30)

    def create(self, device_id: str, *made: Made, **more: Any) -> dict[str, Any]:
        """A selfSigned identity with the certificates in its slots, primary first."""
        names = ("primaryThumbprint", "secondaryThumbprint")
        slots = dict(zip(names, [sha256_thumbprint(one.der) for one in made], strict=False))
        body = {"deviceId": device_id, "authentication": {"type": "selfSigned", "x509Thumbprint": slots}, **more}
        answer = self.call("PUT", f"/devices/{device_id}", body)
        assert answer.status_code == 200, answer.text
        created: dict[str, Any] = answer.json()
        return created

    def query(self, text: str, **headers: str) -> requests.Response:
        """POST /devices/query."""
        return self.call("POST", "/devices/query", {"query": text}, **headers)


def certificate(common_name: str = "device", *, starts_in_h: float = -1, ends_in_h: float = 24) -> Made:
    """A self-signed certificate with validity relative to now, in hours."""
    now = datetime.now(UTC)
    return a_certificate(common_name, starts=now + timedelta(hours=starts_in_h), ends=now + timedelta(hours=ends_in_h))


def device_client(
    azure: StandIn | Target, device_id: str, made: Made, folder: Path, **options: Any
) -> IoTHubDeviceClient:
    """azure-iot-device with a certificate; it reconnects only when told to, unless `options` say otherwise."""
    stem = folder / sha256_thumbprint(made.der)[:16]
    pem, key = stem.with_suffix(".pem"), stem.with_suffix(".key")
    pem.write_text(made.pem)
    key.write_text(made.key_pem)
    return IoTHubDeviceClient.create_from_x509_certificate(
        X509(str(pem), str(key)),
        at(azure).endpoints["iothub"]["device_host"],
        device_id,
        **{"connection_retry": False, "auto_connect": False, "keep_alive": 30} | at(azure).device_options | options,
    )


def by_policy(azure: StandIn, policy: str) -> str:
    """The Authorization header of a shared access policy of the stand-in's hub."""
    names = azure.world.names
    return sas.sign(names.hub_host, policy, names.hub_policies[policy], int(time.time()) + 3600)


def until(done: Callable[[], Any], what: str = "it") -> Any:
    """The first value that is true; AssertionError after some seconds."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := done()):
        assert time.monotonic() < deadline, f"{what} did not happen in {PATIENCE_S:g} s"
        time.sleep(0.02)
    return value


def journal(azure: StandIn, kind: str) -> list[dict[str, Any]]:
    """What the hub wrote down of one kind (connect, disconnect)."""
    entries: list[dict[str, Any]] = azure.control.get(f"/journal?service=iothub&kind={kind}")
    return entries
