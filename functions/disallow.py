"""HTTP: POST /api/devices/{id}/disallow keeps one device out, by DPS and by the hub, until it is allowed again."""

import azure.functions as func

from shared.api import Answer, Asked, respond
from shared.body import flag_of, only, required_text, text_of
from shared.group_device import leaf_of
from shared.operating import EXECUTE, disallow
from shared.views import accepted, foreseen

bp = func.Blueprint()
ALLOWED = EXECUTE


@bp.function_name("disallow")
@bp.route(route="devices/{id}/disallow", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
def disallow_(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Answer the call."""
    return func.HttpResponse(**respond(req, ALLOWED, take_call, context))


def take_call(asked: Asked) -> Answer:
    """Carry it out for a caller who may."""
    only(asked.body, "reason", "ticket", "leaf_certificate", "preview")
    reason, ticket = required_text(asked.body, "reason"), text_of(asked.body, "ticket")
    leaf, preview = leaf_of(asked.body), flag_of(asked.body, "preview")
    found = disallow(asked.route["id"], reason, ticket, asked.caller, asked.services, leaf, preview=preview)
    return foreseen(found) if preview else accepted(found)
