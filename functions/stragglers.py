"""HTTP: GET /api/rollovers/{id}/stragglers names the devices of a group that a work has not done yet, page by page."""

import azure.functions as func

from shared.api import Answer, respond
from shared.callers import READERS
from shared.stragglers import list_stragglers

bp = func.Blueprint()
ALLOWED = READERS


@bp.function_name("stragglers")
@bp.route(route="rollovers/{id}/stragglers", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def stragglers(req: func.HttpRequest) -> func.HttpResponse:
    """Who is left."""
    return func.HttpResponse(
        **respond(req, ALLOWED, lambda asked: Answer(list_stragglers(asked.route["id"], asked.params, asked.services)))
    )
