"""The identity registry: devices one by one."""

from collections.abc import Callable

from local.azure.clock import Clock, iso
from local.azure.iothub.etags import require_match
from local.azure.iothub.identities import new_identity, rewritten
from local.azure.iothub.refusals import ArgumentInvalid, ArgumentNull, DeviceAlreadyExists
from local.azure.iothub.store import Device, Json, Store
from local.azure.iothub.twins import new_twin

LARGEST_LIST = 1000
LONGEST_QUEUE = 50  # messages to a device (docs: "Understand cloud-to-device messaging")


class Registry:
    """Reads and writes identities; tells `changed(device_id)` after each write."""

    def __init__(self, store: Store, clock: Clock, changed: Callable[[str], None]) -> None:
        self._store = store
        self._clock = clock
        self._changed = changed

    def get(self, device_id: str) -> Json:
        """The identity; DeviceNotFound without it."""
        return self._store.get(device_id).identity

    def list(self, top: int) -> list[Json]:
        """Up to `top` identities (REST: 1000 at most, no paging)."""
        if not 1 <= top <= LARGEST_LIST:
            raise ArgumentInvalid(f"top is between 1 and {LARGEST_LIST}.")
        return [device.identity for device in list(self._store.devices.values())[:top]]

    def put(self, device_id: str, body: Json, if_match: str | None) -> Json:
        """Create without If-Match, rewrite with it (REST: Devices - Create Or Update Identity)."""
        if body.get("deviceId", device_id) != device_id:
            raise ArgumentInvalid("The device ID of the body is not that of the path.")
        return self.create(device_id, body) if if_match is None else self.rewrite(device_id, body, if_match)

    def create(self, device_id: str, body: Json, twin: Json | None = None) -> Json:
        """A new identity, with `twin` (tags, properties.desired); DeviceAlreadyExists when there is one."""
        if device_id in self._store.devices:
            raise DeviceAlreadyExists(device_id)
        device = Device(new_identity(device_id, body))
        new_twin(device, twin or {}, iso(self._clock.now()))
        self._store.changing(device_id)
        self._store.devices[device_id] = device
        self._changed(device_id)
        return device.identity

    def rewrite(self, device_id: str, body: Json, if_match: str | None = None) -> Json:
        """Replace what a client may set; DeviceNotFound, PreconditionFailed."""
        device = self._store.get(device_id)
        require_match(if_match, device.identity["etag"])
        after = rewritten(device.identity, body, now=iso(self._clock.now()))
        self._store.changing(device_id)
        device.identity = after
        self._changed(device_id)
        return after

    def delete(self, device_id: str, if_match: str | None) -> None:
        """Remove identity and twin. REST: the header If-Match is required."""
        device = self._store.get(device_id)
        if if_match is None:
            raise ArgumentNull("The header If-Match is missing.")
        require_match(if_match, device.identity["etag"])
        self._store.changing(device_id)
        del self._store.devices[device_id]
        self._changed(device_id)

    def queue_messages(self, device_id: str, count: int) -> int:
        """Let `count` more cloud-to-device messages wait for the device; how many wait then. They are only counted.

        ValueError over the limit of the queue: the hub takes none of them then (403004 to who sends one).
        """
        device = self._store.get(device_id)
        queued = device.identity["cloudToDeviceMessageCount"] + count
        if type(count) is not int or count < 1 or queued > LONGEST_QUEUE:
            raise ValueError(f"a device's queue holds 1 to {LONGEST_QUEUE} messages, not {queued}")
        self._store.changing(device_id)
        device.identity = device.identity | {"cloudToDeviceMessageCount": queued}
        return queued

    def statistics(self) -> Json:
        """REST: Statistics - Get Device Statistics."""
        total = len(self._store.devices)
        enabled = sum(device.identity["status"] == "enabled" for device in self._store.devices.values())
        return {"totalDeviceCount": total, "enabledDeviceCount": enabled, "disabledDeviceCount": total - enabled}
