"""The device API over HTTPS, with a client certificate (azure-docs iot-dps-https-x509-support)."""

from typing import TYPE_CHECKING
from urllib.parse import quote

from aiohttp import web

from local.azure.dps.http import json_body
from local.azure.dps.refusals import Unauthorized
from local.azure.http import Operation, json_reply

if TYPE_CHECKING:
    from local.azure.world import World

RETRY_AFTER_S = 3  # azure-docs iot-dps-https-x509-support: Retry-After on 202


def device_operations(world: "World") -> list[Operation]:
    """Register, ask how it went, look oneself up."""
    routes = DeviceRoutes(world)
    one = "/{scope}/registrations/{id}"
    return [
        Operation("DeviceRegister", "PUT", f"{one}/register", routes.register, True, "register"),
        Operation("DeviceOperationStatus", "GET", f"{one}/operations/{{operation}}", routes.status, False),
        Operation("DeviceLookup", "POST", one, routes.look_up, False, "register"),
    ]


class DeviceRoutes:
    """Each of them judges the certificates of the connection: TLS itself lets every certificate in."""

    def __init__(self, world: "World") -> None:
        self._world = world

    async def register(self, request: web.Request) -> web.Response:
        """202 and an operation to poll; or 401 at once when no entry admits the device (cli tests)."""
        registration_id, version = self._who(request), request.query["api-version"]
        one = self._world.dps.assignments.register(
            registration_id, request["peer_chain"], await json_body(request), version, request.remote
        )
        where = f"{request.path.rsplit('/register', 1)[0]}/operations/{one.operation_id}"
        location = f"https://{request.host}{quote(where)}?api-version={version}"
        return json_reply(202, one.as_json(), {"Location": location, "Retry-After": str(RETRY_AFTER_S)})

    async def status(self, request: web.Request) -> web.Response:
        """202 while assigning, then 200, also for the final statuses `disabled` and `failed` (cli tests)."""
        one = self._world.dps.assignments.look_at(
            self._who(request), request["peer_chain"], request.match_info["operation"]
        )
        if one.result is None:
            return json_reply(202, one.as_json(), {"Retry-After": str(RETRY_AFTER_S)})
        return json_reply(200, one.as_json())

    async def look_up(self, request: web.Request) -> web.Response:
        """The device's own registration state; 404 when it never registered."""
        state = self._world.dps.assignments.look_up(self._who(request), request["peer_chain"], await json_body(request))
        return json_reply(200, state)

    def _who(self, request: web.Request) -> str:
        if request.match_info["scope"].lower() != self._world.names.id_scope.lower():
            raise Unauthorized
        return request.match_info["id"]
