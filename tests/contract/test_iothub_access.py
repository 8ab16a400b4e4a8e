"""Who may call the hub's service API, how it says no, and what it does not do."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from azure.identity import ManagedIdentityCredential
from azure.iot.hub import IoTHubJobManager, IoTHubRegistryManager
from msrest.exceptions import HttpOperationError

from tests.contract.iothub_parts import Rest, by_policy, certificate, job_manager, registry_manager
from tests.contract.reasons import OURS, QUOTAS, ROLES
from tests.contract.target import Target
from tests.standin import StandIn

ROLE_REFUSAL = "ErrorCode:IotHubUnauthorized;Principal rollover is not authorized for {} due to no assigned permissions"


def by_token(azure: StandIn) -> IoTHubRegistryManager:
    host = azure.endpoints["iothub"]["service_url"].removeprefix("https://")
    return IoTHubRegistryManager.from_token_credential(host, ManagedIdentityCredential())


@ROLES
def test_both_clients_work_with_a_connection_string(azure: StandIn) -> None:
    """azure-iot-hub 2.7.0, `from_connection_string`; the host has a port."""
    registry_manager(azure).create_device_with_x509("device", "A" * 40, None, "enabled")
    with pytest.raises(HttpOperationError) as error:
        job_manager(azure).get_scheduled_job("none")
    assert error.value.response.status_code == 404


@ROLES
def test_both_clients_work_with_a_managed_identity(azure: StandIn) -> None:
    """azure-iot-hub 2.7.0, `from_token_credential`; audience https://iothubs.azure.net."""
    assert by_token(azure).create_device_with_x509("device", "A" * 40, None, "enabled").device_id == "device"
    host = azure.endpoints["iothub"]["service_url"].removeprefix("https://")
    with pytest.raises(HttpOperationError) as error:
        IoTHubJobManager.from_token_credential(host, ManagedIdentityCredential()).get_scheduled_job("none")
    assert error.value.response.status_code == 404


@ROLES
@pytest.mark.parametrize(
    ("role", "may_write_device", "may_read_twin", "may_query"),
    [
        ("IoT Hub Data Contributor", True, True, True),
        ("IoT Hub Registry Contributor", True, False, False),
        ("IoT Hub Twin Contributor", False, True, True),
        ("IoT Hub Data Reader", False, True, True),
        ("Device Provisioning Service Data Contributor", False, False, False),
    ],
)
def test_a_role_allows_what_azure_says(
    azure: StandIn, role: str, may_write_device: bool, may_read_twin: bool, may_query: bool
) -> None:
    """docs: "Control access to IoT Hub by using Microsoft Entra ID"; refused with 401 (azure-iot-sdk-csharp#3344)."""
    Rest(azure).create("device", certificate())
    azure.control.put("/roles/rollover", {"roles": [role]})
    registry: Any = by_token(azure)
    tries: dict[str, tuple[bool, Callable[[], Any]]] = {
        "PUT on /devices/device": (
            may_write_device,
            lambda: registry.update_device_with_x509("device", None, "A" * 40, None, "enabled"),
        ),
        "GET on /twins/device": (may_read_twin, lambda: registry.get_twin("device")),
        "POST on /devices/query": (may_query, lambda: registry.query_iot_hub({"query": "SELECT * FROM devices"})),
    }
    for what, (allowed, attempt) in tries.items():
        if allowed:
            attempt()
            continue
        with pytest.raises(HttpOperationError) as error:
            attempt()
        assert error.value.response.status_code == 401
        assert error.value.response.json()["Message"] == ROLE_REFUSAL.format(what)


