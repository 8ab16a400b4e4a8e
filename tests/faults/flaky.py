"""Every port of the product, with faults: lost and late writes, throttling, outages, stale reads, kills.

Each call takes a moment, in which the whole stage moves on: so everybody may slip in between any two calls.
"""

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.devices import Devices
from shared.enrollment import Enrollment, HubIdentity, Twin, parse_enrollment
from shared.errors import Conflict, NotFound, RolloverError, ServiceUnavailable
from shared.group import Group
from shared.ledger import Ledger, Row, Write
from shared.looks import Looks
from shared.plans import Step
from shared.ports import Tagged
from shared.previews import Previews
from shared.seen import Job, VaultVersion
from shared.services import Services
from shared.timers import Timers
from tests.builders import CERTIFICATE, DEVICE
from tests.faults.stage import OTHER_DEVICE, Stage


class Killed(BaseException):
    """The host is gone. Not an Exception, so that nothing in the product can catch it."""


@dataclass(frozen=True)
class Rates:
    """How often things go wrong; 0 for never."""

    write: float
    read: float
    stale: float
    kill: float
    nudge: float

    @classmethod
    def of(cls, chance: random.Random) -> "Rates":
        """The rates of one run, from quiet to awful.

        A third is quiet but for late reads: the sooner the product gets to say contained, the more is still under way.
        """
        if chance.random() < 1 / 3:
            return cls(write=0.0, read=0.0, stale=chance.choice((0.0, 0.3, 0.8)), kill=0.0, nudge=0.0)
        return cls(
            write=chance.choice((0.0, 0.1, 0.25)),
            read=chance.choice((0.0, 0.05, 0.15)),
            stale=chance.choice((0.0, 0.3, 0.8)),
            kill=chance.choice((0.0, 0.01, 0.03)),
            nudge=chance.choice((0.0, 0.1, 0.3)),
        )


