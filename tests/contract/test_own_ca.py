"""Certificates that a CA in the vault issues, through the product's clients: what is issued holds everywhere.

The chains are judged by OpenSSL, by cryptography's verifier, and by the DPS stand-in at a registration.
"""

import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.rest import HttpRequest
from azure.identity import ManagedIdentityCredential
from azure.keyvault.certificates import CertificateClient, CertificatePolicy, KeyCurveName, KeyType, KeyUsageType
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store

from shared.clients.vault import VaultClient
from shared.errors import BadInput, NotAllowed
from shared.own_ca import Issued, issue_leaf, proof_of_possession, sign_request
from shared.services import Services
from shared.tags import CA_TAG
from tests.contract.dps_kit import Credential, Device, add_ca, service, x509_group
from tests.contract.reasons import CLIENTS
from tests.fakes import a_world, some_settings
from tests.standin import StandIn

pytestmark = CLIENTS

RSA = {"key_type": KeyType.rsa, "key_size": 2048}
P256 = {"key_type": KeyType.ec, "key_curve_name": KeyCurveName.p_256}
SIGNS = [KeyUsageType.key_cert_sign, KeyUsageType.crl_sign]


def wait_for(done: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class OwnCa:
    """A root and an intermediate in the vault, as a platform team sets them up: keys that cannot be exported."""

    def __init__(self, azure: StandIn, kind: dict[str, Any]) -> None:
        azure.control.patch("/knobs", {"certificate_create_s": 0, "assign_delay_s": 0})
        settings = some_settings()
        url = azure.endpoints["keyvault"]["url"]
        settings = replace(settings, vault_url=url, verify_challenge_resource=False)
        self.vault = VaultClient(settings, ManagedIdentityCredential())
        world = a_world()
        world.clock.time = datetime.now(UTC)
        self.services: Services = replace(world.services, vault=self.vault)
        self.operator = CertificateClient(
            url, ManagedIdentityCredential(client_id="operator"), verify_challenge_resource=False
        )
        self._kind = kind
        self._create_root()
        self.begin("issuing-ca", "CN=Fleet Issuing CA", by="root", exportable=False, key_usage=SIGNS, months=24)
        sign_request("issuing-ca", "root", self.services, common_name="Fleet Issuing CA", ca=True)

    def _create_root(self) -> None:
        """As no SDK can: azure-cli#18178 shows the request, basic_constraints and all."""
        rsa = self._kind is RSA
        policy = {
            "issuer": {"name": "Self"},
            "key_props": {
                "exportable": False,
                **({"kty": "RSA", "key_size": 2048} if rsa else {"kty": "EC", "crv": "P-256"}),
            },
            "x509_props": {
                "subject": "CN=Fleet Root",
                "validity_months": 120,
                "key_usage": ["keyCertSign", "cRLSign"],
                "basic_constraints": {"ca": True},
            },
        }
        request = HttpRequest("POST", "/certificates/root/create", json={"policy": policy})
        self.operator.send_request(request).raise_for_status()
        wait_for(lambda: self.vault.latest("root"))

    def begin(self, name: str, subject: str, *, by: str, months: int = 1, **more: Any) -> None:
        """A certificate with issuer Unknown, tagged with its CA; its first request waits."""
        policy = CertificatePolicy(
            "Unknown",
            subject=subject,
            validity_in_months=months,
            content_type="application/x-pem-file",
            **{**self._kind, **more},
        )
        self.operator.begin_create_certificate(name, policy, tags={CA_TAG: by, "site": "roof"})

    def certificate(self, name: str) -> x509.Certificate:
        tagged = self.vault.latest(name)
        assert tagged is not None
        return x509.load_der_x509_certificate(tagged.latest.certificate.der)


@pytest.fixture(params=[RSA, P256], ids=["RSA", "P-256"])
def own(azure: StandIn, request: pytest.FixtureRequest) -> OwnCa:
    return OwnCa(azure, request.param)


def leaf(own: OwnCa, **more: Any) -> Issued:
    found = issue_leaf("dev1-cert", "issuing-ca", own.services, common_name="dev1", **more)
    assert isinstance(found, Issued), found
    return found


def credential(azure: StandIn, name: str) -> Credential:
    """What a device fetches: the secret with the key and the chain that was merged."""
    token = ManagedIdentityCredential(client_id="device").get_token("https://vault.azure.net/.default").token
    url = f"{azure.endpoints['keyvault']['url']}/secrets/{name}?api-version=7.3"
    pem = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10).json()["value"].encode()
    first, *above = x509.load_pem_x509_certificates(pem)
    key: Any = load_pem_private_key(pem, None)
    return Credential(key, first, tuple(above))


