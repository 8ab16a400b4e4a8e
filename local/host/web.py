"""The host's HTTP side: functions with routes and keys, the Event Grid webhook, event hub batches, admin.

Keys come in ``x-functions-key`` (which wins) or ``?code=``; level function takes the function or the master key,
admin the master key only (azure-docs functions-bindings-http-webhook-trigger, functions-host keys).
"""

import asyncio
import hmac
import json
import logging
import re
from typing import Any

from aiohttp import web

from local.host.eventhubs import bound_to, deliver
from local.host.protos import RpcHttp, TypedData
from local.host.settings import HostOptions
from local.host.timers import Timer
from local.host.worker import Function, Worker
from local.host.writes import Writes

log = logging.getLogger("host")
EVERY_METHOD = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"


class Web:
    """Everything that answers HTTP on the host's port."""

    def __init__(self, worker: Worker, options: HostOptions, keys: dict[str, str], writes: Writes) -> None:
        self._worker = worker
        self._keys = keys
        self._writes = writes
        self._asked: set[asyncio.Task[Any]] = set()
        self.app = web.Application(client_max_size=100 * 1024 * 1024)
        routes = self.app.router
        routes.add_get("/admin/host/status", self._status)
        routes.add_get("/admin/local/writes", self._list_writes)
        routes.add_post("/admin/functions/{name}", self._run_now)
        routes.add_route("*", "/runtime/webhooks/eventgrid", self._event_grid)
        routes.add_post("/runtime/webhooks/eventhubs/{event_hub}", self._event_hub)
        functions = (f for f in worker.functions.values() if f.kind == "httpTrigger")
        # A fixed segment wins over a parameter, whatever the order of definition.
        for function in sorted(functions, key=lambda f: _path(f, options).count("{")):
            methods = [m.upper() for m in function.trigger.get("methods") or EVERY_METHOD]
            for method in methods:
                routes.add_route(method, _path(function, options), self._call(function))

    async def drain(self) -> None:
        """Wait for what was asked for and still runs."""
        await asyncio.gather(*self._asked, return_exceptions=True)

    def _holds(self, request: web.Request, *names: str) -> bool:
        given = request.headers.get("x-functions-key") or request.query.get("code") or ""
        return any(hmac.compare_digest(given.encode(), self._keys[name].encode()) for name in (*names, "master"))

    def _call(self, function: Function) -> Any:
        level = str(function.trigger.get("authLevel", "function")).lower()

        async def handle(request: web.Request) -> web.Response:
            names = {"function": ("function",), "admin": ()}.get(level)
            if names is not None and not self._holds(request, *names):
                return web.Response(status=401)
            http = RpcHttp(
                method=request.method,
                url=str(request.url),
                headers=dict(request.headers),
                params=dict(request.match_info),
                query=dict(request.query),
                body=TypedData(bytes=await request.read()),
            )
            outcome = await self._worker.invoke(function, TypedData(http=http))
            return _answer(outcome.value) if outcome.ok else web.Response(status=500)

        return handle

    async def _status(self, request: web.Request) -> web.Response:
        if not self._holds(request):
            return web.Response(status=401)
        return web.json_response({"state": "Running", "functions": sorted(self._worker.functions)})

    async def _list_writes(self, request: web.Request) -> web.Response:
        return web.json_response(self._writes.made) if self._holds(request) else web.Response(status=401)

    async def _run_now(self, request: web.Request) -> web.Response:
        """Run a function that HTTP does not trigger (azure-docs functions-manually-run-non-http)."""
        if not self._holds(request):
            return web.Response(status=401)
        function = self._worker.functions.get(request.match_info["name"])
        if function is None or function.kind == "httpTrigger":
            return web.Response(status=404)
        try:
            text = (await request.json() if await request.text() else {}).get("input") or ""
        except (ValueError, AttributeError):
            return web.Response(status=400, text='a body {"input": "..."} was expected')
        task = asyncio.create_task(self._run(function, text))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)
        return web.Response(status=202)

    async def _run(self, function: Function, text: str) -> None:
        match function.kind:
            case "timerTrigger":
                await Timer(self._worker, function).fire(past_due=False)
            case "queueTrigger":
                metadata = {"Id": TypedData(string="manual"), "DequeueCount": TypedData(json="1")}
                empty = {k: TypedData(json="null") for k in ("ExpirationTime", "InsertionTime", "NextVisibleTime")}
                pop = {"PopReceipt": TypedData(string="")}
                await self._worker.invoke(function, TypedData(string=text), {**metadata, **empty, **pop})
            case "eventHubTrigger":
                await deliver(self._worker, function, [text])
            case _:
                await self._worker.invoke(function, TypedData(json=text))

    async def _event_hub(self, request: web.Request) -> web.Response:
        if not self._holds(request):
            return web.Response(status=401)
        functions = bound_to(self._worker, request.match_info["event_hub"])
        bodies = await request.json()
        if not functions or not isinstance(bodies, list):
            return web.Response(status=404 if not functions else 400)
        taken = [await deliver(self._worker, function, bodies) for function in functions]
        return web.json_response({"taken": all(taken)})

    async def _event_grid(self, request: web.Request) -> web.Response:
        if not self._holds(request, "eventgrid_extension"):
            return web.Response(status=401)
        function = self._worker.functions.get(request.query.get("functionName", ""))
        if function is None or function.kind != "eventGridTrigger":
            return web.Response(status=404)
        if request.method == "OPTIONS":  # the CloudEvents handshake
            origin = request.headers.get("WebHook-Request-Origin", "*")
            return web.Response(headers={"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"})
        try:
            body = await request.json()
        except ValueError:
            return web.Response(status=400, text="the body is not JSON")
        events = body if isinstance(body, list) else [body]
        if request.headers.get("aeg-event-type") == "SubscriptionValidation":
            return _validated(events)
        results = [await self._worker.invoke(function, TypedData(json=json.dumps(event))) for event in events]
        return web.Response(status=202 if all(result.ok for result in results) else 500)


def _path(function: Function, options: HostOptions) -> str:
    route = str(function.trigger.get("route") or function.name).strip("/")
    # ASP.NET constraints such as {id:int} do not matter here; {*rest} takes the remaining segments.
    route = re.sub(r"\{\*(\w+)\}", r"{\1:.*}", re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route))
    return f"/{options.route_prefix}/{route}" if options.route_prefix else f"/{route}"


def _answer(value: TypedData | None) -> web.Response:
    if value is None:
        return web.Response(status=204)
    if value.http is None:
        return web.Response(text=value.string or value.json or "")
    body = value.http.body
    content = b"" if body is None else body.bytes or (body.string or body.json or "").encode()
    return web.Response(status=int(value.http.status_code), headers=value.http.headers, body=content)


def _validated(events: list[Any]) -> web.Response:
    try:
        found = next(event for event in events if event["eventType"] == VALIDATION)
        return web.json_response({"validationResponse": found["data"]["validationCode"]})
    except (StopIteration, KeyError, TypeError):
        return web.Response(status=400, text="no validation event")
