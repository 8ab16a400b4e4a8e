"""Access tokens signed with keys made here, for the real check of tokens (shared/clients/entra.py)."""

import time
from functools import cache
from typing import Any, cast

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.clients.entra import EntraTokens
from shared.clients.signing_keys import SigningKeys
from shared.errors import NotAuthenticated

TENANT = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"
ISSUER = f"https://login.example/{TENANT}/v2.0"
AUDIENCE = "6e74172b-be56-4843-9ff4-e66a39bb12e3"


@cache
def key(name: str) -> rsa.RSAPrivateKey:
    """A key of this name; only ``ours`` is the issuer's."""
    return rsa.generate_private_key(65537, 2048)


class OneKey:
    """What the issuer publishes: one key, ``k1``."""

    def find(self, key_id: str) -> rsa.RSAPublicKey:
        """The key, or nobody's."""
        if key_id != "k1":
            raise NotAuthenticated("the token is signed with a key that the issuer does not have")
        return key("ours").public_key()


def callers() -> EntraTokens:
    """The app's own check."""
    return EntraTokens(ISSUER, AUDIENCE, cast(SigningKeys, OneKey()))


def token(*roles: str, signed_with: str = "ours", **claims: Any) -> str:
    """A token with these roles, good but for what ``claims`` change."""
    now = int(time.time())
    made = {"aud": AUDIENCE, "iss": ISSUER, "nbf": now, "exp": now + 3600, "tid": TENANT, "oid": "oid-1", "name": "Ada"}
    return jwt.encode({**made, "roles": roles, **claims}, key(signed_with), "RS256", headers={"kid": "k1"})
