"""Managed-identity tokens: how they are got, and what a service refuses about them."""

import base64
import json
import os
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.contract.reasons import ROLES
from tests.standin import StandIn

pytestmark = ROLES

VAULT = "https://vault.azure.net"


def ask(azure: StandIn, *, secret: str | None = None, **query: str) -> requests.Response:
    """The App Service protocol by hand."""
    environment = azure.endpoints["environment"]
    headers = {"X-IDENTITY-HEADER": secret or environment["IDENTITY_HEADER"]}
    return requests.get(environment["IDENTITY_ENDPOINT"], params=query, headers=headers, timeout=5)


def token(azure: StandIn, resource: str = VAULT, principal: str = "operator") -> str:
    answer = ask(azure, resource=resource, client_id=principal, **{"api-version": "2019-08-01"})
    return str(answer.json()["access_token"])


def vault_status(azure: StandIn, bearer: str) -> int:
    url = azure.endpoints["keyvault"]["url"] + "/certificates?api-version=7.3"
    return requests.get(url, headers={"Authorization": f"Bearer {bearer}"}, timeout=5).status_code


def now(azure: StandIn) -> datetime:
    return datetime.fromisoformat(azure.control.get("/clock")["now"])


def claims(bearer: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(bearer, options={"verify_signature": False})
    return found


def test_the_answer_has_the_members_of_the_protocol(azure: StandIn) -> None:
    """docs, "How to use managed identities for App Service": REST protocol reference."""
    body = ask(azure, resource=VAULT, **{"api-version": "2019-08-01"}).json()
    assert set(body) == {"access_token", "expires_on", "resource", "token_type", "client_id"}
    assert (body["resource"], body["token_type"]) == (VAULT, "Bearer")
    assert body["expires_on"].isdigit()


def test_a_token_names_audience_issuer_and_principal(azure: StandIn) -> None:
    found = claims(token(azure, principal="rollover"))
    assert found["aud"] == VAULT
    assert found["iss"].startswith("https://sts.windows.net/")
    assert found["oid"] == azure.control.get("/roles")["rollover"]["client_id"]


@pytest.mark.parametrize("credential", [ManagedIdentityCredential, DefaultAzureCredential])
def test_the_real_credentials_get_a_token(azure: StandIn, credential: type[ManagedIdentityCredential]) -> None:
    assert "IDENTITY_ENDPOINT" in os.environ
    assert vault_status(azure, credential().get_token(f"{VAULT}/.default").token) == 200


def test_a_user_assigned_identity_is_asked_for_by_its_client_id(azure: StandIn) -> None:
    client_id = azure.control.get("/roles")["operator"]["client_id"]
    bearer = ManagedIdentityCredential(client_id=client_id).get_token(f"{VAULT}/.default").token
    assert claims(bearer)["principal"] == "operator"


def test_an_unknown_identity_gets_no_token(azure: StandIn) -> None:
    with pytest.raises(ClientAuthenticationError):
        ManagedIdentityCredential(client_id="nobody").get_token(f"{VAULT}/.default")


@pytest.mark.parametrize(
    ("query", "secret", "status"),
    [
        ({"resource": VAULT, "api-version": "2019-08-01"}, "guessed", 401),
        ({"resource": VAULT, "api-version": "2017-09-01"}, None, 400),
        ({"api-version": "2019-08-01"}, None, 400),
    ],
)
def test_a_wrong_request_gets_no_token(azure: StandIn, query: dict[str, str], secret: str | None, status: int) -> None:
    assert ask(azure, secret=secret, **query).status_code == status


def test_tokens_follow_the_stand_ins_clock(azure: StandIn) -> None:
    azure.control.put("/clock", {"set": "2030-01-01T00:00:00Z"})
    bearer = token(azure)
    assert datetime.fromtimestamp(claims(bearer)["exp"], now(azure).tzinfo) - now(azure) > timedelta(hours=23)
    assert vault_status(azure, bearer) == 200


def test_a_token_is_out_of_date_after_a_day(azure: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.azure.identity.tokens.CATCH_UP_S", 0.0)
    bearer = token(azure)
    azure.control.put("/clock", {"advance_s": 25 * 3600})
    assert vault_status(azure, bearer) == 401


def test_a_client_may_notice_a_jump_of_the_clock_a_moment_late(azure: StandIn) -> None:
    """The Functions host follows a file: what it has on its way must not be refused."""
    bearer = token(azure)
    azure.control.put("/clock", {"advance_s": 60 * 24 * 3600})
    assert vault_status(azure, bearer) == 200


def test_a_client_whose_clock_lags_is_not_refused(azure: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure allows five minutes."""
    monkeypatch.setattr("local.azure.identity.tokens.CATCH_UP_S", 0.0)
    bearer = token(azure)
    azure.control.put("/clock", {"advance_s": 24 * 3600 + 240})
    assert vault_status(azure, bearer) == 200


def test_a_token_of_another_signer_is_refused(azure: StandIn) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    forged = jwt.encode(claims(token(azure)), key, algorithm="RS256")
    assert vault_status(azure, forged) == 401


def test_an_unsigned_token_is_refused(azure: StandIn) -> None:
    body = token(azure).split(".")[1]
    head = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).decode().rstrip("=")
    assert vault_status(azure, f"{head}.{body}.") == 401


@pytest.mark.parametrize("bearer", ["", "nonsense", "a.b.c"])
def test_garbage_is_refused(azure: StandIn, bearer: str) -> None:
    assert vault_status(azure, bearer) == 401


@pytest.mark.parametrize(
    ("role", "allowed", "forbidden"),
    [
        ("Key Vault Reader", "keyvault/certificates/read", "keyvault/certificates/write"),
        ("Key Vault Certificates Officer", "keyvault/certificates/write", "keyvault/secrets/read"),
        ("Key Vault Secrets User", "keyvault/secrets/read", "keyvault/certificates/read"),
        ("Device Provisioning Service Data Reader", "dps/enrollments/read", "dps/enrollments/write"),
        ("Device Provisioning Service Data Contributor", "dps/enrollments/write", "iothub/devices/read"),
        ("IoT Hub Registry Contributor", "iothub/devices/write", "iothub/twins/write"),
        ("IoT Hub Twin Contributor", "iothub/twins/write", "iothub/devices/write"),
        ("IoT Hub Data Contributor", "iothub/jobs/write", "dps/enrollments/read"),
        ("IoT Hub Data Reader", "iothub/twins/read", "iothub/directMethods/invoke"),
        ("EventGrid Data Sender", "eventgrid/events/send", "keyvault/certificates/read"),
    ],
)
def test_a_role_allows_what_azures_role_allows(azure: StandIn, role: str, allowed: str, forbidden: str) -> None:
    """docs, "Azure built-in roles"."""
    azure.control.put("/roles/somebody", {"roles": [role]})
    assert azure.world.identity.allows("somebody", allowed)
    assert not azure.world.identity.allows("somebody", forbidden)


def test_a_role_that_is_not_azures_is_refused(azure: StandIn) -> None:
    with pytest.raises(AssertionError, match="no role named"):
        azure.control.put("/roles/rollover", {"roles": ["Key Vault Wizard"]})
