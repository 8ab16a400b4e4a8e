"""Device identities: what the registry keeps, and what a rewrite loses."""

import pytest
from azure.iot.hub import IoTHubRegistryManager
from msrest.exceptions import HttpOperationError

from local.azure.x509 import sha1_thumbprint, sha256_thumbprint
from tests.contract.iothub_parts import Rest, certificate
from tests.contract.reasons import ALONE, OURS
from tests.contract.target import Target

A, B = "A" * 64, "b" * 40


@pytest.fixture
def registry(target: Target) -> IoTHubRegistryManager:
    return target.registry()


@pytest.fixture
def rest(target: Target) -> Rest:
    return Rest(target)


def refused(error: pytest.ExceptionInfo[HttpOperationError]) -> tuple[int, str]:
    response = error.value.response
    return response.status_code, response.headers["iothub-errorcode"]


def test_an_identity_comes_back_as_it_was_created(registry: IoTHubRegistryManager, device_id: str) -> None:
    """Thumbprints of both lengths are taken and shown in upper case (azure-iot-sdk-java#253, azure-docs#105553)."""
    created = registry.create_device_with_x509(device_id, A, B, "enabled")
    found = registry.get_device(device_id)
    assert found.authentication.type == "selfSigned"
    slots = found.authentication.x509_thumbprint
    assert (slots.primary_thumbprint, slots.secondary_thumbprint) == (A, B.upper())
    assert (found.status, found.connection_state) == ("enabled", "Disconnected")
    assert found.etag == created.etag


def test_the_secondary_slot_may_stay_empty(registry: IoTHubRegistryManager, device_id: str) -> None:
    """iotedge#3775."""
    created = registry.create_device_with_x509(device_id, A, None, "enabled")
    assert created.authentication.x509_thumbprint.secondary_thumbprint is None


@pytest.mark.parametrize("wrong", ["", "AB", "G" * 40, "A" * 63, "AA:" * 20])
def test_a_thumbprint_of_another_form_is_refused(registry: IoTHubRegistryManager, wrong: str, device_id: str) -> None:
    """azure-iot-sdk-java#253: "Invalid format for primary/secondary thumbprint"."""
    with pytest.raises(HttpOperationError) as error:
        registry.create_device_with_x509(device_id, wrong, None, "enabled")
    assert refused(error) == (400, "ArgumentInvalid")


@pytest.mark.parametrize("device_id", ["a" * 129, "white space", "sla/sh", "umlaut-ä"])
def test_a_device_id_of_other_characters_is_refused(rest: Rest, device_id: str) -> None:
    """docs: "Understand the identity registry", device identity properties."""
    quoted = device_id.replace("/", "%2F")
    assert rest.call("PUT", f"/devices/{quoted}", {"deviceId": device_id}).status_code == 400


@ALONE
@pytest.mark.parametrize("device_id", ["a" * 128, "A-.%25_*?!(),:=@$'", "device", "DEVICE"])
def test_a_device_id_of_all_allowed_characters_is_taken(rest: Rest, device_id: str) -> None:
    """docs: "Understand the identity registry", device identity properties."""
    created = rest.call("PUT", f"/devices/{device_id.replace('?', '%3F')}", {})
    assert created.json()["deviceId"] == device_id.replace("%25", "%")


def test_device_ids_are_case_sensitive(rest: Rest, device_id: str) -> None:
    """docs: "Understand the identity registry"; registration IDs of DPS are not."""
    rest.create(device_id, certificate())
    assert rest.call("GET", f"/devices/{device_id.upper()}").status_code == 404


def test_creating_what_exists_is_a_conflict(registry: IoTHubRegistryManager, device_id: str) -> None:
    """azure-iot-sdk-csharp ErrorCode.cs: 409001 DeviceAlreadyExists."""
    registry.create_device_with_x509(device_id, A, A, "enabled")
    with pytest.raises(HttpOperationError) as error:
        registry.create_device_with_x509(device_id, A, A, "enabled")
    assert refused(error) == (409, "DeviceAlreadyExists")


def test_an_update_with_the_etag_that_was_read_is_taken_once(registry: IoTHubRegistryManager, device_id: str) -> None:
    """REST: Create Or Update Identity; 412001 PreconditionFailed. The client puts quotes around the ETag."""
    etag = registry.create_device_with_x509(device_id, A, A, "enabled").etag
    updated = registry.update_device_with_x509(device_id, etag, A, B, "enabled")
    assert updated.etag != etag
    with pytest.raises(HttpOperationError) as error:
        registry.update_device_with_x509(device_id, etag, B, B, "enabled")
    assert refused(error) == (412, "PreconditionFailed")


