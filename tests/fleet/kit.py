"""A group with a fleet in memory, and a host for its works: messages at their moments, the timer every minute."""

import hashlib
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from shared.enrollment import Slot, Twin
from shared.fleet import FleetProgress, Work
from shared.fleet_resuming import resume_works
from shared.fleet_work import take_turn
from shared.incident import Incident, Mode
from shared.nudges import encode_nudge
from shared.plans import PLANS, Plan, Step
from shared.resuming import resume_due
from shared.rollover import Rollover
from shared.rows import History
from shared.services import Services
from shared.stepping import carry_out
from tests.builders import EFFECTS, NEW, OLD, as_incoming, as_outgoing
from tests.certificates import NOW
from tests.fakes import Kept, World, a_world

GROUP = "pumps"
MINUTE = timedelta(minutes=1)


def names(count: int) -> list[str]:
    """Device IDs of a fleet."""
    return [f"pump-{number:06}" for number in range(count)]


def thumbprint(device_id: str, generation: int = 0) -> str:
    """What the hub shows of a device's leaf."""
    return hashlib.sha256(f"{device_id}/{generation}".encode()).hexdigest().upper()


def a_breach(work: Work, **changes: Any) -> Rollover:
    """A breach of the group that has come to the step of ``work``."""
    order = PLANS[Plan.GROUP_BREACH]
    rollover = Rollover(
        id="",
        plan=Plan.GROUP_BREACH,
        registration_id="",
        device_id="",
        group_id=GROUP,
        certificate_name="pumps-ca",
        cause="test",
        started_at=NOW,
        outgoing=as_outgoing(OLD),
        standby=Slot.SECONDARY,
        incoming=as_incoming(NEW),
        incident=Incident("incident-1", Mode.REMOVE, "stolen", "oncall", "id-of-oncall", (as_outgoing(OLD),)),
        done=order[: order.index(work.step)],
        due_at=NOW,
        waiting_for="the fleet",
        waiting_since=NOW,
    )
    return replace(rollover, **changes)


def an_expiry(**changes: Any) -> Rollover:
    """An expiry of the group that has come to the waves."""
    order = PLANS[Plan.GROUP_EXPIRY]
    at = order.index(Step.INVOKE_REPROVISION_JOB)
    return a_breach(Work.EVICT, **{"plan": Plan.GROUP_EXPIRY, "incident": None, "done": order[:at], **changes})


@dataclass
class Host:
    """Delivers messages at their moments and turns the timer every minute; nothing takes time."""

    world: World
    queue: list[tuple[datetime, int, Step, str]] = field(default_factory=list)
    woken: list[datetime] = field(default_factory=list)
    """When the rollover itself was nudged."""
    turns: int = 0
    deliver: Callable[[Step, bytes, Services], Any] = take_turn
    whole: bool = False
    """Whether the rollover's own steps are carried out too, as its functions do."""
    _order: "itertools.count[int]" = field(default_factory=itertools.count)
    _tick: datetime = NOW + MINUTE

    def __post_init__(self) -> None:
        self.world.nudges.send = self.send  # type: ignore[method-assign]

    def send(self, step: Step, about: str, delay: timedelta = timedelta(), life: timedelta | None = None) -> None:
        heapq.heappush(self.queue, (self.world.clock() + delay, next(self._order), step, about))

    def next_at(self) -> datetime:
        """When the next message comes, or the timer."""
        return min(self.queue[0][0], self._tick) if self.queue else self._tick

    def step(self) -> None:
        """The next message, or the timer."""
        clock = self.world.clock
        if self.queue and self.queue[0][0] <= self._tick:
            moment, _, step, about = heapq.heappop(self.queue)
            clock.time = max(clock.time, moment)
            if "/" not in about:
                self.woken.append(clock.time)
                if self.whole:
                    carry_out(step, encode_nudge(about).encode(), self.world.services, EFFECTS[step])
                return
            self.turns += 1
            self.deliver(step, encode_nudge(about).encode(), self.world.services)
        else:
            clock.time = max(clock.time, self._tick)
            self._tick = clock.time + MINUTE
            resume_works(self.world.services)
            if self.whole:
                resume_due(self.world.services)

    def run(self, until: Callable[[], bool], longest: timedelta = timedelta(days=30)) -> None:
        """Until something holds."""
        deadline = self.world.clock() + longest
        while not until():
            assert self.world.clock() < deadline, "it does not come to an end"
            self.step()

    def run_for(self, time: timedelta) -> None:
        """For a time."""
        end = self.world.clock() + time
        self.run(lambda: self.world.clock() >= end)


@dataclass
class Fleet:
    """A group, its devices, and a rollover that is at a work."""

    world: World
    host: Host
    rollover: Rollover
    work: Work

    def progress(self) -> FleetProgress:
        found = self.world.services.fleet.progress(self.the_rollover(), self.work)
        assert found is not None
        return found

    def the_rollover(self) -> Rollover:
        return self.world.services.ledger.read(self.rollover.id)

    def begin(self, work: Work | None = None) -> None:
        """Begin the work; with another one, go on to its step first."""
        if work is not None and work is not self.work:
            order = PLANS[self.rollover.plan]
            self.change(done=order[: order.index(work.step)])
            self.work = work
        self.world.services.fleet.begin(self.the_rollover(), self.work)

    def change(self, **changes: Any) -> None:
        """The rollover as its own steps would change it."""
        self.rollover = self.world.services.ledger.record(replace(self.the_rollover(), **changes), None)

    def finish(self, longest: timedelta = timedelta(days=30)) -> FleetProgress:
        """Run until the work is finished."""
        self.host.run(lambda: self.progress().finished, longest)
        return self.progress()


def a_fleet(count: int, work: Work = Work.EVICT, rollover: Rollover | None = None, **policy: Any) -> Fleet:
    """A group of ``count`` devices that registered and are connected, each with a twin of its own."""
    world = a_world(**policy)
    world.fleet = None  # the real works
    world.clock.time = NOW - timedelta(days=10)
    world.dps.enroll_group(GROUP, OLD)
    world.vault.kept["pumps-ca"] = Kept([OLD, NEW], {"rollover-group": GROUP})
    for name in names(count):
        world.dps.registered(name, group=GROUP)
        world.hub.put(name, thumbprint(name), thumbprint(name), connected=True)
        world.hub.twins[name] = Twin(f"t-{name}", {"site": name}, {"rate": {"every": 5, "of": name}})
    world.clock.time = NOW
    host = Host(world)
    begun = world.services.ledger.begin(
        rollover or (an_expiry() if work is Work.WAVE else a_breach(work)),
        None,
        History(NOW, "test", "started", "for a test"),
    )
    return Fleet(world, host, begun, work)
