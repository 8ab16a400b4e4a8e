"""The hub's service API over HTTPS: requests in, answers out, one line per operation.

Modules, configurations, import and export jobs and messages to devices are not emulated: 501, by name.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from local.azure.http import Operation, json_reply, service_app
from local.azure.iothub.access import authorizer
from local.azure.iothub.bulk import LARGEST_BULK
from local.azure.iothub.methods import metered_units
from local.azure.iothub.refusals import ArgumentInvalid, Throttled, refusal_reply

if TYPE_CHECKING:
    from local.azure.world import World


def hub_app(world: "World") -> web.Application:
    """The service API of `world.hub`."""

    def throttled(wait_s: float | None) -> Throttled:
        return Throttled(wait_s if world.knobs.service_retry_after else None)

    return service_app(
        "iothub",
        operations(_Handlers(world)),
        world,
        authorize=authorizer(world),
        refusal_reply=refusal_reply(world.clock),
        throttled=throttled,
    )


def operations(to: "_Handlers") -> list[Operation]:
    """Everything that is emulated: name, method, path, handler, whether it writes, the quota it takes from."""
    return [
        Operation("ListDevices", "GET", "/devices", to.list_devices, False, "registry"),
        Operation("BulkDevices", "POST", "/devices", to.bulk_devices, True, "registry", bulk_cost),
        Operation("QueryDevices", "POST", "/devices/query", to.query_devices, False, "queries"),
        Operation("GetDevice", "GET", "/devices/{id}", to.get_device, False, "registry"),
        Operation("PutDevice", "PUT", "/devices/{id}", to.put_device, True, "registry"),
        Operation("DeleteDevice", "DELETE", "/devices/{id}", to.delete_device, True, "registry"),
        Operation("GetTwin", "GET", "/twins/{id}", to.get_twin, False, "twin_reads"),
        Operation("PatchTwin", "PATCH", "/twins/{id}", to.patch_twin, True, "twin_updates"),
        Operation("PutTwin", "PUT", "/twins/{id}", to.put_twin, True, "twin_updates"),
        Operation("InvokeMethod", "POST", "/twins/{id}/methods", to.invoke_method, True, "methods", method_cost),
        Operation("ListJobs", "GET", "/jobs/v2/query", to.list_jobs, False, "jobs"),
        Operation("PutJob", "PUT", "/jobs/v2/{id}", to.put_job, True, "jobs"),
        Operation("GetJob", "GET", "/jobs/v2/{id}", to.get_job, False, "jobs"),
        Operation("CancelJob", "POST", "/jobs/v2/{id}/cancel", to.cancel_job, True, "jobs"),
        Operation("ListImportExportJobs", "GET", "/jobs", to.list_import_export_jobs, False, "jobs"),
        Operation("DeviceStatistics", "GET", "/statistics/devices", to.device_statistics, False, "registry"),
        Operation("ServiceStatistics", "GET", "/statistics/service", to.service_statistics, False, "registry"),
    ]


async def bulk_cost(request: web.Request) -> int:
    """Every device of a bulk call counts (docs: quotas and throttling). A call that is too long is refused later."""
    items = await _json(request)
    return min(len(items), LARGEST_BULK) if isinstance(items, list) else 1


async def method_cost(request: web.Request) -> int:
    """Methods are metered by size."""
    return metered_units(len(await request.read()))


class _Handlers:
    def __init__(self, world: "World") -> None:
        self._hub = world.hub

    async def list_devices(self, request: web.Request) -> web.Response:
        return json_reply(200, self._hub.registry.list(_number(request.query, "top") or 1000))

    async def get_device(self, request: web.Request) -> web.Response:
        return json_reply(200, self._hub.registry.get(_id(request)))

    async def put_device(self, request: web.Request) -> web.Response:
        body = await _object(request)
        return json_reply(200, self._hub.registry.put(_id(request), body, request.headers.get("If-Match")))

    async def delete_device(self, request: web.Request) -> web.Response:
        self._hub.registry.delete(_id(request), request.headers.get("If-Match"))
        return json_reply(204, None)

    async def bulk_devices(self, request: web.Request) -> web.Response:
        result = self._hub.bulk.apply(await _json(request))
        return json_reply(200 if result["isSuccessful"] else 400, result)

    async def query_devices(self, request: web.Request) -> web.Response:
        text = (await _object(request)).get("query")
        if not isinstance(text, str):
            raise ArgumentInvalid("The query is missing.")
        size = _number(request.headers, "x-ms-max-item-count")
        page = self._hub.queries.page(text, size, request.headers.get("x-ms-continuation"))
        headers = {"x-ms-item-type": page.item_type}
        if page.continuation is not None:
            headers["x-ms-continuation"] = page.continuation
        return json_reply(200, page.rows, headers)

    async def get_twin(self, request: web.Request) -> web.Response:
        return json_reply(200, self._hub.twins.get(_id(request)))

    async def patch_twin(self, request: web.Request) -> web.Response:
        body = await _object(request)
        return json_reply(200, self._hub.twins.patch(_id(request), body, request.headers.get("If-Match")))

    async def put_twin(self, request: web.Request) -> web.Response:
        body = await _object(request)
        return json_reply(200, self._hub.twins.replace(_id(request), body, request.headers.get("If-Match")))

    async def invoke_method(self, request: web.Request) -> web.Response:
        return json_reply(200, await self._hub.methods.invoke(_id(request), await _object(request)))

    async def put_job(self, request: web.Request) -> web.Response:
        return json_reply(200, self._hub.jobs.create(_id(request), await _object(request)))

    async def get_job(self, request: web.Request) -> web.Response:
        return json_reply(200, self._hub.jobs.get(_id(request)))

    async def cancel_job(self, request: web.Request) -> web.Response:
        return json_reply(200, self._hub.jobs.cancel(_id(request)))

    async def list_jobs(self, request: web.Request) -> web.Response:
        # A bare array, although azure-iot-hub's own model expects an object (azure-iot-sdk-python#423).
        jobs = self._hub.jobs.list(request.query.get("jobType"), request.query.get("jobStatus"))
        return json_reply(200, jobs, {"x-ms-item-type": "JobResponse"})

    async def list_import_export_jobs(self, _request: web.Request) -> web.Response:
        return json_reply(200, [])  # none can be made here; `az iot hub job list` asks for them all the same

    async def device_statistics(self, _request: web.Request) -> web.Response:
        return json_reply(200, self._hub.registry.statistics())

    async def service_statistics(self, _request: web.Request) -> web.Response:
        return json_reply(200, {"connectedDeviceCount": len(self._hub.sessions)})


def _id(request: web.Request) -> str:
    return request.match_info["id"]


def _number(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    if not text.isdigit():
        raise ArgumentInvalid(f"{name} is not a number.")
    return int(text)


async def _json(request: web.Request) -> Any:
    try:
        return json.loads(await request.text())
    except ValueError:
        raise ArgumentInvalid("The body is not JSON.") from None


async def _object(request: web.Request) -> dict[str, Any]:
    body = await _json(request)
    if not isinstance(body, dict):
        raise ArgumentInvalid("The body is not a JSON object.")
    return body
