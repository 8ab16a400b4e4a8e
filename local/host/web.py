"""The host's HTTP side: the app's routes, the Event Grid webhook, event hub batches, administration."""

import asyncio
import json
from typing import Any

from aiohttp import web

from local.host import eventgrid
from local.host.eventgrid import EventGridWebhook
from local.host.eventhubs import deliver, hub_of
from local.host.keys import Keys
from local.host.protos import TypedData
from local.host.queue_messages import metadata_by_hand
from local.host.routes import add_functions, method_not_found
from local.host.timers import Timer
from local.host.worker import Function, Worker
from local.host.writes import Writes

LARGEST = 100 * 1024 * 1024  # what Azure takes as the body of a request


class Web:
    """Everything that answers HTTP on the host's port."""

    def __init__(self, worker: Worker, route_prefix: str, keys: Keys, writes: Writes) -> None:
        self._worker = worker
        self._keys = keys
        self._writes = writes
        self._hubs = [(hub_of(function), function) for function in worker.of_kind("eventHubTrigger")]
        self._asked: set[asyncio.Task[None]] = set()
        self.app = web.Application(client_max_size=LARGEST, middlewares=[method_not_found])
        router = self.app.router
        router.add_get("/admin/host/status", self._status)
        router.add_get("/admin/local/writes", self._list_writes)
        router.add_post("/admin/functions/{name}", self._run_now)
        router.add_post("/runtime/webhooks/eventhubs/{event_hub}", self._event_hub)
        router.add_route("*", eventgrid.PATH, EventGridWebhook(worker, keys).answer)
        add_functions(router, worker, keys, route_prefix)

    async def drain(self) -> None:
        """Wait for what was asked for and still runs."""
        await asyncio.gather(*self._asked, return_exceptions=True)

    async def _status(self, request: web.Request) -> web.Response:
        if not self._keys.held_by(request):
            return web.Response(status=401)
        return web.json_response({"state": "Running", "functions": sorted(self._worker.functions)})

    async def _list_writes(self, request: web.Request) -> web.Response:
        if not self._keys.held_by(request):
            return web.Response(status=401)
        return web.json_response(self._writes.made)

    async def _run_now(self, request: web.Request) -> web.Response:
        """Run a function that HTTP does not trigger (azure-docs functions-manually-run-non-http)."""
        if not self._keys.held_by(request):
            return web.Response(status=401)
        function = self._worker.functions.get(request.match_info["name"])
        if function is None or function.kind == "httpTrigger":
            return web.Response(status=404)
        try:
            body = json.loads(await request.text() or "{}")
            value = body.get("input", "")
        except (ValueError, AttributeError):
            return web.Response(status=400, text='a body {"input": "..."} was expected')
        text = value if isinstance(value, str) else json.dumps(value)
        task = asyncio.create_task(self._run(function, text))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)
        return web.Response(status=202)

    async def _run(self, function: Function, text: str) -> None:
        match function.kind:
            case "timerTrigger":
                await Timer(self._worker, function).fire(past_due=False)
            case "queueTrigger":
                await self._worker.invoke(function, TypedData(string=text), metadata_by_hand(text))
            case "eventHubTrigger":
                await deliver(self._worker, function, [text])
            case _:
                await self._worker.invoke(function, TypedData(json=text))

    async def _event_hub(self, request: web.Request) -> web.Response:
        """One batch for the functions that read the event hub, there only on a desk; it answers when all is over."""
        if not self._keys.held_by(request):
            return web.Response(status=401)
        event_hub = request.match_info["event_hub"].lower()
        functions = [function for hub, function in self._hubs if hub == event_hub]
        if not functions:
            return web.Response(status=404, text=f"no function reads the event hub {event_hub}")
        try:
            bodies: Any = json.loads(await request.text())
        except ValueError:
            bodies = None
        if not isinstance(bodies, list):
            return web.Response(status=400, text="a JSON list of bodies was expected")
        taken = [await deliver(self._worker, function, bodies) for function in functions]
        return web.json_response({"taken": all(taken)})
