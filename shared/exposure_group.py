"""What still lets devices under a compromised CA in, of an enrollment group. Pure.

The same rules decide a step and fill the "still exposed" of the status, so that the two cannot disagree.
"""

from shared.enrollment import Slot
from shared.exposure import unaccepted
from shared.fleet import FleetProgress
from shared.group import slots_with
from shared.plans import Step
from shared.rollover import Rollover
from shared.seen import Observation


def compromised_anchors(rollover: Rollover, seen: Observation) -> tuple[Slot, ...]:
    """The slots by which the group trusts what must leave."""
    if seen.group is None:
        return ()
    return slots_with(seen.group.anchors(seen.authorities), *rollover.leaving)


def group_door_is_open(rollover: Rollover, seen: Observation) -> bool:
    """Whether DPS admits devices under what must not be trusted. Until what the group names was swapped, a name that is
    not known to stand for something else counts as compromised."""
    if seen.group is None or not seen.group.enabled:
        return False
    unknown = Step.DELETE_PRIMARY not in rollover.done and seen.group.dangling(seen.authorities)
    return bool(compromised_anchors(rollover, seen) or unknown)


def still_to_do(fleet: FleetProgress) -> str:
    """How far a work on the devices is."""
    return f"{fleet.done} of {fleet.devices}{'' if fleet.listed else ' or more'}"


def group_exposures(rollover: Rollover, seen: Observation, evicted: FleetProgress | None) -> list[str]:
    """Everything that still lets in what must not get in, in an operator's words; empty means contained."""
    found = []
    if group_door_is_open(rollover, seen):
        slots = " and ".join(slot.value for slot in compromised_anchors(rollover, seen)) or "unknown"
        found.append(
            f"DPS: the group {rollover.group_id} is enabled and slot {slots} trusts a compromised CA: who has its key"
            " can register any device"
        )
    if Step.REMOVE_HUB_REGISTRATION not in rollover.done:
        done = still_to_do(evicted) if evicted else "none"
        found.append(
            "IoT Hub: identities that somebody with the compromised CA may have made are not removed yet"
            f" ({done} removed)"
        )
    elif seen.fleet is not None and seen.fleet.finished and not seen.fleet.complete:
        found.append(f"IoT Hub: {seen.fleet.devices - seen.fleet.done} identities are there again")
    found += [f"{route.name}: {route.why}" for route in unaccepted(rollover, seen)]
    return found
