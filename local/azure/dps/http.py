"""What both HTTP sides of DPS share: reading requests, knowing the caller, and answering a refusal."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from local.azure import sas
from local.azure.dps import refusals
from local.azure.http import Operation, Refusal, json_reply
from local.azure.identity import Forbidden, Unauthorized

if TYPE_CHECKING:
    from local.azure.world import World

AUDIENCE = "https://azure-devices-provisioning.net"
OLDEST_VERSION = "2018-09-01"
# Operations of devices, which show a certificate instead of a token.
DEVICE = "Device"
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
# Role names map to actions of these things (azure-docs: built-in roles,
# Microsoft.Devices/provisioningServices).
_THINGS = {
    "enrollments": "enrollments",
    "enrollmentGroups": "enrollmentGroups",
    "registrations": "registrationStates",
}


async def json_body(request: web.Request) -> Any:
    """The decoded body; BadRequest when it is not JSON."""
    try:
        return json.loads(await request.text())
    except ValueError:
        raise refusals.BadRequest("The body is not JSON.") from None


def if_match(request: web.Request) -> str | None:
    """The If-Match header, or None."""
    return request.headers.get("If-Match")


def check_version(version: str | None) -> None:
    """BadRequest unless it is an api-version of DPS."""
    if version is None or not _VERSION.fullmatch(version) or version < OLDEST_VERSION:
        raise refusals.BadRequest("The api-version is missing or not supported.")


def authorizer(world: "World") -> Callable[[web.Request, Operation], Awaitable[str]]:
    """Who calls the service API: the policy of a shared access signature, or the principal of a token."""

    async def authorize(request: web.Request, operation: Operation) -> str:
        check_version(request.query.get("api-version"))
        if operation.name.startswith(DEVICE):
            return "device"
        header = request.headers.get("Authorization", "")
        try:
            if header.startswith(sas.SCHEME):
                return sas.verify(header, world.names.dps_policies, host=world.names.dps_host, clock=world.clock)
            return world.identity.check(request, AUDIENCE, _action(operation))
        except (sas.BadSignature, Unauthorized):
            raise refusals.Unauthorized from None
        except Forbidden:
            raise refusals.Forbidden from None

    return authorize


def _action(operation: Operation) -> str:
    if operation.path.endswith("/attestationmechanism"):
        return "dps/attestationmechanism/details"
    thing = _THINGS[operation.path.split("/")[1]]
    verb = "delete" if operation.method == "DELETE" else "write" if operation.writes else "read"
    return f"dps/{thing}/{verb}"


def refuser(world: "World") -> Callable[[Refusal, web.Request], web.Response]:
    """Refusals as DPS words them.

    The service API may or may not say when to come back (knob service_retry_after).
    """

    def reply(refusal: Refusal, request: web.Request) -> web.Response:
        if not isinstance(refusal, refusals.DpsRefusal):
            raise TypeError(f"not a refusal of DPS: {type(refusal).__name__}")
        headers = refusal.headers()
        if not request.path.startswith(f"/{world.names.id_scope}/") and not world.knobs.service_retry_after:
            headers.pop("Retry-After", None)
        return json_reply(refusal.status, refusals.error_body(refusal, world.clock), headers)

    return reply
