"""HTTP for every service: routes in, refusals out, and in between what any front end does to a request.

A service gives a list of operations, one line each, and says in its own words how it refuses. In this order a
request meets: injected faults, the quota, authorization, the handler, a lost reply, the journal.
"""

import asyncio
import json
import logging
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from local.azure.faults import Fault

if TYPE_CHECKING:
    from local.azure.world import World

log = logging.getLogger(__name__)
# aiohttp recommends typed keys for what is kept on a request; two plain ones are easier to read in every service.
warnings.filterwarnings("ignore", category=web.NotAppKeyWarning)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LARGEST_BODY = 4 * 1024 * 1024


class Refusal(Exception):
    """A service saying no. One subclass per real error, in <service>/refusals.py."""

    status = 400

    def body(self, request: web.Request) -> dict[str, Any] | None:
        """The JSON that says no in the service's words; None for an empty answer."""
        return {"error": {"code": type(self).__name__, "message": str(self)}}

    def headers(self) -> dict[str, str]:
        """Headers that go with it, e.g. Retry-After."""
        return {}


@dataclass(frozen=True)
class Operation:
    """One line of a service's table. `writes` says whether it changes state; `bucket` names its quota."""

    name: str
    method: str
    path: str
    handler: Handler
    writes: bool
    bucket: str | None = None
    cost: Callable[[web.Request], Awaitable[int]] | None = None


Authorize = Callable[[web.Request, Operation], Awaitable[str]]
RefusalReply = Callable[[Refusal, web.Request], web.Response]


def json_reply(status: int, body: Any, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer with the content type that Azure sends; no body and no content type for None."""
    if body is None:
        return web.Response(status=status, headers=headers)
    payload = json.dumps(body, separators=(",", ":")).encode()
    return web.Response(status=status, body=payload, content_type="application/json", charset="utf-8", headers=headers)


def plain_refusal(refusal: Refusal, request: web.Request) -> web.Response:
    """The refusal's own body and headers, as JSON: enough for most services."""
    return json_reply(refusal.status, refusal.body(request), refusal.headers())


def service_app(
    service: str,
    operations: list[Operation],
    world: "World",
    *,
    authorize: Authorize,
    refusal_reply: RefusalReply,
    throttled: Callable[[float | None], Refusal],
) -> web.Application:
    """An application that serves `operations` and answers 501 to the rest.

    A trailing slash is tolerated (the Key Vault and the Node clients send one). Handlers find the client's
    certificates as `request["peer_chain"]` (DER, leaf first) and the caller as `request["principal"]`.
    """
    app = web.Application(client_max_size=LARGEST_BODY)
    front = _Front(service, world, authorize, refusal_reply, throttled)
    for operation in operations:
        handler = front.around(operation)
        app.router.add_route(operation.method, operation.path, handler)
        app.router.add_route(operation.method, operation.path.rstrip("/") + "/", handler)
    app.router.add_route("*", "/{rest:.*}", front.not_emulated)
    return app


class _Front:
    def __init__(
        self,
        service: str,
        world: "World",
        authorize: Authorize,
        refusal_reply: RefusalReply,
        throttled: Callable[[float | None], Refusal],
    ) -> None:
        self._service = service
        self._world = world
        self._authorize = authorize
        self._refusal_reply = refusal_reply
        self._throttled = throttled

    def around(self, operation: Operation) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            chain = request.transport.get_extra_info("peer_chain") if request.transport else None
            request["peer_chain"] = chain or []
            asked = (self._service, operation.name, request.method, request.path)
            faults = self._world.faults.striking(*asked, writes=operation.writes)
            response = await self._answer(request, operation, faults)
            fault = faults[-1].kind if faults else None
            self._write_journal(request, operation.name, response.status, fault, writes=operation.writes)
            return response

        return handle

    async def _answer(self, request: web.Request, operation: Operation, faults: list[Fault]) -> web.StreamResponse:
        for fault in faults:
            if fault.kind == "latency":
                await asyncio.sleep(fault.seconds)
            elif fault.kind == "reset":
                return _cut(request)
            elif fault.kind == "status":
                return self._injected(fault, request)
        response = await self._serve(request, operation)
        if any(fault.kind == "lost_reply" for fault in faults):
            return _cut(request)
        return response

    async def _serve(self, request: web.Request, operation: Operation) -> web.StreamResponse:
        try:
            await self._take_quota(request, operation)
            request["principal"] = await self._authorize(request, operation)
            return await operation.handler(request)
        except Refusal as refusal:
            return self._refusal_reply(refusal, request)
        except web.HTTPException:
            raise
        except Exception:
            log.exception("%s: %s failed", self._service, operation.name)
            return json_reply(500, {"error": {"code": "InternalServerError", "message": "the stand-in failed"}})

    async def _take_quota(self, request: web.Request, operation: Operation) -> None:
        if operation.bucket is None:
            return
        cost = await operation.cost(request) if operation.cost else 1
        wait = self._world.throttles.take(self._service, operation.bucket, cost)
        if wait is not None:
            raise self._throttled(wait)

    def _injected(self, fault: Fault, request: web.Request) -> web.Response:
        if fault.status == 429:
            return self._refusal_reply(self._throttled(fault.retry_after), request)
        headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
        return json_reply(fault.status, {"error": {"code": "Injected", "message": "a fault on request"}}, headers)

    async def not_emulated(self, request: web.Request) -> web.StreamResponse:
        response = not_emulated(request)
        self._write_journal(request, "NotEmulated", response.status, None, writes=False)
        return response

    def _write_journal(
        self, request: web.Request, operation: str, status: int, fault: str | None, *, writes: bool
    ) -> None:
        self._world.journal.append(
            "request",
            service=self._service,
            operation=operation,
            method=request.method,
            path=request.path,
            status=status,
            principal=request.get("principal"),
            fault=fault,
            writes=writes,
        )


def not_emulated(request: web.Request) -> web.Response:
    """501, naming the operation that nobody built."""
    message = f"not emulated: {request.method} {request.path}"
    return json_reply(501, {"error": {"code": "NotEmulated", "message": message}})


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=499)  # never sent; the journal shows that the client saw nothing
