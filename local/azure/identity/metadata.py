"""The public part of an Entra authority: the OpenID configuration and the signing keys. Tokens come from elsewhere.

docs, v2-protocols-oidc ("Fetch the OpenID configuration document") and access-tokens ("Validate tokens"). The token
endpoint is named and not served: tokens are got from the managed-identity endpoint.
"""

from typing import Any

from aiohttp import web

from local.azure.http import Operation, Refusal, json_reply, plain_refusal, service_app
from local.azure.world import World


class TenantNotFound(Refusal):
    """400 AADSTS90002, as the real one answers for a tenant that there is not."""

    def body(self, request: web.Request) -> dict[str, Any]:
        tenant = request.match_info["tenant"]
        return {"error": "invalid_tenant", "error_description": f"AADSTS90002: Tenant '{tenant}' not found."}


class TooManyRequests(Refusal):
    """429; only on request (a fault), for nothing here has a quota."""

    status = 429


def entra_app(world: World) -> web.Application:
    """Both documents, for anybody."""
    names = world.names

    async def configuration(request: web.Request) -> web.Response:
        _check_tenant(request, names.tenant_id)
        return json_reply(
            200,
            {
                "token_endpoint": f"{names.entra_url}/oauth2/v2.0/token",
                "token_endpoint_auth_methods_supported": ["private_key_jwt"],
                "jwks_uri": f"{names.entra_url}/discovery/v2.0/keys",
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "issuer": names.entra_issuer,
                "authorization_endpoint": f"{names.entra_url}/oauth2/v2.0/authorize",
                "response_types_supported": ["code"],
            },
        )

    async def keys(request: web.Request) -> web.Response:
        _check_tenant(request, names.tenant_id)
        return json_reply(200, world.identity.tokens.jwks())

    async def anybody(_request: web.Request, _operation: Operation) -> str:
        return "anonymous"

    path = "/{tenant}/v2.0/.well-known/openid-configuration"
    operations = [
        Operation("GetOpenIdConfiguration", "GET", path, configuration, writes=False),
        Operation("GetSigningKeys", "GET", "/{tenant}/discovery/v2.0/keys", keys, writes=False),
    ]
    return service_app(
        "entra",
        operations,
        world,
        authorize=anybody,
        refusal_reply=plain_refusal,
        throttled=lambda _wait: TooManyRequests(),
    )


def _check_tenant(request: web.Request, tenant_id: str) -> None:
    if request.match_info["tenant"] != tenant_id:
        raise TenantNotFound
