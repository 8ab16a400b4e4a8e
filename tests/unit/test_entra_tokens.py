"""Tokens are checked in the app: every way to be somebody else without being it, against keys made here."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from shared.callers import Role
from shared.clients.entra import EntraTokens
from shared.clients.signing_keys import SigningKeys
from shared.errors import Misconfigured, NotAuthenticated, RolloverError, ServiceUnavailable

TENANT = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"
OTHER_TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
HOST = "https://login.example"
ISSUER = f"{HOST}/{TENANT}/v2.0"
AUDIENCE = "6e74172b-be56-4843-9ff4-e66a39bb12e3"
KEY = rsa.generate_private_key(65537, 2048)
STRANGE_KEY = rsa.generate_private_key(65537, 2048)
PUBLIC_PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
CONFIGURATION = f"{ISSUER}/.well-known/openid-configuration"
KEYS = f"{HOST}/{TENANT}/discovery/v2.0/keys"


def jwk(key: rsa.RSAPrivateKey, kid: str | None, **changes: Any) -> dict[str, Any]:
    """A key as Entra publishes it: no ``alg``."""
    public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    made = {"kty": "RSA", "use": "sig", "kid": kid, "n": public["n"], "e": public["e"], "issuer": ISSUER}
    return {name: value for name, value in {**made, **changes}.items() if value is not None}


class Authority:
    """Answers what an Entra tenant publishes; notes what it is asked."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {
            CONFIGURATION: {"issuer": ISSUER, "jwks_uri": KEYS},
            KEYS: {"keys": [jwk(KEY, "k1")]},
        }
        self.asked: list[str] = []
        self.status = 200
        self.error: Exception | None = None
        self.time = 0.0

    def get(self, url: str, *, timeout: Any, allow_redirects: bool) -> requests.Response:
        assert timeout
        assert not allow_redirects, "a redirect may lead away from https"
        self.asked.append(url)
        if self.error:
            raise self.error
        answer = requests.Response()
        found = self.documents.get(url)
        answer.status_code = self.status if found is not None else 404
        answer._content = found if isinstance(found, bytes) else json.dumps(found).encode()
        return answer


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch) -> Authority:
    made = Authority()
    monkeypatch.setattr(requests, "get", made.get)
    return made


@pytest.fixture
def tokens(authority: Authority) -> EntraTokens:
    return EntraTokens(ISSUER, AUDIENCE, SigningKeys(ISSUER, elapsed=lambda: authority.time))


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {
        "aud": AUDIENCE,
        "iss": ISSUER,
        "iat": now,
        "nbf": now,
        "exp": now + 3600,
        "azp": "client",
        "name": "Abe Lincoln",
        "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
        "roles": ["Breach.Execute"],
        "sub": "subject",
        "tid": TENANT,
        "ver": "2.0",
    }
    return {name: value for name, value in {**made, **changes}.items() if value is not None}


def token(key: Any = KEY, kid: str | None = "k1", algorithm: str = "RS256", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers={} if kid is None else {"kid": kid})


def later(seconds: float) -> int:
    return int(time.time() + seconds)


def by_hand(header: dict[str, Any], payload: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A token that no honest library makes."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, payload)]
    signature = base64.urlsafe_b64encode(sign(b".".join(parts))).rstrip(b"=")
    return b".".join([*parts, signature]).decode()


def signed_with_the_public_key() -> str:
    header = {"alg": "HS256", "typ": "JWT", "kid": "k1"}
    return by_hand(header, claims(), lambda text: hmac.digest(PUBLIC_PEM, text, hashlib.sha256))


def changed_after_signing() -> str:
    head, _, signature = token(roles=["Rollover.Read"]).split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims()).encode()).decode().rstrip("=")
    return f"{head}.{body}.{signature}"


# --- good tokens ------------------------------------------------------------------------------------------------


def test_a_good_token_tells_who_calls(tokens: EntraTokens) -> None:
    caller = tokens.identify(f"Bearer {token()}")
    assert caller.who == "Abe Lincoln (690222be-ff1a-4d56-abd1-7e4f7d38e474)"
    assert caller.roles == {Role.BREACH_EXECUTE}


GOOD: dict[str, Callable[[], str]] = {
    "the scheme in small letters": lambda: f"bearer {token()}",
    "more blanks than one": lambda: f"Bearer   {token()} ",
    "no roles": lambda: f"Bearer {token(roles=None)}",
    "an end that is just over": lambda: f"Bearer {token(exp=later(-50))}",
    "a beginning that is about to come": lambda: f"Bearer {token(nbf=later(50))}",
    "the tenant in capitals": lambda: f"Bearer {token(tid=TENANT.upper())}",
}


