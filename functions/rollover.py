"""HTTP: GET /api/rollovers/{id} shows one rollover, what it waits for, and its history with reasons."""

import azure.functions as func

from shared.api import Answer, respond
from shared.callers import READERS
from shared.views import show_rollover

bp = func.Blueprint()
ALLOWED = READERS


@bp.function_name("rollover")
@bp.route(route="rollovers/{id}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def rollover(req: func.HttpRequest) -> func.HttpResponse:
    """The rollover with this ID."""
    return func.HttpResponse(
        **respond(req, ALLOWED, lambda asked: Answer(show_rollover(asked.route["id"], asked.services)))
    )
