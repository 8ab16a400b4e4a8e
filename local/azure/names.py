"""What everything is called: addresses, identifiers and shared access keys of one running stand-in."""

import base64
import secrets
from dataclasses import dataclass, field

HTTPS_PORT = 8443
MQTT_PORT = 8883


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


@dataclass(frozen=True)
class Names:
    """One loopback address per service, because device clients have no port option.

    `net` is the first three numbers of the addresses. Keys are fresh at every start, so that nobody hardcodes them.
    """

    net: str = "127.0.0"
    subscription_id: str = "00000000-0000-0000-0000-00000000d1a1"
    tenant_id: str = "00000000-0000-0000-0000-00000000d1a2"
    resource_group: str = "rollover-local"
    dps_name: str = "dps-rollover-local"
    hub_name: str = "iot-rollover-local"
    vault_name: str = "kv-rollover-local"
    topic_name: str = "evgt-rollover-local"
    id_scope: str = "0ne00000001"
    # The app's own API as it is registered at Entra: a client ID, and the Application ID URI it is asked for by.
    api_client_id: str = "00000000-0000-0000-0000-00000000d1a3"
    api_uri: str = "api://rollover"
    # Policy names are those that Azure makes with the resource.
    dps_policies: dict[str, str] = field(default_factory=lambda: {"provisioningserviceowner": _key()})
    hub_policies: dict[str, str] = field(
        default_factory=lambda: {
            name: _key() for name in ("iothubowner", "service", "device", "registryRead", "registryReadWrite")
        }
    )
    identity_secret: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def host(self) -> str:
        """Where control, identity endpoint, Azurite and the Functions host listen."""
        return f"{self.net}.1"

    @property
    def dps_host(self) -> str:
        return f"{self.net}.2"

    @property
    def hub_host(self) -> str:
        return f"{self.net}.3"

    @property
    def vault_host(self) -> str:
        return f"{self.net}.4"

    @property
    def arm_host(self) -> str:
        return f"{self.net}.5"

    @property
    def topic_host(self) -> str:
        return f"{self.net}.6"

    @property
    def entra_host(self) -> str:
        return f"{self.net}.7"

    @property
    def addresses(self) -> list[str]:
        """Every address that the server certificate must name."""
        return [f"{self.net}.{number}" for number in range(1, 8)]

    @property
    def vault_url(self) -> str:
        return f"https://{self.vault_host}:{HTTPS_PORT}"

    @property
    def entra_url(self) -> str:
        """The tenant's authority, as ``https://login.microsoftonline.com/{tenant}`` is one."""
        return f"https://{self.entra_host}:{HTTPS_PORT}/{self.tenant_id}"

    @property
    def entra_issuer(self) -> str:
        return f"{self.entra_url}/v2.0"

    @property
    def identity_endpoint(self) -> str:
        return f"http://{self.host}:8091/msi/token"

    @property
    def control_url(self) -> str:
        return f"http://{self.host}:8090"

    def resource_id(self, provider: str, name: str) -> str:
        """The ARM ID of a resource, e.g. provider "Microsoft.KeyVault/vaults"."""
        group = f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
        return f"{group}/providers/{provider}/{name}"
