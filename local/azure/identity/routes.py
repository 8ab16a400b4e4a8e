"""The App Service managed-identity endpoint (docs: "How to use managed identities for App Service", REST protocol).

GET {IDENTITY_ENDPOINT}?api-version=2019-08-01&resource=... with the header X-IDENTITY-HEADER, over plain HTTP on
loopback as on App Service. `client_id`, `principal_id` or `mi_res_id` names a user-assigned identity (here: any
principal, by name or client ID); without one the answer is for "rollover", the product's own.
"""

import hmac

from aiohttp import web

from local.azure.http import json_reply
from local.azure.identity.roles import Identity, client_id_of

NOT_FOUND = "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."


def identity_app(identity: Identity, secret: str) -> web.Application:
    """The token endpoint, for callers that know `secret`."""

    async def token(request: web.Request) -> web.Response:
        query = request.query
        if not hmac.compare_digest(request.headers.get("X-IDENTITY-HEADER", "").encode(), secret.encode()):
            return _no(401, "The X-IDENTITY-HEADER is missing or wrong.")
        if query.get("api-version") != "2019-08-01":
            return _no(400, "The api-version is not 2019-08-01.")
        resource = query.get("resource", "").rstrip("/")
        if not resource:
            return _no(400, "There is no resource.")
        asked = query.get("client_id") or query.get("principal_id") or query.get("mi_res_id") or "rollover"
        principal = identity.principal_named(asked.rsplit("/", 1)[-1])
        if principal is None:
            return _no(400, NOT_FOUND)
        client_id = client_id_of(principal)
        access_token, expires = identity.issue(principal, resource)
        body = {
            "access_token": access_token,
            "expires_on": str(int(expires.timestamp())),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": client_id,
        }
        return json_reply(200, body, {"Cache-Control": "no-store"})

    app = web.Application()
    app.router.add_get("/msi/token", token)
    return app


def _no(status: int, message: str) -> web.Response:
    return json_reply(status, {"statusCode": status, "message": message})
