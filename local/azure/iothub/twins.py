"""Device twins: tags and desired properties of the service, reported properties of the device.

docs, "Understand and use device twins": a patch merges and null removes, a replacement replaces; `$metadata` holds
the time of every property's last change, `$version` counts the changes of a section from 1.
"""

import json
from collections.abc import Callable

from local.azure.clock import Clock, iso
from local.azure.iothub.etags import require_match
from local.azure.iothub.refusals import ArgumentInvalid
from local.azure.iothub.store import Device, Json, Store

LARGEST = {"tags": 8 * 1024, "desired": 32 * 1024, "reported": 32 * 1024}
OWN = ("$metadata", "$version")


class Twins:
    """Reads and writes twins; tells `desired_changed(device_id, patch)` what the device is to hear."""

    def __init__(self, store: Store, clock: Clock, desired_changed: Callable[[str, Json], None]) -> None:
        self._store = store
        self._clock = clock
        self._desired_changed = desired_changed

    def get(self, device_id: str) -> Json:
        """The whole twin; DeviceNotFound without the device."""
        return self._store.get(device_id).twin()

    def patch(self, device_id: str, body: Json, if_match: str | None) -> Json:
        """Merge `tags` and `properties.desired`; a null removes."""
        return self._write(device_id, body, if_match, replace=False)

    def replace(self, device_id: str, body: Json, if_match: str | None) -> Json:
        """Put `tags` and `properties.desired` in the place of what is there; what the body lacks becomes empty."""
        return self._write(device_id, {"tags": {}, "properties": {"desired": {}}} | body, if_match, replace=True)

    def _write(self, device_id: str, body: Json, if_match: str | None, *, replace: bool) -> Json:
        device = self._store.get(device_id)
        require_match(if_match, device.etag)
        tags, desired = _section(body, "tags"), _section(_section(body, "properties") or {}, "desired")
        if tags is not None:
            tags = merged({} if replace else device.tags, tags)
            _check_size("tags", tags)
        section: Json | None = None
        if desired is not None:
            section = _changed(device.desired, desired, self._now(), "desired", replace=replace)
        self._store.changing(device_id)
        device.version += 1
        device.edition += 1
        if tags is not None:
            device.tags = tags
        if section is not None and desired is not None:
            device.desired = section
            self._desired_changed(device_id, _bare(desired) | {"$version": section["$version"]})
        return device.twin()

    def report(self, device_id: str, patch: Json) -> int:
        """Merge a device's patch into `reported`; gives its new version. The ETag is the service's and stays."""
        device = self._store.get(device_id)
        section = _changed(device.reported, patch, self._now(), "reported", replace=False)
        self._store.changing(device_id)
        device.version += 1
        device.reported = section
        version: int = section["$version"]
        return version

    def reset(self, device_id: str, given: Json | None) -> None:
        """The twin of a new device again, as a DPS registration under the policy "reset" leaves it."""
        device = self._store.get(device_id)
        self._store.changing(device_id)
        device.reported = {}
        new_twin(device, given or {}, self._now())
        device.version += 1
        device.edition += 1

    def _now(self) -> str:
        return iso(self._clock.now())


def new_twin(device: Device, given: Json, now: str) -> None:
    """Give a device the twin of a new one: tags and desired properties from `given`, versions at 1."""
    device.tags = merged({}, _section(given, "tags") or {})
    device.desired = merged({}, _bare(_section(_section(given, "properties") or {}, "desired") or {}))
    for section in (device.desired, device.reported):
        section["$metadata"] = _metadata({}, section, section, now)
        section["$version"] = 1


def device_view(device: Device) -> Json:
    """The twin as its device gets it: properties with versions, no metadata."""
    sections = {"desired": device.desired, "reported": device.reported}
    return {name: {key: value for key, value in one.items() if key != "$metadata"} for name, one in sections.items()}


def merged(old: Json, patch: Json) -> Json:
    """`old` with `patch` merged in: objects by key, null removes, anything else replaces."""
    result = dict(old)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            inner = result.get(key)
            result[key] = merged(inner if isinstance(inner, dict) else {}, value)
        else:
            result[key] = value
    return result


def _changed(section: Json, patch: Json, now: str, name: str, *, replace: bool) -> Json:
    values = merged({} if replace else _bare(section), _bare(patch))
    _check_size(name, values)
    old = {} if replace else section["$metadata"]
    metadata = _metadata(old, values, _bare(patch), now)
    return values | {"$metadata": metadata, "$version": section["$version"] + 1}


def _metadata(old: Json, values: Json, patch: Json, now: str) -> Json:
    """The metadata of `values`, which `patch` has just changed: its keys get the time, the others keep theirs."""
    metadata: Json = {"$lastUpdated": now}
    for key, value in values.items():
        if key not in patch:
            metadata[key] = old[key]
        elif isinstance(value, dict):
            metadata[key] = _metadata(old.get(key, {}), value, patch[key], now)
        else:
            metadata[key] = {"$lastUpdated": now}
    return metadata


def _bare(section: Json) -> Json:
    return {key: value for key, value in section.items() if key not in OWN}


def _section(body: Json, name: str) -> Json | None:
    section = body.get(name)
    if section is not None and not isinstance(section, dict):
        raise ArgumentInvalid(f"{name} is not an object.")
    return section


def _check_size(name: str, values: Json) -> None:
    if len(json.dumps(values, separators=(",", ":"))) > LARGEST[name]:
        raise ArgumentInvalid(f"{name} would be larger than {LARGEST[name] // 1024} KB.")