@pytest.mark.parametrize("made", GOOD.values(), ids=GOOD.keys())
def test_a_token_is_good_with(tokens: EntraTokens, made: Callable[[], str]) -> None:
    tokens.identify(made())


# --- bad tokens -------------------------------------------------------------------------------------------------

BAD: dict[str, tuple[Callable[[], str | None], str]] = {
    "none at all": (lambda: None, "no bearer token"),
    "nothing": (lambda: "", "no bearer token"),
    "no scheme": (token, "no bearer token"),
    "another scheme": (lambda: f"Basic {token()}", "no bearer token"),
    "a scheme alone": (lambda: "Bearer ", "no bearer token"),
    "two tokens": (lambda: f"Bearer {token()}, Bearer {token()}", "cannot be used"),
    "a text": (lambda: "Bearer nonsense", "cannot be used"),
    "three texts": (lambda: "Bearer a.b.c", "cannot be used"),
    "letters of elsewhere": (lambda: f"Bearer {token()}\u00e9", "none of Entra's"),
    "a token that fills the line": (lambda: f"Bearer {'x' * 20_000}", "none of Entra's"),
    "an end that is over": (lambda: f"Bearer {token(exp=later(-70))}", "out of date"),
    "a beginning to come": (lambda: f"Bearer {token(nbf=later(70))}", "not valid yet"),
    "no end": (lambda: f"Bearer {token(exp=None)}", "lacks a claim"),
    "no beginning": (lambda: f"Bearer {token(nbf=None)}", "lacks a claim"),
    "an end that is a text": (lambda: f"Bearer {token(exp='never')}", "cannot be used"),
    "another audience": (lambda: f"Bearer {token(aud='https://vault.azure.net')}", "another audience"),
    "our audience among others": (lambda: f"Bearer {token(aud=[AUDIENCE, 'x'])}", "another audience"),
    "no audience": (lambda: f"Bearer {token(aud=None)}", "lacks a claim"),
    "another issuer": (lambda: f"Bearer {token(iss=ISSUER.replace(TENANT, OTHER_TENANT))}", "another issuer"),
    "the issuer of version 1": (lambda: f"Bearer {token(iss=f'https://sts.windows.net/{TENANT}/')}", "another issuer"),
    "an issuer that begins like ours": (lambda: f"Bearer {token(iss=ISSUER + '/x')}", "another issuer"),
    "no issuer": (lambda: f"Bearer {token(iss=None)}", "lacks a claim"),
    "another tenant": (lambda: f"Bearer {token(tid=OTHER_TENANT)}", "another tenant"),
    "no tenant": (lambda: f"Bearer {token(tid=None)}", "claim tid"),
    "no object ID": (lambda: f"Bearer {token(oid=None)}", "claim oid"),
    "roles that are one text": (lambda: f"Bearer {token(roles='Breach.Execute')}", "claim roles"),
    "a key of somebody else under our key's ID": (lambda: f"Bearer {token(STRANGE_KEY)}", "signature is wrong"),
    "a key that there is not": (lambda: f"Bearer {token(STRANGE_KEY, 'k2')}", "does not have"),
    "no key ID": (lambda: f"Bearer {token(kid=None)}", "not signed with RS256"),
    "a key ID that is a number": (
        lambda: f"Bearer {by_hand({'alg': 'RS256', 'kid': 1}, claims(), lambda _: b'x')}",
        "cannot be used|not signed with RS256",
    ),
    "claims that were changed": (lambda: f"Bearer {changed_after_signing()}", "signature is wrong"),
    "no signature": (
        lambda: f"Bearer {by_hand({'alg': 'none', 'kid': 'k1'}, claims(), lambda _: b'')}",
        "not signed with RS256",
    ),
    "no signature, said in other letters": (
        lambda: f"Bearer {by_hand({'alg': 'nOnE', 'kid': 'k1'}, claims(), lambda _: b'')}",
        "not signed with RS256",
    ),
    "the signature cut off": (lambda: f"Bearer {token().rpartition('.')[0]}.", "signature is wrong"),
    "the public key as a shared secret": (lambda: f"Bearer {signed_with_the_public_key()}", "not signed with RS256"),
    "another algorithm of the same key": (lambda: f"Bearer {token(algorithm='PS256')}", "not signed with RS256"),
    "a key of another kind": (
        lambda: f"Bearer {token(ec.generate_private_key(ec.SECP256R1()), algorithm='ES256')}",
        "not signed with RS256",
    ),
    "its key brought along": (
        lambda: (
            "Bearer "
            + jwt.encode(
                claims(), STRANGE_KEY, "RS256", headers={"kid": "k2", "jwk": jwk(STRANGE_KEY, "k2"), "jku": KEYS}
            )
        ),
        "does not have",
    ),
}


