"""The first effect of a breach. Here and not in its function, for the HTTP call shuts the door before it answers."""

from shared.errors import NotFound
from shared.rollover import Act, Rollover
from shared.seen import Observation
from shared.services import Services


def shut_door(_rollover: Rollover, seen: Observation, _act: Act, services: Services) -> None:
    """Disable the enrollment; both slots stay as they are, for a certificate in a disabled entry is kept out."""
    if seen.enrollment is None:
        raise NotFound("the enrollment that was just read")
    services.provisioning.replace(seen.enrollment, seen.enrollment.body_with_status(enabled=False))
