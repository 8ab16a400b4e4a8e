"""Event Grid: a certificate of the vault nears its expiry, has a new version, or has expired.

An event is a hint: what it says is read again before anything is done (``shared.starting``).
"""

import azure.functions as func

from shared.certificate_event import take_event
from shared.services import invoked

bp = func.Blueprint()


# The parameter has no annotation on purpose: the worker hands over an EventGridEvent or a CloudEvent, whichever
# schema the subscription uses, and checks an annotation only against one of them.
@bp.function_name("on_certificate_event")
@bp.event_grid_trigger(arg_name="event")
def on_certificate_event(event, context: func.Context) -> None:  # type: ignore[no-untyped-def]
    """Begin or hasten the rollover that the event is about."""
    with invoked(context) as ports:
        if isinstance(event, func.CloudEvent):
            take_event(event.type, event.id, event.source, event.subject, event.get_json(), ports)
        else:
            take_event(event.event_type, event.id, event.topic, event.subject, event.get_json(), ports)