def test_a_chain_from_the_vault_is_valid_and_lets_a_device_in(azure: StandIn, own: OwnCa, tmp_path: Path) -> None:
    own.begin("dev1-cert", "CN=dev1", by="issuing-ca")
    leaf(own)
    device = credential(azure, "dev1-cert")
    root = own.certificate("root")
    assert [one.subject.rfc4514_string() for one in device.above] == ["CN=Fleet Issuing CA"], "no root is sent along"

    # The web's rules that a leaf has alternative names, and a root critical constraints, are not ours: DPS reads the
    # common name, and the root is the vault's work.
    ca_policy = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
    policies = (
        PolicyBuilder()
        .store(Store([root]))
        .extension_policies(ca_policy=ca_policy, ee_policy=ExtensionPolicy.permit_all())
    )
    verified = policies.build_client_verifier().verify(device.certificate, list(device.above))
    assert len(verified.chain) == 3

    chain, _ = device.files(tmp_path)
    for trusted, strictness in ((root, []), (device.above[0], ["-x509_strict", "-partial_chain"])):
        anchor = tmp_path / "anchor.pem"
        anchor.write_bytes(trusted.public_bytes(Encoding.PEM))
        command = ["openssl", "verify", *strictness, "-purpose", "sslclient", "-CAfile", str(anchor)]
        subprocess.run([*command, "-untrusted", chain, chain], check=True, capture_output=True)

    add_ca(azure, "fleet-root", Credential(device.key, root))
    issuing = Credential(device.key, own.certificate("issuing-ca"))
    service(azure).enrollment_group.create_or_update("g1", x509_group("g1", issuing))
    assert Device(azure, "dev1", device, tmp_path).register()["status"] == "assigned"


def test_what_a_leaf_says(own: OwnCa) -> None:
    """RFC 5280 4.2.1: an end-entity certificate for client authentication, its issuer found by key identifier."""
    own.begin("dev1-cert", "CN=dev1,O=Fleet", by="issuing-ca")
    leaf(own)
    made, issuer = own.certificate("dev1-cert"), own.certificate("issuing-ca")
    constraints = made.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = made.extensions.get_extension_for_class(x509.KeyUsage)
    assert (constraints.critical, constraints.value.ca, usage.critical) == (True, False, True)
    assert (usage.value.digital_signature, usage.value.key_encipherment, usage.value.key_cert_sign) == (
        True,
        False,
        False,
    )
    purposes = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    above = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    identifier = made.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert identifier.key_identifier == above.digest
    with pytest.raises(x509.ExtensionNotFound):
        made.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert made.serial_number.bit_length() > 100
    assert made.not_valid_after_utc <= issuer.not_valid_after_utc


def test_a_new_version_has_a_new_key_and_the_same_tags(own: OwnCa) -> None:
    own.begin("dev1-cert", "CN=dev1", by="issuing-ca")
    first = leaf(own)
    own.services = replace(own.services, now=lambda: datetime.now(UTC).replace(microsecond=0))
    # A version of a month that begins in the same second would end no later: the policy now wants two.
    own.operator.update_certificate_policy("dev1-cert", CertificatePolicy("Unknown", validity_in_months=2))
    second = leaf(own, instead_of={first.latest.certificate.sha256_thumbprint})
    assert second.latest.version != first.latest.version
    assert second.latest.certificate.public_key_sha256 != first.latest.certificate.public_key_sha256
    tagged = own.vault.latest("dev1-cert")
    assert tagged is not None
    assert tagged.tags == {CA_TAG: "issuing-ca", "site": "roof"}
    assert leaf(own) == second, "what the CA issued stays"


def test_an_intermediate_says_what_it_may_do(own: OwnCa) -> None:
    """RFC 5280 4.2.1.9, 4.2.1.3: a CA certificate that signs certificates and issues no further CA."""
    made = own.certificate("issuing-ca")
    constraints = made.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)


def test_the_proof_of_possession_is_signed_by_the_cas_key(own: OwnCa) -> None:
    tagged = own.vault.latest("root")
    assert tagged is not None
    proof = x509.load_pem_x509_certificate(
        proof_of_possession("7D07A6A5", "root", tagged.latest.version, own.services).encode()
    )
    assert proof.subject.rfc4514_string() == "CN=7D07A6A5"
    proof.verify_directly_issued_by(own.certificate("root"))


def test_a_root_that_the_vault_renews_stays_a_ca(own: OwnCa) -> None:
    """The SDK's policy has no basic_constraints: sent back, it would make the next root an end-entity certificate."""
    before = own.vault.latest("root")
    own.vault.issue("root")
    wait_for(lambda: own.vault.latest("root") != before)
    assert own.certificate("root").extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_ca_that_is_disabled_issues_nothing(own: OwnCa) -> None:
    own.begin("dev1-cert", "CN=dev1", by="issuing-ca")
    own.operator.update_certificate_properties("issuing-ca", enabled=False)
    with pytest.raises(BadInput, match="the issuer is disabled"):
        leaf(own)
    tagged = own.vault.latest("issuing-ca")
    assert tagged is not None
    with pytest.raises(NotAllowed, match="disabled key"):
        proof_of_possession("code", "issuing-ca", tagged.latest.version, own.services)


def test_who_may_not_sign_learns_it(azure: StandIn, own: OwnCa) -> None:
    own.begin("dev1-cert", "CN=dev1", by="issuing-ca")
    azure.control.put("/roles/rollover", {"roles": ["Key Vault Certificates Officer"]})
    with pytest.raises(NotAllowed, match="sign with the key of certificate issuing-ca"):
        leaf(own)
    assert own.vault.request("dev1-cert") is not None, "the request still waits"
