"""Who calls, by the access token that they bring: checked here, with PyJWT, and believed for nothing else.

learn.microsoft.com, entra/identity-platform/access-tokens ("Validate tokens"): signature, issuer, audience, lifetime,
tenant. No header that a front end may add (``X-MS-CLIENT-PRINCIPAL``) is read: decision 7.
"""

import re
from typing import Any

import jwt

from shared.callers import Caller, caller_of
from shared.clients.signing_keys import ALGORITHM, SigningKeys
from shared.errors import NotAuthenticated

LEEWAY_S = 60
LONGEST_TOKEN = 16 * 1024
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# PyJWT's own texts may repeat what is in the token; these do not.
_WHY: dict[type[Exception], str] = {
    jwt.ExpiredSignatureError: "the token is out of date",
    jwt.ImmatureSignatureError: "the token is not valid yet",
    jwt.InvalidAudienceError: "the token is for another audience",
    jwt.InvalidIssuerError: "the token is of another issuer",
    jwt.InvalidSignatureError: "the token's signature is wrong",
    jwt.MissingRequiredClaimError: "the token lacks a claim that is needed",
}


class EntraTokens:
    """Callers with v2.0 access tokens of one issuer for one audience."""

    def __init__(self, issuer: str, audience: str, keys: SigningKeys | None = None) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = keys or SigningKeys(issuer)
        named = _GUID.search(issuer)
        self._tenant = named[0].lower() if named else None

    def identify(self, authorization: str | None) -> Caller:
        """The caller whom the bearer token names; see ``Callers``."""
        caller = caller_of(self._claims(_bearer(authorization)))
        if self._tenant is not None and caller.tenant_id.lower() != self._tenant:
            raise NotAuthenticated("the token is of another tenant")
        return caller

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            key_id = header.get("kid")
            if header.get("alg") != ALGORITHM or not isinstance(key_id, str):
                raise NotAuthenticated(f"the token is not signed with {ALGORITHM} and a named key")
            return jwt.decode(
                token,
                self._keys.find(key_id),
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "nbf", "iss", "aud"], "strict_aud": True},
            )
        except jwt.PyJWTError as error:
            why = _WHY.get(type(error), f"the token cannot be used ({type(error).__name__})")
            raise NotAuthenticated(why) from None


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise NotAuthenticated("there is no bearer token")
    if len(token) > LONGEST_TOKEN or not token.isascii():
        raise NotAuthenticated("the bearer token is none of Entra's")
    return token
