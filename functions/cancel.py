"""HTTP: POST /api/rollovers/{id}/cancel ends an open rollover where it is."""

import azure.functions as func

from shared.api import Answer, Asked, respond
from shared.body import only, required_text
from shared.operating import OPERATE, cancel
from shared.views import accepted

bp = func.Blueprint()
ALLOWED = OPERATE


@bp.function_name("cancel")
@bp.route(route="rollovers/{id}/cancel", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
def cancel_(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Answer the call."""
    return func.HttpResponse(**respond(req, ALLOWED, take_call, context))


def take_call(asked: Asked) -> Answer:
    """Carry it out for a caller who may."""
    only(asked.body, "reason")
    reason = required_text(asked.body, "reason")
    return accepted(cancel(asked.route["id"], reason, asked.caller, asked.services))
