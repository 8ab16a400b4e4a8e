"""How a session of a disabled hub identity is waited out, and what a registration since then shows. Pure."""

from datetime import datetime, timedelta

from shared.enrollment import Enrollment, HubIdentity
from shared.pacing import pace
from shared.rollover import Rollover, has_waited
from shared.verdict import AlreadyDone, NeedsPerson, Verdict, Wait

EVICTION_PATIENCE = timedelta(minutes=2)
"""How long the hub is given to end the session of a disabled identity: it takes seconds to a minute
(azure-iot-sdk-c#2300), and what it shows of sessions may lag."""
EVICTION_LIMIT = timedelta(minutes=10)
SOON = timedelta(seconds=10)


def wait_for_end(rollover: Rollover, identity: HubIdentity, now: datetime) -> Verdict:
    """The verdict as long as the hub shows a session of the identity."""
    if identity.enabled:
        return NeedsPerson(
            f"the hub identity authenticates by {identity.authentication}: disabling it would rewrite its keys",
            "call the breach again with mode remove",
        )
    if not identity.connected:
        return AlreadyDone("the hub identity is disabled and has no session")
    why = f"the hub has not ended the session of the disabled identity {identity.device_id} yet"
    if has_waited(rollover, why, now) >= EVICTION_LIMIT:
        return NeedsPerson(why, "call the breach again with mode remove, or look into the hub: what it shows may lag")
    return Wait(why, pace(rollover, why, now, SOON))


def registered_since_enabled(rollover: Rollover, enrollment: Enrollment | None) -> datetime | None:
    """When the device registered since the replacement alone gets it in; None when it has not."""
    record = enrollment.registration if enrollment else None
    registered = record.last_updated if record and record.status == "assigned" else None
    if registered is None or (rollover.baseline is not None and registered <= rollover.baseline):
        return None
    return registered
