"""The control port: what no Azure service has. Plain HTTP and JSON, on an address of its own.

GET/PUT /clock · GET/PATCH /knobs · GET/POST/DELETE /faults · GET/PATCH /throttles · GET /journal ·
GET /roles, PUT /roles/{principal} · GET /app-roles, PUT /app-roles/{principal} · POST /reset ·
what the services add in their own `control.py`
"""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from aiohttp import web

from local.azure.clock import iso, parse_iso
from local.azure.eventgrid.control import eventgrid_routes
from local.azure.http import json_reply
from local.azure.identity.roles import client_id_of
from local.azure.iothub.control import iothub_routes
from local.azure.world import World

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A wrong request is answered with the reason: this port is for people and tests."""
    try:
        return await handler(request)
    except (ValueError, TypeError, KeyError, json.JSONDecodeError) as error:
        return json_reply(400, {"error": f"{type(error).__name__}: {error}"})


async def json_object(request: web.Request) -> dict[str, Any]:
    """The body, which must be a JSON object; TypeError otherwise. No body is the empty object."""
    text = await request.text()
    body = json.loads(text) if text.strip() else {}
    if not isinstance(body, dict):
        raise TypeError("the body must be a JSON object")
    return body


def control_app(world: World) -> web.Application:
    """The control port of `world`."""
    app = web.Application(middlewares=[explain])
    app.add_routes([*_time(world), *_trouble(world), *_looking(world), *eventgrid_routes(world), *iothub_routes(world)])
    return app


def _time(world: World) -> list[web.RouteDef]:
    clock = world.clock

    def shown() -> web.Response:
        return json_reply(200, {"now": iso(clock.now()), "offset_s": clock.offset.total_seconds()})

    async def get_clock(_request: web.Request) -> web.Response:
        return shown()

    async def put_clock(request: web.Request) -> web.Response:
        body = await json_object(request)
        if "set" in body:
            clock.set(parse_iso(body["set"]))
        else:
            clock.advance(timedelta(seconds=float(body["advance_s"])))
        return shown()

    return [web.get("/clock", get_clock), web.put("/clock", put_clock)]


def _trouble(world: World) -> list[web.RouteDef]:
    async def get_knobs(_request: web.Request) -> web.Response:
        return json_reply(200, vars(world.knobs))

    async def patch_knobs(request: web.Request) -> web.Response:
        world.knobs.patch(await json_object(request))
        return json_reply(200, vars(world.knobs))

    async def get_faults(_request: web.Request) -> web.Response:
        return json_reply(200, [fault.as_json() for fault in world.faults.rules])

    async def post_fault(request: web.Request) -> web.Response:
        return json_reply(201, world.faults.add(await json_object(request)).as_json())

    async def delete_faults(_request: web.Request) -> web.Response:
        world.faults.clear()
        return json_reply(204, None)

    async def get_throttles(_request: web.Request) -> web.Response:
        return json_reply(200, world.throttles.as_json())

    async def patch_throttles(request: web.Request) -> web.Response:
        world.throttles.patch(await json_object(request))
        return json_reply(200, world.throttles.as_json())

    return [
        web.get("/knobs", get_knobs),
        web.patch("/knobs", patch_knobs),
        web.get("/faults", get_faults),
        web.post("/faults", post_fault),
        web.delete("/faults", delete_faults),
        web.get("/throttles", get_throttles),
        web.patch("/throttles", patch_throttles),
    ]


def _looking(world: World) -> list[web.RouteDef]:
    def principals() -> dict[str, Any]:
        return {
            name: {"client_id": client_id_of(name), "roles": list(roles)}
            for name, roles in world.identity.assignments.items()
        }

    async def get_journal(request: web.Request) -> web.Response:
        query = request.query
        found = world.journal.entries(int(query.get("since", 0)), query.get("kind"), query.get("service"))
        return json_reply(200, found)

    async def get_roles(_request: web.Request) -> web.Response:
        return json_reply(200, principals())

    async def put_roles(request: web.Request) -> web.Response:
        body = await json_object(request)
        world.identity.assign(request.match_info["principal"], body["roles"])
        return json_reply(200, principals())

    def app_roles() -> dict[str, Any]:
        return {
            name: {"client_id": client_id_of(name), "roles": list(roles)}
            for name, roles in world.identity.app_roles.items()
        }

    async def get_app_roles(_request: web.Request) -> web.Response:
        return json_reply(200, app_roles())

    async def put_app_roles(request: web.Request) -> web.Response:
        body = await json_object(request)
        world.identity.assign_app_roles(request.match_info["principal"], body["roles"])
        return json_reply(200, app_roles())

    async def reset(_request: web.Request) -> web.Response:
        world.reset()
        return json_reply(204, None)

    return [
        web.get("/journal", get_journal),
        web.get("/roles", get_roles),
        web.put("/roles/{principal}", put_roles),
        web.get("/app-roles", get_app_roles),
        web.put("/app-roles/{principal}", put_app_roles),
        web.post("/reset", reset),
    ]
