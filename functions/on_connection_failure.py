"""Event Hubs: the hub's resource logs (category Connections), for the devices that it refused.

A record is a hint of something that a client claimed: what it says is verified in the registry and read again before
anything is done (``shared.connection_failures``).
"""

from typing import List  # noqa: UP035  the worker takes no builtin generic in an annotation

import azure.functions as func

from shared.connection_failures import take_batch
from shared.services import invoked

bp = func.Blueprint()


# Without a policy a batch that fails is lost (azure-docs functions-bindings-error-pages). Meanwhile its partition
# stands still, so not for ever: whatever is lost in a longer outage, the sweep finds.
@bp.function_name("on_connection_failure")
@bp.event_hub_message_trigger(
    arg_name="events",
    connection="HubLogs",
    event_hub_name="%HUB_LOGS_EVENT_HUB%",
    consumer_group="rollover",
    cardinality="many",
)
@bp.retry(strategy="exponential_backoff", max_retry_count="5", minimum_interval="00:00:05", maximum_interval="00:02:00")
def on_connection_failure(events: List[func.EventHubEvent], context: func.Context) -> None:  # noqa: UP006
    """Look into every refused connect of the batch."""
    with invoked(context) as ports:
        take_batch([event.get_body() for event in events], ports)
