"""HTTP: POST /api/devices/{id}/allow takes a disallowing back."""

import azure.functions as func

from shared.api import Answer, Asked, respond
from shared.body import only, required_text
from shared.group_device import leaf_of
from shared.operating import EXECUTE, allow
from shared.views import accepted

bp = func.Blueprint()
ALLOWED = EXECUTE


@bp.function_name("allow")
@bp.route(route="devices/{id}/allow", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
def allow_(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Answer the call."""
    return func.HttpResponse(**respond(req, ALLOWED, take_call, context))


def take_call(asked: Asked) -> Answer:
    """Carry it out for a caller who may."""
    only(asked.body, "reason", "leaf_certificate")
    reason = required_text(asked.body, "reason")
    return accepted(allow(asked.route["id"], reason, asked.caller, asked.services, leaf_of(asked.body)))
