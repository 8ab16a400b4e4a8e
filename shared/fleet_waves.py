"""Asking a batch of devices to move, and seeing who did.

At first what the hub pins of each device is read, then the batch waits for its wave. Then a hub job asks all of them at
once: the hub calls their method, so no turn waits for a device, and a job is known by its ID, so asking again after a
crash asks nobody twice. What a job or a device says is no proof; a move is a registration that the cloud shows
(decision 0003): the hub pins another certificate than before, and DPS registered the device since.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from shared.enrollment import Registration
from shared.errors import Conflict, NotAllowed, ServiceRefused, ServiceUnavailable
from shared.fleet_leaves import PAUSE, issue_some, lack_leaves
from shared.fleet_rows import Batch, Device, Phase, Standing
from shared.fleet_turn import Turn, Turned
from shared.lines import Lane
from shared.services import Services

LOOK_AGAIN, LONGEST_LOOK = timedelta(seconds=3), timedelta(minutes=10)
"""How soon is looked after asking; the time doubles with each look."""
ASK_AGAIN, LONGEST_ASK = timedelta(minutes=10), timedelta(hours=6)
"""How soon those that are left are asked again; the time doubles with each time."""
IDS = 6_000
"""Characters of device IDs that one job's condition takes."""
NOT_SHOWN = "the cloud does not show it"
STAYS = "its certificate stays good as it is: the CA was renewed with its key and name"


def wave(turn: Turn) -> Turned:
    """One turn of a batch of a wave."""
    if turn.batch.phase is Phase.LISTED:
        return _plan(turn)
    devices, throttled = _looked(turn)
    batch = turn.batch.with_devices(devices)
    if throttled or not batch.open:
        return Turned(batch, Lane.TWIN_READS, throttled=throttled)
    if batch.phase is Phase.PLANNED:
        return _ask(turn, batch)
    if _is_time_to_ask(turn):
        return Turned(replace(batch, phase=Phase.PLANNED), Lane.JOB_DEVICES)
    return Turned(batch, _lane(turn), after=min(LOOK_AGAIN * (1 << min(batch.turns, 12)), LONGEST_LOOK))


# --- planning -----------------------------------------------------------------------------------------------------


def _plan(turn: Turn) -> Turned:
    """Read what the hub pins of each device, before any of them is asked."""
    if turn.head.stays:
        done = {one.device_id: one.ended(Standing.DONE, STAYS) for one in turn.batch.open}
        return Turned(turn.batch.with_devices(done), Lane.TWIN_READS)
    devices: dict[str, Device] = {}
    for device in turn.batch.open:
        if device.before:  # read by a turn that was cut short
            continue
        try:
            devices[device.device_id] = planned(device, turn.services)
        except ServiceUnavailable as error:
            return Turned(turn.batch.with_devices(devices), Lane.TWIN_READS, throttled=error)
    return Turned(replace(turn.batch.with_devices(devices), phase=Phase.PLANNED), Lane.JOB_DEVICES, waits=True)


def planned(device: Device, services: Services) -> Device:
    """A device with what the hub pins of it, or given up where nothing would tell whether it moved.

    Raises:
        ServiceUnavailable, NotAllowed: of the hub.
    """
    try:
        found = services.hub.shown(device.device_id)
    except NotAllowed:
        raise
    except ServiceRefused as error:
        return _not_shown(device, error)
    if found is None:
        if device.tried_only:
            return device.ended(Standing.LEFT, "it never got in by this group, and the hub has no identity")
        return device
    if found.authentication != "selfSigned":
        return device.ended(Standing.LEFT, f"its hub identity authenticates by {found.authentication}, not thumbprint")
    return replace(device, before=found.thumbprints(), connected=found.connected)


# --- looking ------------------------------------------------------------------------------------------------------


def _looked(turn: Turn) -> tuple[dict[str, Device], ServiceUnavailable | None]:
    """The open devices as the cloud shows them, as far as it lets us."""
    devices: dict[str, Device] = {}
    for device in turn.batch.open:
        try:
            devices[device.device_id] = _seen(turn, device)
        except ServiceUnavailable as error:
            return devices, error
        except NotAllowed:
            raise
        except ServiceRefused as error:
            devices[device.device_id] = _not_shown(device, error)
    return devices, None


def _not_shown(device: Device, error: ServiceRefused) -> Device:
    """One that is refused by itself is left behind, and holds up no other."""
    return replace(device, why=f"{NOT_SHOWN}: {error}")


