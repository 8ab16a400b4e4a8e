"""The custom Event Grid topic that lifecycle events go to, as CloudEvents 1.0."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from azure.core.credentials import TokenCredential
from azure.eventgrid import EventGridPublisherClient

from shared.clients.answers import answers_of
from shared.clients.limits import LIMITS, Limits
from shared.settings import Settings
from shared.tracing import here

SOURCE = "/rollover"


def cloud_event(
    event_id: str, event_type: str, subject: str, data: Mapping[str, Any], at: datetime, trace: str
) -> dict[str, Any]:
    """A lifecycle event (CloudEvents 1.0, JSON), with the extension for distributed tracing if there is a trace.

    As a dictionary, which the SDK takes as well: of its own class it warns of each time limit that comes with the call.
    """
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": SOURCE,
        "type": event_type,
        "subject": subject,
        "time": at.isoformat().replace("+00:00", "Z"),
        **({"traceparent": trace} if trace else {}),
        "data": dict(data),
    }


class TopicClient:
    """Publishes lifecycle events."""

    def __init__(self, settings: Settings, credential: TokenCredential, limits: Limits = LIMITS) -> None:
        self._client = EventGridPublisherClient(settings.topic_endpoint, credential)
        self._limits = limits

    def publish(self, event_id: str, event_type: str, subject: str, data: Mapping[str, Any], at: datetime) -> None:
        """Publish one event. Its ID stays the same when it is published again.

        Raises:
            ServiceUnavailable, ServiceRefused.
        """
        event = cloud_event(event_id, event_type, subject, data, at, here())
        with answers_of("Event Grid topic", f"{event_type} {event_id}"):
            self._client.send(event, **self._limits.of_core())
