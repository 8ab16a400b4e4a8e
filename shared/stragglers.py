"""Who of a group's devices is left, device by device, with the reason."""

from collections.abc import Mapping
from typing import Any

from shared.errors import BadInput
from shared.fleet import Work
from shared.fleet_rows import Batch, Device, Phase, Standing
from shared.services import Services
from shared.status import works_of

PARAMETERS = ("work", "after")
NEWCOMER = "it registered for the first time since the theft: perhaps only a thief used this name"


def list_stragglers(rollover_id: str, query: Mapping[str, str], services: Services) -> dict[str, Any]:
    """A page of the devices that a work has not done; the last work that was begun, if none is named. None before.

    Raises:
        BadInput: not the ID of a rollover, or a parameter that there is not.
        NotFound: there is no such rollover.
    """
    if unknown := [key for key in query if key not in PARAMETERS]:
        raise BadInput(f"there is no parameter {unknown[0]!r}; there are {', '.join(PARAMETERS)}")
    after, name = query.get("after", "0"), query.get("work")
    if not (after.isascii() and after.isdecimal() and len(after) <= 9):
        raise BadInput("after must be what the page before gave as next")
    if name is not None and name not in tuple(Work):
        raise BadInput(f"there is no work {name!r}; there are {', '.join(Work)}")
    rollover = services.ledger.read(rollover_id)
    begun = [one.work for one in works_of(rollover, services)]
    work = name or (begun[-1] if begun else None)
    head = services.fleet.head(rollover, Work(work)) if work else None
    if head is None:
        return {"work": work, "stragglers": [], "next": None}
    batches, more = services.fleet.with_somebody_left(head, int(after))
    return {
        "work": head.work,
        "stragglers": [_shown(device, batch) for batch in batches for device in batch.devices if _is_left(device)],
        "next": more if more is None else str(more),
    }


def _is_left(device: Device) -> bool:
    return device.standing is not Standing.DONE


def _shown(device: Device, batch: Batch) -> dict[str, Any]:
    return {
        "device_id": device.device_id,
        "given_up": device.standing is Standing.LEFT,
        "connected": device.connected,
        "wave": batch.wave or None,
        "asked_at": batch.asked_at.isoformat() if batch.asked_at else None,
        "why": device.why or (NEWCOMER if device.newcomer else _words(batch)),
    }


def _words(batch: Batch) -> str:
    if batch.asks:
        return f"it was asked {batch.asks} times and has not moved"
    return "it waits for its wave" if batch.phase is not Phase.LISTED and batch.wave else "it waits for its turn"
