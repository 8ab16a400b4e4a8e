"""What a client must know to use a running stand-in: the JSON document that `python -m local up` prints."""

from pathlib import Path
from typing import Any

from local.azure.names import HTTPS_PORT, Names


def describe(names: Names, ca_file: Path, bundle_file: Path) -> dict[str, Any]:
    """Endpoints, identifiers, connection strings and environment of the Azure part."""
    dps_policy, dps_key = next(iter(names.dps_policies.items()))
    hub_key = names.hub_policies["iothubowner"]
    return {
        "dps": {
            "service_url": f"https://{names.dps_host}:{HTTPS_PORT}",
            "device_host": names.dps_host,
            "id_scope": names.id_scope,
            "connection_string": _connection(names.dps_host, dps_policy, dps_key),
            "resource_id": names.resource_id("Microsoft.Devices/provisioningServices", names.dps_name),
        },
        "iothub": {
            "name": names.hub_name,
            "resource_id": names.resource_id("Microsoft.Devices/IotHubs", names.hub_name),
            "service_url": f"https://{names.hub_host}:{HTTPS_PORT}",
            "device_host": names.hub_host,
            "connection_string": _connection(names.hub_host, "iothubowner", hub_key),
        },
        "keyvault": {"url": names.vault_url},
        "arm": {
            "url": f"https://{names.arm_host}:{HTTPS_PORT}",
            "subscription_id": names.subscription_id,
            "resource_group": names.resource_group,
        },
        "eventgrid": {"topic_endpoint": f"https://{names.topic_host}:{HTTPS_PORT}/api/events"},
        "entra": {"issuer": names.entra_issuer, "audience": names.api_client_id},
        "control": {"url": names.control_url},
        "ca_file": str(ca_file),
        "ca_bundle_file": str(bundle_file),  # for clients that also call the outside world
        "environment": {
            "REQUESTS_CA_BUNDLE": str(ca_file),
            "SSL_CERT_FILE": str(ca_file),
            "NODE_EXTRA_CA_CERTS": str(ca_file),
            "IDENTITY_ENDPOINT": names.identity_endpoint,
            "IDENTITY_HEADER": names.identity_secret,
        },
    }


def _connection(host: str, policy: str, key: str) -> str:
    return f"HostName={host}:{HTTPS_PORT};SharedAccessKeyName={policy};SharedAccessKey={key}"