def _seen(turn: Turn, device: Device) -> Device:
    found = turn.services.hub.shown(device.device_id)
    if device.why.startswith(NOT_SHOWN):
        device = replace(device, why="")
    if found is None:
        return device
    if turn.batch.first_asked_at is None:
        # Once it was asked, a lost session may be what the incoming CA did.
        device = replace(device, connected=found.connected)
    if not device.before:
        # It came to the hub since, with whatever certificate: what changes from now on counts.
        device = replace(device, before=found.thumbprints())
    changed = bool(found.thumbprints()) and set(found.thumbprints()).isdisjoint(device.before)
    tells = turn.batch.first_asked_at is not None and (turn.head.by_registration or _has_ended(turn))
    if not changed and not tells:
        return device
    record = turn.services.provisioning.registration(device.registration_id)
    why = _why_moved(turn, device, record, changed=changed)
    return device.ended(Standing.DONE, why) if why else device


def _why_moved(turn: Turn, device: Device, record: Registration | None, *, changed: bool) -> str | None:
    if record is None or record.status != "assigned" or record.last_updated is None:
        return None
    if record.last_updated > turn.rollover.outgoing.not_after:
        return "it registered after the end of the outgoing CA certificate"
    if device.registered and record.last_updated <= datetime.fromisoformat(device.registered):
        return None
    if changed:
        return "it registered with another certificate, which the hub shows"
    return "it registered after it was asked, with its certificate" if turn.head.by_registration else None


def _has_ended(turn: Turn) -> bool:
    """Whether the outgoing certificate has, so that whoever registers now did so by the incoming one."""
    return turn.services.now() >= turn.rollover.outgoing.not_after


def _lane(turn: Turn) -> Lane:
    return Lane.REGISTRATIONS if turn.head.by_registration or _has_ended(turn) else Lane.TWIN_READS


# --- asking -------------------------------------------------------------------------------------------------------


def _is_time_to_ask(turn: Turn) -> bool:
    asked_at, now, rollover = turn.batch.asked_at, turn.services.now(), turn.rollover
    if asked_at is None:
        return True
    pause = min(ASK_AGAIN * (1 << min(max(turn.batch.asks - 1, 0), 10)), LONGEST_ASK)
    retried = rollover.reopened_at is not None and rollover.reopened_at > asked_at
    return retried or now >= asked_at + pause or asked_at < rollover.outgoing.not_after <= now


def _ask(turn: Turn, batch: Batch) -> Turned:
    """Ask whoever is left, by one job, or more where the IDs are long."""
    services, now = turn.services, turn.services.now()
    if turn.head.by_registration and batch.first_asked_at is None:
        batch = batch.with_devices({one.device_id: _registered_now(turn, one) for one in batch.open})
    if lack_leaves(batch, turn.head.leaf_names):
        batch, throttled = issue_some(turn, batch)
        more = bool(lack_leaves(batch, turn.head.leaf_names))
        lane, pause = (Lane.TWIN_READS, PAUSE) if more else (Lane.JOB_DEVICES, timedelta())
        return Turned(batch, lane, after=pause, throttled=throttled)
    method, payload = services.settings.reprovision_method, _payload(turn)
    # Who is to have a leaf of ours, and could not be given one, would find nothing new.
    asked_now = [one.device_id for one in batch.open if one.leaf or not turn.head.leaf_names]
    for part, names in enumerate(_parts(asked_now)):
        try:
            with suppress(Conflict):  # a turn that was cut off has started it
                services.hub.start_fleet_job(_job_id(turn, part), names, method, payload)
        except ServiceUnavailable as error:
            return Turned(batch, Lane.JOB_DEVICES, throttled=error)
    first = batch.first_asked_at or now
    asked = replace(batch, phase=Phase.ASKED, asked_at=now, first_asked_at=first, asks=batch.asks + 1, turns=0)
    return Turned(asked, _lane(turn), after=LOOK_AGAIN)


def _registered_now(turn: Turn, device: Device) -> Device:
    """The device with its last registration before it was asked: where leaves stay, only a later one is a move."""
    record = turn.services.provisioning.registration(device.registration_id)
    return replace(device, registered=record.last_updated.isoformat()) if record and record.last_updated else device


def _payload(turn: Turn) -> dict[str, Any]:
    """What a device is told: to look for a certificate that is newer than its own, and, where only a registration can
    show that it moved, to register once more if it has none. Which one is the device's own business, or its vault's.
    """
    asked = {"rollover_id": turn.rollover.id, "enrollment_group": turn.rollover.group_id}
    again = turn.head.by_registration or _has_ended(turn)
    return {**asked, "register_again": True} if again else asked


def _parts(names: Sequence[str]) -> Iterator[list[str]]:
    some: list[str] = []
    for name in names:
        if some and sum(len(one) + 4 for one in some) + len(name) + 4 > IDS:
            yield some
            some = []
        some.append(name)
    if some:
        yield some


def _job_id(turn: Turn, part: int) -> str:
    """The same for a turn that repeats one that was cut off."""
    head = turn.head
    digest = hashlib.sha256(f"{head.rollover_id}/{head.key}/{head.begun_at.isoformat()}".encode()).hexdigest()[:20]
    return f"rollover-{digest}-{turn.batch.number}-{turn.batch.asks}-{part}"
