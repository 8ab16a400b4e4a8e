"""The custom Event Grid topic that lifecycle events go to, as CloudEvents 1.0."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from azure.core.credentials import TokenCredential
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridPublisherClient

from shared.clients.answers import answers_of
from shared.clients.limits import LIMITS, Limits
from shared.settings import Settings
from shared.tracing import here

SOURCE = "/rollover"


def cloud_event(
    event_id: str, event_type: str, subject: str, data: Mapping[str, Any], at: datetime, trace: str
) -> CloudEvent[dict[str, Any]]:
    """A lifecycle event, with CloudEvents' extension for distributed tracing (``traceparent``) if there is a trace."""
    return CloudEvent(
        SOURCE,
        event_type,
        id=event_id,
        subject=subject,
        data=dict(data),
        time=at,
        extensions={"traceparent": trace} if trace else None,
    )


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
