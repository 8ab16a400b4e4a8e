"""One mixed run by a seed: a time in which everything goes wrong, and one in which people do as they are told."""

import random
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared import starting
from shared.comparing import NEXT
from shared.drift import Drift, Finding, drifts
from shared.errors import RolloverError
from shared.nudges import encode_nudge
from shared.plans import Step
from shared.poison import report
from shared.resuming import resume_due
from shared.rollover import Outcome, Rollover
from shared.services import Services
from shared.starting import start_rollover
from shared.stepping import carry_out
from shared.sweeping import sweep
from shared.target import Begin
from tests.builders import EFFECTS
from tests.certificates import NOW
from tests.faults.flaky import Killed, Rates
from tests.faults.mixed.device import DAY, HOUR, Device
from tests.faults.mixed.draw import Draw
from tests.faults.mixed.fleet import CALM, Fleet
from tests.faults.mixed.obeying import Obedient
from tests.faults.mixed.people import Mishaps, People
from tests.faults.mixed.ports import Ports
from tests.faults.mixed.watch import Watch

ENDED_WELL = (None, Outcome.DONE, Outcome.PREEMPTED)
TRIES = 5
"""``maxDequeueCount`` of host.json."""
YOUNG = timedelta(hours=2)
"""So long after its begin a rollover is looked at as often as it asks for; later most nudges and turns are lost."""
SWEPT_WITHIN = timedelta(hours=1)
"""After a device has registered, the second sweep at the latest goes on with its rollover."""
PATIENCE = 90
"""How many days people obey before the run is called stuck."""


@dataclass
class Result:
    """What one seed showed."""

    seed: int
    draw: Draw
    injected: Counter[str] = field(default_factory=Counter)
    looked: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    """How rollovers ended."""
    told: list[str] = field(default_factory=list)
    """Next steps that were obeyed."""
    broken: list[str] = field(default_factory=list)
    took: timedelta = timedelta()

    def __str__(self) -> str:
        replay = f"pytest tests/faults/mixed -s --seed {self.seed}"
        return "\n  ".join([f"seed {self.seed} ({replay}): {self.draw}", *self.broken])


