"""Event Grid on the control port.

PUT/GET /subscriptions, DELETE /subscriptions/{name} · POST /events/drop · POST /events/expiry-scan ·
GET /topic-events · GET /dead-letters
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aiohttp import web

from local.azure.eventgrid.grid import Subscription
from local.azure.http import json_reply

if TYPE_CHECKING:
    from local.azure.world import World


def eventgrid_routes(world: "World") -> list[web.RouteDef]:
    """The routes; a ValueError is the caller's mistake and is shown by the control port."""
    grid = world.eventgrid

    async def put_subscription(request: web.Request) -> web.Response:
        body = await request.json()
        subscription = await grid.subscribe(
            request.match_info["name"],
            body["endpoint"],
            body.get("schema", "CloudEventSchemaV1_0"),
            body.get("included_event_types", []),
        )
        return json_reply(200, _shown(subscription))

    async def get_subscriptions(_request: web.Request) -> web.Response:
        return json_reply(200, [_shown(one) for one in grid.subscriptions.values()])

    async def delete_subscription(request: web.Request) -> web.Response:
        grid.subscriptions.pop(request.match_info["name"], None)
        return json_reply(204, None)

    async def post_switches(request: web.Request) -> web.Response:
        body = await request.json()
        if schema := body.pop("schema", None):
            for name, one in list(grid.subscriptions.items()):
                await grid.subscribe(name, one.webhook.url, schema, list(one.included_event_types))
        grid.switches = replace(grid.switches, **body)
        return json_reply(200, vars(grid.switches))

    async def post_expiry_scan(_request: web.Request) -> web.Response:
        world.tick()
        return json_reply(204, None)

    async def get_topic_events(_request: web.Request) -> web.Response:
        return json_reply(200, grid.topic_events)

    async def get_dead_letters(_request: web.Request) -> web.Response:
        return json_reply(200, grid.dead_letters)

    return [
        web.put("/subscriptions/{name}", put_subscription),
        web.get("/subscriptions", get_subscriptions),
        web.delete("/subscriptions/{name}", delete_subscription),
        web.post("/events/drop", post_switches),
        web.post("/events/expiry-scan", post_expiry_scan),
        web.get("/topic-events", get_topic_events),
        web.get("/dead-letters", get_dead_letters),
    ]


def _shown(subscription: Subscription) -> dict[str, Any]:
    return {
        "name": subscription.name,
        # The function's key is part of the URL, and has no place in an answer.
        "endpoint": subscription.webhook.url.split("?")[0],
        "schema": subscription.webhook.schema,
        "included_event_types": list(subscription.included_event_types),
    }
