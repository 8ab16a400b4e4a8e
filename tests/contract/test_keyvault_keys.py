"""The key behind a vault's certificate: shown and used through azure-keyvault-keys, never given away."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.keyvault.certificates import (
    CertificateClient,
    CertificatePolicy,
    KeyCurveName,
    KeyType,
    KeyUsageType,
    KeyVaultCertificate,
)
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509 import load_der_x509_certificate

from tests.contract.reasons import CLOCK, ROLES
from tests.contract.target import Target, at
from tests.standin import StandIn

DATA = b"to be signed"
Make = Callable[..., KeyVaultCertificate]


@pytest.fixture(autouse=True)
def named(target: Target) -> None:
    """A vault may be missing from what the environment names."""
    if target.endpoints["keyvault"]["url"] is None:
        pytest.skip("no vault is named")


@pytest.fixture
def vault(target: Target) -> CertificateClient:
    target.hurry(certificate_create_s=0)
    return target.vault()


@pytest.fixture
def make(target: Target, vault: CertificateClient) -> Make:
    """A certificate whose key does not leave the vault."""

    def made(**more: Any) -> KeyVaultCertificate:
        policy = CertificatePolicy("Self", **{"subject": "CN=Fleet CA", "exportable": False, **EC, **more})
        poller = vault.begin_create_certificate(target.certificate_name(), policy, _polling_interval=target.pace.poll)
        certificate = poller.result()
        assert isinstance(certificate, KeyVaultCertificate)
        return certificate

    return made


EC: dict[str, Any] = {"key_type": KeyType.ec, "key_curve_name": KeyCurveName.p_256}
RSA: dict[str, Any] = {"key_type": KeyType.rsa, "key_size": 2048}


def crypto(target: Target, certificate: KeyVaultCertificate) -> CryptographyClient:
    """The real client, told which key by the certificate itself."""
    assert certificate.key_id
    return CryptographyClient(certificate.key_id, target.credential, verify_challenge_resource=target.standin is None)


def keys(target: Target) -> KeyClient:
    url = target.endpoints["keyvault"]["url"]
    return KeyClient(url, target.credential, verify_challenge_resource=target.standin is None)


def digest(algorithm: hashes.HashAlgorithm) -> bytes:
    hashed = hashes.Hash(algorithm)
    hashed.update(DATA)
    return hashed.finalize()


def public_key(certificate: KeyVaultCertificate) -> Any:
    return load_der_x509_certificate(bytes(certificate.cer or b"")).public_key()


@pytest.mark.parametrize(
    ("algorithm", "hashing"),
    [(SignatureAlgorithm.rs256, hashes.SHA256()), (SignatureAlgorithm.rs384, hashes.SHA384())],
)
def test_a_digest_is_signed_with_an_rsa_key(
    target: Target, make: Make, algorithm: SignatureAlgorithm, hashing: hashes.HashAlgorithm
) -> None:
    """docs about-keys-details: RSASSA-PKCS1-v1_5 over a digest of the caller's."""
    certificate = make(**RSA)
    result = crypto(target, certificate).sign(algorithm, digest(hashing))
    public = public_key(certificate)
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(result.signature, DATA, padding.PKCS1v15(), hashing)
    assert result.key_id == certificate.key_id


