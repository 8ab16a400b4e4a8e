"""Cloud-to-device messages that wait for a device, as the identity and its twin count them; they are not delivered."""

from typing import Any

import pytest
from azure.iot.hub import IoTHubRegistryManager

from tests.contract.iothub_parts import Rest, certificate, registry_manager
from tests.contract.reasons import CONTROL
from tests.standin import StandIn

pytestmark = CONTROL

A, B = "A" * 64, "B" * 64


@pytest.fixture
def registry(azure: StandIn) -> IoTHubRegistryManager:
    """The service client, with a device that there is."""
    registry = registry_manager(azure)
    registry.create_device_with_x509("device", A, A, "enabled")
    return registry


def queue(azure: StandIn, count: Any, device_id: str = "device") -> Any:
    return azure.control.post("/queued-messages", {"device_id": device_id, "count": count})


def counted(registry: IoTHubRegistryManager) -> tuple[int, int, int]:
    """By the identity, by its twin and by a query."""
    queried = registry.query_iot_hub({"query": "SELECT * FROM devices"}).items[0]
    return (
        registry.get_device("device").cloud_to_device_message_count,
        registry.get_twin("device").cloud_to_device_message_count,
        queried.cloud_to_device_message_count,
    )


def test_messages_that_wait_are_counted_by_identity_and_twin(azure: StandIn, registry: IoTHubRegistryManager) -> None:
    """azure-iot-hub, models.Device: cloud-to-device messages currently queued to be sent to the device."""
    assert counted(registry) == (0, 0, 0)
    assert queue(azure, 3) == {"device_id": "device", "queued": 3}
    assert queue(azure, 2)["queued"] == 5
    assert counted(registry) == (5, 5, 5)


def test_a_queue_holds_fifty_messages_and_takes_none_of_too_many(
    azure: StandIn, registry: IoTHubRegistryManager
) -> None:
    """docs: "Understand cloud-to-device messaging"; 403004 DeviceMaximumQueueDepthExceeded to who sends one."""
    queue(azure, 48)
    with pytest.raises(AssertionError, match=r"400.*holds 1 to 50 messages, not 51"):
        queue(azure, 3)
    assert counted(registry) == (48, 48, 48)
    assert queue(azure, 2)["queued"] == 50


@pytest.mark.parametrize("count", [0, -1, 1.5, "1", True, None])
def test_only_a_number_of_messages_can_be_queued(azure: StandIn, registry: IoTHubRegistryManager, count: Any) -> None:
    with pytest.raises(AssertionError, match="400"):
        queue(azure, count)
    assert counted(registry) == (0, 0, 0)


def test_nothing_waits_for_a_device_that_there_is_not(azure: StandIn, registry: IoTHubRegistryManager) -> None:
    with pytest.raises(AssertionError, match=r"400.*Device"):
        queue(azure, 1, "Device")


def test_messages_are_lost_with_the_identity(azure: StandIn, registry: IoTHubRegistryManager) -> None:
    """Assumed. docs, "Understand the identity registry": the queue is made with the entry; "Understand cloud-to-device
    messaging" says only of feedback that it is deleted with the device."""
    queue(azure, 5)
    registry.delete_device("device")
    registry.create_device_with_x509("device", A, A, "enabled")
    assert counted(registry) == (0, 0, 0)


CHANGES = {
    "is disabled": (A, A, "disabled"),
    "gets another thumbprint": (B, A, "enabled"),
    "gets two other thumbprints": (B, B, "enabled"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_messages_wait_on_when_the_identity(
    azure: StandIn, registry: IoTHubRegistryManager, change: tuple[str, str, str]
) -> None:
    """Assumed: a message ends by completion, rejection or its time to live (docs: the message life cycle)."""
    queue(azure, 5)
    registry.update_device_with_x509("device", None, *change)
    assert counted(registry) == (5, 5, 5)


def test_messages_wait_on_when_the_device_registers_again(azure: StandIn, registry: IoTHubRegistryManager) -> None:
    """Assumed, under every reprovision policy: a registration writes the identity, it does not make another one."""
    queue(azure, 5)
    for policy in ("migrate", "reset", "never"):
        azure.world.hub.provision_x509(
            "device", primary=B, secondary=B, policy=policy, initial_twin=None, iot_edge=False
        )
        assert counted(registry) == (5, 5, 5)


def test_a_client_cannot_write_the_count(azure: StandIn, registry: IoTHubRegistryManager) -> None:
    """Assumed, as docs ("Understand the identity registry") say of every other state that the hub itself keeps."""
    rest = Rest(azure)
    body = rest.create("other", certificate(), cloudToDeviceMessageCount=7)
    assert body["cloudToDeviceMessageCount"] == 0
    changed = rest.call("PUT", "/devices/other", body | {"cloudToDeviceMessageCount": 7}, If_Match=body["etag"])
    assert changed.json()["cloudToDeviceMessageCount"] == 0


def test_a_queued_message_changes_neither_etag(azure: StandIn, registry: IoTHubRegistryManager) -> None:
    """The count is no part of what a client writes: an update that was prepared before is still taken."""
    before, twin = registry.get_device("device"), registry.get_twin("device")
    queue(azure, 1)
    assert registry.get_twin("device").etag == twin.etag
    assert registry.update_device_with_x509("device", before.etag, B, B, "enabled").cloud_to_device_message_count == 1


def test_nothing_waits_after_a_reset(azure: StandIn, registry: IoTHubRegistryManager) -> None:
    queue(azure, 5)
    azure.control.post("/reset")
    registry.create_device_with_x509("device", A, A, "enabled")
    assert counted(registry) == (0, 0, 0)