@pytest.mark.parametrize(("made", "why"), BAD.values(), ids=BAD.keys())
def test_nobody_is_told_by(tokens: EntraTokens, made: Callable[[], str | None], why: str) -> None:
    with pytest.raises(NotAuthenticated, match=why) as caught:
        tokens.identify(made())
    assert not any(part and len(part) > 8 and part in str(caught.value) for part in (made() or "").split("."))


@pytest.mark.parametrize(("made", "why"), [BAD["no signature"], BAD["nothing"], BAD["no key ID"]])
def test_what_cannot_be_a_token_of_entra_costs_no_request(
    tokens: EntraTokens, authority: Authority, made: Callable[[], str | None], why: str
) -> None:
    with pytest.raises(NotAuthenticated, match=why):
        tokens.identify(made())
    assert authority.asked == []


@given(st.text(max_size=200) | st.builds(lambda a, b: f"{a}.{b}.x", st.text(max_size=50), st.text(max_size=50)))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_is_a_surprise(tokens: EntraTokens, text: str) -> None:
    with pytest.raises(NotAuthenticated):
        tokens.identify(f"Bearer {text}")


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=4),
    st.sampled_from(["aud", "iss", "exp", "nbf", "iat", "oid", "tid", "roles", "name", "sub", "jti"]),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_claim_is_a_surprise(tokens: EntraTokens, value: Any, claim: str) -> None:
    """Signed rightly, so that nothing but the claim stands between it and a caller."""
    header = {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    made = by_hand(header, {**claims(), claim: value}, lambda text: RSAAlgorithm(RSAAlgorithm.SHA256).sign(text, KEY))
    try:
        caller = tokens.identify(f"Bearer {made}")
    except NotAuthenticated:
        return
    assert caller.tenant_id.lower() == TENANT


# --- keys -------------------------------------------------------------------------------------------------------


def test_keys_are_read_once(tokens: EntraTokens, authority: Authority) -> None:
    for _ in range(3):
        tokens.identify(f"Bearer {token()}")
    assert authority.asked == [CONFIGURATION, KEYS]


def test_many_at_once_read_the_keys_once(tokens: EntraTokens, authority: Authority) -> None:
    bearer = f"Bearer {token()}"
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(tokens.identify, [bearer] * 40))) == 1
    assert authority.asked == [CONFIGURATION, KEYS]


def test_a_new_key_is_found(tokens: EntraTokens, authority: Authority) -> None:
    tokens.identify(f"Bearer {token()}")
    authority.documents[KEYS]["keys"].append(jwk(STRANGE_KEY, "k2"))
    authority.time += 61
    tokens.identify(f"Bearer {token(STRANGE_KEY, 'k2')}")


def test_made_up_key_ids_ask_entra_at_most_once_a_minute(tokens: EntraTokens, authority: Authority) -> None:
    tokens.identify(f"Bearer {token()}")
    for number in range(30):
        authority.time += 10
        with pytest.raises(NotAuthenticated):
            tokens.identify(f"Bearer {token(kid=f'made up {number}')}")
    assert authority.asked.count(KEYS) == 1 + 5


def test_a_key_that_was_withdrawn_opens_nothing_after_a_day(tokens: EntraTokens, authority: Authority) -> None:
    tokens.identify(f"Bearer {token()}")
    authority.documents[KEYS] = {"keys": [jwk(STRANGE_KEY, "k2")]}
    authority.time += 25 * 3600
    with pytest.raises(NotAuthenticated):
        tokens.identify(f"Bearer {token()}")


def test_a_known_key_needs_no_entra(tokens: EntraTokens, authority: Authority) -> None:
    """Entra's outage must not close the API to those whose keys are known."""
    tokens.identify(f"Bearer {token()}")
    authority.error = requests.ConnectionError()
    authority.time += 120
    with pytest.raises(ServiceUnavailable):
        tokens.identify(f"Bearer {token(kid='k2')}")
    tokens.identify(f"Bearer {token()}")


