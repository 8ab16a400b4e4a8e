"""CA certificates of the DPS through Resource Manager, with azure-mgmt-iothubprovisioningservices.

`recorded` is azure-cli, src/azure-cli/azure/cli/command_modules/iot/tests/latest/recordings/
test_dps_certificate_lifecycle.yaml (2021 and 2022, against Azure).
"""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from azure.core import MatchConditions
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.identity import ManagedIdentityCredential
from azure.mgmt.iothubprovisioningservices import IotDpsClient

from tests.contract.dps_kit import Credential, Device, add_ca, self_signed, service, token, x509_group
from tests.contract.reasons import ARM
from tests.standin import StandIn

pytestmark = ARM

ROOT, OTHER = self_signed("Fleet Root", ca=True), self_signed("Other Root", ca=True)
IF_SAME = MatchConditions.IfNotModified
DPS = {"resource_group_name": "rollover-local", "provisioning_service_name": "dps-rollover-local"}


def management(azure: StandIn, principal: str = "rollover") -> IotDpsClient:
    """The real client. Its scope is told apart from where it is sent: the audience is Azure's."""
    arm = azure.endpoints["arm"]
    scopes = ["https://management.azure.com/.default"]
    credential = ManagedIdentityCredential(client_id=principal)
    return IotDpsClient(credential, arm["subscription_id"], arm["url"], credential_scopes=scopes)


class Certificates:
    """`dps_certificate` with the names of this DPS. Keywords only: the order of arguments differs by method."""

    def __init__(self, azure: StandIn, principal: str = "rollover") -> None:
        self._api = management(azure, principal).dps_certificate

    def put(self, name: str, ca: Credential, *, verified: bool | None = None, etag: str | None = None) -> Any:
        body: dict[str, Any] = {"certificate": base64.b64encode(ca.pem.encode()).decode()}
        if verified is not None:
            body["isVerified"] = verified
        match = IF_SAME if etag else None
        return self._api.create_or_update(
            certificate_name=name,
            certificate_description={"properties": body},
            etag=etag,
            match_condition=match,
            **DPS,
        )

    def get(self, name: str) -> Any:
        return self._api.get(certificate_name=name, **DPS)

    def all(self) -> list[Any]:
        return list(self._api.list(**DPS).value)

    def code(self, name: str, etag: str) -> Any:
        return self._api.generate_verification_code(certificate_name=name, etag=etag, match_condition=IF_SAME, **DPS)

    def verify(self, name: str, etag: str, proof: Credential) -> Any:
        request = {"certificate": base64.b64encode(proof.pem.encode()).decode()}
        return self._api.verify_certificate(
            certificate_name=name, request=request, etag=etag, match_condition=IF_SAME, **DPS
        )

    def delete(self, name: str, etag: str) -> None:
        self._api.delete(certificate_name=name, etag=etag, match_condition=IF_SAME, **DPS)


@pytest.fixture
def there(azure: StandIn) -> Certificates:
    """The CA certificates, as the product's identity may use them."""
    return Certificates(azure)


