"""What one seed makes of the world and of its people."""

import random
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Draw:
    """One world. The fields that ``tests.faults.stage.TrueHub`` reads have the names that they have there.

    What is stale, under way or not yet known everywhere adds up to less than ``Policy.settle``, which covers it.
    """

    devices: int
    days: int
    """How long things go wrong."""
    mirror: bool
    hub_slots: str
    policy_never: bool
    never_refreshes: bool
    reenables: bool
    drops_on_change: bool
    retire_when_moved: bool
    propagation_s: float
    assigning_s: float
    stale_s: float
    dropping_s: float
    shown_late_s: float
    call_s: float
    lifetime_days: int
    """Of the certificates that the vault issues."""
    events_lost: float
    sweep_hours: float
    """Between two sweeps that come to their end: in life an hour, and more where the host is killed."""
    fuse: int
    mishaps: int

    @classmethod
    def of(cls, chance: random.Random) -> "Draw":
        """One world."""
        return cls(
            devices=chance.choice((3, 3, 4, 4, 5, 6)),
            days=chance.choice((10, 20, 40)),
            mirror=chance.random() < 0.5,
            hub_slots=chance.choice(("same", "same", "same", "same", "enrollment")),
            policy_never=chance.random() < 0.15,
            never_refreshes=chance.random() < 0.5,
            reenables=chance.random() < 0.3,
            drops_on_change=chance.random() < 0.3,
            retire_when_moved=chance.random() < 0.3,
            propagation_s=chance.choice((0.0, 1.0)),
            assigning_s=chance.choice((0.3, 2.0, 4.5)),
            stale_s=chance.uniform(0.0, 3.5),
            dropping_s=chance.choice((0.1, 10.0, 55.0)),
            shown_late_s=chance.choice((0.0, 0.0, 20.0)),
            call_s=chance.choice((0.02, 0.1, 0.3)),
            lifetime_days=chance.choice((60, 180, 365)),
            events_lost=chance.choice((0.0, 0.5, 1.0)),
            sweep_hours=chance.choice((6.0, 12.0, 23.0)),
            fuse=chance.choice((10, 10, 0)),
            mishaps=chance.randint(2, 12),
        )

    @property
    def fault_time(self) -> timedelta:
        """How long things go wrong."""
        return timedelta(days=self.days)
