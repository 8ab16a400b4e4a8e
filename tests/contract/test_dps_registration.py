"""A device registers: what it sees, what the service shows of it, and what the hub is asked for."""

import time
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.contract.dps_kit import (
    Credential,
    Device,
    NotingHub,
    add_ca,
    call,
    self_signed,
    service,
    x509_enrollment,
    x509_group,
)
from tests.contract.iothub_parts import Rest
from tests.contract.reasons import ARM, FAULTS, INSIDE, JOURNAL, KNOBS
from tests.contract.target import Target
from tests.standin import StandIn

ONE, TWO = self_signed("dev1"), self_signed("dev1")


@pytest.fixture
def hub(azure: StandIn, monkeypatch: pytest.MonkeyPatch) -> NotingHub:
    """Takes notes in the hub's place; registrations end at once."""
    return NotingHub.in_place_of_the_hub(azure, monkeypatch)


@pytest.fixture(autouse=True)
def quick(target: Target) -> None:
    """Registrations end at once, at the stand-in."""
    target.hurry(assign_delay_s=0)


def enroll(azure: StandIn | Target, *slots: Any, name: str = "dev1", **members: Any) -> dict[str, Any]:
    """Create an enrollment, or replace it."""
    client = service(azure)
    there = call(azure, "GET", f"/enrollments/{name}").ok
    body = x509_enrollment(name, *slots, **members)
    return dict(client.enrollment.create_or_update(name, body, if_match="*" if there else None))


def test_a_register_is_accepted_first_and_assigned_later(
    target: Target, tmp_path: Path, dev1: str, one: Credential
) -> None:
    """azure-docs iot-dps-https-x509-support: 202 with operation ID, Location and Retry-After 3, then 200."""
    target.hurry(assign_delay_s=0.3)
    enroll(target, one, name=dev1)
    device = Device(target, dev1, one, tmp_path)
    accepted = device.start()
    operation = accepted.json()["operationId"]
    assert accepted.json() == {"operationId": operation, "status": "assigning"}
    assert accepted.headers["Retry-After"] == "3"
    assert f"/registrations/{dev1}/operations/{operation}" in accepted.headers["Location"]
    assert device.ask("GET", f"/operations/{operation}").status_code == 202
    time.sleep(max(0.35, target.pace.poll))
    ended = device.ask("GET", f"/operations/{operation}")
    assert (ended.status_code, ended.json()["status"]) == (200, "assigned")
    assert ended.json()["registrationState"]["assignedHub"] == target.endpoints["iothub"]["device_host"]


@INSIDE
def test_the_hub_gets_the_presented_leaf_in_both_slots(azure: StandIn, hub: NotingHub, tmp_path: Path) -> None:
    """azure-iot-sdk-java#253 and #1220, iotedge#2951; the enrollment's other certificate is not written."""
    twin = {"tags": {"site": "a"}, "properties": {"desired": {}}}
    enroll(azure, ONE, TWO, deviceId="Pump-1", initialTwin=twin, capabilities={"iotEdge": True})
    Device(azure, "dev1", ONE, tmp_path).register()
    state = Device(azure, "dev1", TWO, tmp_path).register()
    assert state["deviceId"] == "Pump-1"
    asked = {"device_id": "Pump-1", "policy": "migrate", "initial_twin": twin, "iot_edge": True}
    assert hub.asked == [
        {**asked, "primary": ONE.sha256, "secondary": ONE.sha256},
        {**asked, "primary": TWO.sha256, "secondary": TWO.sha256},
    ]


@KNOBS
def test_the_hub_may_get_the_enrollments_two_certificates(azure: StandIn, hub: NotingHub, tmp_path: Path) -> None:
    """One reply in iotedge#2951 says so, against all other sources. A knob."""
    azure.control.patch("/knobs", {"hub_slots": "enrollment", "mirror_lone_primary": False})
    enroll(azure, ONE, TWO)
    Device(azure, "dev1", TWO, tmp_path).register()
    enroll(azure, ONE)
    Device(azure, "dev1", ONE, tmp_path).register()
    assert [(one["primary"], one["secondary"]) for one in hub.asked] == [
        (ONE.sha256, TWO.sha256),
        (ONE.sha256, ""),
    ]


