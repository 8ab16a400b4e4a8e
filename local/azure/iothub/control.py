"""IoT Hub on the control port.

POST /queued-messages {"device_id", "count"} · PUT /hub-log {"reader"}: who reads the hub's log; null for nobody
"""

from typing import TYPE_CHECKING

from aiohttp import web

from local.azure.http import json_reply

if TYPE_CHECKING:
    from local.azure.world import World


def iothub_routes(world: "World") -> list[web.RouteDef]:
    """The routes; a KeyError or ValueError is the caller's mistake and is shown by the control port."""

    async def post_queued_messages(request: web.Request) -> web.Response:
        body = await request.json()
        device_id, count = body["device_id"], body["count"]
        if device_id not in world.hub.store.devices:
            raise KeyError(device_id)
        return json_reply(200, {"device_id": device_id, "queued": world.hub.registry.queue_messages(device_id, count)})

    async def put_hub_log(request: web.Request) -> web.Response:
        reader = (await request.json())["reader"]
        if reader is not None and not str(reader).startswith("http"):
            raise ValueError("the reader is a URL, or null")
        world.hub.log.reader = reader
        # The host's key is part of the URL, and has no place in an answer.
        return json_reply(200, {"reader": reader and str(reader).partition("?")[0]})

    return [web.post("/queued-messages", post_queued_messages), web.put("/hub-log", put_hub_log)]
