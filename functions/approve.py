"""HTTP: POST /api/rollovers/{id}/approve: a second person agrees to a breach that exceeds the fuse."""

import azure.functions as func

from shared.api import Answer, Asked, respond
from shared.body import only, text_of
from shared.operating import EXECUTE, approve
from shared.views import accepted

bp = func.Blueprint()
ALLOWED = EXECUTE


@bp.function_name("approve")
@bp.route(route="rollovers/{id}/approve", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
def approve_(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Answer the call."""
    return func.HttpResponse(**respond(req, ALLOWED, take_call, context))


def take_call(asked: Asked) -> Answer:
    """Carry it out for a caller who may."""
    only(asked.body, "reason")
    reason = text_of(asked.body, "reason") or "agreed"
    return accepted(approve(asked.route["id"], reason, asked.caller, asked.services))
