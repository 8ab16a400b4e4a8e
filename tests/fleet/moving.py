"""Devices that answer when a hub job asks them: they register with another certificate, or do something else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.errors import Conflict, ServiceUnavailable
from tests.fleet.kit import GROUP, Fleet, thumbprint


@dataclass
class Asked:
    """What comes of asking the devices of a fleet; takes the place of the hub's jobs."""

    fleet: Fleet
    group: str = GROUP
    deaf: set[str] = field(default_factory=set)
    """Those that do nothing when they are asked."""
    same_leaf: bool = False
    """They register with the certificate that they have."""
    by_name: dict[str, int] = field(default_factory=dict)
    """How often each was asked."""
    payloads: list[Mapping[str, Any]] = field(default_factory=list)
    jobs: set[str] = field(default_factory=set)
    sizes: list[int] = field(default_factory=list)
    """Of each job, how many devices it asked."""
    moments: list[datetime] = field(default_factory=list)
    """Of each job, when it was started."""
    throttled: int = 0
    """How many more calls the hub answers by 429."""
    most_active: int = 1000
    """How many jobs the hub lets be under way at once; more are answered by 429."""
    active: list[datetime] = field(default_factory=list)
    """When the jobs that are under way end."""
    refused: int = 0

    def __post_init__(self) -> None:
        self.fleet.world.hub.start_fleet_job = self.start  # type: ignore[method-assign]

    def start(self, job_id: str, device_ids: Sequence[str], method: str, payload: Mapping[str, Any]) -> None:
        now, hub = self.fleet.world.clock(), self.fleet.world.hub
        self.active = [one for one in self.active if one > now]
        if self.throttled or len(self.active) >= self.most_active:
            self.throttled -= bool(self.throttled)
            self.refused += 1
            raise ServiceUnavailable("429")
        if job_id in self.jobs:
            raise Conflict("409")
        # As long as its devices take by the quota, and the last one its time to answer.
        self.active.append(now + timedelta(seconds=len(device_ids) / hub.tier.job_devices + 5))
        self.jobs.add(job_id)
        self.moments.append(self.fleet.world.clock())
        self.sizes.append(len(device_ids))
        self.payloads.append(payload)
        for name in device_ids:
            self.by_name[name] = self.by_name.get(name, 0) + 1
            if name not in self.deaf and self.fleet.world.hub.identities[name].connected:
                self.move(name)

    def move(self, name: str) -> None:
        """A device registers."""
        world, shown = self.fleet.world, thumbprint(name, 0 if self.same_leaf else 1)
        world.dps.registered(name, group=self.group)
        world.hub.put(name, shown, shown, connected=True)

    def stop_listening(self, *names: str) -> None:
        self.deaf.update(names)

    def disconnect(self, *names: str) -> None:
        """Their sessions end; what the hub knows of them stays."""
        for name in names:
            self.fleet.world.hub.put(name, thumbprint(name), thumbprint(name), connected=False)
