"""The public keys an Entra tenant signs with, found through its OpenID configuration and kept for a while.

learn.microsoft.com, entra/identity-platform/access-tokens ("Validate the signature", "Validate the issuer"): the
``jwks_uri`` of the document that belongs to the issuer; the document's own issuer must be that issuer; keys change at
any time, so look again after 24 hours, and for a key ID that is not known.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from shared.errors import Misconfigured, NotAuthenticated, RolloverError, ServiceUnavailable

ALGORITHM = "RS256"
KEEP_S = 24 * 3600.0
ASK_AGAIN_S = 60.0
"""Anybody can make up key IDs; that must not turn into requests to Entra."""
ASK_AGAIN_WITHOUT_KEYS_S = 5.0
TIMEOUT_S = (3.0, 5.0)


class SigningKeys:
    """Keys by their ID. May be used by several threads; who brings a key that is known never waits for the network."""

    def __init__(self, issuer: str, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._known: tuple[float, dict[str, RSAPublicKey]] | None = None
        self._asked_at: float | None = None
        self._failure: RolloverError | None = None

    def find(self, key_id: str) -> RSAPublicKey:
        """The key with this ID.

        Raises:
            NotAuthenticated: the tenant has no such key.
            ServiceUnavailable: it cannot be told, for the keys cannot be read.
            Misconfigured: what answers at the issuer's address is another issuer.
        """
        if (key := self._fresh(key_id)) is not None:
            return key
        with self._lock:
            if (key := self._fresh(key_id)) is not None:  # another thread has asked meanwhile
                return key
            if self._may_ask():
                self._ask()
            if self._failure is not None:
                raise type(self._failure)(str(self._failure))
            if (key := self._fresh(key_id)) is not None:
                return key
        raise NotAuthenticated("the token is signed with a key that the issuer does not have")

    def _fresh(self, key_id: str) -> RSAPublicKey | None:
        if self._known is None or self._elapsed() - self._known[0] > KEEP_S:
            return None
        return self._known[1].get(key_id)

    def _may_ask(self) -> bool:
        pause = ASK_AGAIN_WITHOUT_KEYS_S if self._known is None else ASK_AGAIN_S
        return self._asked_at is None or self._elapsed() - self._asked_at >= pause

    def _ask(self) -> None:
        self._asked_at = self._elapsed()
        try:
            self._known = (self._asked_at, self._read())
            self._failure = None
        except (Misconfigured, ServiceUnavailable) as error:
            self._failure = error

    def _read(self) -> dict[str, RSAPublicKey]:
        document = _get(f"{self._issuer}/.well-known/openid-configuration")
        if document.get("issuer") != self._issuer:
            raise Misconfigured("ENTRA_ISSUER is not the issuer that its own OpenID configuration names")
        keys = _get(document.get("jwks_uri")).get("keys")
        if not isinstance(keys, list):
            raise ServiceUnavailable("Entra's keys cannot be understood")
        return {key["kid"]: _public(key) for key in keys if _signs(key)}


def _get(url: object) -> dict[str, Any]:
    if not isinstance(url, str) or not url.startswith("https://"):
        raise ServiceUnavailable("Entra's OpenID configuration names no https address for its keys")
    try:
        answer = requests.get(url, timeout=TIMEOUT_S, allow_redirects=False)
        body = answer.json() if answer.status_code == 200 else None
    except (requests.RequestException, OSError) as error:
        raise ServiceUnavailable(f"Entra gave no answer to GET {url} ({type(error).__name__})") from None
    if not isinstance(body, dict):
        raise ServiceUnavailable(f"Entra answered {answer.status_code} to GET {url}, without what was asked for")
    return body


def _signs(key: object) -> bool:
    return (
        isinstance(key, dict)
        and key.get("kty") == "RSA"
        and key.get("use", "sig") == "sig"
        and all(isinstance(key.get(part), str) for part in ("kid", "n", "e"))
    )


def _public(key: dict[str, Any]) -> RSAPublicKey:
    try:
        found = jwt.PyJWK({"kty": "RSA", "n": key["n"], "e": key["e"]}, ALGORITHM).key
    except jwt.PyJWTError:
        raise ServiceUnavailable("Entra's keys cannot be understood") from None
    if not isinstance(found, RSAPublicKey):
        raise ServiceUnavailable("Entra's keys cannot be understood")
    return found