class Play:
    """A fleet, its people, and the product."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self._chance = chance
        self.result = Result(seed, Draw.of(chance))
        rates = Rates.of(chance)
        self.fleet = Fleet(
            self.result.draw, Rates(rates.write, rates.read / 3, rates.stale, rates.kill, rates.nudge), chance
        )
        self._watch = Watch(self.fleet)
        self.fleet.watch = self._watch.at_every_moment
        self.fleet.has_version = self._tell_event
        self._watch.begins = self._soon
        self._people = People(self.fleet, self._ports)
        self._obedient = Obedient(self._people, self._watch.breaks)
        self._mishaps = Mishaps(self._people)
        self._turns_at: datetime | None = None
        self._calm = False
        self._swept_at = NOW

    def run(self) -> Result:
        """Play it."""
        fleet, result = self.fleet, self.result
        days = result.draw.days
        for _ in range(result.draw.mishaps):
            fleet.later(self._chance.uniform(0, days) * DAY, self._mishaps.strike)
        for _ in range(days // 3):
            fleet.later(self._chance.uniform(0, days) * DAY, self._somebody_obeys)
        fleet.later(self._chance.uniform(0, 6) * HOUR, self._sweep, product=True)
        self._turn_in(60.0)
        fleet.elapse(days * DAY)
        self._settle()
        self._watch.at_the_end()
        result.injected, result.looked = fleet.injected, self._watch.looked
        result.told, result.broken = self._obedient.told, self._watch.broken
        for name in fleet.devices:
            for one in fleet.world.services.ledger.rollovers(name):
                result.ends[f"{one.plan.value} {one.status}"] += 1
        result.took = fleet.clock.time - NOW
        return result

    def _ports(self, dies_at: int = 0) -> Ports:
        return Ports(self.fleet, self._watch, self._deliver, dies_at=dies_at)

    # --- the product at work ----------------------------------------------------------------------------------------

    def _guarded(self, run: Callable[[Services], object], dies_at: int = 0) -> bool:
        """Whether a function came to its end."""
        with self.fleet.running():
            try:
                run(self._ports(dies_at).services)
            except (Killed, RolloverError):
                return False
            except Exception:  # noqa: BLE001  whatever it is, it is not to happen
                self._watch.breaks("a surprise: " + traceback.format_exc(limit=-4))
            return True

    def _soon(self) -> None:
        """Something began: the timer's next turn is soon."""
        self._turn_in(60.0)

    def _deliver(self, step: Step, rollover_id: str, delay: timedelta, tried: int = 1) -> None:
        message = encode_nudge(rollover_id).encode()
        if (
            tried == 1
            and delay > timedelta(seconds=1)
            and not self._is_young(rollover_id)
            and self._chance.random() < 0.9
        ):
            self.fleet.injected["nudge lost"] += 1
            return

        def run() -> None:
            if tried > TRIES:
                self.fleet.injected["poison"] += 1
                if not self._guarded(lambda services: report(step, message, services)):
                    self.fleet.later(60.0, run, product=True)
                return
            dying = self.fleet.clock.time < self.fleet.crashing.get(step, self.fleet.clock.time)
            dies_at = self._chance.randint(1, 3) if dying else 0
            if not self._guarded(lambda services: carry_out_step(step, message, services), dies_at):
                again = timedelta(seconds=self._chance.uniform(1.0, 60.0))
                self._deliver(step, rollover_id, again, tried + 1)

        self.fleet.later(delay.total_seconds(), run, product=True)

    def _turn_in(self, seconds: float) -> None:
        when = self.fleet.clock.time + timedelta(seconds=seconds)
        if self._turns_at is None or when < self._turns_at:
            self._turns_at = when
            self.fleet.later(seconds, lambda: self._turn(when), product=True)

    def _turn(self, when: datetime) -> None:
        """A turn of the timer. Where nothing is young, many turns are lost: they only cost time."""
        if self._turns_at != when:
            return
        self._turns_at = None
        now = self.fleet.clock.time
        self._guarded(resume_due)
        self._turns_at = None
        lasts = [one for name in self.fleet.devices if (one := self.fleet.last(name)) is not None]
        due = [one for one in lasts if one.outcome is None and one.due_at is not None]
        if not due:
            self._turn_in(12 * HOUR)
            return
        turns = []
        for one in due:
            least = 60.0 if self._is_young(one.id) else self._chance.uniform(6, 20) * HOUR
            turns.append(max((one.due_at - now).total_seconds(), least))  # type: ignore[operator]
        self._turn_in(min(turns))

    def _is_young(self, rollover_id: str) -> bool:
        last = self.fleet.last(rollover_id.split(".")[1])
        return last is None or self.fleet.clock.time - (last.reopened_at or last.started_at) < YOUNG

    def _sweep(self) -> None:
        if self._guarded(lambda services: sweep(services, self._chance.shuffle)):
            self._swept_at = self.fleet.clock.time
            self._look_at_promises()
        hours = 6.0 if self._calm else self.result.draw.sweep_hours * self._chance.uniform(0.5, 1.5)
        self.fleet.later(hours * HOUR, self._sweep, product=True)

    def _tell_event(self, name: str) -> None:
        """Event Grid tells of a version: late, twice, or not at all."""
        copies = self._chance.choice((1, 1, 2))
        for _ in range(copies):
            if not self.fleet.event_is_lost(calm=self._calm):
                delay = self._chance.choice((1.0, 60.0, 2 * HOUR))
                self._event(name, delay)

    def _event(self, name: str, delay: float) -> None:
        def come() -> None:
            def start(services: Services) -> None:
                start_rollover(f"{name}-cert", "event", services)

            if not self._guarded(start):
                self._event(name, self._chance.uniform(10.0, 300.0))

        self.fleet.later(delay, come, product=True)

    # --- people -----------------------------------------------------------------------------------------------------

    def _somebody_obeys(self) -> None:
        self._obedient.obey(self._chance.choice(list(self.fleet.devices.values())))

    def _settle(self) -> None:
        """Nothing goes wrong any more; what went wrong is mended as the product says, and in no other way."""
        fleet = self.fleet
        self._calm, fleet.rates = True, CALM
        fleet.spells.clear()
        fleet.crashing.clear()
        self._people.approving = 1.0
        self._obedient.promised.clear()
        for device in fleet.devices.values():
            device.away_until = min(device.away_until, fleet.clock.time + timedelta(days=3))
            device.wake_in(3 * DAY)
        for name in sorted(self._people.held):
            self._people.sets_status(fleet.devices[name], "enabled")
        for name in sorted(self._people.disallowed):
            self._people.allows(name)
        for _ in range(PATIENCE):
            fleet.elapse(DAY)
            if self._is_over():
                return
            for device in fleet.devices.values():
                self._do_as_told(device)
        for device in fleet.devices.values():
            if stuck := self._stuck(device):
                self._watch.breaks(f"I4: {device.name} does not come to its end: {'; '.join(stuck)}")

    def _do_as_told(self, device: Device) -> None:
        if not self._obedient.obey(device):
            self._obedient.heed(device)
            self._people.remembers(device)
            if device.name in self._people.disallowed:
                self._people.allows(device.name)
        for one in self._drifts(device):
            if one.finding is Finding.APART:
                self._obedient.mend_what_cannot_begin(device, NEXT[one.finding])
        for refused in self.fleet.world.services.ledger.refused_inputs():
            recent = self.fleet.clock.time - refused.last_seen < timedelta(hours=8)
            if refused.source == "certificate" and refused.subject == f"{device.name}-cert" and recent:
                self._obedient.mend_what_cannot_begin(device, refused.reason)

    def _drifts(self, device: Device) -> list[Drift]:
        """What the timer that compares would tell of the device; it comes round within hours."""
        services = self.fleet.world.services
        rollovers = list(services.ledger.rollovers(device.name))
        enrollment, shown = services.provisioning.enrollment(device.name), services.hub.shown(device.name)
        return drifts(rollovers, enrollment, shown) if rollovers else []

    def _stuck(self, device: Device) -> list[str]:
        """Why a device, or its last rollover, has not come to its end."""
        last, found = self.fleet.last(device.name), self._unwell(device)
        if last is not None and self._is_open(device, last):
            found.append(f"{last.id} waits at {last.next_step}: {last.waiting_for}")
        elif last is not None and last.plan.contains and not (last.outcome in ENDED_WELL or _is_moot(last, found)):
            found.append(f"{last.id} is {last.status}: {last.outcome_reason}; {last.next_action}")
        return found

    def _is_over(self) -> bool:
        return not any(map(self._stuck, self.fleet.devices.values()))

    def _is_open(self, device: Device, last: Rollover) -> bool:
        """Whether it goes on. All that is left may be to wait for the end of an outgoing certificate that lives long;
        so it is where the hub shows both certificates and only that end can tell which one the device uses.
        """
        if last.outcome is not None:
            return False
        moved = last.incoming is not None and last.incoming.sha256_thumbprint == device.uses.sha256_thumbprint
        return not (moved and last.plan.expires and self.fleet.clock.time < last.outgoing.not_after)

    def _unwell(self, device: Device) -> list[str]:
        """Why a device is not as it should be."""
        fleet, found = self.fleet, []
        session = fleet.hub.live.get(device.name)
        if session is None or session.thief or session.thumbprint != device.uses.sha256_thumbprint:
            found.append("it is not connected")
        if device.uses in device.stolen:
            found.append("it uses a stolen certificate")
        if device.uses.not_after - fleet.clock.time < timedelta(days=1):
            found.append("it uses a certificate that has expired, or soon will")
        if not fleet.admits(device.name, device.uses):
            found.append("DPS does not admit what it uses")
        return found + fleet.exposed(device.name, device.stolen)

    def _look_at_promises(self) -> None:
        """What was to go on by itself by this sweep has done so, or there is nothing to do any more."""
        if not self._calm:
            self._obedient.promised.clear()
        for name, device in self.fleet.devices.items():
            promise = self._obedient.broken_promise(device, SWEPT_WITHIN)
            if promise is not None and self._is_due(name):
                self._watch.breaks(f"I4: {name} was to go on by itself, and did not: {promise.said}")

    def _is_due(self, name: str) -> bool:
        """Whether there is something to roll, as the world is now."""
        services = self.fleet.world.services
        tagged, enrollment = services.vault.latest(f"{name}-cert"), services.provisioning.enrollment(name)
        if tagged is None or enrollment is None:
            return False
        return isinstance(starting._look_and_decide(tagged, enrollment, services), Begin)


def _is_moot(last: Rollover, unwell: list[str]) -> bool:
    """Whether nobody approved it in time, and by now there is nothing that it would contain."""
    return last.outcome is Outcome.REFUSED and not unwell


def carry_out_step(step: Step, message: bytes, services: Services) -> None:
    """What the function of a step does."""
    carry_out(step, message, services, EFFECTS[step])


def play(seed: int) -> Result:
    """One run by a seed."""
    return Play(seed).run()
