"""Bulk registry calls: up to a hundred devices, some of which may fail."""

from typing import Any

import pytest
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import AuthenticationMechanism, ExportImportDevice, X509Thumbprint

from tests.contract.iothub_parts import Rest, certificate, registry_manager
from tests.contract.reasons import MANY, QUOTAS
from tests.contract.target import Target
from tests.standin import StandIn

AUTHENTICATION = {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": "A" * 64}}


@pytest.fixture
def rest(target: Target) -> Rest:
    return Rest(target)


def item(device_id: str, mode: str, **more: Any) -> dict[str, Any]:
    return {"id": device_id, "importMode": mode, "status": "enabled", "authentication": AUTHENTICATION, **more}


def failures(answer: Any) -> list[tuple[str, str]]:
    return [(error["deviceId"], error["errorCode"]) for error in answer.json()["errors"]]


@MANY
def test_the_real_client_creates_devices_in_bulk(azure: StandIn) -> None:
    """azure-iot-hub 2.7.0, `bulk_create_or_update_devices`."""
    registry: IoTHubRegistryManager = registry_manager(azure)
    authentication = AuthenticationMechanism(
        type="selfSigned", x509_thumbprint=X509Thumbprint(primary_thumbprint="A" * 40, secondary_thumbprint="B" * 40)
    )
    devices = [
        ExportImportDevice(id=f"device-{number}", import_mode="create", status="enabled", authentication=authentication)
        for number in range(100)
    ]
    assert registry.bulk_create_or_update_devices(devices).is_successful is True
    assert registry.get_device_registry_statistics().total_device_count == 100


def test_one_bad_device_makes_the_answer_400_and_stops_no_other(target: Target, rest: Rest) -> None:
    """REST: Update Registry answers 400 with the body of a success; azure-iot-hub takes both."""
    old, new = target.device_id("old"), target.device_id("new")
    rest.create(old, certificate())
    answer = rest.call("POST", "/devices", [item(old, "create"), item(new, "create")])
    assert answer.status_code == 400
    assert answer.json()["isSuccessful"] is False
    assert failures(answer) == [(old, "DeviceAlreadyExists")]
    assert rest.call("GET", f"/devices/{new}").status_code == 200


@MANY
def test_more_than_a_hundred_devices_are_refused_as_a_whole(rest: Rest) -> None:
    """docs: at most 100 devices in a bulk call; ErrorCode.cs: 413002 TooManyDevices."""
    answer = rest.call("POST", "/devices", [item(f"device-{number}", "create") for number in range(101)])
    assert (answer.status_code, answer.headers["iothub-errorcode"]) == (400, "TooManyDevices")
    assert rest.call("GET", "/statistics/devices").json()["totalDeviceCount"] == 0


def test_a_device_may_appear_once_in_a_call(rest: Rest, device_id: str) -> None:
    """ErrorCode.cs: 400011 DeviceDefinedMultipleTimes."""
    answer = rest.call("POST", "/devices", [item(device_id, "create"), item(device_id, "update")])
    assert failures(answer) == [(device_id, "DeviceDefinedMultipleTimes")] * 2


@pytest.mark.parametrize(
    ("mode", "error"),
    [("update", "DeviceNotFound"), ("delete", "DeviceNotFound"), ("create", None), ("createOrUpdate", None)],
)
def test_a_mode_says_whether_the_device_must_exist(rest: Rest, mode: str, error: str | None, device_id: str) -> None:
    """docs: "Import and export IoT Hub device identities in bulk", import modes."""
    answer = rest.call("POST", "/devices", [item(device_id, mode)])
    assert failures(answer) == ([(device_id, error)] if error else [])


@pytest.mark.parametrize("mode", ["updateIfMatchETag", "createOrUpdateIfMatchETag", "deleteIfMatchETag"])
def test_an_etag_guards_against_lost_updates(rest: Rest, mode: str, device_id: str) -> None:
    """docs: import modes with IfMatchETag compare the item's eTag."""
    etag = rest.create(device_id, certificate())["etag"]
    answer = rest.call("POST", "/devices", [item(device_id, mode, eTag="stale")])
    assert failures(answer) == [(device_id, "PreconditionFailed")]
    assert rest.call("POST", "/devices", [item(device_id, mode, eTag=etag)]).status_code == 200


def test_a_twin_can_be_written_in_bulk(rest: Rest, device_id: str) -> None:
    """docs: import mode updateTwin; a create takes tags as well."""
    answer = rest.call("POST", "/devices", [item(device_id, "create", tags={"site": "x"})])
    assert answer.status_code == 200
    etag = rest.call("GET", f"/twins/{device_id}").json()["etag"]
    desired = {"properties": {"desired": {"rate": 5}}}
    update = item(device_id, "updateTwinIfMatchETag", twinETag=etag, **desired)
    assert rest.call("POST", "/devices", [update]).status_code == 200
    twin = rest.call("GET", f"/twins/{device_id}").json()
    assert (twin["tags"], twin["properties"]["desired"]["rate"]) == ({"site": "x"}, 5)
    assert failures(rest.call("POST", "/devices", [update])) == [(device_id, "PreconditionFailed")]


def test_what_is_not_understood_is_named(target: Target, rest: Rest) -> None:
    """REST: Update Registry; modules are not emulated."""
    a, b, c = (target.device_id(name) for name in "abc")
    bad = [item(a, "replace"), item(b, "create", moduleId="m"), item(c, "create", status="asleep")]
    answer = rest.call("POST", "/devices", bad)
    assert failures(answer) == [(name, "ArgumentInvalid") for name in (a, b, c)]
    assert rest.call("POST", "/devices", {"id": "a"}).headers["iothub-errorcode"] == "ArgumentInvalid"


@QUOTAS
def test_every_device_of_a_call_counts_against_the_quota(azure: StandIn, rest: Rest) -> None:
    """docs: quotas and throttling; on S1 one full bulk call a minute and unit."""
    azure.control.patch("/throttles", {"hub_tier": "S1"})
    full = [item(f"device-{number}", "create") for number in range(100)]
    assert rest.call("POST", "/devices", full).status_code == 200
    assert rest.call("GET", "/devices/device-0").status_code == 429
