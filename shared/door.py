"""The first effect of a breach. Here and not in its function, for the HTTP call shuts the door before it answers."""

from shared import group_effects
from shared.errors import NotFound
from shared.group_device import body_keeping_out
from shared.rollover import Rollover
from shared.seen import Observation
from shared.services import Services
from shared.verdict import Act


def shut_door(rollover: Rollover, seen: Observation, act: Act, services: Services) -> None:
    """Disable the enrollment or group; the slots stay as they are: a certificate in a disabled entry is kept out."""
    if rollover.plan.of_group:
        group_effects.set_status(seen, services, enabled=False)
        return
    if seen.enrollment is None and act.ask is not None and act.ask["do"] == "create":
        services.provisioning.create(rollover.registration_id, body_keeping_out(rollover))
        return
    if seen.enrollment is None:
        raise NotFound("the enrollment that was just read")
    services.provisioning.replace(seen.enrollment, seen.enrollment.body_with_status(enabled=False))