def rest(azure: StandIn, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
    """A plain request below the DPS, for what the client library hides."""
    arm, resource = azure.endpoints["arm"], azure.endpoints["dps"]["resource_id"]
    bearer = token(azure, resource="https://management.azure.com")
    return requests.request(
        method,
        f"{arm['url']}{resource}{path}?api-version=2026-11-01",
        json=body,
        headers={"Authorization": f"Bearer {bearer}"}
        | {name.replace("_", "-"): text for name, text in headers.items()},
        timeout=10,
    )


def test_an_uploaded_certificate_is_not_verified(there: Certificates) -> None:
    """recorded; docs how-to-verify-certificates."""
    made = there.put("ca-2024", ROOT)
    assert (made.properties.is_verified, made.name) == (False, "ca-2024")
    assert [one.name for one in there.all()] == ["ca-2024"]


def test_a_certificate_may_be_verified_on_upload(there: Certificates) -> None:
    """recorded; docs how-to-verify-certificates: "Set certificate status to verified on upload"."""
    assert there.put("ca-2024", ROOT, verified=True).properties.is_verified


def test_what_is_shown_of_a_certificate(azure: StandIn, there: Certificates) -> None:
    """recorded: the subject is the bare common name, the thumbprint SHA-1, times RFC 1123, `created` is never set."""
    there.put("ca-2024", ROOT)
    shown = rest(azure, "GET", "/certificates/ca-2024").json()
    properties = shown["properties"]
    assert list(properties) == ["subject", "expiry", "thumbprint", "isVerified", "created", "updated", "certificate"]
    assert (properties["subject"], properties["created"]) == ("Fleet Root", "Mon, 01 Jan 0001 00:00:00 GMT")
    assert datetime.strptime(properties["expiry"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC) == (
        ROOT.certificate.not_valid_after_utc
    )
    assert len(properties["thumbprint"]) == 40
    assert shown["type"] == "Microsoft.Devices/provisioningServices/Certificates"
    assert shown["id"] == azure.endpoints["dps"]["resource_id"] + "/certificates/ca-2024"
    assert base64.b64decode(shown["etag"]).startswith(b'"'), "base64 of a quoted GUID"


def test_the_content_comes_back_with_a_verification_code_only(there: Certificates) -> None:
    """recorded: `certificate` is null in the answers to GET, list, PUT and verify."""
    made = there.put("ca-2024", ROOT)
    assert made.properties.certificate is None
    assert there.get("ca-2024").properties.certificate is None
    coded = there.code("ca-2024", made.etag)
    assert coded.properties.certificate == ROOT.pem.encode()


def test_the_specification_shows_the_content_everywhere(azure: StandIn, there: Certificates) -> None:
    """azure-rest-api-specs, examples DPSGetCertificate and DPSGetCertificates; knob arm_shows_certificate."""
    azure.control.patch("/knobs", {"arm_shows_certificate": True})
    there.put("ca-2024", ROOT)
    assert there.get("ca-2024").properties.certificate == ROOT.pem.encode()


@pytest.mark.parametrize("nested", [True, False], ids=["properties", "flat"])
@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(ROOT.pem.encode()).decode(),
        base64.encodebytes(ROOT.der).decode(),
        base64.b64encode(ROOT.der).decode(),
        ROOT.pem,
    ],
    ids=["base64 of PEM", "base64 in lines", "base64 of DER", "PEM"],
)
def test_every_encoding_that_clients_send_is_taken(
    azure: StandIn, there: Certificates, text: str, nested: bool
) -> None:
    """azure-cli: base64 of PEM today, base64 of DER and PEM text earlier; flat bodies until 2021-10-15 (recorded)."""
    body = {"certificate": text, "isVerified": True}
    answer = rest(azure, "PUT", "/certificates/ca-2024", {"properties": body} if nested else body)
    assert (answer.status_code, answer.json()["properties"]["isVerified"]) == (200, True)
    assert rest(azure, "GET", "/certificates/CA-2024").json()["properties"]["subject"] == "Fleet Root"


@pytest.mark.parametrize(
    "body", [{}, {"properties": {}}, {"properties": {"certificate": "!!!!"}}, [], {"certificate": 7}]
)
def test_what_is_no_certificate_is_refused(azure: StandIn, body: Any) -> None:
    assert rest(azure, "PUT", "/certificates/ca-2024", body).status_code == 400


@pytest.mark.parametrize("name", ["a b", "ä", "x" * 257])
def test_a_name_that_is_none_is_refused(azure: StandIn, name: str) -> None:
    """docs, az iot dps certificate create: alphanumeric, "-", ".", "_"; at most 256."""
    body = {"properties": {"certificate": ROOT.pem}}
    assert rest(azure, "PUT", f"/certificates/{name}", body).status_code == 400


def test_an_update_needs_the_etag_of_what_it_replaces(there: Certificates) -> None:
    """REST reference: If-Match "required to update an existing certificate"; the code of the refusal is a guess."""
    made = there.put("ca-2024", ROOT)
    with pytest.raises(HttpResponseError) as refusal:
        there.put("CA-2024", OTHER)
    assert refusal.value.status_code == 412
    with pytest.raises(ResourceModifiedError):
        there.put("ca-2024", OTHER, etag="AAAAAAExpNs=")
    assert there.put("ca-2024", OTHER, etag=made.etag).etag != made.etag
    assert there.get("ca-2024").properties.subject == "Other Root"


def test_a_condition_that_there_is_none_yet_holds(azure: StandIn, there: Certificates) -> None:
    """SDK: MatchConditions.IfMissing sends If-None-Match: *; that the service heeds it is a guess."""
    body = {"properties": {"certificate": ROOT.pem}}
    assert rest(azure, "PUT", "/certificates/ca-2024", body, If_None_Match="*").status_code == 200
    assert rest(azure, "PUT", "/certificates/ca-2024", body, If_None_Match="*").status_code == 412


def test_the_etag_is_ignored_on_create(there: Certificates) -> None:
    """REST reference: "Do not specify for creating a brand new certificate"; a caller who does is not refused."""
    assert there.put("ca-2024", ROOT, etag="AAAAAAExpNs=").properties.subject == "Fleet Root"


