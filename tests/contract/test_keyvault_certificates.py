"""What Key Vault promises about certificates, with the real client against the stand-in."""

import base64
import hashlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.keyvault.certificates import (
    CertificateClient,
    CertificateContentType,
    CertificatePolicy,
    KeyCurveName,
    KeyType,
    LifetimeAction,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from tests.contract.reasons import ALONE, CLOCK, KNOBS, MANY, ROLES
from tests.contract.target import Target, at
from tests.standin import StandIn

Create = Callable[..., Any]


@pytest.fixture(autouse=True)
def named(target: Target) -> None:
    """A vault may be missing from what the environment names."""
    if target.endpoints["keyvault"]["url"] is None:
        pytest.skip("no vault is named")


@pytest.fixture
def vault(target: Target) -> CertificateClient:
    """The real client."""
    target.hurry(certificate_create_s=0, certificate_delete_s=0)
    return target.vault()


@pytest.fixture
def name(target: Target) -> str:
    """The name of a certificate of this test."""
    return target.certificate_name()


@pytest.fixture
def create(target: Target, vault: CertificateClient) -> Create:
    """Make a self-signed EC certificate (its key costs nothing) and wait for it."""

    def make(name: str, policy: CertificatePolicy | None = None, **more: Any) -> Any:
        poller = vault.begin_create_certificate(name, policy or a_policy(), _polling_interval=target.pace.poll, **more)
        return poller.result()

    return make


def a_policy(issuer: str = "Self", **more: Any) -> CertificatePolicy:
    key = {"key_type": KeyType.ec, "key_curve_name": KeyCurveName.p_256}
    return CertificatePolicy(issuer, **{"subject": "CN=device-1", **key, **more})


def signed(csr: bytes, months: int = 1) -> bytes:
    """The certificate that a fleet's own CA makes from a request, DER."""
    request = x509.load_der_x509_csr(csr)
    ca = ec.generate_private_key(ec.SECP256R1())
    start = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Fleet CA")])
    serial = x509.random_serial_number()
    end = start + timedelta(days=30 * months)
    builder = x509.CertificateBuilder(name, request.subject, request.public_key(), serial, start, end)  # type: ignore[arg-type]
    return builder.sign(ca, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_self_signed_certificate_appears_after_its_operation(create: Create, name: str) -> None:
    certificate = create(name)
    parsed = x509.load_der_x509_certificate(certificate.cer)
    assert parsed.subject.rfc4514_string() == "CN=device-1"
    assert parsed.issuer == parsed.subject


def test_x5t_is_the_sha1_of_the_certificate(create: Create, name: str) -> None:
    """Recorded: x5t = base64url(SHA-1(cer)); the client decodes it."""
    certificate = create(name)
    assert certificate.properties.x509_thumbprint == hashlib.sha1(certificate.cer, usedforsecurity=False).digest()


@CLOCK
def test_validity_starts_ten_minutes_early_and_lasts_the_policys_months(azure: StandIn, create: Create) -> None:
    """Recorded: nbf is 10 minutes before created, exp 12 months after it."""
    azure.control.put("/clock", {"set": "2027-03-15T12:00:00Z"})
    certificate = create("device-1", a_policy(validity_in_months=3))
    properties = certificate.properties
    assert properties.not_before == properties.created_on - timedelta(minutes=10)
    assert properties.expires_on.date().isoformat() == "2027-06-15"
    assert x509.load_der_x509_certificate(certificate.cer).not_valid_after_utc == properties.expires_on


def test_the_default_policy_is_the_recorded_one(vault: CertificateClient, create: Create, name: str) -> None:
    create(name, CertificatePolicy("Self", subject="CN=DefaultPolicy"))
    policy = vault.get_certificate_policy(name)
    assert (policy.key_type, policy.key_size, policy.exportable, policy.reuse_key) == (KeyType.rsa, 2048, True, False)
    assert policy.content_type == CertificateContentType.pkcs12
    assert policy.validity_in_months == 12
    assert policy.key_usage == ["digitalSignature", "keyEncipherment"]
    [action] = policy.lifetime_actions
    assert (action.action, action.lifetime_percentage) == ("AutoRenew", 80)


def test_an_rsa_certificate_has_the_key_size_of_its_policy(create: Create, name: str) -> None:
    policy = CertificatePolicy("Self", subject="CN=rsa", key_type=KeyType.rsa, key_size=3072)
    key = x509.load_der_x509_certificate(create(name, policy).cer).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 3072


def test_a_new_version_has_a_new_key_and_becomes_current(vault: CertificateClient, create: Create, name: str) -> None:
    first, second = create(name), create(name)
    assert public_key(first.cer) != public_key(second.cer)
    assert vault.get_certificate(name).properties.version == second.properties.version
    assert vault.get_certificate_version(name, first.properties.version).cer == first.cer


def test_a_policy_may_keep_the_key(create: Create, name: str) -> None:
    first, second = (create(name, a_policy(reuse_key=True)) for _ in range(2))
    assert public_key(first.cer) == public_key(second.cer)


def public_key(cer: bytes) -> object:
    return x509.load_der_x509_certificate(cer).public_key()


def test_a_create_without_policy_follows_the_one_in_force(target: Target, create: Create, name: str) -> None:
    """REST reference, CreateCertificate: an existing certificate's policy is used."""
    create(name, a_policy(validity_in_months=5))
    create(name, CertificatePolicy("Self", subject="CN=device-1"))
    answer = vault_call(target, "POST", f"/certificates/{name}/create", {})
    assert answer.status_code == 202


def _versions(vault: CertificateClient, name: str) -> int:
    return len(list(vault.list_properties_of_certificate_versions(name)))


def test_a_policy_may_make_a_ca_certificate(vault: CertificateClient, target: Target, name: str) -> None:
    """azure-cli#18178, terraform-provider-azurerm#9634: basic_constraints, which the reference and the SDKs leave out.
    A create that sends no policy keeps it."""
    policy = {
        "issuer": {"name": "Self"},
        "key_props": {"kty": "EC", "crv": "P-256"},
        "x509_props": {"subject": "CN=Fleet Root", "key_usage": ["keyCertSign"], "basic_constraints": {"ca": True}},
    }
    for number, body in enumerate(({"policy": policy}, {}), start=1):
        assert vault_call(target, "POST", f"/certificates/{name}/create", body).status_code == 202
        target.until(lambda wanted=number: _versions(vault, name) == wanted, "the version")
        made = x509.load_der_x509_certificate(bytes(vault.get_certificate(name).cer or b""))
        assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def vault_call(azure: StandIn | Target, method: str, path: str, body: Any = None, *, token: str | None = "") -> Any:
    """A bare request to the vault; with the operator's token unless told otherwise."""
    import requests

    if token == "":
        token = at(azure).credential.get_token("https://vault.azure.net/.default").token
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = at(azure).endpoints["keyvault"]["url"] + path + "?api-version=7.3"
    return requests.request(method, url, json=body, headers=headers, timeout=10)


def test_a_request_for_a_csr_ends_with_a_merge(vault: CertificateClient, name: str) -> None:
    """The poller of issuer Unknown comes back at once, with the request to be signed elsewhere."""
    operation = vault.begin_create_certificate(name, a_policy("Unknown")).result()
    assert operation.status == "inProgress"
    der = signed(operation.csr)
    merged = vault.merge_certificate(name, [der])
    assert merged.cer == der
    assert vault.get_certificate(name).cer == der
    assert vault.get_certificate_operation(name).status == "completed"


def test_a_certificate_that_waits_for_its_merge_has_no_contents_yet(vault: CertificateClient, name: str) -> None:
    """terraform-provider-azurerm polls GET certificate until `sid` is there."""
    vault.begin_create_certificate(name, a_policy("Unknown")).result()
    assert not vault.get_certificate(name).cer


def test_a_merge_of_another_key_is_refused(target: Target, vault: CertificateClient) -> None:
    one, two = target.certificate_name("one"), target.certificate_name("two")
    operation = vault.begin_create_certificate(one, a_policy("Unknown")).result()
    vault.begin_create_certificate(two, a_policy("Unknown")).result()
    with pytest.raises(HttpResponseError) as refused:
        vault.merge_certificate(two, [signed(operation.csr)])
    assert refused.value.status_code == 400


def test_a_merge_of_a_key_that_has_a_version_already_is_refused(vault: CertificateClient, name: str) -> None:
    """docs, "About Key Vault certificate renewal": "CSR already used", so reuse_key must be false."""
    policy = a_policy("Unknown", reuse_key=True)
    operation = vault.begin_create_certificate(name, policy).result()
    vault.merge_certificate(name, [signed(operation.csr)])
    operation = vault.begin_create_certificate(name, policy).result()
    with pytest.raises(ResourceExistsError):
        vault.merge_certificate(name, [signed(operation.csr)])


def test_a_second_create_is_refused_while_one_is_pending(vault: CertificateClient, name: str) -> None:
    vault.begin_create_certificate(name, a_policy("Unknown")).result()
    with pytest.raises(ResourceExistsError):
        vault.begin_create_certificate(name, a_policy("Unknown"))


def test_of_two_creates_at_once_one_is_refused(target: Target, vault: CertificateClient, name: str) -> None:
    answers: list[int] = []
    body = {"policy": {"issuer": {"name": "Unknown"}, "x509_props": {"subject": "CN=race"}}}

    def post() -> None:
        answers.append(vault_call(target, "POST", f"/certificates/{name}/create", body).status_code)

    threads = [threading.Thread(target=post) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [202, 409]


def test_a_deleted_operation_makes_room_for_another(vault: CertificateClient, name: str) -> None:
    vault.begin_create_certificate(name, a_policy("Unknown")).result()
    vault.delete_certificate_operation(name)
    with pytest.raises(ResourceNotFoundError):
        vault.get_certificate_operation(name)
    vault.begin_create_certificate(name, a_policy("Unknown")).result()


@KNOBS
def test_a_cancelled_operation_makes_no_version(azure: StandIn, vault: CertificateClient) -> None:
    azure.control.patch("/knobs", {"certificate_create_s": 0.2})
    poller = vault.begin_create_certificate("device-1", a_policy(), _polling_interval=0.05)
    vault.cancel_certificate_operation("device-1")
    assert poller.result().status == "cancelled"


def test_tags_of_a_create_belong_to_its_version_alone(vault: CertificateClient, create: Create, name: str) -> None:
    """Only an automatic renewal copies tags (docs: renewal, FAQ)."""
    create(name, tags={"enrollment": name})
    assert vault.get_certificate(name).properties.tags == {"enrollment": name}
    create(name)
    assert vault.get_certificate(name).properties.tags is None


def test_properties_can_be_changed(vault: CertificateClient, create: Create, name: str) -> None:
    create(name)
    vault.update_certificate_properties(name, enabled=False, tags={"a": "b"})
    properties = vault.get_certificate(name).properties
    assert (properties.enabled, properties.tags) == (False, {"a": "b"})


@ALONE
def test_lists_name_the_latest_version_without_saying_so(vault: CertificateClient, create: Create) -> None:
    """azure-keyvault-certificates: list_properties_of_certificates gives `version` None."""
    create("device-1")
    last = create("device-1")
    [listed] = vault.list_properties_of_certificates()
    assert listed.version is None
    assert listed.x509_thumbprint == last.properties.x509_thumbprint
    versions = list(vault.list_properties_of_certificate_versions("device-1"))
    assert len({one.version for one in versions}) == 2


@MANY
def test_long_lists_come_in_pages(azure: StandIn, vault: CertificateClient, create: Create) -> None:
    for number in range(27):
        create(f"device-{number}")
    pages = [len(list(page)) for page in vault.list_properties_of_certificates().by_page()]
    assert pages == [25, 2]


def test_the_versions_of_an_unknown_name_are_an_empty_list(vault: CertificateClient) -> None:
    assert list(vault.list_properties_of_certificate_versions("nobody")) == []


def test_a_policy_can_be_changed_in_part(vault: CertificateClient, create: Create, name: str) -> None:
    create(name)
    changed = vault.get_certificate_policy(name)
    changed._lifetime_actions = [LifetimeAction("AutoRenew", days_before_expiry=40)]
    vault.update_certificate_policy(name, changed)
    policy = vault.get_certificate_policy(name)
    assert [one.days_before_expiry for one in policy.lifetime_actions] == [40]
    assert policy.key_type == KeyType.ec


def test_an_unknown_certificate_is_not_found(vault: CertificateClient) -> None:
    with pytest.raises(ResourceNotFoundError) as refused:
        vault.get_certificate("nobody")
    assert refused.value.error.code == "CertificateNotFound"


def test_a_deleted_certificate_keeps_its_name_until_it_is_recovered(
    target: Target, vault: CertificateClient, create: Create, name: str
) -> None:
    certificate = create(name)
    vault.begin_delete_certificate(name, _polling_interval=target.pace.poll).wait()
    with pytest.raises(ResourceNotFoundError):
        vault.get_certificate(name)
    with pytest.raises(ResourceExistsError):
        create(name)
    vault.begin_recover_deleted_certificate(name, _polling_interval=target.pace.poll).wait()
    assert vault.get_certificate(name).cer == certificate.cer


@ALONE
def test_a_purged_certificate_is_gone(vault: CertificateClient, create: Create) -> None:
    create("device-1")
    vault.begin_delete_certificate("device-1", _polling_interval=0.02).wait()
    vault.purge_deleted_certificate("device-1")
    assert list(vault.list_deleted_certificates()) == []
    create("device-1")


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({}, "issuer"),
        ({"issuer": {"name": "NoSuchCa"}, "x509_props": {"subject": "CN=a"}}, "issuer"),
        ({"issuer": {"name": "Self"}, "x509_props": {"subject": "nonsense"}}, "subject"),
        ({"issuer": {"name": "Self"}, "x509_props": {"subject": "CN=a", "validity_months": 0}}, "validity_months"),
        ({"issuer": {"name": "Self"}, "x509_props": {"subject": "CN=a"}, "key_props": {"kty": "DSA"}}, "key"),
        (
            {
                "issuer": {"name": "Self"},
                "x509_props": {"subject": "CN=a", "validity_months": 1},
                "lifetime_actions": [{"trigger": {"days_before_expiry": 28}, "action": {"action_type": "AutoRenew"}}],
            },
            "27",
        ),
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused(
    target: Target, policy: dict[str, Any], says: str, name: str
) -> None:
    """REST reference, CreateCertificate; docs of LifetimeAction for the last one."""
    body = {"policy": policy or {"x509_props": {"subject": "CN=a"}}}
    answer = vault_call(target, "POST", f"/certificates/{name}/create", body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]


def test_a_request_without_token_is_challenged_with_the_vaults_resource(target: Target, name: str) -> None:
    """Recorded: the first request of a client has neither token nor body."""
    answer = vault_call(target, "POST", f"/certificates/{name}/create", token=None)
    assert answer.status_code == 401
    assert 'resource="https://vault.azure.net"' in answer.headers["WWW-Authenticate"]
    assert answer.json()["error"]["message"].startswith("AKV10000")


def test_a_token_for_another_audience_is_refused(target: Target) -> None:
    token = target.credential.get_token("https://iothubs.azure.net/.default").token
    assert vault_call(target, "GET", "/certificates", token=token).status_code == 401


@ROLES
def test_a_principal_without_the_role_is_refused(azure: StandIn, vault: CertificateClient) -> None:
    azure.control.put("/roles/operator", {"roles": ["Key Vault Reader"]})
    assert list(vault.list_properties_of_certificates()) == []
    with pytest.raises(HttpResponseError) as refused:
        vault.begin_create_certificate("device-1", a_policy())
    assert refused.value.status_code == 403
    assert not isinstance(refused.value, ClientAuthenticationError)


def test_the_first_certificate_of_a_csr_travels_as_base64(target: Target, vault: CertificateClient, name: str) -> None:
    operation = vault.begin_create_certificate(name, a_policy("Unknown")).result()
    body = {"x5c": [base64.b64encode(signed(operation.csr)).decode()], "tags": {"a": "b"}}
    answer = vault_call(target, "POST", f"/certificates/{name}/pending/merge", body)
    assert answer.status_code == 201
    assert answer.json()["tags"] == {"a": "b"}
