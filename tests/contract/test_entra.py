"""The Entra authority: its two public documents, and the v2.0 tokens for the app's own API."""

from typing import Any

import jwt
import pytest
import requests
from azure.identity import ManagedIdentityCredential

from tests.contract.reasons import ROLES
from tests.contract.test_identity import ask, claims, now, vault_status
from tests.standin import StandIn

pytestmark = ROLES

URI = "api://rollover"


def entra(azure: StandIn) -> dict[str, str]:
    found: dict[str, str] = azure.endpoints["entra"]
    return found


def fetched(azure: StandIn, url: str) -> requests.Response:
    return requests.get(url, verify=azure.endpoints["ca_file"], timeout=5)


def configuration(azure: StandIn) -> dict[str, Any]:
    found: dict[str, Any] = fetched(azure, f"{entra(azure)['issuer']}/.well-known/openid-configuration").json()
    return found


def token(azure: StandIn, principal: str, resource: str = URI) -> str:
    answer = ask(azure, resource=resource, client_id=principal, **{"api-version": "2019-08-01"})
    return str(answer.json()["access_token"])


def test_the_openid_configuration_names_issuer_keys_and_token_endpoint(azure: StandIn) -> None:
    """docs, v2-protocols-oidc: the members of the document; each lies under the tenant."""
    found = configuration(azure)
    assert found["issuer"] == entra(azure)["issuer"] == f"https://{azure.world.names.net}.7:8443/{tenant(azure)}/v2.0"
    assert found["jwks_uri"].endswith(f"/{tenant(azure)}/discovery/v2.0/keys")
    assert found["token_endpoint"].endswith(f"/{tenant(azure)}/oauth2/v2.0/token")


def tenant(azure: StandIn) -> str:
    return azure.world.names.tenant_id


def test_the_keys_are_public_and_name_no_algorithm(azure: StandIn) -> None:
    """docs, access-tokens: the members of a key; there is no ``alg`` among them."""
    [key] = fetched(azure, configuration(azure)["jwks_uri"]).json()["keys"]
    assert set(key) == {"kty", "use", "kid", "n", "e", "issuer"}
    assert (key["kty"], key["use"], key["issuer"]) == ("RSA", "sig", entra(azure)["issuer"])


@pytest.mark.parametrize("path", ["v2.0/.well-known/openid-configuration", "discovery/v2.0/keys"])
def test_another_tenant_is_not_found(azure: StandIn, path: str) -> None:
    base = entra(azure)["issuer"].replace(f"{tenant(azure)}/v2.0", "00000000-0000-0000-0000-000000000bad")
    answer = fetched(azure, f"{base}/{path}")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_tenant")


def test_a_token_holds_against_the_published_keys(azure: StandIn) -> None:
    bearer = token(azure, "oncall")
    keys = jwt.PyJWKSet.from_dict(fetched(azure, configuration(azure)["jwks_uri"]).json())
    key = keys[jwt.get_unverified_header(bearer)["kid"]]
    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    where = entra(azure)
    jwt.decode(bearer, key, ["RS256"], options, audience=where["audience"], issuer=where["issuer"])


def test_a_token_for_the_api_is_of_version_2(azure: StandIn) -> None:
    """docs, access-token-claims-reference: ``azp`` in place of ``appid``, the client ID of the API as audience."""
    found = claims(token(azure, "oncall"))
    assert set(found) == {
        *("aud", "iss", "iat", "nbf", "exp", "azp", "azpacr", "name", "oid", "sub", "tid", "uti", "ver", "roles")
    }
    assert (found["ver"], found["name"], found["tid"]) == ("2.0", "oncall", tenant(azure))
    assert found["aud"] == entra(azure)["audience"]
    assert found["oid"] == azure.control.get("/app-roles")["oncall"]["client_id"]


def test_the_api_is_asked_for_by_uri_or_by_client_id(azure: StandIn) -> None:
    """docs, v2-oauth2-client-creds-grant-flow: a resource is named by its Application ID URI or its ID."""
    for resource in (URI, f"{URI}/", entra(azure)["audience"]):
        assert claims(token(azure, "oncall", resource))["aud"] == entra(azure)["audience"]


def test_the_real_credential_gets_a_token_for_the_api(azure: StandIn) -> None:
    bearer = ManagedIdentityCredential(client_id="auditor").get_token(f"{URI}/.default").token
    assert claims(bearer)["roles"] == ["Rollover.Read"]


@pytest.mark.parametrize(
    ("principal", "roles"),
    [
        ("oncall", ["Breach.Execute"]),
        ("oncall-2", ["Breach.Execute"]),
        ("operator", ["Rollover.Operate"]),
        ("auditor", ["Rollover.Read"]),
    ],
)
def test_a_token_carries_the_app_roles_of_its_principal(azure: StandIn, principal: str, roles: list[str]) -> None:
    """docs, howto-add-app-roles-in-apps."""
    assert claims(token(azure, principal))["roles"] == roles


def test_without_an_app_role_there_is_no_roles_claim(azure: StandIn) -> None:
    """docs, access-token-claims-reference: "Claims are present only if a value exists to fill it"."""
    assert "roles" not in claims(token(azure, "rollover"))
    azure.control.put("/app-roles/oncall", {"roles": []})
    assert "roles" not in claims(token(azure, "oncall"))


def test_app_roles_can_be_given_to_anybody_and_a_reset_takes_them(azure: StandIn) -> None:
    azure.control.put("/app-roles/newcomer", {"roles": ["Rollover.Read", "Breach.Execute"]})
    assert claims(token(azure, "newcomer"))["roles"] == ["Rollover.Read", "Breach.Execute"]
    azure.control.post("/reset")
    assert "newcomer" not in azure.control.get("/app-roles")


def test_an_app_role_that_the_api_has_not_is_refused(azure: StandIn) -> None:
    with pytest.raises(AssertionError, match="no app role named"):
        azure.control.put("/app-roles/oncall", {"roles": ["Rollover.Everything"]})


def test_a_token_for_the_api_follows_the_stand_ins_clock(azure: StandIn) -> None:
    azure.control.put("/clock", {"set": "2030-01-01T00:00:00Z"})
    found = claims(token(azure, "oncall"))
    assert abs(found["iat"] - now(azure).timestamp()) < 5
    assert found["nbf"] == found["iat"] < found["exp"]


def test_a_token_for_the_api_opens_no_azure_service(azure: StandIn) -> None:
    assert vault_status(azure, token(azure, "operator")) == 401


def test_the_keys_can_be_made_unreachable(azure: StandIn) -> None:
    """For those who must see what the app does then."""
    azure.control.post("/faults", {"service": "entra", "kind": "status", "status": 503, "times": -1})
    assert fetched(azure, f"{entra(azure)['issuer']}/.well-known/openid-configuration").status_code == 503