def test_other_content_is_not_verified_any_more(there: Certificates) -> None:
    """A guess; a PUT without the flag says isVerified false (recorded for the same content)."""
    made = there.put("ca-2024", ROOT, verified=True)
    assert there.put("ca-2024", OTHER, etag=made.etag).properties.is_verified is False


def test_possession_is_proven_by_a_certificate_for_the_code(there: Certificates) -> None:
    """docs how-to-verify-certificates; azure-cli#13098: each call gives the etag that the next one needs."""
    made = there.put("ca-2024", ROOT)
    coded = there.code("ca-2024", made.etag)
    code = coded.properties.verification_code
    assert len(code) == 48, "recorded"
    assert int(code, 16)
    with pytest.raises(ResourceModifiedError):
        there.verify("ca-2024", made.etag, ROOT.issue(code))
    verified = there.verify("ca-2024", coded.etag, ROOT.issue(code))
    assert verified.properties.is_verified
    assert len({made.etag, coded.etag, verified.etag}) == 3


def test_a_code_is_replaced_by_the_next(there: Certificates) -> None:
    first = there.code("ca-2024", there.put("ca-2024", ROOT).etag)
    second = there.code("ca-2024", first.etag)
    with pytest.raises(HttpResponseError, match="Proof-Of-Possession failed"):
        there.verify("ca-2024", second.etag, ROOT.issue(first.properties.verification_code))
    assert there.verify("ca-2024", second.etag, ROOT.issue(second.properties.verification_code))


def test_a_proof_by_another_key_is_refused(there: Certificates) -> None:
    """azure-iot-sdk-c#1347, azure-cli#5376 (the hub's words, IH400053)."""
    coded = there.code("ca-2024", there.put("ca-2024", ROOT).etag)
    with pytest.raises(HttpResponseError, match="'CN=Other Root' cannot be found in the certificate chain") as refusal:
        there.verify("ca-2024", coded.etag, OTHER.issue(coded.properties.verification_code))
    assert refusal.value.status_code == 400
    assert there.get("ca-2024").properties.is_verified is False


@pytest.mark.parametrize("proof", [ROOT.issue("something else"), ROOT])
def test_a_proof_for_something_else_is_refused(there: Certificates, proof: Credential) -> None:
    coded = there.code("ca-2024", there.put("ca-2024", ROOT).etag)
    with pytest.raises(HttpResponseError, match="not the verification code"):
        there.verify("ca-2024", coded.etag, proof)


def test_a_proof_that_has_expired_is_refused(there: Certificates) -> None:
    coded = there.code("ca-2024", there.put("ca-2024", ROOT).etag)
    proof = ROOT.issue(coded.properties.verification_code, start=timedelta(days=-2), lasts=timedelta(days=1))
    with pytest.raises(HttpResponseError, match="not valid now"):
        there.verify("ca-2024", coded.etag, proof)


def test_a_proof_without_a_code_is_refused(there: Certificates) -> None:
    made = there.put("ca-2024", ROOT)
    with pytest.raises(HttpResponseError, match="Proof-Of-Possession failed"):
        there.verify("ca-2024", made.etag, ROOT.issue("code"))


def test_only_a_verified_certificate_lets_devices_of_a_group_in(
    azure: StandIn, there: Certificates, tmp_path: Any
) -> None:
    """docs how-to-verify-certificates: what is uploaded here is what a registration asks for."""
    azure.control.patch("/knobs", {"assign_delay_s": 0})
    made = there.put("ca-2024", ROOT)
    service(azure).enrollment_group.create_or_update("g1", x509_group("g1", "ca-2024"))
    device = Device(azure, "dev1", ROOT.issue("dev1"), tmp_path)
    assert device.refusal() == (401, 401002, "CA certificate not found.")
    coded = there.code("ca-2024", made.etag)
    there.verify("ca-2024", coded.etag, ROOT.issue(coded.properties.verification_code))
    assert device.register()["status"] == "assigned"


def test_delete_needs_the_etag(azure: StandIn, there: Certificates) -> None:
    """REST reference: If-Match is required. recorded: 200; for one that is gone 204 is a guess."""
    made = there.put("ca-2024", ROOT)
    assert rest(azure, "DELETE", "/certificates/ca-2024").status_code == 400
    with pytest.raises(ResourceModifiedError):
        there.delete("ca-2024", "AAAAAAExpNs=")
    there.delete("ca-2024", made.etag)
    assert there.all() == []
    there.delete("ca-2024", made.etag)
    with pytest.raises(ResourceNotFoundError):
        there.get("ca-2024")