@INSIDE
@pytest.mark.parametrize(
    ("policy", "meaning"),
    [
        ({"updateHubAssignment": True, "migrateDeviceData": True}, "migrate"),
        ({"updateHubAssignment": True, "migrateDeviceData": False}, "reset"),
        ({"updateHubAssignment": False, "migrateDeviceData": False}, "never"),
        (None, "migrate"),
    ],
)
def test_the_reprovision_policy_reaches_the_hub(
    azure: StandIn, hub: NotingHub, tmp_path: Path, policy: Any, meaning: str
) -> None:
    """azure-docs concepts-device-reprovision; names of the pairs from azure-iot-cli-extension."""
    enroll(azure, ONE, reprovisionPolicy=policy)
    Device(azure, "dev1", ONE, tmp_path).register()
    assert hub.asked[0]["policy"] == meaning


def test_each_registration_moves_the_state_of_the_device(
    target: Target, tmp_path: Path, dev1: str, one: Credential
) -> None:
    """REST: DeviceRegistrationState. The time of creation stays, time of update and etag move."""
    client = service(target)
    enroll(target, one, name=dev1)
    assert client.enrollment.get(dev1)["registrationState"]["status"] == "unassigned"
    Device(target, dev1, one, tmp_path).register()
    first = client.device_registration_state.get(dev1)
    Device(target, dev1, one, tmp_path).register()
    second = client.enrollment.get(dev1)["registrationState"]
    assert (first["substatus"], second["substatus"]) == ("initialAssignment", "deviceDataMigrated")
    assert second["createdDateTimeUtc"] == first["createdDateTimeUtc"]
    assert second["lastUpdatedDateTimeUtc"] > first["lastUpdatedDateTimeUtc"]
    assert second["etag"] != first["etag"]


@pytest.mark.parametrize(
    ("version", "substatus", "members"),
    [("2019-03-31", "initialAssignment", set()), ("2021-10-01", "deviceDataMigrated", {"certificateInfo"})],
)
def test_an_old_device_always_sees_an_initial_assignment(
    target: Target, tmp_path: Path, version: str, substatus: str, members: set[str], dev1: str, one: Credential
) -> None:
    """azure-iot-cli-extension live tests (2019-03-31); azure-rest-api-specs examples of 2021-10-01 for
    `x509`.
    """
    enroll(target, one, name=dev1)
    Device(target, dev1, one, tmp_path, version).register()
    state = Device(target, dev1, one, tmp_path, version).register()
    assert (state["substatus"], set(state["x509"])) == (substatus, members)
    assert service(target).device_registration_state.get(dev1)["substatus"] == "deviceDataMigrated"


def test_a_disabled_enrollment_ends_in_disabled_not_in_a_refusal(
    target: Target, tmp_path: Path, dev1: str, one: Credential
) -> None:
    """azure-iot-cli-extension live tests: accepted, then 200 with status "disabled", and a record of it."""
    enroll(target, one, provisioningStatus="disabled", name=dev1)
    assert Device(target, dev1, one, tmp_path).register()["status"] == "disabled"
    assert service(target).device_registration_state.get(dev1)["status"] == "disabled"
    assert Rest(target).call("GET", f"/devices/{dev1}").status_code == 404


