"""HTTP: POST /api/breaches contains a compromised certificate: a preview first, and with its token the real thing.

What it does is in ``shared.breaching``; docs/api.md shows it from the caller's side.
"""

import azure.functions as func

from shared.api import Answer, Asked, respond
from shared.breaching import confirm, preview
from shared.operating import EXECUTE
from shared.views import confirmed

bp = func.Blueprint()
ALLOWED = EXECUTE


@bp.function_name("breach")
@bp.route(route="breaches", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
def breach(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Preview, or confirm what was previewed."""
    return func.HttpResponse(**respond(req, ALLOWED, take_call, context))


def take_call(asked: Asked) -> Answer:
    """A body with ``confirm`` is a confirmation, be it null; anything else is only looked at."""
    if "confirm" not in asked.body:
        return Answer(preview(asked.body, asked.caller, asked.services))
    return confirmed(confirm(asked.body, asked.caller, asked.services))
