"""Who may call which operation: by shared access policy, or by role.

docs, "Control access to IoT Hub by using shared access signatures" (the rights of the built-in policies) and
"Control access to IoT Hub by using Microsoft Entra ID" (data actions).
"""

from typing import TYPE_CHECKING

from aiohttp import web

from local.azure import sas
from local.azure.http import Authorize, Operation
from local.azure.identity import Forbidden, Unauthorized
from local.azure.iothub import refusals

if TYPE_CHECKING:
    from local.azure.world import World

AUDIENCE = "https://iothubs.azure.net"
REGISTRY_READ, REGISTRY_WRITE, SERVICE, DEVICE = "registryRead", "registryReadWrite", "serviceConnect", "deviceConnect"
POLICY_RIGHTS = {
    "iothubowner": (REGISTRY_READ, REGISTRY_WRITE, SERVICE, DEVICE),
    "service": (SERVICE,),
    "device": (DEVICE,),
    "registryRead": (REGISTRY_READ,),
    "registryReadWrite": (REGISTRY_READ, REGISTRY_WRITE),
}
# operation: (the right a policy must have, the action a role must allow)
NEEDS = {
    "ListDevices": (REGISTRY_READ, "iothub/devices/read"),
    "GetDevice": (REGISTRY_READ, "iothub/devices/read"),
    "PutDevice": (REGISTRY_WRITE, "iothub/devices/write"),
    "DeleteDevice": (REGISTRY_WRITE, "iothub/devices/delete"),
    "BulkDevices": (REGISTRY_WRITE, "iothub/devices/write"),
    "QueryDevices": (SERVICE, "iothub/twins/read"),
    "GetTwin": (SERVICE, "iothub/twins/read"),
    "PatchTwin": (SERVICE, "iothub/twins/write"),
    "PutTwin": (SERVICE, "iothub/twins/write"),
    "InvokeMethod": (SERVICE, "iothub/directMethods/invoke"),
    "ListJobs": (SERVICE, "iothub/jobs/read"),
    "GetJob": (SERVICE, "iothub/jobs/read"),
    "PutJob": (SERVICE, "iothub/jobs/write"),
    "CancelJob": (SERVICE, "iothub/jobs/delete"),
    "ListImportExportJobs": (REGISTRY_READ, "iothub/jobs/read"),
    "DeviceStatistics": (REGISTRY_READ, "iothub/devices/read"),
    "ServiceStatistics": (SERVICE, "iothub/devices/read"),
}


def authorizer(world: "World") -> Authorize:
    """The check that every request passes: gives the name of policy or principal, or refuses."""

    async def authorize(request: web.Request, operation: Operation) -> str:
        right, action = NEEDS[operation.name]
        header = request.headers.get("Authorization", "")
        if header.startswith(sas.SCHEME):
            return _by_policy(world, header, right)
        try:
            return world.identity.check(request, AUDIENCE, action)
        except Unauthorized:
            raise refusals.UnauthorizedAccess from None
        except Forbidden as forbidden:
            # The service's own words, as azure-sdk-for-net#21453 quotes them.
            raise refusals.Unauthorized(
                f"Principal {forbidden.principal} is not authorized for {request.method} on {request.path} "
                "due to no assigned permissions"
            ) from None

    return authorize


def _by_policy(world: "World", header: str, right: str) -> str:
    names = world.names
    try:
        policy = sas.verify(header, names.hub_policies, host=names.hub_host, clock=world.clock)
    except sas.BadSignature:
        raise refusals.UnauthorizedAccess from None
    if right not in POLICY_RIGHTS[policy]:
        raise refusals.UnauthorizedAccess
    return policy
