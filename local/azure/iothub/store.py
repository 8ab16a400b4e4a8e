"""What the hub keeps about devices, and how much of it a query may already see."""

import base64
import copy
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from local.azure.clock import Clock
from local.azure.iothub.refusals import DeviceNotFound
from local.azure.knobs import Knobs

Json = dict[str, Any]
NEVER = "0001-01-01T00:00:00Z"  # how the hub writes a time that has not come yet


@dataclass
class Device:
    """An identity with its twin. `identity` is the JSON of GET /devices/{id}.

    `desired` and `reported` carry their `$metadata` and `$version`. `version` counts every change of the twin,
    `edition` those by the service, of which the ETag is made.
    """

    identity: Json
    tags: Json = field(default_factory=dict)
    desired: Json = field(default_factory=dict)
    reported: Json = field(default_factory=dict)
    version: int = 1
    edition: int = 1

    @property
    def etag(self) -> str:
        """The twin's ETag, e.g. AAAAAAAAAAE=."""
        return base64.b64encode(self.edition.to_bytes(8, "big")).decode()

    def twin(self) -> Json:
        """The JSON of GET /twins/{id}; a query's row. Shares its parts with what is kept: not to be changed."""
        identity = self.identity
        authentication = identity["authentication"]
        return {
            "deviceId": identity["deviceId"],
            "etag": self.etag,
            "deviceEtag": identity["etag"],
            "status": identity["status"],
            "statusReason": identity["statusReason"],
            "statusUpdateTime": identity["statusUpdatedTime"],
            "connectionState": identity["connectionState"],
            "lastActivityTime": identity["lastActivityTime"],
            "cloudToDeviceMessageCount": identity["cloudToDeviceMessageCount"],
            "authenticationType": authentication["type"],
            "x509Thumbprint": authentication["x509Thumbprint"],
            "modelId": "",
            "version": self.version,
            "tags": self.tags,
            "properties": {"desired": self.desired, "reported": self.reported},
            "capabilities": identity["capabilities"],
            "deviceScope": identity["deviceScope"],
            "parentScopes": identity["parentScopes"],
        }


class Store:
    """All devices by ID (case-sensitive). Whoever changes one calls `changing` first."""

    def __init__(self, clock: Clock, knobs: Knobs) -> None:
        self._clock = clock
        self._knobs = knobs
        self.devices: dict[str, Device] = {}
        self._before: dict[str, deque[tuple[datetime, Json | None]]] = {}

    def get(self, device_id: str) -> Device:
        """The device; DeviceNotFound without it."""
        if device_id not in self.devices:
            raise DeviceNotFound(device_id)
        return self.devices[device_id]

    def changing(self, device_id: str) -> None:
        """Keep what queries still see of a device that is about to change, while the knob `hub_query_lag_s` says so."""
        if self._knobs.hub_query_lag_s:
            device = self.devices.get(device_id)
            seen = copy.deepcopy(device.twin()) if device else None
            self._before.setdefault(device_id, deque()).append((self._clock.now(), seen))

    def visible(self) -> Iterator[tuple[str, Json]]:
        """Device IDs in order, each with the twin that a query sees now: that of `hub_query_lag_s` ago."""
        horizon = self._clock.now() - timedelta(seconds=self._knobs.hub_query_lag_s)
        for device_id, changes in list(self._before.items()):
            while changes and changes[0][0] <= horizon:
                changes.popleft()
            if not changes:
                del self._before[device_id]
        for device_id in sorted({*self.devices, *self._before}):
            changes_left = self._before.get(device_id)
            twin = changes_left[0][1] if changes_left else self.devices[device_id].twin()
            if twin is not None:
                yield device_id, twin

    def clear(self) -> None:
        """Forget every device."""
        self.devices.clear()
        self._before.clear()
