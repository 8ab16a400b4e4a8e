"""The identity registry: up to a hundred devices in one call.

docs, "Import and export IoT Hub device identities in bulk" and REST: Bulk Registry - Update Registry. One bad device
does not stop the others; the answer is 400 when any failed, with the same body as a success.
"""

from collections import Counter
from typing import Any

from local.azure.iothub.refusals import (
    ArgumentInvalid,
    DeviceAlreadyExists,
    DeviceDefinedMultipleTimes,
    HubRefusal,
    TooManyDevices,
)
from local.azure.iothub.registry import Registry
from local.azure.iothub.store import Json, Store
from local.azure.iothub.twins import Twins

LARGEST_BULK = 100
MODES = (
    "create",
    "update",
    "updateIfMatchETag",
    "createOrUpdate",
    "createOrUpdateIfMatchETag",
    "delete",
    "deleteIfMatchETag",
    "updateTwin",
    "updateTwinIfMatchETag",
)


class Bulk:
    """Applies a list of ExportImportDevice objects."""

    def __init__(self, store: Store, registry: Registry, twins: Twins) -> None:
        self._store = store
        self._registry = registry
        self._twins = twins

    def apply(self, items: Any) -> Json:
        """BulkRegistryOperationResult; TooManyDevices or ArgumentInvalid when the call is refused as a whole."""
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise ArgumentInvalid("The body is not a list of devices.")
        if len(items) > LARGEST_BULK:
            raise TooManyDevices
        counts = Counter(item.get("id") for item in items)
        errors = []
        for item in items:
            try:
                if counts[item.get("id")] > 1:
                    raise DeviceDefinedMultipleTimes
                self._apply(item)
            except HubRefusal as refusal:
                errors.append(_error(item, refusal))
        return {"isSuccessful": not errors, "errors": errors, "warnings": []}

    def _apply(self, item: Json) -> None:
        device_id, mode = item.get("id"), item.get("importMode", "create")
        if not isinstance(device_id, str) or mode not in MODES:
            raise ArgumentInvalid(f"The device has no id, or its importMode is none of {', '.join(MODES)}.")
        if item.get("moduleId"):
            raise ArgumentInvalid("Modules are not emulated.")
        exact = mode.endswith("IfMatchETag")
        etag = item.get("eTag") if exact else "*"
        exists = device_id in self._store.devices
        match mode.removesuffix("IfMatchETag"):
            case "create":
                if exists:
                    raise DeviceAlreadyExists(device_id)
                self._registry.create(device_id, item, item)
            case "createOrUpdate" if not exists:
                self._registry.create(device_id, item, item)
            case "update" | "createOrUpdate":
                self._registry.rewrite(device_id, item, etag or "")
            case "delete":
                self._registry.delete(device_id, etag or "")
            case "updateTwin":
                self._twins.patch(device_id, item, (item.get("twinETag") or "") if exact else "*")


def _error(item: Json, refusal: HubRefusal) -> Json:
    return {
        "deviceId": item.get("id"),
        "errorCode": refusal.name,
        "errorStatus": str(refusal),
        "moduleId": item.get("moduleId"),
        "operation": item.get("importMode"),
    }
