"""Resource Manager over HTTP: one line for each operation (REST reference: Azure IoT DPS, Dps Certificate)."""

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from local.azure.arm import resources
from local.azure.arm.certificates import ArmCertificates
from local.azure.arm.refusals import (
    BadCertificate,
    MissingVersion,
    NotAuthorized,
    ResourceNotFound,
    TooManyRequests,
    Unauthenticated,
)
from local.azure.http import Operation, json_reply, plain_refusal, service_app
from local.azure.identity import Forbidden, Unauthorized

if TYPE_CHECKING:
    from local.azure.world import World

AUDIENCE = "https://management.azure.com"
PROVIDER = "Microsoft.Devices"
_GROUP = "/subscriptions/{subscription}/resourceGroups/{group}"
DPS = f"{_GROUP}/providers/{PROVIDER}/provisioningServices/{{dps}}"
HUB = f"{_GROUP}/providers/{PROVIDER}/IotHubs/{{hub}}"
CERTIFICATE = f"{DPS}/certificates/{{certificate}}"
# Names of the resource provider's operations (docs: permissions, Internet of Things).
_VERBS = {"GET": "read", "PUT": "write", "DELETE": "delete"}


def arm_app(world: "World") -> web.Application:
    """What is served of https://management.azure.com; the rest answers 501."""
    api = _Api(world)
    operations = [
        Operation("GetProvisioningService", "GET", DPS, api.get_dps, writes=False),
        Operation("GetHub", "GET", HUB, api.get_hub, writes=False),
        Operation("ListCaCertificates", "GET", f"{DPS}/certificates", api.list_certificates, writes=False),
        Operation("GetCaCertificate", "GET", CERTIFICATE, api.get_certificate, writes=False),
        Operation("PutCaCertificate", "PUT", CERTIFICATE, api.put_certificate, writes=True),
        Operation("DeleteCaCertificate", "DELETE", CERTIFICATE, api.delete_certificate, writes=True),
        Operation("GenerateVerificationCode", "POST", f"{CERTIFICATE}/generateVerificationCode", api.code, writes=True),
        Operation("VerifyCaCertificate", "POST", f"{CERTIFICATE}/verify", api.verify, writes=True),
    ]
    return service_app(
        "arm",
        operations,
        world,
        authorize=_authorizer(world),
        refusal_reply=plain_refusal,
        throttled=TooManyRequests,
    )


def _authorizer(world: "World") -> Callable[[web.Request, Operation], Awaitable[str]]:
    async def authorize(request: web.Request, operation: Operation) -> str:
        try:
            principal = world.identity.check(request, AUDIENCE, f"arm/{action(operation)}")
        except Unauthorized as error:
            raise Unauthenticated(world.names.tenant_id, str(error)) from None
        except Forbidden as error:
            raise NotAuthorized(error.principal, f"{PROVIDER}/{action(operation)}", request.path) from None
        if "api-version" not in request.query:
            raise MissingVersion
        _check_scope(world, request)
        return principal

    return authorize


def action(operation: Operation) -> str:
    """The operation's name below the provider, e.g. provisioningServices/certificates/verify/action."""
    kinds = [part for part in operation.path.partition(f"/{PROVIDER}/")[2].split("/") if not part.startswith("{")]
    verb = _VERBS.get(operation.method, "action")
    return "/".join([*kinds, verb])


def _check_scope(world: "World", request: web.Request) -> None:
    """Names in the path are those of this stand-in, in any case."""
    names, match = world.names, request.match_info
    kind, name, ours = (
        (f"{PROVIDER}/provisioningServices", match["dps"], names.dps_name)
        if "dps" in match
        else (f"{PROVIDER}/IotHubs", match["hub"], names.hub_name)
    )
    asked = (match["subscription"], match["group"], name)
    if [one.lower() for one in asked] != [one.lower() for one in (names.subscription_id, names.resource_group, ours)]:
        raise ResourceNotFound(kind, name, match["group"])


async def _body(request: web.Request) -> Any:
    try:
        return json.loads(await request.text())
    except ValueError:
        raise BadCertificate("The body is not JSON.") from None


class _Api:
    """Requests to calls, and what they give to answers."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._certificates = ArmCertificates(world)

    async def get_dps(self, _request: web.Request) -> web.Response:
        return json_reply(200, resources.provisioning_service(self._world))

    async def get_hub(self, _request: web.Request) -> web.Response:
        return json_reply(200, resources.hub(self._world))

    async def list_certificates(self, _request: web.Request) -> web.Response:
        return json_reply(200, {"value": [self._certificates.shown(one) for one in self._certificates.all()]})

    async def get_certificate(self, request: web.Request) -> web.Response:
        return json_reply(200, self._certificates.shown(self._certificates.get(request.match_info["certificate"])))

    async def put_certificate(self, request: web.Request) -> web.Response:
        headers = request.headers
        kept = self._certificates.put(
            request.match_info["certificate"],
            await _body(request),
            headers.get("If-Match"),
            headers.get("If-None-Match"),
        )
        return json_reply(200, self._certificates.shown(kept))

    async def delete_certificate(self, request: web.Request) -> web.Response:
        """200 for one that was there (recorded), 204 for one that was not (ARM: DELETE is idempotent)."""
        there = self._certificates.delete(request.match_info["certificate"], request.headers.get("If-Match"))
        return json_reply(200 if there else 204, None)

    async def code(self, request: web.Request) -> web.Response:
        kept = self._certificates.generate_code(request.match_info["certificate"], request.headers.get("If-Match"))
        return json_reply(200, self._certificates.shown(kept, code=True))

    async def verify(self, request: web.Request) -> web.Response:
        kept = self._certificates.verify(
            request.match_info["certificate"], await _body(request), request.headers.get("If-Match")
        )
        return json_reply(200, self._certificates.shown(kept))