@pytest.mark.parametrize("star", ["*", '"*"'])
def test_an_update_with_a_star_asks_for_no_etag(rest: Rest, star: str, device_id: str) -> None:
    """az sends `"*"` to the hub, as does azure-iot-hub with etag=None (`_ensure_quoted`)."""
    body = rest.create(device_id, certificate())
    assert rest.call("PUT", f"/devices/{device_id}", body, If_Match=star).status_code == 200


def test_an_update_of_what_does_not_exist_is_not_found(registry: IoTHubRegistryManager, device_id: str) -> None:
    """azure-iot-sdk-csharp ErrorCode.cs: 404001 DeviceNotFound."""
    with pytest.raises(HttpOperationError) as error:
        registry.update_device_with_x509(device_id, None, A, A, "enabled")
    assert refused(error) == (404, "DeviceNotFound")


def test_a_rewrite_loses_what_it_does_not_repeat(registry: IoTHubRegistryManager, device_id: str) -> None:
    """`update_device_with_x509` sends iotEdge false unless told otherwise, and leaves out reason and scopes."""
    created = registry.create_device_with_x509(
        device_id, A, A, "disabled", iot_edge=True, status_reason="stolen", device_scope="ms-azure-iot-edge://x"
    )
    assert (created.capabilities.iot_edge, created.status_reason) == (True, "stolen")
    updated = registry.update_device_with_x509(device_id, created.etag, A, B, "disabled")
    assert (updated.capabilities.iot_edge, updated.status_reason, updated.device_scope) == (False, None, None)
    assert updated.generation_id == created.generation_id


def test_a_recreated_device_has_another_generation(registry: IoTHubRegistryManager, device_id: str) -> None:
    """docs: "Understand the identity registry", generationId."""
    first = registry.create_device_with_x509(device_id, A, A, "enabled")
    registry.delete_device(device_id)
    assert registry.create_device_with_x509(device_id, A, A, "enabled").generation_id != first.generation_id


def test_a_deletion_with_a_stale_etag_is_refused(registry: IoTHubRegistryManager, device_id: str) -> None:
    """REST: Delete Identity, If-Match."""
    old = registry.create_device_with_x509(device_id, A, A, "enabled").etag
    registry.update_device_with_x509(device_id, old, A, B, "enabled")
    with pytest.raises(HttpOperationError) as error:
        registry.delete_device(device_id, old)
    assert refused(error) == (412, "PreconditionFailed")


def test_a_deletion_without_an_etag_is_refused(rest: Rest, device_id: str) -> None:
    """REST: Delete Identity needs the header If-Match."""
    rest.create(device_id, certificate())
    assert rest.call("DELETE", f"/devices/{device_id}").headers["iothub-errorcode"] == "ArgumentNull"


@ALONE
def test_a_list_is_cut_at_the_wanted_length(registry: IoTHubRegistryManager) -> None:
    """REST: Get Devices, `top`, at most 1000 and no paging."""
    for number in range(3):
        registry.create_device_with_x509(f"device-{number}", A, A, "enabled")
    assert len(registry.get_devices(2)) == 2
    with pytest.raises(HttpOperationError):
        registry.get_devices(1001)


@ALONE
def test_the_statistics_count_devices(registry: IoTHubRegistryManager) -> None:
    """REST: Statistics - Get Device Statistics, Get Service Statistics."""
    registry.create_device_with_x509("on", A, A, "enabled")
    registry.create_device_with_x509("off", A, A, "disabled")
    counts = registry.get_device_registry_statistics()
    assert (counts.total_device_count, counts.enabled_device_count, counts.disabled_device_count) == (2, 1, 1)
    assert registry.get_service_statistics().connected_device_count == 0


def test_a_sas_identity_gets_keys_and_no_thumbprints(rest: Rest, device_id: str) -> None:
    """REST: an identity without authentication is of type sas, with keys made by the hub."""
    authentication = rest.call("PUT", f"/devices/{device_id}", {"deviceId": device_id}).json()["authentication"]
    assert authentication["type"] == "sas"
    assert all(authentication["symmetricKey"].values())
    assert not any(authentication["x509Thumbprint"].values())


def test_an_identity_says_when_its_status_changed(rest: Rest, device_id: str) -> None:
    """REST: Device, statusUpdatedTime; a year 1 stands for never."""
    body = rest.create(device_id, certificate())
    assert body["statusUpdatedTime"].startswith("0001-01-01")
    disabled = rest.call("PUT", f"/devices/{device_id}", body | {"status": "disabled"}, If_Match="*").json()
    assert not disabled["statusUpdatedTime"].startswith("0001-01-01")


@OURS
def test_both_hashes_of_one_certificate_are_told_apart_by_length() -> None:
    """azure-docs#105553: the portals of DPS and hub show different hashes of the same certificate."""
    der = certificate().der
    assert (len(sha1_thumbprint(der)), len(sha256_thumbprint(der))) == (40, 64)
