"""HTTP triggers: where each function answers, to whom, and how its answer is sent.

Level function takes the function or the master key, admin the master key only; a method that a function does not
list is not found (azure-docs functions-bindings-http-webhook-trigger). Not imitated: the 230 s after which Azure's
load balancer gives up, cookies, routes that differ only in case.
"""

import re
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from local.host.keys import Keys
from local.host.protos import RpcHttp, TypedData
from local.host.settings import BadSetting
from local.host.worker import Function, Worker

EVERY_METHOD = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")


def add_functions(router: web.UrlDispatcher, worker: Worker, keys: Keys, prefix: str) -> None:
    """Give each HTTP function its route. ``BadSetting`` for one that cannot be served."""
    placed = [(_path(function, prefix), function) for function in worker.of_kind("httpTrigger")]
    for path, function in sorted(placed, key=lambda one: _breadth(one[0])):
        methods: Iterable[str] = function.trigger.get("methods") or EVERY_METHOD
        try:
            for method in methods:
                router.add_route(method.upper(), path, _call(worker, function, keys))
        except (ValueError, RuntimeError):
            raise BadSetting(f"function {function.name}: the route {path} is taken or cannot be served here") from None


@web.middleware
async def method_not_found(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """The method belongs to a route on Azure: another one finds nothing (404), it is not refused (405)."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed:
        return web.Response(status=404)


def _breadth(path: str) -> tuple[bool, int]:
    """A fixed segment wins over a parameter, which wins over "all the rest"; the order of definition does not count."""
    return ":.*}" in path, path.count("{")


def _path(function: Function, prefix: str) -> str:
    route = str(function.trigger.get("route") or function.name).strip("/")
    # ASP.NET constraints such as {id:int} do not matter here; {*rest} takes the remaining segments.
    route = re.sub(r"\{\*(\w+)\}", r"{\1:.*}", re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route))
    return f"/{prefix}/{route}" if prefix else f"/{route}"


def _call(worker: Worker, function: Function, keys: Keys) -> Callable[[web.Request], Awaitable[web.Response]]:
    level = str(function.trigger.get("authLevel", "function")).lower()

    async def handle(request: web.Request) -> web.Response:
        names = ("function",) if level == "function" else ()
        if level != "anonymous" and not keys.held_by(request, *names):
            return web.Response(status=401)
        http = RpcHttp(
            method=request.method,
            url=str(request.url),
            headers=dict(request.headers),
            params=dict(request.match_info),
            query=dict(request.query),
            body=TypedData(bytes=await request.read()),
        )
        outcome = await worker.invoke(function, TypedData(http=http))
        return _answer(outcome.value) if outcome.ok else web.Response(status=500)

    return handle


def _answer(value: TypedData | None) -> web.Response:
    if value is None:
        return web.Response(status=204)
    if value.http is None:
        return web.Response(text=value.string or value.json or "")
    body = value.http.body
    content = b"" if body is None else body.bytes or (body.string or body.json or "").encode()
    return web.Response(status=int(value.http.status_code), headers=value.http.headers, body=content)
