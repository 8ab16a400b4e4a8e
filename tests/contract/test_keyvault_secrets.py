"""The secret behind a certificate: the only way to its private key, and only if the policy allows it."""

import base64
from typing import Any

import pytest
import requests
from azure.identity import ManagedIdentityCredential
from azure.keyvault.certificates import CertificateClient, CertificateContentType, CertificatePolicy, KeyType
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from tests.contract.reasons import ROLES
from tests.standin import StandIn

pytestmark = ROLES


def make(azure: StandIn, **policy: Any) -> Any:
    azure.control.patch("/knobs", {"certificate_create_s": 0})
    client = CertificateClient(
        azure.endpoints["keyvault"]["url"],
        ManagedIdentityCredential(client_id="operator"),
        verify_challenge_resource=False,
    )
    asked = CertificatePolicy("Self", subject="CN=device-1", key_type=KeyType.ec, **policy)
    return client.begin_create_certificate("device-1", asked, _polling_interval=0.02, tags={"a": "b"}).result()


def secret(azure: StandIn, path: str, principal: str = "device") -> requests.Response:
    token = ManagedIdentityCredential(client_id=principal).get_token("https://vault.azure.net/.default").token
    url = f"{azure.endpoints['keyvault']['url']}/secrets/{path}?api-version=7.3"
    return requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10)


def test_an_exportable_certificate_comes_as_pfx_with_its_key(azure: StandIn) -> None:
    """docs, "About Key Vault certificates": application/x-pkcs12 in base64, without password."""
    certificate = make(azure)
    found = secret(azure, "device-1").json()
    pfx = pkcs12.load_pkcs12(base64.b64decode(found["value"]), None)
    assert found["contentType"] == "application/x-pkcs12"
    assert found["id"] == certificate.secret_id
    assert pfx.cert is not None
    assert pfx.cert.certificate == x509.load_der_x509_certificate(certificate.cer)
    assert pfx.key is not None
    assert pfx.key.public_key() == pfx.cert.certificate.public_key()


def test_a_pem_certificate_comes_as_pem_with_its_key(azure: StandIn) -> None:
    certificate = make(azure, content_type=CertificateContentType.pem)
    found = secret(azure, "device-1").json()
    assert found["contentType"] == "application/x-pem-file"
    [parsed] = x509.load_pem_x509_certificates(found["value"].encode())
    assert parsed == x509.load_der_x509_certificate(certificate.cer)
    assert load_pem_private_key(found["value"].encode(), None).public_key() == parsed.public_key()


@pytest.mark.parametrize("kind", list(CertificateContentType))
def test_a_certificate_that_is_not_exportable_comes_without_key(azure: StandIn, kind: CertificateContentType) -> None:
    """docs, "About Key Vault certificates": the secret then holds the public part only."""
    make(azure, exportable=False, content_type=kind)
    value = secret(azure, "device-1").json()["value"]
    if kind == CertificateContentType.pem:
        assert "PRIVATE KEY" not in value
        assert "BEGIN CERTIFICATE" in value
    else:
        pfx = pkcs12.load_pkcs12(base64.b64decode(value), None)
        assert pfx.key is None
        assert len(pfx.additional_certs) == 1


def test_a_version_can_be_named(azure: StandIn) -> None:
    first = make(azure).properties.version
    second = make(azure).properties.version
    assert secret(azure, f"device-1/{first}").json()["id"].endswith(first)
    assert secret(azure, "device-1").json()["id"].endswith(second)


def test_an_unknown_secret_is_not_found(azure: StandIn) -> None:
    answer = secret(azure, "nobody")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "SecretNotFound")


def test_a_disabled_version_is_not_given_out(azure: StandIn) -> None:
    make(azure)
    client_id = ManagedIdentityCredential(client_id="operator")
    CertificateClient(
        azure.endpoints["keyvault"]["url"], client_id, verify_challenge_resource=False
    ).update_certificate_properties("device-1", enabled=False)
    answer = secret(azure, "device-1")
    assert (answer.status_code, answer.json()["error"]["innererror"]["code"]) == (403, "SecretDisabled")


def test_the_product_may_not_read_secrets(azure: StandIn) -> None:
    """Its roles hold certificates/* and nothing of secrets: keys never travel through it."""
    make(azure)
    assert secret(azure, "device-1", principal="rollover").status_code == 403


def test_an_imported_certificate_keeps_its_key(azure: StandIn) -> None:
    make(azure)
    value = secret(azure, "device-1").json()["value"]
    client = CertificateClient(
        azure.endpoints["keyvault"]["url"],
        ManagedIdentityCredential(client_id="operator"),
        verify_challenge_resource=False,
    )
    imported = client.import_certificate("copy", base64.b64decode(value))
    assert imported.cer == client.get_certificate("device-1").cer
    assert imported.policy.issuer_name == "Unknown"
    pfx = pkcs12.load_pkcs12(base64.b64decode(secret(azure, "copy").json()["value"]), None)
    assert pfx.key is not None