@FAULTS
def test_a_hub_that_refuses_ends_in_failed(azure: StandIn, hub: NotingHub, tmp_path: Path) -> None:
    """azure-iot-sdk-c#2404: the message nests the hub's error. A next try may succeed."""
    enroll(azure, ONE)
    azure.control.post("/faults", {"kind": "status", "operation": "AssignToHub", "status": 401})
    state = Device(azure, "dev1", ONE, tmp_path).register()
    assert (state["status"], state["errorCode"] // 1000) == ("failed", 401)
    assert "IoT Hub" in state["errorMessage"]
    assert Device(azure, "dev1", ONE, tmp_path).register()["status"] == "assigned"


@INSIDE
def test_a_hub_that_is_not_linked_ends_in_failed(azure: StandIn, hub: NotingHub, tmp_path: Path) -> None:
    """azure-iot-cli-extension live tests: no linked hub, status "failed"."""
    enroll(azure, ONE, allocationPolicy="static", iotHubs=["other.azure-devices.net"])
    assert Device(azure, "dev1", ONE, tmp_path).register()["status"] == "failed"
    enroll(azure, ONE, allocationPolicy="static", iotHubs=[hub.host_name])
    assert Device(azure, "dev1", ONE, tmp_path).register()["status"] == "assigned"


def test_deleting_a_registration_leaves_the_hub_alone(
    target: Target, tmp_path: Path, dev1: str, one: Credential
) -> None:
    """azure-docs how-to-unprovision-devices; a later register makes a new record."""
    client = service(target)
    enroll(target, one, name=dev1)
    Device(target, dev1, one, tmp_path).register()
    with pytest.raises(HttpResponseError) as refused:
        client.device_registration_state.delete(dev1, if_match="IjAwIg==")
    assert refused.value.status_code == 412
    client.device_registration_state.delete(dev1)
    with pytest.raises(ResourceNotFoundError):
        client.device_registration_state.get(dev1)
    assert Rest(target).call("GET", f"/devices/{dev1}").status_code == 200
    Device(target, dev1, one, tmp_path).register()
    assert client.device_registration_state.get(dev1)["status"] == "assigned"


def test_enrollment_edits_never_touch_the_hub(
    target: Target, tmp_path: Path, dev1: str, one: Credential, two: Credential
) -> None:
    """azure-docs how-to-revoke-device-access-portal, how-to-roll-certificates."""
    enroll(target, one, name=dev1)
    Device(target, dev1, one, tmp_path).register()
    before = Rest(target).call("GET", f"/devices/{dev1}").json()
    enroll(target, two, name=dev1)
    enroll(target, two, provisioningStatus="disabled", name=dev1)
    service(target).enrollment.delete(dev1)
    assert Rest(target).call("GET", f"/devices/{dev1}").json() == before


def test_deleting_an_enrollment_takes_its_registration_along(
    target: Target, tmp_path: Path, dev1: str, one: Credential
) -> None:
    """A guess; no source says that it stays."""
    enroll(target, one, name=dev1)
    Device(target, dev1, one, tmp_path).register()
    service(target).enrollment.delete(dev1)
    with pytest.raises(ResourceNotFoundError):
        service(target).device_registration_state.get(dev1)


@ARM
def test_deleting_a_group_takes_its_registrations_along(azure: StandIn, hub: NotingHub, tmp_path: Path) -> None:
    """A guess; no source says that they stay."""
    root = self_signed("Root", ca=True)
    add_ca(azure, "root", root)
    service(azure).enrollment_group.create_or_update("g1", x509_group("g1", root))
    Device(azure, "dev1", root.issue("dev1"), tmp_path).register()
    service(azure).enrollment_group.delete("g1")
    with pytest.raises(ResourceNotFoundError):
        service(azure).device_registration_state.get("dev1")


@ARM
def test_a_group_lists_the_registrations_that_went_through_it(azure: StandIn, hub: NotingHub, tmp_path: Path) -> None:
    """REST: Device Registration State - Query; there is no such list for individual enrollments."""
    root = self_signed("Root", ca=True)
    add_ca(azure, "root", root)
    client = service(azure)
    client.enrollment_group.create_or_update("g1", x509_group("g1", root))
    enroll(azure, ONE)
    Device(azure, "dev1", ONE, tmp_path).register()
    for name in ("a", "b", "c"):
        Device(azure, name, root.issue(name), tmp_path).register()
    found = [one["registrationId"] for one in client.device_registration_state.query("G1", top=2)]
    assert sorted(found) == ["a", "b", "c"]
    with pytest.raises(ResourceNotFoundError):
        list(client.device_registration_state.query("g2"))


@JOURNAL
def test_the_journal_tells_of_each_registration(azure: StandIn, hub: NotingHub, tmp_path: Path) -> None:
    """No fact about Azure: tests and reports see here which leaf registered."""
    enroll(azure, ONE)
    Device(azure, "dev1", ONE, tmp_path).register()
    (entry,) = azure.control.get("/journal?kind=registration")
    assert (entry["registration_id"], entry["status"], entry["sha256"]) == ("dev1", "assigned", ONE.sha256)
    assert entry["hub"] == hub.host_name


@KNOBS
@pytest.mark.parametrize(("stops", "written"), [(False, 1), (True, 0)])
def test_a_registration_under_way_ends_at_the_hub_though_its_entry_was_disabled(
    azure: StandIn, hub: NotingHub, tmp_path: Path, stops: bool, written: int
) -> None:
    """A guess on the careful side: the entry is judged at register, so a breach must look again afterwards. A knob."""
    azure.control.patch("/knobs", {"assign_delay_s": 0.3, "disabling_stops_registration": stops})
    enroll(azure, ONE)
    Device(azure, "dev1", ONE, tmp_path).start()
    enroll(azure, ONE, provisioningStatus="disabled")
    assert hub.asked == []
    time.sleep(0.4)
    assert len(hub.asked) == written
    assert service(azure).device_registration_state.get("dev1")["status"] == ("disabled" if stops else "assigned")
