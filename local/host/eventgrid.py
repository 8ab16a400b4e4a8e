"""The Event Grid webhook: key, handshake, and one invocation for each event.

Both schemas have their handshake: a POST with a code to repeat, or OPTIONS with an origin to allow (azure-docs
event-grid webhook-event-delivery, end-point-validation-cloud-events-schema). A function that fails becomes a 500, so
that Event Grid delivers again.
"""

import json
from typing import Any

from aiohttp import web

from local.host.keys import Keys
from local.host.protos import TypedData
from local.host.worker import Worker

PATH = "/runtime/webhooks/eventgrid"
VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"


class EventGridWebhook:
    """Answers what Event Grid sends to ``?functionName=``."""

    def __init__(self, worker: Worker, keys: Keys) -> None:
        self._worker = worker
        self._keys = keys

    async def answer(self, request: web.Request) -> web.Response:
        """401 without the key, 404 for an unknown function, 400 for no JSON, 500 when an invocation failed."""
        if not self._keys.held_by(request, "eventgrid_extension"):
            return web.Response(status=401)
        name = request.query.get("functionName", "")
        function = next((f for f in self._worker.of_kind("eventGridTrigger") if f.name.lower() == name.lower()), None)
        if function is None:
            return web.Response(status=404, text=f"there is no Event Grid function {name!r}")
        if request.method == "OPTIONS":
            origin = request.headers.get("WebHook-Request-Origin", "*")
            return web.Response(headers={"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"})
        try:
            body = await request.json()
        except ValueError:
            return web.Response(status=400, text="the body is not JSON")
        events = body if isinstance(body, list) else [body]
        if request.headers.get("aeg-event-type") == "SubscriptionValidation":
            return _validated(events)
        outcomes = [await self._worker.invoke(function, TypedData(json=json.dumps(event))) for event in events]
        return web.Response(status=202 if all(outcome.ok for outcome in outcomes) else 500)


def _validated(events: list[Any]) -> web.Response:
    try:
        found = next(event for event in events if event["eventType"] == VALIDATION)
        return web.json_response({"validationResponse": found["data"]["validationCode"]})
    except (StopIteration, KeyError, TypeError):
        return web.Response(status=400, text="no validation event")
