"""HTTP: GET /api/rollovers lists rollovers and the inputs that could not be used."""

import azure.functions as func

from shared.services import services
from shared.views import answer, list_rollovers

bp = func.Blueprint()


@bp.function_name("rollovers")
@bp.route(route="rollovers", methods=["GET"])
def rollovers(req: func.HttpRequest) -> func.HttpResponse:
    """``?status=`` and ``?registration_id=`` narrow the list."""
    return func.HttpResponse(**answer(lambda: list_rollovers(dict(req.params), services()), req.url))