class Flaky:
    """The ports, over one stage."""

    def __init__(self, stage: Stage, rates: Rates, injected: Counter[str], interleave: Callable[[], None]) -> None:
        self._stage = stage
        self._chance = stage.chance
        self._rates = rates
        self._injected = injected
        self._interleave = interleave
        self.nudged: list[tuple[datetime, Step, str]] = []

    @property
    def services(self) -> Services:
        """As a function sees them."""
        stage = self._stage
        return Services(
            provisioning=self,
            hub=self,
            vault=_Vault(self),
            authorities=stage.world.authorities,
            fleet=stage.world.services.fleet,
            ledger=Ledger(self),
            previews=Previews(self),
            nudges=self,
            topic=_Topic(self),
            callers=stage.world.callers,
            devices=Devices(self),
            looks=Looks(self),
            timers=Timers(self),
            settings=stage.world.settings,
            now=stage.clock,
        )

    # --- how things go wrong ----------------------------------------------------------------------------------------

    def happens(self, rate: float, what: str) -> bool:
        """Whether something goes wrong now; counted if so."""
        if self._chance.random() >= rate:
            return False
        self._injected[what] += 1
        return True

    def _pass(self) -> None:
        self._stage.elapse(self._chance.uniform(0.1, 1.0) * self._stage.draw.call_s)
        self._interleave()

    def _answer_of_a_bad_day(self) -> RolloverError:
        kind = self._chance.choice(("429 with Retry-After", "429 without", "5xx"))
        self._injected[kind] += 1
        wait = timedelta(seconds=self._chance.randint(1, 8)) if kind == "429 with Retry-After" else None
        return ServiceUnavailable(f"the service answered {kind[:3]}", wait)

    def reads[T](self, read: Callable[[], T]) -> T:
        """One read."""
        self._pass()
        if self._chance.random() < self._rates.read:
            raise self._answer_of_a_bad_day()
        return read()

    def _aged(self, name: str) -> Any:
        """A read that may show what was a little earlier."""

        def read() -> Any:
            age = (
                self._chance.uniform(0.0, self._stage.draw.stale_s) if self._chance.random() < self._rates.stale else 0
            )
            found = self._stage.was(name, age)
            if age and found != self._stage.was(name, 0):
                self._injected["stale read that differs"] += 1
            return found

        return self.reads(read)

    def writes[T](self, write: Callable[[], T], lost: Sequence[type[RolloverError]]) -> T:
        """One write; ``lost`` is what an applied write may look like whose answer was lost and that was repeated."""
        self._pass()
        if self.happens(self._rates.kill / 2, "kill before a write"):
            raise Killed
        if self._chance.random() < self._rates.write:
            self._fails(write, lost)
        result = write()
        self._stage.happened()
        if self.happens(self._rates.kill / 2, "kill after a write"):
            raise Killed
        return result

    def _fails(self, write: Callable[[], Any], lost: Sequence[type[RolloverError]]) -> None:
        how = self._chance.choice(("lost reply", "lost reply", "never arrives", "arrives late", "refused"))
        if how == "refused":
            raise self._answer_of_a_bad_day()
        self._injected[how] += 1
        if how == "lost reply":
            write()
            self._stage.happened()
            raise self._chance.choice([ServiceUnavailable, *lost])("the answer was lost")
        if how == "arrives late":

            def late() -> None:
                with suppress(Conflict, NotFound):
                    write()

            self._stage.later(self._chance.uniform(0.1, 3.0), late)
        raise ServiceUnavailable("no answer")

    # --- DPS --------------------------------------------------------------------------------------------------------

    def enrollment(self, registration_id: str) -> Enrollment | None:
        assert registration_id == DEVICE
        body = self._aged("enrolled")
        state = self._stage.was("registration", 0.0) or {"status": "unassigned"}
        return parse_enrollment({**body, "registrationState": state})

    def enrollments(self) -> Iterator[Enrollment]:
        return iter([parse_enrollment(dict(self._aged("enrolled")))])

    def groups(self) -> Iterator[Group]:
        return self.reads(self._stage.world.dps.groups)

    def replace(self, enrollment: Enrollment, body: Mapping[str, Any]) -> None:
        self.writes(lambda: self._stage.world.dps.replace(enrollment, body), [Conflict])

    # --- hub --------------------------------------------------------------------------------------------------------

    def identity(self, device_id: str) -> HubIdentity | None:
        return self._aged("other" if device_id == OTHER_DEVICE else "identity")  # type: ignore[no-any-return]

    def holders(self, thumbprints: Collection[str]) -> list[str]:
        return self.reads(lambda: self._stage.hub.holders(thumbprints))

    def by_authority(self) -> list[str]:
        return self.reads(self._stage.hub.by_authority)

    def rewrite(self, identity: HubIdentity) -> None:
        self.writes(lambda: self._stage.hub.rewrite(identity), [Conflict])

    def delete(self, identity: HubIdentity) -> None:
        self.writes(lambda: self._stage.hub.delete(identity), [Conflict, NotFound])

    def twin(self, device_id: str) -> Twin | None:
        assert device_id == DEVICE
        return self._aged("twin")  # type: ignore[no-any-return]

    def replace_twin(self, device_id: str, read: Twin, twin: Twin) -> None:
        self.writes(lambda: self._stage.hub.replace_twin(device_id, read, twin), [Conflict])

    def start_method_job(self, *arguments: Any) -> None:
        self.writes(lambda: self._stage.hub.start_method_job(*arguments), [Conflict])

    def job(self, job_id: str) -> Job | None:
        return self.reads(lambda: self._stage.hub.job(job_id))

    # --- storage ----------------------------------------------------------------------------------------------------

    def read(self, partition: str, row: str) -> tuple[Row, str] | None:
        return self.reads(lambda: self._stage.world.table.read(partition, row))

    def commit(self, writes: Sequence[Write]) -> list[str]:
        return self.writes(lambda: self._stage.world.table.commit(writes), [Conflict])

    def scan(self, prefix: str, **narrowed: Any) -> Iterator[tuple[Row, str]]:
        table = self._stage.world.table
        return self.reads(lambda: iter(list(table.scan(prefix, **narrowed))))

    def send(self, step: Step, rollover_id: str, delay: timedelta = timedelta(), life: timedelta | None = None) -> None:
        def send() -> None:
            at = self._stage.clock.time + delay
            if self.happens(self._rates.nudge, "nudge delayed"):
                at += timedelta(seconds=self._chance.uniform(1.0, 90.0))
            if not self.happens(self._rates.nudge, "nudge lost"):
                self.nudged.append((at, step, rollover_id))
            if self.happens(self._rates.nudge, "nudge doubled"):
                self.nudged.append((at + timedelta(seconds=self._chance.uniform(0.0, 5.0)), step, rollover_id))

        self.writes(send, [])


class _Vault:
    """Key Vault, as far as a breach needs it."""

    def __init__(self, ports: Flaky) -> None:
        self._ports = ports
        self._vault = ports._stage.world.vault

    def latest(self, name: str) -> Tagged | None:
        versions, _ = self._ports._aged("vault")
        version = f"v{len(versions)}"
        tags = self._vault.kept[CERTIFICATE].tags
        return Tagged(name, VaultVersion(version, True, versions[-1]), tags, self._vault.versioned_id(name, version))

    def issuance(self, name: str) -> Any:
        return self._ports._aged("vault")[1]

    def issue(self, name: str) -> None:
        self._ports.writes(lambda: self._vault.issue(name), [Conflict])

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._vault, name)
        return lambda *arguments: self._ports.reads(lambda: method(*arguments))


class _Topic:
    """The topic, which the product must never depend on."""

    def __init__(self, ports: Flaky) -> None:
        self._ports = ports

    def publish(self, *arguments: Any) -> None:
        self._ports.writes(lambda: self._ports._stage.world.topic.publish(*arguments), [])
