"""What holds for every operation of the service API: who may call, versions, quotas, the form of a refusal."""

import re
from typing import Any

import pytest
import requests
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import ManagedIdentityCredential
from azure.iot.deviceprovisioning import DeviceProvisioningClient

from tests.contract.dps_kit import VERSION, call, self_signed, service, token, x509_enrollment
from tests.contract.reasons import FAULTS, OURS, QUOTAS, ROLES
from tests.contract.target import Target
from tests.standin import StandIn

ONE = self_signed("dev1")


def test_a_refusal_has_both_spellings_of_its_code(target: Target) -> None:
    """azure-sdk-for-python#35368 prints `code`, the REST reference (ProvisioningServiceErrorDetails) has
    errorCode.
    """
    body = call(target, "GET", "/enrollments/nobody").json()
    assert body["code"] == body["errorCode"] == 404201
    assert set(body) == {"code", "errorCode", "trackingId", "message", "timestampUtc"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", body["timestampUtc"])


@pytest.mark.parametrize("params", [{}, {"api-version": "latest"}, {"api-version": "2017-01-01"}])
def test_an_api_version_is_needed(target: Target, params: dict[str, str], dev1: str) -> None:
    """azure-rest-api-specs lists 2018-09-01 to 2026-11-01; the answer to none is a guess."""
    assert call(target, "GET", f"/enrollments/{dev1}", params=params).status_code == 400


@pytest.mark.parametrize("version", ["2019-03-31", VERSION, "2025-07-01-preview", "2026-11-01"])
def test_every_known_api_version_is_taken(target: Target, version: str, dev1: str) -> None:
    """azure-rest-api-specs."""
    assert call(target, "GET", f"/enrollments/{dev1}", params={"api-version": version}).status_code == 404


def test_a_wrong_key_is_unauthorized(target: Target, dev1: str) -> None:
    """azure-docs how-to-control-access."""
    url = target.endpoints["dps"]["service_url"]
    wrong = AzureNamedKeyCredential("provisioningserviceowner", "bm90IHRoZSBrZXk=")
    with pytest.raises(ClientAuthenticationError) as refused:
        DeviceProvisioningClient(url.removeprefix("https://"), wrong).enrollment.get(dev1)
    assert "401002" in str(refused.value)


def test_a_request_without_a_credential_is_unauthorized(target: Target, dev1: str) -> None:
    """azure-docs how-to-control-access."""
    url = target.endpoints["dps"]["service_url"] + f"/enrollments/{dev1}"
    answer = requests.get(url, params={"api-version": VERSION}, timeout=10)
    assert (answer.status_code, answer.json()["errorCode"]) == (401, 401002)


@ROLES
def test_a_managed_identity_is_let_in_by_its_role(azure: StandIn) -> None:
    """azure-docs concepts-control-access-dps-azure-ad: Device Provisioning Service Data Contributor."""
    url = azure.endpoints["dps"]["service_url"]
    client = DeviceProvisioningClient(url, ManagedIdentityCredential())
    client.enrollment.create_or_update("dev1", x509_enrollment("dev1", ONE))
    assert client.enrollment.get("dev1")["registrationId"] == "dev1"


@ROLES
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/enrollments/dev1", 404),
        ("POST", "/enrollmentGroups/query", 200),
        ("GET", "/registrations/dev1", 404),
        ("PUT", "/enrollments/dev1", 403),
        ("DELETE", "/enrollmentGroups/g1", 403),
        ("DELETE", "/registrations/dev1", 403),
        ("POST", "/enrollments", 403),
        ("POST", "/enrollments/dev1/attestationmechanism", 403),
    ],
)
def test_a_reader_only_reads(azure: StandIn, method: str, path: str, status: int) -> None:
    """azure-docs concepts-control-access-dps-azure-ad: Device Provisioning Service Data Reader."""
    azure.control.put("/roles/auditor", {"roles": ["Device Provisioning Service Data Reader"]})
    headers = {"Authorization": f"Bearer {token(azure, 'auditor')}"}
    answer = call(azure, method, path, {"query": "SELECT *"}, headers=headers)
    assert answer.status_code == status, answer.text


@ROLES
def test_a_token_for_another_service_is_unauthorized(azure: StandIn) -> None:
    """Audience https://azure-devices-provisioning.net (azure-iot-deviceprovisioning asks for its /.default)."""
    headers = {"Authorization": f"Bearer {token(azure, resource='https://iothubs.azure.net')}"}
    assert call(azure, "GET", "/enrollments/dev1", headers=headers).status_code == 401


@QUOTAS
@pytest.mark.parametrize("told", [True, False])
def test_the_quota_is_a_thousand_operations_a_minute(azure: StandIn, told: bool) -> None:
    """azure-docs about-iot-dps. Whether the service API says when to come back is not documented. A knob."""
    azure.control.patch("/knobs", {"service_retry_after": told})
    limits = azure.control.get("/throttles")["limits"]
    assert limits["dps/service"] == {"amount": 1000, "per_s": 60}
    azure.control.patch("/throttles", {"limits": {"dps/service": {"amount": 1, "per_s": 60}}})
    call(azure, "GET", "/enrollments/dev1")
    answer = call(azure, "GET", "/enrollments/dev1")
    assert (answer.status_code, answer.json()["errorCode"]) == (429, 429001)
    assert ("Retry-After" in answer.headers) is told


@FAULTS
def test_the_real_client_survives_a_short_shortage(azure: StandIn) -> None:
    """azure-core repeats GET, PUT and DELETE after a 429."""
    azure.control.post("/faults", {"kind": "status", "service": "dps", "status": 429, "times": 2})
    created = service(azure).enrollment.create_or_update("dev1", x509_enrollment("dev1", ONE))
    assert created["registrationId"] == "dev1"


@FAULTS
def test_a_lost_reply_makes_the_real_client_meet_its_own_write(azure: StandIn) -> None:
    """azure-core sends a PUT again when its reply is lost: a create then shows 409, though it is there."""
    azure.control.post("/faults", {"kind": "lost_reply", "service": "dps", "operation": "PutEnrollment"})
    client = service(azure)
    with pytest.raises(HttpResponseError) as refused:
        client.enrollment.create_or_update("dev1", x509_enrollment("dev1", ONE))
    assert refused.value.status_code == 409
    assert client.enrollment.get("dev1")["registrationId"] == "dev1"


@OURS
def test_what_nobody_built_names_itself(azure: StandIn) -> None:
    """No fact about Azure: an honest stand-in says what it lacks."""
    answer = call(azure, "POST", "/enrollmentGroups/g1/somethingNew")
    assert answer.status_code == 501
    assert "/enrollmentGroups/g1/somethingNew" in answer.text


@pytest.mark.parametrize("body", ["{", "", "[1]"])
def test_a_body_that_is_no_object_is_a_bad_request(target: Target, body: str, dev1: str) -> None:
    """A guess; never a 500."""
    url = target.endpoints["dps"]["service_url"]
    headers: dict[str, Any] = {"Authorization": target.dps_authorization()}
    for method, path in (
        ("PUT", f"/enrollments/{dev1}"),
        ("POST", "/enrollments"),
        ("POST", "/enrollments/query"),
    ):
        answer = requests.request(
            method, url + path, params={"api-version": VERSION}, data=body, headers=headers, timeout=10
        )
        assert answer.status_code == 400
