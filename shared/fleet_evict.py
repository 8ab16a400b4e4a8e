"""Evicting a batch of devices from the hub, and reading back that they are gone.

Read (by twins: one answer shows identity and twin), keep the twins, delete in one call under the ETags read. Whatever
is killed or lost in between, the next turn reads again: an identity that is gone is done, a kept twin stays the first.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.enrollment import Shown
from shared.errors import NotAllowed, RolloverError, ServiceRefused, ServiceUnavailable, unexpected
from shared.fleet import Work
from shared.fleet_restore import given_up
from shared.fleet_rows import LARGEST_BATCH, Device, Standing
from shared.fleet_turn import Turn, Turned
from shared.kept_twins import Kept
from shared.lines import Lane
from shared.suspects import is_newcomer, why_spared

MOST_TRIES = 6
"""How often an identity is tried whose own error keeps it at the hub."""
AGAIN = timedelta(seconds=10)
"""A look that found an identity back is repeated not before this."""
GONE = "the hub has no identity"


def evict(turn: Turn) -> Turned:
    """One turn of eviction: who is still there is deleted."""
    read = _read(turn)
    devices = _looked_at(turn, read.shown, GONE)
    there = _to_go(devices, read.shown)
    batch = turn.batch.with_devices(devices | read.odd)
    if not there:
        return Turned(batch, read.lane, after=read.pause, throttled=read.throttled)
    try:
        deleted, refused, late = _delete(turn, devices, there)
    except ServiceUnavailable as error:
        return Turned(batch, Lane.EVICTIONS, after=read.pause, throttled=error)
    return Turned(
        replace(batch.with_devices(deleted), refused=batch.refused + refused),
        read.lane if read.throttled else Lane.EVICTIONS,
        after=read.pause,
        throttled=read.throttled or late,
    )


def check(turn: Turn) -> Turned:
    """One turn of reading back: who is there (again) is evicted, and looked for again."""
    read = _read(turn)
    devices = _looked_at(turn, read.shown, "read back: the hub has no identity")
    back = _to_go(devices, read.shown)
    batch = turn.batch.with_devices(devices | read.odd)
    if not back:
        return Turned(batch, read.lane, after=read.pause, throttled=read.throttled)
    try:
        deleted, _, late = _delete(turn, devices, back)
    except ServiceUnavailable as error:
        return Turned(batch, Lane.EVICTIONS, after=read.pause, throttled=error)
    # Only what is read back counts here: deleted is not gone.
    again = {
        device_id: _tried(replace(one, standing=Standing.OPEN, tries=devices[device_id].tries), "it came back")
        for device_id, one in deleted.items()
    }
    lane = read.lane if read.throttled else Lane.EVICTIONS if late else read.lane
    return Turned(batch.with_devices(again), lane, after=AGAIN, throttled=read.throttled or late)


@dataclass
class _Read:
    """What a turn has read, and what it could not."""

    lane: Lane
    shown: dict[str, Shown | None] = field(default_factory=dict)
    odd: dict[str, Device] = field(default_factory=dict)
    """Devices, by ID, that failed by themselves: none may keep the others of its batch at the hub."""
    throttled: ServiceUnavailable | None = None

    @property
    def pause(self) -> timedelta:
        """Before what failed is tried again."""
        return AGAIN if self.odd else timedelta()


def _read(turn: Turn) -> _Read:
    """The open devices as the hub shows them, as far as it lets us; the rest is for the next turn."""
    most = LARGEST_BATCH >> min(turn.batch.refused, 6)
    read = _Read(Lane.TWIN_READS if turn.head.work is Work.CHECK else Lane.EVICTIONS)
    for device in turn.batch.open:
        try:
            read.shown[device.device_id] = turn.services.hub.shown(device.device_id)
        except ServiceUnavailable as error:
            read.lane, read.throttled = Lane.TWIN_READS, error
            break
        except NotAllowed:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, it is this device's alone
            why = str(error if isinstance(error, RolloverError) else unexpected(error))
            read.odd[device.device_id] = _tried(device, f"its identity cannot be read: {why}")
        if sum(one is not None for one in read.shown.values()) == most:
            # A call that was refused as a whole is tried with half as many, so that one bad device is found.
            break
    return read


def _looked_at(turn: Turn, shown: Mapping[str, Shown | None], why: str) -> dict[str, Device]:
    """The devices that were read, by ID: done where there is none, or it is not the group's, or no thief's; else what
    it accepted."""
    devices, incident = {}, turn.rollover.incident
    narrowed = incident is not None and incident.suspects_only
    pinned = turn.services.fleet.pins.since(one for one, found in shown.items() if found) if narrowed else {}
    for device in turn.batch.open:
        if device.device_id not in shown:
            continue
        found = shown[device.device_id]
        if found is None:
            devices[device.device_id] = device.ended(Standing.DONE, device.why or why)
        elif device.tried_only and (other := _not_of_the_group(turn, device, found)):
            devices[device.device_id] = device.ended(Standing.DONE, other)
        elif incident and (spared := why_spared(found, pinned.get(device.device_id, {}), incident)):
            devices[device.device_id] = device.ended(Standing.DONE, spared)
        else:
            before = device.before or found.thumbprints()
            devices[device.device_id] = replace(device, before=before, connected=device.connected or found.connected)
    return devices


def _to_go(devices: Mapping[str, Device], shown: Mapping[str, Shown | None]) -> list[Shown]:
    open_ = (shown[device_id] for device_id, one in devices.items() if one.standing is Standing.OPEN)
    return [one for one in open_ if one is not None]


def _not_of_the_group(turn: Turn, device: Device, found: Shown) -> str | None:
    """Why an identity stays whose name only tried to register through the group.

    Anybody with a leaf of the compromised CA can try so under any name, and must not get that device evicted.
    """
    if found.authentication not in ("selfSigned", "certificateAuthority"):
        return f"left alone: it never got in by this group, and authenticates by {found.authentication}"
    enrollment = turn.services.provisioning.enrollment(device.registration_id)
    enrolled = {one.sha256_thumbprint for one in enrollment.certificates()} if enrollment else set()
    enrolled |= {one.sha1_thumbprint for one in enrollment.certificates()} if enrollment else set()
    if enrolled.intersection(found.thumbprints()):
        return "left alone: it never got in by this group, and has a certificate of its own enrollment"
    return None


def _delete(
    turn: Turn, devices: Mapping[str, Device], there: list[Shown]
) -> tuple[dict[str, Device], int, ServiceUnavailable | None]:
    """Keep the twins, delete the identities: how each stands then, whether the call was refused as a whole, and
    whether the hub throttled some of them, which it also does one by one."""
    services, now = turn.services, turn.services.now()
    new = _newcomers(turn, [devices[one.device_id] for one in there])
    kept = [
        Kept(one.device_id, turn.rollover.id, now, one.identity_etag, one.twin, newcomer=one.device_id in new)
        for one in there
    ]
    services.fleet.kept(turn.rollover.partition).keep(kept, lambda one: given_up(one.rollover_id, one.at, services))
    try:
        failed = services.hub.delete_many(there)
    except NotAllowed:
        raise
    except ServiceRefused as error:
        if len(there) > 1:
            return {}, 1, None
        failed = {there[0].device_id: str(error)}
    after, late = {}, None
    for one in there:
        device, code = devices[one.device_id], failed.get(one.device_id)
        if code is None:
            after[one.device_id] = device.ended(Standing.DONE, "its identity was deleted; its twin is kept")
        elif code == "DeviceNotFound":
            after[one.device_id] = device.ended(Standing.DONE, GONE)
        elif code.startswith("Throttl"):
            after[one.device_id], late = device, ServiceUnavailable(f"the hub throttles: {code}")
        else:
            after[one.device_id] = _tried(device, f"the hub did not delete it: {code}")
    return after, 0, late


def _newcomers(turn: Turn, devices: Iterable[Device]) -> set[str]:
    """Whom DPS registered for the first time since the theft, and the hub was not seen to know before."""
    since = turn.rollover.incident.compromised_since if turn.rollover.incident else None
    if since is None:
        return set()
    new = [
        one.device_id
        for one in devices
        if one.first_registered and datetime.fromisoformat(one.first_registered) >= since
    ]
    pinned = turn.services.fleet.pins.since(new)
    return {one for one in new if is_newcomer(pinned.get(one, {}), since)}


def _tried(device: Device, why: str) -> Device:
    tried = replace(device, tries=device.tries + 1)
    return tried.ended(Standing.LEFT, why) if tried.tries >= MOST_TRIES else tried
