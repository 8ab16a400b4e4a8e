"""The custom topic's front door (docs: "Post to custom topic for Azure Event Grid")."""

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from local.azure.http import Operation, Refusal, json_reply, plain_refusal, service_app
from local.azure.identity import Forbidden, Unauthorized

if TYPE_CHECKING:
    from local.azure.world import World

AUDIENCE = "https://eventgrid.azure.net"
REQUIRED = ("id", "source", "type", "specversion")


class TopicRefusal(Refusal):
    """{"error": {"code", "message"}}, as the service's documentation of its errors shows it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def body(self, request: web.Request) -> dict[str, Any]:
        return {"error": {"code": self.code, "message": str(self)}}


def topic_app(world: "World") -> web.Application:
    """POST /api/events with an Entra token of a principal that is "EventGrid Data Sender"."""

    async def authorize(request: web.Request, _operation: Operation) -> str:
        try:
            return world.identity.check(request, AUDIENCE, "eventgrid/events/send")
        except Unauthorized as error:
            raise TopicRefusal(401, "Unauthorized", str(error)) from None
        except Forbidden as error:
            raise TopicRefusal(403, "Forbidden", str(error)) from None

    def throttled(_wait: float | None) -> Refusal:
        return TopicRefusal(429, "TooManyRequests", "The request rate is over the limit.")

    async def publish(request: web.Request) -> web.Response:
        for event in await _cloud_events(request):
            world.eventgrid.receive(event)
        return json_reply(200, None)

    operations = [Operation("PublishEvents", "POST", "/api/events", publish, writes=True)]
    return service_app(
        "eventgrid", operations, world, authorize=authorize, refusal_reply=plain_refusal, throttled=throttled
    )


async def _cloud_events(request: web.Request) -> list[dict[str, Any]]:
    """The events of a request in CloudEvents 1.0, one or a batch; 400 for anything else, and then none counts."""
    if request.content_type not in ("application/cloudevents+json", "application/cloudevents-batch+json"):
        raise TopicRefusal(415, "UnsupportedMediaType", "This topic takes CloudEvents 1.0 in JSON.")
    try:
        body = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise TopicRefusal(400, "BadRequest", "The body is not JSON.") from None
    events = body if isinstance(body, list) else [body]
    for event in events:
        lacking = [name for name in REQUIRED if not isinstance(event, dict) or not event.get(name)]
        if lacking or event["specversion"] != "1.0":
            raise TopicRefusal(400, "BadRequest", f"An event is no CloudEvent 1.0; it lacks {', '.join(lacking)}.")
    return events