@pytest.mark.parametrize(
    ("curve", "algorithm", "hashing"),
    [
        (KeyCurveName.p_256, SignatureAlgorithm.es256, hashes.SHA256()),
        (KeyCurveName.p_384, SignatureAlgorithm.es384, hashes.SHA384()),
    ],
)
def test_an_ec_signature_is_two_numbers_one_after_the_other(
    target: Target,
    make: Make,
    curve: KeyCurveName,
    algorithm: SignatureAlgorithm,
    hashing: hashes.HashAlgorithm,
) -> None:
    """docs about-keys-details: as RFC 7518, 3.4 says; X.509 wants them in DER (RFC 3279, 2.2.3)."""
    certificate = make(key_curve_name=curve)
    signature = crypto(target, certificate).sign(algorithm, digest(hashing)).signature
    public = public_key(certificate)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    half = (public.key_size + 7) // 8
    assert len(signature) == 2 * half
    numbers = (int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
    public.verify(encode_dss_signature(*numbers), DATA, ec.ECDSA(hashing))


@pytest.mark.parametrize("kind", [RSA, EC], ids=["RSA", "EC"])
def test_the_key_of_a_certificate_shows_its_public_part_only(target: Target, make: Make, kind: dict[str, Any]) -> None:
    """docs about-certificates: the key has the certificate's name; REST reference: managed keys say so."""
    certificate = make(**kind)
    key = keys(target).get_key(str(certificate.name))
    assert (key.id, key.properties.managed) == (certificate.key_id, True)
    assert (key.key.d, key.key.p) == (None, None)  # type: ignore[attr-defined]
    assert key.key.kty == kind["key_type"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("usages", "operations"),
    [
        (None, ["sign", "verify", "wrapKey", "unwrapKey"]),
        ([KeyUsageType.key_cert_sign, KeyUsageType.crl_sign], ["sign", "verify"]),
        ([KeyUsageType.key_encipherment], ["wrapKey", "unwrapKey"]),
    ],
)
def test_key_usages_map_to_what_the_key_may_do(
    target: Target, make: Make, usages: list[KeyUsageType] | None, operations: list[str]
) -> None:
    """docs about-certificates, "Mapping X.509 usage to key operations", with the default."""
    certificate = make(key_usage=usages)
    assert keys(target).get_key(str(certificate.name)).key_operations == operations


def test_a_key_that_is_not_for_signing_does_not_sign(target: Target, make: Make) -> None:
    """The same table; the words are a guess."""
    client = crypto(target, make(key_usage=[KeyUsageType.key_encipherment]))
    with pytest.raises(HttpResponseError) as refusal:
        client.sign(SignatureAlgorithm.es256, digest(hashes.SHA256()))
    assert refusal.value.status_code == 403


def test_an_algorithm_of_another_kind_of_key_is_refused(target: Target, make: Make) -> None:
    with pytest.raises(HttpResponseError) as refusal:
        crypto(target, make()).sign(SignatureAlgorithm.rs256, digest(hashes.SHA256()))
    assert refusal.value.status_code == 400


def test_a_digest_of_another_length_is_refused(target: Target, make: Make) -> None:
    """docs about-keys-details: "must be 32 bytes in length"."""
    with pytest.raises(HttpResponseError) as refusal:
        crypto(target, make()).sign(SignatureAlgorithm.es256, digest(hashes.SHA384()))
    assert refusal.value.status_code == 400


def test_a_disabled_key_does_not_sign(target: Target, vault: CertificateClient, make: Make) -> None:
    """azure-sdk-for-python#45342 (tried on Azure): KeyDisabled; docs about-certificates, attributes."""
    certificate = make()
    vault.update_certificate_properties(str(certificate.name), enabled=False)
    with pytest.raises(HttpResponseError, match="disabled key") as refusal:
        crypto(target, certificate).sign(SignatureAlgorithm.es256, digest(hashes.SHA256()))
    assert refusal.value.status_code == 403


def test_an_earlier_version_signs_on(target: Target, vault: CertificateClient, make: Make) -> None:
    """docs about-certificates: a version of the key goes with each version of the certificate."""
    first = make()
    name = str(first.name)
    poller = vault.begin_create_certificate(
        name, CertificatePolicy("Self", subject="CN=Fleet CA", **EC), _polling_interval=target.pace.poll
    )
    poller.result()
    signature = crypto(target, first).sign(SignatureAlgorithm.es256, digest(hashes.SHA256())).signature
    numbers = (int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    public_key(first).verify(encode_dss_signature(*numbers), DATA, ec.ECDSA(hashes.SHA256()))


def test_a_key_that_is_not_there_is_not_found(target: Target) -> None:
    with pytest.raises(ResourceNotFoundError):
        keys(target).get_key(target.certificate_name())


@CLOCK
def test_an_expired_key_does_not_sign(azure: StandIn, make: Make) -> None:
    """docs about-certificates: "its addressable key and secret become inoperable"."""
    certificate = make()
    azure.control.put("/clock", {"advance_s": timedelta(days=400).total_seconds()})
    with pytest.raises(HttpResponseError, match="expired key"):
        crypto(at(azure), certificate).sign(SignatureAlgorithm.es256, digest(hashes.SHA256()))


@ROLES
def test_the_role_decides_who_may_sign(azure: StandIn, make: Make) -> None:
    """docs, Key Vault RBAC guide: keys are data actions of their own; Certificates Officer has none of them."""
    certificate, target = make(), at(azure)
    azure.control.put("/roles/operator", {"roles": ["Key Vault Certificates Officer"]})
    with pytest.raises(HttpResponseError) as refusal:
        crypto(target, certificate).sign(SignatureAlgorithm.es256, digest(hashes.SHA256()))
    assert refusal.value.status_code == 403
    azure.control.put("/roles/operator", {"roles": ["Key Vault Crypto User"]})
    assert crypto(target, certificate).sign(SignatureAlgorithm.es256, digest(hashes.SHA256())).signature
