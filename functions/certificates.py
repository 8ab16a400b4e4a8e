"""HTTP: GET /api/certificates shows what expires when, what would roll it, and what nothing would roll."""

import azure.functions as func

from shared.api import Answer, respond
from shared.callers import READERS
from shared.expiring import list_certificates

bp = func.Blueprint()
ALLOWED = READERS


@bp.function_name("certificates")
@bp.route(route="certificates", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def certificates(req: func.HttpRequest) -> func.HttpResponse:
    """``?before=`` or ``?days=``, and ``?uncovered=true``, narrow the list."""
    return func.HttpResponse(
        **respond(req, ALLOWED, lambda asked: Answer(list_certificates(asked.params, asked.services)))
    )