@ROLES
@pytest.mark.parametrize(
    ("policy", "reads_registry", "writes_registry", "serves"),
    [
        ("iothubowner", True, True, True),
        ("service", False, False, True),
        ("device", False, False, False),
        ("registryRead", True, False, False),
        ("registryReadWrite", True, True, False),
    ],
)
def test_a_policy_allows_what_its_rights_say(
    azure: StandIn, policy: str, reads_registry: bool, writes_registry: bool, serves: bool
) -> None:
    """docs: "Control access to IoT Hub by using shared access signatures", built-in policies."""
    Rest(azure).create("device", certificate())
    rest = Rest(azure, by_policy(azure, policy))
    assert rest.call("GET", "/devices/device").ok is reads_registry
    assert rest.call("GET", "/statistics/devices").ok is reads_registry
    assert rest.call("POST", "/devices", []).ok is writes_registry
    assert rest.call("GET", "/twins/device").ok is serves
    assert rest.query("SELECT * FROM devices").ok is serves
    assert rest.call("GET", "/jobs/v2/query").ok is serves


@pytest.mark.parametrize(
    "header", ["", "SharedAccessSignature sr=x&sig=x&se=9999999999&skn=iothubowner", "Bearer nonsense"]
)
def test_a_request_without_a_good_token_is_401002(target: Target, header: str, device_id: str) -> None:
    """azure-iot-sdk-java, ErrorMessageParser test: "ErrorCode:IotHubUnauthorizedAccess;Unauthorized"."""
    answer = Rest(target).call("GET", f"/devices/{device_id}", Authorization=header)
    assert (answer.status_code, answer.headers["iothub-errorcode"]) == (401, "IotHubUnauthorizedAccess")
    assert answer.json()["Message"] == "ErrorCode:IotHubUnauthorizedAccess;Unauthorized"
    assert answer.json()["ExceptionMessage"].startswith("Tracking ID:")


@QUOTAS
@pytest.mark.parametrize(("with_header", "expected"), [(True, "1"), (False, None)])
def test_a_throttled_call_is_429_with_or_without_retry_after(
    azure: StandIn, with_header: bool, expected: str | None
) -> None:
    """docs: quotas and throttling, 429001; knob service_retry_after, because no source shows the header."""
    azure.control.patch("/knobs", {"service_retry_after": with_header})
    azure.control.patch("/throttles", {"limits": {"iothub/queries": {"amount": 1, "per_s": 1}}})
    rest = Rest(azure)
    assert rest.query("SELECT * FROM devices").status_code == 200
    answer = rest.query("SELECT * FROM devices")
    assert (answer.status_code, answer.headers["iothub-errorcode"]) == (429, "ThrottlingException")
    assert answer.headers.get("Retry-After") == expected


@QUOTAS
def test_the_quota_grows_with_the_units(azure: StandIn) -> None:
    """docs: quotas and throttling: 100 registry operations a minute and unit on S1."""
    azure.control.patch("/throttles", {"hub_tier": "S1", "hub_units": 2})
    rest = Rest(azure)
    begun, passed = time.monotonic(), 0
    while rest.call("GET", "/devices").status_code == 200:
        passed += 1
    refilled = (time.monotonic() - begun) * 200 / 60  # what a slow machine gets on top, by the published rate
    assert 200 <= passed <= 201 + refilled
    azure.control.put("/clock", {"advance_s": 60})
    assert rest.call("GET", "/devices").status_code == 200


@OURS
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/devices/device/modules"),
        ("PUT", "/devices/device/modules/m"),
        ("GET", "/modules/device/m"),
        ("POST", "/jobs/create"),
        ("GET", "/jobs/import-1"),
        ("GET", "/configurations"),
        ("PUT", "/configurations/c"),
        ("DELETE", "/devices/device/commands"),
        ("GET", "/digitaltwins/device"),
    ],
)
def test_what_is_not_emulated_says_so_by_name(azure: StandIn, method: str, path: str) -> None:
    """An operation that nobody built must not look like one that Azure refuses."""
    answer = Rest(azure).call(method, path, {})
    assert answer.status_code == 501
    assert f"{method} {path}" in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"'])
def test_a_body_that_is_no_object_is_refused(target: Target, body: bytes, device_id: str) -> None:
    """ErrorCode.cs: 400004 ArgumentInvalid."""
    rest = Rest(target)
    answer = rest._session.put(f"{rest._url}/devices/{device_id}?api-version=2021-04-12", data=body, timeout=10)
    assert (answer.status_code, answer.headers["iothub-errorcode"]) == (400, "ArgumentInvalid")
