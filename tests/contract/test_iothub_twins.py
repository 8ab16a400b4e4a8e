"""Device twins: tags and properties, from both sides."""

import queue
from pathlib import Path
from typing import Any

import pytest
from azure.iot.device.exceptions import ClientError
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import Twin, TwinProperties
from msrest.exceptions import HttpOperationError

from tests.contract.iothub_parts import Rest, certificate, device_client, registry_manager, until
from tests.contract.reasons import QUOTAS
from tests.contract.target import Target
from tests.standin import StandIn


@pytest.fixture
def rest(target: Target, device_id: str) -> Rest:
    return Rest(target, about=device_id)


def patch(rest: Rest, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = rest.call("PATCH", f"/twins/{rest.about}", body, **headers)
    assert answer.status_code == 200, answer.text
    twin: dict[str, Any] = answer.json()
    return twin


def test_a_new_twin_is_empty_and_at_version_1(rest: Rest, device_id: str) -> None:
    """docs: "Understand and use device twins", twin format; the ETag as in its sample."""
    rest.create(device_id, certificate())
    twin = rest.call("GET", f"/twins/{device_id}").json()
    assert (twin["etag"], twin["version"], twin["tags"]) == ("AAAAAAAAAAE=", 1, {})
    assert twin["properties"]["desired"]["$version"] == twin["properties"]["reported"]["$version"] == 1


def test_a_twin_shows_the_identity_read_only(rest: Rest, device_id: str) -> None:
    """azure-iot-sdk-java#253 shows x509Thumbprint in a twin."""
    identity = rest.create(device_id, certificate())
    twin = rest.call("GET", f"/twins/{device_id}").json()
    assert twin["x509Thumbprint"] == identity["authentication"]["x509Thumbprint"]
    assert (twin["authenticationType"], twin["deviceEtag"]) == ("selfSigned", identity["etag"])


def test_a_patch_merges_and_null_removes(target: Target, rest: Rest, device_id: str) -> None:
    """docs: "Understand and use device twins", partial update; azure-iot-hub `update_twin`."""
    rest.create(device_id, certificate())
    registry: IoTHubRegistryManager = registry_manager(target)
    registry.update_twin(device_id, Twin(tags={"site": {"floor": 1, "room": "a"}, "batch": 7}))
    twin = registry.update_twin(device_id, Twin(tags={"site": {"room": None}, "batch": None}))
    assert twin.tags == {"site": {"floor": 1}}


def test_metadata_follows_every_property(rest: Rest, device_id: str) -> None:
    """docs: "Understand and use device twins", metadata and versions."""
    rest.create(device_id, certificate())
    first = patch(rest, {"properties": {"desired": {"a": {"x": 1}, "b": 1}}})["properties"]["desired"]
    second = patch(rest, {"properties": {"desired": {"a": {"y": 2}, "b": None}}})["properties"]["desired"]
    assert (first["$version"], second["$version"]) == (2, 3)
    old, new = first["$metadata"], second["$metadata"]
    assert set(new) == {"$lastUpdated", "a"}
    assert new["a"]["x"] == old["a"]["x"]
    assert new["a"]["y"]["$lastUpdated"] == new["$lastUpdated"] > old["$lastUpdated"]


def test_a_replacement_leaves_nothing_of_the_former_twin(target: Target, rest: Rest, device_id: str) -> None:
    """docs: "Understand and use device twins", replace; azure-iot-hub `replace_twin`."""
    rest.create(device_id, certificate())
    patch(rest, {"tags": {"a": 1, "b": 1}, "properties": {"desired": {"c": 1}}})
    replacement = Twin(tags={"b": 2}, properties=TwinProperties(desired={"d": 1}))
    twin = registry_manager(target).replace_twin(device_id, replacement)
    assert twin.tags == {"b": 2}
    assert {name for name in twin.properties.desired if not name.startswith("$")} == {"d"}


def test_an_update_with_a_stale_etag_is_refused(target: Target, rest: Rest, device_id: str) -> None:
    """REST: Update Twin, If-Match is optional."""
    rest.create(device_id, certificate())
    registry = registry_manager(target)
    etag = registry.get_twin(device_id).etag
    assert registry.update_twin(device_id, Twin(tags={"a": 1}), etag).etag != etag
    with pytest.raises(HttpOperationError) as error:
        registry.update_twin(device_id, Twin(tags={"a": 2}), etag)
    assert error.value.response.headers["iothub-errorcode"] == "PreconditionFailed"


def test_deleting_a_device_loses_its_twin(rest: Rest, device_id: str) -> None:
    """docs: twins are created and deleted with their device identity."""
    rest.create(device_id, certificate())
    patch(rest, {"tags": {"site": "x"}})
    rest.call("DELETE", f"/devices/{device_id}", If_Match="*")
    assert rest.call("GET", f"/twins/{device_id}").headers["iothub-errorcode"] == "DeviceNotFound"
    rest.create(device_id, certificate())
    assert rest.call("GET", f"/twins/{device_id}").json()["tags"] == {}


def test_a_section_has_its_largest_size(rest: Rest, device_id: str) -> None:
    """docs: "Understand and use device twins": tags 8 KB, properties 32 KB each."""
    rest.create(device_id, certificate())
    assert rest.call("PATCH", f"/twins/{device_id}", {"tags": {"a": "x" * 8192}}).status_code == 400
    assert rest.call("PATCH", f"/twins/{device_id}", {"properties": {"desired": {"a": "x" * 8192}}}).status_code == 200


def test_a_section_that_is_no_object_is_refused(rest: Rest, device_id: str) -> None:
    """REST: Update Twin."""
    rest.create(device_id, certificate())
    assert rest.call("PATCH", f"/twins/{device_id}", {"tags": [1]}).headers["iothub-errorcode"] == "ArgumentInvalid"


def test_device_and_service_see_each_others_properties(
    target: Target, rest: Rest, tmp_path: Path, device_id: str
) -> None:
    """docs: "Communicate with an IoT hub using the MQTT protocol", twin topics; with azure-iot-device."""
    made = certificate()
    rest.create(device_id, made)
    patch(rest, {"tags": {"secret": 1}, "properties": {"desired": {"rate": 1}}})
    client = device_client(target, device_id, made, tmp_path)
    try:
        client.connect()
        assert client.get_twin() == {"desired": {"rate": 1, "$version": 2}, "reported": {"$version": 1}}

        heard: queue.Queue[Any] = queue.Queue()
        client.on_twin_desired_properties_patch_received = heard.put
        patch(rest, {"properties": {"desired": {"rate": 2, "gone": None}}})
        assert heard.get(timeout=5) == {"rate": 2, "gone": None, "$version": 3}  # the patch, nulls and all

        before = rest.call("GET", f"/twins/{device_id}").json()
        client.patch_twin_reported_properties({"certificate": {"slot": "b"}})
        twin = until(lambda: after if (after := rest.call("GET", f"/twins/{device_id}").json()) != before else None)
        assert twin["properties"]["reported"]["certificate"] == {"slot": "b"}
        assert twin["version"] == before["version"] + 1
    finally:
        client.shutdown()


@QUOTAS
def test_a_throttled_device_learns_it_by_429(azure: StandIn, rest: Rest, tmp_path: Path, device_id: str) -> None:
    """docs: "Communicate with an IoT hub using the MQTT protocol", status of twin requests; S1: 100 reads a second."""
    made = certificate()
    rest.create(device_id, made)
    azure.control.patch("/throttles", {"limits": {"iothub/twin_reads": {"amount": 1, "per_s": 3600}}})
    client = device_client(azure, device_id, made, tmp_path)
    try:
        client.connect()
        client.get_twin()
        with pytest.raises(ClientError) as error:
            client.get_twin()
        assert "429" in str(error.value.__cause__)
    finally:
        client.shutdown()
