"""HTTP: POST /api/rollovers/{id}/retry goes on with a rollover that ended without being done, or looks again at once at
one that is open."""

import azure.functions as func

from shared.api import Answer, Asked, respond
from shared.body import accepted_routes, only, required_text
from shared.operating import OPERATE, note_on_open, retry
from shared.views import accepted

bp = func.Blueprint()
ALLOWED = OPERATE


@bp.function_name("retry")
@bp.route(route="rollovers/{id}/retry", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
def retry_(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Answer the call."""
    return func.HttpResponse(**respond(req, ALLOWED, take_call, context))


def take_call(asked: Asked) -> Answer:
    """Carry it out for a caller who may."""
    only(asked.body, "reason", "accept_escape_routes")
    reason = required_text(asked.body, "reason")
    before = asked.services.ledger.read(asked.route["id"])
    again = retry(before.id, reason, accepted_routes(asked.body), asked.caller, asked.services)
    return accepted(again, note_on_open(before))
