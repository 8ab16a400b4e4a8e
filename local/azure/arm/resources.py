"""The DPS and the hub as resources: what a client reads of them before it begins.

DPS: recorded (azure-cli, test_dps_lifecycle, 2022) and `iot_dps_resource.get` of azure-mgmt-iothubprovisioningservices.
Hub: REST reference "Iot Hub Resource - Get"; the sku's name and capacity are tier and units.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local.azure.world import World

LOCATION = "westeurope"


def provisioning_service(world: "World") -> dict[str, Any]:
    """The DPS, with the hub that is linked to it."""
    names = world.names
    return {
        "etag": "AAAAAA/P24M=",
        "name": names.dps_name,
        "location": LOCATION,
        "properties": {
            "state": "Active",
            "provisioningState": "Succeeded",
            "iotHubs": [{"applyAllocationPolicy": True, "name": names.hub_host, "location": LOCATION}],
            "allocationPolicy": "Hashed",
            "serviceOperationsHostName": names.dps_host,
            "deviceProvisioningHostName": names.dps_host,
            "idScope": names.id_scope,
        },
        "resourcegroup": names.resource_group,
        "type": "Microsoft.Devices/provisioningServices",
        "id": names.resource_id("Microsoft.Devices/provisioningServices", names.dps_name),
        "subscriptionid": names.subscription_id,
        "tags": {},
        "sku": {"name": "S1", "tier": "Standard", "capacity": 1},
    }


def hub(world: "World") -> dict[str, Any]:
    """The hub, at the tier and the units that its quotas follow."""
    names, throttles = world.names, world.throttles
    return {
        "id": names.resource_id("Microsoft.Devices/IotHubs", names.hub_name),
        "name": names.hub_name,
        "type": "Microsoft.Devices/IotHubs",
        "location": LOCATION,
        "tags": {},
        "subscriptionid": names.subscription_id,
        "resourcegroup": names.resource_group,
        "etag": "AAAAAA/P24M=",
        "properties": {"state": "Active", "provisioningState": "Succeeded", "hostName": names.hub_host},
        "sku": {"name": throttles.tier, "tier": "Standard", "capacity": throttles.units},
    }