@pytest.mark.parametrize("call", ["generateVerificationCode", "verify"])
def test_the_ceremony_needs_the_etag(azure: StandIn, there: Certificates, call: str) -> None:
    """REST reference: If-Match is required."""
    there.put("ca-2024", ROOT)
    assert rest(azure, "POST", f"/certificates/ca-2024/{call}", {"certificate": ROOT.pem}).status_code == 400


@pytest.mark.parametrize(("knob", "refused"), [("allow", False), ("conflict", True)])
def test_deleting_what_a_group_names(azure: StandIn, there: Certificates, knob: str, refused: bool) -> None:
    """docs how-to-roll-certificates deletes the CA before the group lets go of it; no source says that it may."""
    azure.control.patch("/knobs", {"ca_delete_while_referenced": knob})
    made = there.put("ca-2024", ROOT, verified=True)
    service(azure).enrollment_group.create_or_update("g1", x509_group("g1", "CA-2024"))
    if refused:
        with pytest.raises(ResourceExistsError):
            there.delete("ca-2024", made.etag)
    else:
        there.delete("ca-2024", made.etag)
    assert bool(there.all()) is refused


@pytest.mark.parametrize(("knob", "refused"), [("accept", False), ("refuse", True)])
def test_uploading_an_expired_certificate(azure: StandIn, there: Certificates, knob: str, refused: bool) -> None:
    """No source."""
    azure.control.patch("/knobs", {"expired_ca_at_upload": knob})
    expired = self_signed("Old Root", ca=True, start=timedelta(days=-2), lasts=timedelta(days=1))
    if refused:
        with pytest.raises(HttpResponseError, match="expired"):
            there.put("ca-2020", expired)
    else:
        assert there.put("ca-2020", expired).properties.subject == "Old Root"


@pytest.mark.parametrize(("knob", "refused"), [("refuse", True), ("accept", False)])
def test_a_group_that_names_a_certificate_that_is_not_there(azure: StandIn, knob: str, refused: bool) -> None:
    """No source."""
    azure.control.patch("/knobs", {"unknown_ca_reference": knob})
    _put_group(azure, refused)


@pytest.mark.parametrize(("knob", "refused"), [("refuse", True), ("accept", False)])
def test_a_group_that_names_an_unverified_certificate(azure: StandIn, knob: str, refused: bool) -> None:
    """No source; the portal offers only verified ones."""
    azure.control.patch("/knobs", {"unverified_ca_reference": knob})
    add_ca(azure, "ca-2024", ROOT, verified=False)
    _put_group(azure, refused)


def _put_group(azure: StandIn, refused: bool) -> None:
    groups, body = service(azure).enrollment_group, x509_group("g1", "ca-2024")
    if refused:
        with pytest.raises(HttpResponseError) as refusal:
            groups.create_or_update("g1", body)
        assert refusal.value.status_code == 400
    else:
        assert groups.create_or_update("g1", body)


def test_there_are_at_most_25(azure: StandIn, there: Certificates) -> None:
    """docs about-iot-dps, quotas; the words of the refusal are a guess."""
    for number in range(25):
        add_ca(azure, f"ca-{number}", ROOT)
    with pytest.raises(HttpResponseError) as refusal:
        there.put("one-more", ROOT)
    assert refusal.value.status_code == 400
    assert len(there.all()) == 25


def test_a_dps_that_is_not_there_is_not_found(azure: StandIn) -> None:
    """docs, "Resolve errors for resource not found"."""
    with pytest.raises(ResourceNotFoundError, match="was not found"):
        management(azure).dps_certificate.list(
            resource_group_name="rollover-local", provisioning_service_name="another"
        )


@pytest.mark.parametrize("principal", ["device", "rollover"])
def test_the_role_decides_what_a_principal_may(azure: StandIn, principal: str) -> None:
    """docs, "Troubleshoot Azure RBAC": AuthorizationFailed names the action."""
    if principal == "rollover":
        Certificates(azure, principal).put("ca-2024", ROOT)
        with pytest.raises(HttpResponseError, match=r"Microsoft\.Devices/provisioningServices/read"):
            management(azure, principal).iot_dps_resource.get(**DPS)
        return
    with pytest.raises(
        HttpResponseError, match=r"Microsoft\.Devices/provisioningServices/certificates/write"
    ) as refusal:
        Certificates(azure, principal).put("ca-2024", ROOT)
    assert refusal.value.status_code == 403


def test_a_token_for_another_audience_is_refused(azure: StandIn) -> None:
    scopes = ["https://vault.azure.net/.default"]
    arm = azure.endpoints["arm"]
    client = IotDpsClient(ManagedIdentityCredential(), arm["subscription_id"], arm["url"], credential_scopes=scopes)
    with pytest.raises(ClientAuthenticationError):
        client.dps_certificate.list(**DPS)
