"""HTTP: GET /api/rollovers lists rollovers and the inputs that could not be used."""

import azure.functions as func

from shared.api import Answer, respond
from shared.callers import READERS
from shared.views import list_rollovers

bp = func.Blueprint()
ALLOWED = READERS


@bp.function_name("rollovers")
@bp.route(route="rollovers", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def rollovers(req: func.HttpRequest) -> func.HttpResponse:
    """``?status=`` and ``?registration_id=`` narrow the list; ``?limit=`` and ``?continuation=`` page it."""
    return func.HttpResponse(
        **respond(req, ALLOWED, lambda asked: Answer(list_rollovers(asked.params, asked.services)))
    )
