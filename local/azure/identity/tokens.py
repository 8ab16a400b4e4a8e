"""Access tokens as Entra ID makes them for managed identities, on the stand-in's clock.

Azure's services take v1.0 tokens, the app's own API v2.0 ones (docs: access-tokens, "Token formats").
"""

import base64
import hashlib
import time
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from local.azure.clock import Clock
from local.azure.names import Names

LIFETIME = timedelta(hours=24)  # docs: managed identities, "tokens are cached for 24 hours"
SKEW = timedelta(minutes=5)
# After the clock was moved, a client that follows it (the Functions host reads a file) needs a moment to see that its
# tokens are out of date; until then they are judged by the time before the move.
CATCH_UP_S = 10.0


class BadToken(Exception):
    """The token does not hold; the text says why and holds nothing of the token."""


class Tokens:
    """Issues and verifies RS256 tokens; the key is made at start and lives in memory."""

    def __init__(self, clock: Clock, names: Names) -> None:
        self._clock = clock
        self._names = names
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._kid = base64.urlsafe_b64encode(hashlib.sha256(public).digest()).decode().rstrip("=")
        self.issuer = f"https://sts.windows.net/{names.tenant_id}/"
        self._moves: list[tuple[float, timedelta]] = []
        clock.subscribe(lambda distance: self._moves.append((time.monotonic(), distance)))

    def issue(self, principal: str, client_id: str, audience: str) -> tuple[str, datetime]:
        """A token for `audience` and the moment it ends."""
        now = self._clock.now()
        expires = now + LIFETIME
        claims = {
            "aud": audience,
            "iss": self.issuer,
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int(expires.timestamp()),
            "oid": client_id,
            "sub": client_id,
            "appid": client_id,
            "tid": self._names.tenant_id,
            "ver": "1.0",
            "uti": uuid.uuid4().hex,
            # Entra has no such claim; it saves a look-up from GUID to the name that journals show.
            "principal": principal,
        }
        return jwt.encode(claims, self._key, algorithm="RS256"), expires

    def issue_v2(self, principal: str, client_id: str, roles: Iterable[str]) -> tuple[str, datetime]:
        """A v2.0 token for the app's own API and the moment it ends.

        docs, access-token-claims-reference: `aud` "is always the client ID of the API", also when it was asked for by
        its URI; `azp` takes the place of `appid`; only the header's `kid` names the key; a claim without a value is
        absent. Unlike there, a `name` is given although nobody signs in: our principals stand for people too.
        """
        now = self._clock.now()
        expires = now + LIFETIME
        claims: dict[str, Any] = {
            "aud": self._names.api_client_id,
            "iss": self._names.entra_issuer,
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int(expires.timestamp()),
            "azp": client_id,
            "azpacr": "2",
            "name": principal,
            "oid": client_id,
            "sub": client_id,
            "tid": self._names.tenant_id,
            "uti": uuid.uuid4().hex,
            "ver": "2.0",
        }
        if granted := list(roles):
            claims["roles"] = granted
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": self._kid}), expires

    def jwks(self) -> dict[str, Any]:
        """The signing keys (docs, access-tokens: "Validate the signing key issuer"); no `alg`, as there.

        Left out: `x5t` and `x5c`, for this key has no certificate.
        """
        public = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        key = {"kty": "RSA", "use": "sig", "kid": self._kid, "n": public["n"], "e": public["e"]}
        return {"keys": [{**key, "issuer": self._names.entra_issuer}]}

    def verify(self, token: str, audience: str) -> str:
        """The principal of a token that is ours, for `audience`, and not out of date; BadToken otherwise."""
        try:
            claims = jwt.decode(
                token,
                self._key.public_key(),
                algorithms=["RS256"],
                issuer=self.issuer,
                # Time is checked below, by the stand-in's clock; the audience there too, for its trailing slash.
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
            )
        except jwt.PyJWTError as error:
            raise BadToken(f"the token is not one of this tenant ({type(error).__name__})") from None
        if str(claims["aud"]).rstrip("/") != audience.rstrip("/"):
            raise BadToken(f"the token is for {claims['aud']}, not for {audience}")
        if claims["exp"] < (self._latest_lagging_now() - SKEW).timestamp():
            raise BadToken("the token is out of date")
        return str(claims["principal"])

    def _latest_lagging_now(self) -> datetime:
        recent = time.monotonic() - CATCH_UP_S
        self._moves = [move for move in self._moves if move[0] > recent]
        return self._clock.now() - sum((max(distance, timedelta(0)) for _, distance in self._moves), timedelta(0))
