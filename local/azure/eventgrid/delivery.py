"""The webhook's handshake and its deliveries.

docs: "Webhook event delivery" (Event Grid schema: a validation event whose code comes back), "CloudEvents v1.0 with
Event Grid" and the CloudEvents webhook specification (OPTIONS with WebHook-Request-Origin), "delivery and retry"
(30 s to answer, one event in a request).
"""

import json
import uuid
from datetime import datetime
from typing import Any

import aiohttp

from local.azure.eventgrid.events import Event, Schema

ANSWER_S = 30.0
ORIGIN = "eventgrid.azure.net"
VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"


class Webhook:
    """One endpoint, and the envelope that it wants."""

    def __init__(self, url: str, schema: Schema) -> None:
        if schema not in ("EventGridSchema", "CloudEventSchemaV1_0"):
            raise ValueError(f"no event schema named {schema}")
        self.url = url
        self.schema: Schema = schema

    async def shake_hands(self, topic: str, now: datetime) -> None:
        """Ask whether the endpoint wants events; ValueError, with the reason, unless it says so."""
        try:
            await self._shake_hands(topic, now)
        except (TimeoutError, aiohttp.ClientError) as error:
            # Not the error's own text: it may show the URL, and with it the function's key.
            raise ValueError(f"webhook validation failed: no answer ({type(error).__name__})") from None

    async def _shake_hands(self, topic: str, now: datetime) -> None:
        if self.schema == "CloudEventSchemaV1_0":
            headers = {"WebHook-Request-Origin": ORIGIN, "WebHook-Request-Rate": "120"}
            status, answered, _ = await self._send("OPTIONS", None, headers)
            if status != 200 or answered.get("WebHook-Allowed-Origin") not in ("*", ORIGIN):
                raise ValueError(f"webhook validation failed: OPTIONS was answered with {status} and no allowed origin")
            return
        code = str(uuid.uuid4())
        data = {"validationCode": code, "validationUrl": "https://not.emulated.invalid"}
        event = Event(topic, "", VALIDATION, now, data).as_event_grid()
        status, _, text = await self._send("POST", [event], {"aeg-event-type": "SubscriptionValidation"})
        # 200 only: docs, a 202 is no valid response to the validation request.
        if status != 200 or _member(text, "validationResponse") != code:
            raise ValueError(f"webhook validation failed: the code did not come back (status {status})")

    async def deliver(self, event: Event, attempt: int) -> tuple[int | None, str]:
        """Send one event: the status (None when there was no answer) and the outcome in Event Grid's words."""
        headers = {"aeg-event-type": "Notification", "aeg-delivery-count": str(attempt - 1)}
        body: Any = event.in_schema(self.schema)
        if self.schema == "CloudEventSchemaV1_0":
            headers["Content-Type"] = "application/cloudevents+json; charset=utf-8"
        else:
            body = [body]
        try:
            status, _, _ = await self._send("POST", body, headers)
        except TimeoutError:
            return None, "TimedOut"
        except aiohttp.ClientError:
            return None, "SocketError"
        return status, "Delivered" if 200 <= status <= 204 else f"Http{status}"

    async def _send(self, method: str, body: Any, headers: dict[str, str]) -> tuple[int, Any, str]:
        if body is not None:
            headers = {"Content-Type": "application/json; charset=utf-8", **headers}
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        payload = None if body is None else json.dumps(body)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, self.url, data=payload, headers=headers) as response,
        ):
            return response.status, response.headers.copy(), await response.text()


def _member(text: str, name: str) -> Any:
    try:
        answer = json.loads(text)
    except json.JSONDecodeError:
        return None
    return answer.get(name) if isinstance(answer, dict) else None
