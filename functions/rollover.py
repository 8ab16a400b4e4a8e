"""HTTP: GET /api/rollovers/{id} shows one rollover, what it waits for, and its history with reasons."""

import azure.functions as func

from shared.services import services
from shared.views import answer, show_rollover

bp = func.Blueprint()


@bp.function_name("rollover")
@bp.route(route="rollovers/{id}", methods=["GET"])
def rollover(req: func.HttpRequest) -> func.HttpResponse:
    """The rollover with this ID."""
    return func.HttpResponse(**answer(lambda: show_rollover(req.route_params["id"], services()), req.url))
