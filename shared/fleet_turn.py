"""What a turn of a batch is given, and what it gives back."""

from dataclasses import dataclass
from datetime import timedelta

from shared.errors import ServiceUnavailable
from shared.fleet_rows import Batch, Head
from shared.lines import Lane
from shared.quota import Quota
from shared.rollover import Rollover
from shared.services import Services


@dataclass(frozen=True)
class Turn:
    """One turn of one batch."""

    rollover: Rollover
    head: Head
    batch: Batch
    services: Services

    @property
    def quota(self) -> Quota:
        """The hub's, as the work last read it."""
        return Quota(self.head.tier, self.head.units)


@dataclass(frozen=True)
class Turned:
    """How the batch stands after a turn, and when its next one may be, if anything is left."""

    batch: Batch
    lane: Lane
    """The line that the next turn waits in."""
    after: timedelta = timedelta()
    """The next turn is not before this time."""
    waits: bool = False
    """The next turn waits for the work to give it its moment."""
    throttled: ServiceUnavailable | None = None
    """A service would not let it go on."""
