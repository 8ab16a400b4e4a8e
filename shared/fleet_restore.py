"""Putting back the twins of a batch of devices, as they come back.

The rules are those of a single device (``shared.decide_recovery``): who the hub shows enabled is back, for its
identity was deleted, and since then DPS admits what the group trusts now and nothing else; its twin is replaced under
the ETag that was read until it is seen, or was answered, to be what was kept. After that nobody writes it again: what
is kept is noted as put back in the turn that did it, and what the solution writes from then on stays.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from shared.enrollment import Shown
from shared.errors import Conflict, NotAllowed, NotFound, RolloverError, ServiceRefused, ServiceUnavailable
from shared.fleet import Work
from shared.fleet_rows import Device, Standing
from shared.fleet_turn import Turn, Turned
from shared.kept_twins import Kept
from shared.lines import Lane
from shared.pacing import LATER
from shared.services import Services

MOST_TRIES = 6
"""How often a twin is tried that the hub refuses for its content."""
SOONEST = timedelta(seconds=5)
FEW = 10
"""With no more devices left than these, a batch looks for them every ``LATER``; with more, less often accordingly: a
read of a twin counts against the hub's daily messages."""
BACK = "it is back, with the tags and desired properties that it had"


def restore(turn: Turn) -> Turned:
    """One turn of restoring: who is back gets the twin that was kept."""
    kept_twins = turn.services.fleet.kept(turn.rollover.partition)
    kept = kept_twins.read(one.device_id for one in turn.batch.open)
    devices: dict[str, Device] = {}
    stopped: RolloverError | None = None
    try:
        for after in _each(turn, kept):
            devices[after.device_id] = after
    except RolloverError as error:
        stopped = error
    done = (kept.get(one.device_id) for one in devices.values() if one.standing is Standing.DONE)
    kept_twins.note_put_back([one for one in done if one is not None and one.twin is not None])
    if stopped is not None and not isinstance(stopped, ServiceUnavailable):
        raise stopped
    batch = turn.batch.with_devices(devices)
    pause = timedelta() if stopped else _pause(turn, len(batch.open))
    return Turned(batch, Lane.TWIN_WRITES, after=pause, throttled=stopped)


def _each(turn: Turn, kept: Mapping[str, Kept]) -> Iterator[Device]:
    """Each open device, as it stands after this turn.

    Raises:
        ServiceUnavailable, NotAllowed: of the hub; what was given out before holds.
    """
    for device in turn.batch.open:
        one = kept.get(device.device_id)
        if one is None or one.twin is None:
            yield device.ended(Standing.DONE, device.why or BACK)
            continue
        try:
            shown = turn.services.hub.shown(device.device_id)
        except NotAllowed:
            raise
        except ServiceRefused as error:
            yield _tried(device, f"the hub does not show it: {error}")
            continue
        if shown is not None and shown.enabled:
            yield _put_back(device, one, shown, turn)
        else:
            yield _not_back(device, turn)


def _put_back(device: Device, kept: Kept, shown: Shown, turn: Turn) -> Device:
    if kept.twin is None or shown.twin.equals(kept.twin):
        return device.ended(Standing.DONE, BACK)
    try:
        turn.services.hub.replace_twin(device.device_id, shown.twin, kept.twin)
    except (Conflict, NotFound):  # somebody wrote it, or deleted the identity: the next turn reads again
        return device
    except NotAllowed:
        raise
    except ServiceRefused as error:
        return _tried(device, f"it is back, and the hub does not take its twin: {error}")
    return device.ended(Standing.DONE, BACK)


def _tried(device: Device, why: str) -> Device:
    tried = replace(device, tries=device.tries + 1)
    return tried.ended(Standing.LEFT, why) if tried.tries >= MOST_TRIES else tried


def _not_back(device: Device, turn: Turn) -> Device:
    grace = turn.services.settings.policy.straggler_grace
    if turn.services.now() < turn.head.begun_at + grace:
        return device
    return device.ended(Standing.LEFT, f"it has not come back in {grace.days} days; its twin is kept")


def _pause(turn: Turn, left: int) -> timedelta:
    """Soon at first, then ever more rarely: a quarter of the time since the restoring began."""
    longest = LATER * max(1.0, left / FEW)
    return min(max((turn.services.now() - turn.head.begun_at) / 4, SOONEST), longest)


def given_up(rollover_id: str, kept_at: datetime, services: Services) -> bool:
    """Whether nobody puts back any more what a rollover kept at that time."""
    restoring = services.fleet.head(services.ledger.read(rollover_id), Work.RESTORE)
    since = restoring.begun_at if restoring else kept_at
    return services.now() >= since + services.settings.policy.straggler_grace
