"""Every port of the product for one run of a function, over the fleet: faults as in ``tests.faults.flaky``, spells in
which a whole service is away, and a look at each write by ``tests.faults.mixed.watch``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from shared.devices import Devices
from shared.enrollment import Enrollment, HubIdentity, Twin, parse_enrollment
from shared.errors import Conflict, NotAllowed, RolloverError, ServiceUnavailable
from shared.ledger import Ledger, Write
from shared.looks import Looks
from shared.plans import Step
from shared.ports import Tagged
from shared.previews import Previews
from shared.seen import Job, Listed, VaultVersion
from shared.services import Services
from tests.faults.flaky import Flaky, Killed
from tests.faults.mixed.fleet import Fleet
from tests.faults.mixed.watch import Watch

Send = Callable[[Step, str, timedelta], None]


class Ports(Flaky):
    """The ports of one run."""

    _stage: Fleet  # type: ignore[assignment]

    def __init__(self, fleet: Fleet, watch: Watch, deliver: Send, *, dies_at: int = 0) -> None:
        super().__init__(fleet, fleet.rates, fleet.injected, lambda: None)  # type: ignore[arg-type]
        self._fleet = fleet
        self._look = watch.of_run()
        self._deliver = deliver
        self._dies_at = dies_at
        """At which call of this run the host is killed; 0 for none."""
        self._calls = 0

    @property
    def services(self) -> Services:
        return replace(
            self._fleet.world.services,
            provisioning=self,
            hub=self,
            vault=_Vault(self),
            ledger=Ledger(self),
            previews=Previews(self),
            nudges=self,
            topic=_Topic(self),
            devices=Devices(self),
            looks=Looks(self),
        )

    def preview(self) -> None:
        """From here on this run may only look."""
        self._look.previewing = True

    def meet(self, service: str) -> None:
        """The host may die, and the service be away."""
        self._calls += 1
        if self._calls == self._dies_at:
            self._injected["host dies again and again"] += 1
            raise Killed
        until, how = self._fleet.spells.get(service, (self._fleet.clock.time, ""))
        if self._fleet.clock.time < until:
            self._injected[f"{how} spell"] += 1
            raise _bad_day(service, how)

    def _effect(self, service: str, write: Callable[[], Any], lost: Sequence[type[RolloverError]]) -> None:
        self.meet(service)
        self.writes(write, lost)

    # --- DPS --------------------------------------------------------------------------------------------------------

    def enrollment(self, registration_id: str) -> Enrollment | None:
        self.meet("DPS")
        body = self._aged(f"enrolled {registration_id.lower()}")
        if body is None:
            return None
        state = self._fleet.was(f"registration {registration_id.lower()}", 0.0) or {"status": "unassigned"}
        return parse_enrollment({**body, "registrationState": state})

    def enrollments(self) -> Iterator[Enrollment]:
        self.meet("DPS")
        return iter(
            [parse_enrollment(body) for name in self._fleet.devices if (body := self._aged(f"enrolled {name}"))]
        )

    def replace(self, enrollment: Enrollment, body: Mapping[str, Any]) -> None:
        name = enrollment.registration_id
        write = self._look.replacing(name, lambda: self._fleet.world.dps.replace(enrollment, body))
        self._effect("DPS", write, [Conflict])

    def create(self, registration_id: str, body: Mapping[str, Any]) -> None:
        self._look.intends()
        self._effect("DPS", lambda: self._fleet.world.dps.create(registration_id, body), [Conflict])

    # --- hub --------------------------------------------------------------------------------------------------------

    def identity(self, device_id: str) -> HubIdentity | None:
        self.meet("hub")
        return self._aged(f"identity {device_id}")  # type: ignore[no-any-return]

    def rewrite(self, identity: HubIdentity) -> None:
        write = self._look.rewriting(identity, lambda: self._fleet.hub.rewrite(identity))
        self._effect("hub", write, [Conflict])

    def delete(self, identity: HubIdentity) -> None:
        write = self._look.deleting(identity, lambda: self._fleet.hub.delete(identity))
        self._effect("hub", write, [Conflict])

    def twin(self, device_id: str) -> Twin | None:
        self.meet("hub")
        found = self._aged(f"twin {device_id}")
        return found or self.reads(lambda: self._fleet.hub.twin(device_id))

    def replace_twin(self, device_id: str, read: Twin, twin: Twin) -> None:
        self._look.intends()
        self._effect("hub", lambda: self._fleet.hub.replace_twin(device_id, read, twin), [Conflict])

    def start_method_job(self, *arguments: Any) -> None:
        self._look.intends()
        self._effect("hub", lambda: self._fleet.hub.start_method_job(*arguments), [Conflict])

    def job(self, job_id: str) -> Job | None:
        self.meet("hub")
        return super().job(job_id)

    # --- storage ----------------------------------------------------------------------------------------------------

    def read(self, partition: str, row: str) -> Any:
        self.meet("table")
        return super().read(partition, row)

    def scan(self, prefix: str, **narrowed: Any) -> Iterator[Any]:
        self.meet("table")
        return super().scan(prefix, **narrowed)

    def commit(self, writes: Sequence[Write]) -> list[str]:
        self.meet("table")
        return self.writes(self._look.committing(writes), [Conflict])  # type: ignore[no-any-return]

    def send(self, step: Step, rollover_id: str, delay: timedelta = timedelta(), life: timedelta | None = None) -> None:
        self.meet("queue")

        def send() -> None:
            late = timedelta(seconds=self._chance.uniform(1.0, 90.0))
            wait = delay + late if self.happens(self._rates.nudge, "nudge delayed") else delay
            if not self.happens(self._rates.nudge, "nudge lost"):
                self._deliver(step, rollover_id, wait)
            if self.happens(self._rates.nudge, "nudge doubled"):
                self._deliver(step, rollover_id, wait + late / 20)

        self.writes(send, [])


def _bad_day(service: str, how: str) -> RolloverError:
    if how == "403":
        return NotAllowed(f"{service} answered 403")
    return ServiceUnavailable(f"{service} answered {how}", timedelta(seconds=30) if how == "429" else None)


class _Vault:
    """Key Vault; what it shows may be late too."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._vault = ports._fleet.world.vault

    def certificates(self) -> Iterator[Listed]:
        self._ports.meet("vault")
        return self._ports.reads(self._vault.certificates)

    def latest(self, name: str) -> Tagged | None:
        self._ports.meet("vault")
        versions, enabled, _ = self._ports._aged(f"vault {name.removesuffix('-cert')}")
        version = f"v{len(versions)}"
        tags, known = self._vault.kept[name].tags, self._vault.versioned_id(name, version)
        return Tagged(name, VaultVersion(version, enabled, versions[-1]), tags, known)

    def issuance(self, name: str) -> Any:
        self._ports.meet("vault")
        return self._ports._aged(f"vault {name.removesuffix('-cert')}")[2]

    def issue(self, name: str) -> None:
        self._ports._look.intends()
        self._ports._effect("vault", lambda: self._vault.issue(name), [Conflict])

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._vault, name)

        def call(*arguments: Any) -> Any:
            self._ports.meet("vault")
            return self._ports.reads(lambda: method(*arguments))

        return call


class _Topic:
    """The topic, which the product must never depend on."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def publish(self, *arguments: Any) -> None:
        self._ports.meet("topic")
        self._ports.writes(lambda: self._ports._fleet.world.topic.publish(*arguments), [])