def test_keys_that_are_too_old_and_cannot_be_read_again_open_nothing(tokens: EntraTokens, authority: Authority) -> None:
    tokens.identify(f"Bearer {token()}")
    authority.error = requests.ConnectionError()
    authority.time += 25 * 3600
    with pytest.raises(ServiceUnavailable):
        tokens.identify(f"Bearer {token()}")


DOWN: dict[str, Callable[[Authority], None]] = {
    "no answer": lambda a: setattr(a, "error", requests.ConnectionError("Bearer x")),
    "no answer in time": lambda a: setattr(a, "error", requests.ReadTimeout()),
    "503": lambda a: setattr(a, "status", 503),
    "a redirect": lambda a: setattr(a, "status", 302),
    "no JSON": lambda a: a.documents.update({KEYS: b"<html>"}),
    "a list": lambda a: a.documents.update({KEYS: []}),
    "no keys": lambda a: a.documents.update({KEYS: {}}),
    "no address of keys": lambda a: a.documents.update({CONFIGURATION: {"issuer": ISSUER}}),
    "an address without TLS": lambda a: a.documents.update(
        {
            CONFIGURATION: {"issuer": ISSUER, "jwks_uri": "http://login.example/keys"},
            "http://login.example/keys": a.documents[KEYS],
        }
    ),
    "a key that is none": lambda a: a.documents.update({KEYS: {"keys": [jwk(KEY, "k1", n="!")]}}),
}


@pytest.mark.parametrize("break_it", DOWN.values(), ids=DOWN.keys())
def test_nobody_passes_when_entra_gives(
    tokens: EntraTokens, authority: Authority, break_it: Callable[[Authority], None]
) -> None:
    break_it(authority)
    for _ in range(2):  # the second without asking again
        with pytest.raises(ServiceUnavailable):
            tokens.identify(f"Bearer {token()}")
    assert len(authority.asked) <= 2


def test_after_an_outage_it_is_asked_again_soon(tokens: EntraTokens, authority: Authority) -> None:
    authority.status = 503
    with pytest.raises(ServiceUnavailable):
        tokens.identify(f"Bearer {token()}")
    authority.status = 200
    authority.time += 5
    tokens.identify(f"Bearer {token()}")


UNUSABLE = {
    "no use for signing": jwk(KEY, "k1", use="enc"),
    "another kind": jwk(KEY, "k1", kty="oct", k="c2VjcmV0"),
    "no ID": jwk(KEY, None),
    "no modulus": jwk(KEY, "k1", n=None),
}


@pytest.mark.parametrize("key", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_published_key_is_passed_over_that_has(
    tokens: EntraTokens, authority: Authority, key: dict[str, Any]
) -> None:
    authority.documents[KEYS] = {"keys": [key, "junk", jwk(STRANGE_KEY, "k2")]}
    with pytest.raises(NotAuthenticated):
        tokens.identify(f"Bearer {token()}")
    tokens.identify(f"Bearer {token(STRANGE_KEY, 'k2')}")


@pytest.mark.parametrize("issuer", [ISSUER + "/", f"{HOST}/{{tenantid}}/v2.0", None])
def test_the_document_must_be_the_issuers_own(tokens: EntraTokens, authority: Authority, issuer: str | None) -> None:
    """``common`` names ``{tenantid}``: an API of one tenant is not opened to all."""
    authority.documents[CONFIGURATION]["issuer"] = issuer
    with pytest.raises(Misconfigured, match="ENTRA_ISSUER"):
        tokens.identify(f"Bearer {token()}")


def test_an_issuer_that_names_no_tenant_takes_any(authority: Authority) -> None:
    """An authority of a customer's own need not have tenants; the caller's is kept as it is said."""
    issuer = f"{HOST}/own"
    authority.documents = {
        f"{issuer}/.well-known/openid-configuration": {"issuer": issuer, "jwks_uri": KEYS},
        KEYS: authority.documents[KEYS],
    }
    caller = EntraTokens(issuer, AUDIENCE).identify(f"Bearer {token(iss=issuer, tid='anything')}")
    assert caller.tenant_id == "anything"


def test_no_error_holds_the_token(tokens: EntraTokens, authority: Authority) -> None:
    authority.error = requests.ConnectionError(token())
    with pytest.raises(RolloverError) as caught:
        tokens.identify(f"Bearer {token()}")
    assert "eyJ" not in str(caught.value)
    assert caught.value.__cause__ is None
