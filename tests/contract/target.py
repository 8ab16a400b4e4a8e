"""What a contract test talks to. The stand-in by default; real services when the environment names them (`aim`).

A test that only uses a `Target` says what Azure does, and can be tried on Azure.
"""

import itertools
import secrets
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlsplit

from azure.core.credentials import TokenCredential
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
from azure.iot.deviceprovisioning import DeviceProvisioningClient
from azure.iot.hub import IoTHubJobManager, IoTHubRegistryManager
from azure.keyvault.certificates import CertificateClient

from local.azure import sas
from tests.contract.aim import PREFIX, Aim, connection_parts
from tests.contract.cleaning import Created, Kind
from tests.standin import StandIn

DPS_SCOPE = "https://azure-devices-provisioning.net/.default"
HUB_SCOPE = "https://iothubs.azure.net/.default"
TOKEN_S = 3600
RUN = f"{datetime.now(UTC):%y%m%d%H%M}-{secrets.token_hex(2)}"
"""In every name of this process: when it began, so that a later run knows what is old, and which one it was."""
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Pace:
    """How long to wait for what, in seconds."""

    poll: float  # between two looks at a registration: a device may look 5 times in 10 s
    patience: float  # until something must have happened
    quiet: float  # until something that has not happened counts as not happening


STANDIN_PACE = Pace(poll=0.02, patience=10, quiet=0.2)
LIVE_PACE = Pace(poll=2.5, patience=180, quiet=60)


@dataclass
class Target:
    """`endpoints` has the members of `local.azure.description.describe` that clients need."""

    endpoints: dict[str, Any]
    credential: TokenCredential
    pace: Pace
    prefix: str = PREFIX
    standin: StandIn | None = None
    created: Created = field(default_factory=Created)

    # names: each is new, and is removed again after the test

    def registration_id(self, what: str = "dev") -> str:
        """The ID of an individual enrollment, and of the device identity that may come of it."""
        name = self._name(what)
        for kind in (Kind.DEVICE, Kind.REGISTRATION, Kind.ENROLLMENT):
            self.created.note(kind, name)
        return name

    def group_id(self, what: str = "group") -> str:
        """The ID of an enrollment group."""
        return self.created.note(Kind.GROUP, self._name(what))

    def device_id(self, what: str = "device") -> str:
        """The ID of a device identity that no enrollment makes."""
        return self.created.note(Kind.DEVICE, self._name(what))

    def certificate_name(self, what: str = "cert") -> str:
        """The name of a certificate in the vault."""
        return self.created.note(Kind.CERTIFICATE, self._name(what))

    def _name(self, what: str) -> str:
        return f"{self.prefix}-{RUN}-{next(_numbers)}-{what}"

    # clients

    def dps(self) -> DeviceProvisioningClient:
        """The real client of the DPS service API."""
        dps = self.endpoints["dps"]
        if dps["connection_string"]:
            return DeviceProvisioningClient.from_connection_string(dps["connection_string"])
        return DeviceProvisioningClient(dps["service_url"].removeprefix("https://"), self.credential)

    def registry(self) -> IoTHubRegistryManager:
        """The real client of the hub's registry."""
        return self._hub_client(IoTHubRegistryManager)

    def jobs(self) -> IoTHubJobManager:
        """The real client of the hub's jobs."""
        return self._hub_client(IoTHubJobManager)

    def _hub_client(self, kind: Any) -> Any:
        hub = self.endpoints["iothub"]
        if hub["connection_string"]:
            return kind.from_connection_string(hub["connection_string"])
        return kind.from_token_credential(hub["service_url"].removeprefix("https://"), self.credential)

    def vault(self) -> CertificateClient:
        """The real client of the vault. A challenge's resource cannot be checked for an IP address."""
        url = self.endpoints["keyvault"]["url"]
        named = not (urlsplit(url).hostname or "").replace(".", "").isdigit()
        return CertificateClient(url, self.credential, verify_challenge_resource=named)

    # what a request without a client needs

    def dps_authorization(self) -> str:
        """The Authorization header for the DPS service API."""
        return self._authorization("dps", DPS_SCOPE)

    def hub_authorization(self) -> str:
        """The Authorization header for the hub's service API."""
        return self._authorization("iothub", HUB_SCOPE)

    def _authorization(self, service: str, scope: str) -> str:
        connection = self.endpoints[service]["connection_string"]
        if not connection:
            return f"Bearer {self.credential.get_token(scope).token}"
        parts = connection_parts(connection)
        host = quote_plus(parts["HostName"])
        key = (parts["SharedAccessKeyName"], parts["SharedAccessKey"])
        return sas.sign(host, *key, int(time.time()) + TOKEN_S)

    def tls(self) -> ssl.SSLContext:
        """Trusts whom this target's services are signed by."""
        return ssl.create_default_context(cafile=self.endpoints["ca_file"])

    @property
    def device_options(self) -> dict[str, Any]:
        """The same for the clients of azure-iot-device."""
        ca_file = self.endpoints["ca_file"]
        return {"server_verification_cert": Path(ca_file).read_text()} if ca_file else {}

    # waiting

    def hurry(self, **knobs: Any) -> None:
        """Make the stand-in's waits short. A real service takes its time."""
        if self.standin is not None:
            self.standin.control.patch("/knobs", knobs)

    def until(self, done: Callable[[], Any], what: str = "it") -> Any:
        """The first value that is true; AssertionError when patience ends."""
        deadline = time.monotonic() + self.pace.patience
        while not (value := done()):
            assert time.monotonic() < deadline, f"{what} did not happen in {self.pace.patience:g} s"
            time.sleep(self.pace.poll)
        return value


def at(place: StandIn | Target) -> Target:
    """The stand-in as a target: what the test kits work with."""
    if isinstance(place, Target):
        return place
    return Target(endpoints_of(place), ManagedIdentityCredential(client_id="operator"), STANDIN_PACE, standin=place)


def endpoints_of(standin: StandIn) -> dict[str, Any]:
    """As `describe` says, and where devices register over HTTPS: at the stand-in, the same door."""
    there = standin.endpoints
    return {**there, "dps": {**there["dps"], "device_url": there["dps"]["service_url"]}}


def real(aim: Aim) -> Target:
    """The services that a person has named and acknowledged."""
    endpoints = {
        "dps": {
            "service_url": f"https://{aim.dps_host}",
            "device_url": f"https://{aim.device_host}",
            "device_host": aim.device_host.partition(":")[0],
            "id_scope": aim.id_scope,
            "connection_string": aim.dps_connection,
        },
        "iothub": {
            "service_url": f"https://{aim.hub_host}",
            "device_host": aim.hub_host.partition(":")[0],
            "connection_string": aim.hub_connection,
        },
        "keyvault": {"url": aim.vault_url},
        "ca_file": None,
    }
    return Target(endpoints, DefaultAzureCredential(), LIVE_PACE, aim.prefix)
