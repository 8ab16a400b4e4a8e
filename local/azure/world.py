"""Everything that one running stand-in knows, in one place: clock, knobs, faults, journal and the services.

The services call each other through it, as plain methods in one event loop.
"""

import logging
from collections.abc import Callable
from datetime import timedelta

from local.azure.clock import Clock
from local.azure.dps import Dps
from local.azure.eventgrid import EventGrid
from local.azure.faults import Faults
from local.azure.identity import Identity
from local.azure.iothub import Hub
from local.azure.journal import Journal
from local.azure.keyvault import Vault
from local.azure.keyvault.expiry import run_due
from local.azure.knobs import Knobs
from local.azure.names import Names
from local.azure.throttle import Throttles

log = logging.getLogger(__name__)


class World:
    """One stand-in. Every service has `reset()`; those with work that falls due add themselves to `ticks`."""

    def __init__(self, net: str = "127.0.0") -> None:
        self.names = Names(net)
        self.clock = Clock()
        self.knobs = Knobs()
        self.faults = Faults()
        self.throttles = Throttles(self.clock)
        self.journal = Journal(self.clock)
        # Called every second and after each move of the clock: renewals, expiries, jobs that fall due.
        self.ticks: list[Callable[[], None]] = []
        self.identity = Identity(self.clock, self.names)
        self.eventgrid = EventGrid(self)
        self.vault = Vault(self)
        self.ticks.append(lambda: run_due(self.vault, self.knobs, self.clock.now()))
        self.hub = Hub(self)
        self.dps = Dps(self)
        self.clock.subscribe(self._moved)

    def _moved(self, _distance: timedelta) -> None:
        self.tick()

    def tick(self) -> None:
        """Let everything that is due happen. One part that fails does not stop the others."""
        for due in self.ticks:
            try:
                due()
            except Exception:
                log.exception("work that was due failed")

    def reset(self) -> None:
        """Back to the state right after start, keys and addresses kept."""
        self.faults.clear()
        self.knobs.reset()
        self.throttles.reset()
        for part in (self.identity, self.eventgrid, self.vault, self.hub, self.dps):
            part.reset()
        self.clock.reset()
        self.journal.clear()
