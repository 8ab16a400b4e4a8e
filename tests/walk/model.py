"""The world as the walk sees it: the in-memory services, a device that tells the truth, and what must never happen.

Every write of the product passes through ``Watched``, which can stop it (a crash), lose its answer, or let
something else happen just before it, and which checks the invariants at the moment of the write.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from functions.delete_primary import retire_outgoing
from functions.invoke_reprovision_job import start_job
from functions.issue_certificate import ask_for_version
from functions.stage_hub_thumbprint import accept_both
from functions.upload_secondary import fill_standby_slot
from shared.certificate import Certificate, parse_certificate
from shared.devices import Devices
from shared.enrollment import Enrollment, HubIdentity, parse_enrollment
from shared.errors import Conflict, ServiceUnavailable
from shared.ledger import Ledger, Write
from shared.looks import Looks
from shared.nudges import encode_nudge
from shared.plans import Step
from shared.previews import Previews
from shared.rollover import Rollover, individual_partition
from shared.rows import from_row
from shared.services import Services
from shared.settings import Settings
from shared.stepping import Effect, carry_out
from shared.timers import Timers
from tests.certificates import NOW, generation
from tests.fakes import (
    HUB,
    Clock,
    InMemoryAuthorities,
    InMemoryCallers,
    InMemoryDps,
    InMemoryFleet,
    InMemoryHub,
    InMemoryTable,
    InMemoryVault,
    Kept,
    RecordedTopic,
    some_settings,
)

NAME = "dev-01"
CERTIFICATE = "dev-01-cert"
OLD, NEW, NEWER, STRANGER = (parse_certificate(generation(n, NAME).der) for n in (0, 1, 2, 9))
MAX_ACTS = 2
"""Less than in life, so that the walk gets to where a step gives up."""
LETTERS = {OLD.sha256_thumbprint: "o", NEW.sha256_thumbprint: "n", NEWER.sha256_thumbprint: "N", None: "-"}
EFFECTS: dict[Step, Effect] = {
    Step.ISSUE_CERTIFICATE: ask_for_version,
    Step.UPLOAD_SECONDARY: fill_standby_slot,
    Step.STAGE_HUB_THUMBPRINT: accept_both,
    Step.INVOKE_REPROVISION_JOB: start_job,
    Step.DELETE_PRIMARY: retire_outgoing,
}


class Broken(AssertionError):
    """An invariant does not hold."""


@dataclass(frozen=True)
class Knobs:
    """What is unknown about Azure and what the platform team may choose; the walk is done for each."""

    mirror_primary: bool = True
    hub_slots: str = "same"
    """What a registration writes to the hub: the presented thumbprint twice, or the enrollment's two."""
    refreshes: bool = True
    """Whether a registration writes to the hub at all (reprovision policy "never": perhaps not)."""
    retire_when_moved: bool = False


@dataclass
class Tape:
    """What happens at which write of a run: ``at`` counts from 1."""

    at: int = 0
    interrupt: Callable[[], None] | None = None
    """What comes before that write; without it, the answer to the write is lost."""
    count: int = 0
    keeps: bool = False
    kept: dict[int, Any] = field(default_factory=dict)
    """Number of a write that went through → the world at that moment, which is what a kill after it leaves."""
    looked: list[set[str]] = field(default_factory=lambda: [set()])
    """Which places were read before the first write, after it, and so on."""
    wrote: list[str] = field(default_factory=list)
    """The place of each write."""

    def look(self, place: str) -> None:
        """The product reads there: ``dps``, ``registrations``, ``hub``, ``vault``, ``fleet``, ``table``; or the walk
        itself compares what the product says with the ``truth``."""
        self.looked[-1].add(place)

    def write(self, state: Any, do: Callable[[], Any], lost: type[Exception], place: str) -> Any:
        """One write of the product to one of these places, or to the queue, ``bag``."""
        self.count += 1
        self.looked.append(set())
        self.wrote.append(place)
        number = self.count
        if number == self.at and self.interrupt is not None:
            self.interrupt()
        result = do()
        if self.keeps:
            self.kept[number] = state.killed()
        if number == self.at and self.interrupt is None:
            raise lost("the answer was lost")
        return result


def latest(table: InMemoryTable, partition: str) -> Rollover | None:
    """The target's latest rollover as it lies in the ledger; read once from each row."""
    target = table.rows.get((partition, "target"))
    if target is None:
        return None
    row = table.rows[(partition, f"rollover.{target[0]['last']:06}")]
    known = _READ.get(id(row))
    if known is None:
        if len(_READ) > 100_000:
            _READ.clear()
        known = _READ[id(row)] = row, from_row(row[0], str(row[1]))
    return known[1]


_READ: dict[int, tuple[Any, Rollover]] = {}
"""With the row itself, so that its ID stays its own."""


@dataclass
class State:
    """One state of the world. ``spent`` are the mishaps used up, so that the walk is finite."""

    knobs: Knobs
    clock: Clock
    dps: InMemoryDps
    hub: InMemoryHub
    vault: InMemoryVault
    table: InMemoryTable
    bag: list[tuple[Step, str]] = field(default_factory=list)
    device_uses: str = OLD.sha256_thumbprint
    device_has: frozenset[str] = frozenset({OLD.sha256_thumbprint})
    has_used: frozenset[str] = frozenset()
    """What the device has ever registered with since the walk began."""
    spent: frozenset[str] = frozenset()
    tape: Tape = field(default_factory=Tape)
    effects: ClassVar[Mapping[Step, Effect]] = EFFECTS

    def clone(self) -> "State":
        """A copy that shares only what is never changed in place."""
        dps, hub, vault, table = (copy.copy(x) for x in (self.dps, self.hub, self.vault, self.table))
        clock = Clock(self.clock.time)
        dps._clock = clock
        dps.enrolled, dps.registrations = dict(dps.enrolled), dict(dps.registrations)
        hub.identities, hub.jobs, hub.asked = dict(hub.identities), dict(hub.jobs), []
        vault.kept = {name: replace(kept, versions=list(kept.versions)) for name, kept in vault.kept.items()}
        table.rows = dict(table.rows)
        return replace(self, clock=clock, dps=dps, hub=hub, vault=vault, table=table, bag=list(self.bag), tape=Tape())

    def killed(self) -> "State":
        """What is left when the host is killed at this moment, in the middle of a run."""
        return self.clone()

    @property
    def services(self) -> Services:
        """As the product sees them, watched."""
        watched = self.watched()
        return Services(
            provisioning=watched,
            hub=watched,
            vault=watched,
            authorities=InMemoryAuthorities(),
            fleet=InMemoryFleet(self.hub, self.dps),
            ledger=Ledger(watched),
            previews=Previews(watched),
            devices=Devices(watched),
            looks=Looks(watched),
            timers=Timers(watched),
            nudges=watched,
            topic=RecordedTopic(),
            callers=InMemoryCallers(),
            settings=self.settings(),
            now=self.clock,
        )

    def watched(self) -> "Watched":
        """The ports of one run."""
        return Watched(self)

    def settings(self) -> Settings:
        """The application settings of this world."""
        return some_settings(retire_when_moved=self.knobs.retire_when_moved, max_acts=MAX_ACTS)

    def rollover(self) -> Rollover | None:
        """The rollover as it lies in the ledger."""
        return latest(self.table, individual_partition(NAME))

    def deliver(self, nudge: tuple[Step, str], tape: Tape | None = None) -> None:
        """One run of a step's function."""
        self.tape = tape or Tape()
        step, rollover_id = nudge
        carry_out(step, encode_nudge(rollover_id).encode(), self.services, self.effects[step])

    def register(self, sha256_thumbprint: str) -> None:
        """The device registers through DPS with a certificate it holds, if DPS lets it."""
        if not self.may_register(sha256_thumbprint):
            return
        self.dps.registered(NAME, HUB)
        self.device_uses = sha256_thumbprint
        self.has_used |= {sha256_thumbprint}
        known = self.hub.identities.get(NAME)
        if known is not None and not self.knobs.refreshes:
            return
        fields = {"enabled": known.enabled} if known else {}
        primary, secondary = self.dps.slots(NAME) if self.knobs.hub_slots == "enrollment" else (sha256_thumbprint,) * 2
        self.hub.put(NAME, primary, secondary, **fields)

    def may_register(self, sha256_thumbprint: str) -> bool:
        """Whether DPS admits the device with this certificate now."""
        body = self.dps.enrolled.get(NAME)
        enabled = body is not None and body["provisioningStatus"] == "enabled"
        held = sha256_thumbprint in self.device_has and not self.expired(sha256_thumbprint)
        return enabled and held and sha256_thumbprint in self.dps.slots(NAME)

    def expired(self, sha256_thumbprint: str) -> bool:
        """Whether a certificate is past its end."""
        ends = {c.sha256_thumbprint: c.not_after for c in (OLD, NEW, NEWER, STRANGER)}
        return ends[sha256_thumbprint] <= self.clock.time

    def key(self) -> tuple[Any, ...]:
        """What decides how the world goes on; times only as far as a decision compares them.

        Whether events wait unpublished is left out, in every walk: no decision looks at them (``shared.announce``), and
        to publish them writes the row once more as it is; all that can happen around that write is walked in the run
        that has the event.
        """
        rollover = self.rollover()
        body = self.dps.enrolled.get(NAME)
        identity = self.hub.identities.get(NAME)
        return (
            body and (body["provisioningStatus"], self._letters(self.dps.slots(NAME))),
            identity and (identity.enabled, self._letters((identity.primary, identity.secondary))),
            self.registered(rollover),
            tuple(c.sha256_thumbprint for c in self.vault.kept[CERTIFICATE].versions),
            self.vault.kept[CERTIFICATE].enabled,
            self.expired(OLD.sha256_thumbprint),
            self.clock.time >= OLD.not_after + timedelta(days=7),
            self.device_uses,
            self.device_has,
            self.has_used - {OLD.sha256_thumbprint},
            self.spent,
            # A nudge of another step is ignored by that step, and the timer makes one whenever it is due.
            rollover and (rollover.next_step, rollover.id) in self.bag,
            rollover and self._remembered(rollover),
        )

    def _letters(self, thumbprints: tuple[str | None, str | None]) -> str:
        return "".join(LETTERS.get(t, "s") for t in thumbprints)

    def registered(self, rollover: Rollover | None) -> str:
        """When the device last registered, as far as it matters."""
        record = self.dps.registrations.get(NAME)
        if record is None:
            return "never"
        last = datetime.fromisoformat(record["lastUpdatedDateTimeUtc"][:26] + "+00:00")
        if rollover is None or rollover.baseline is None or last <= rollover.baseline:
            return "before"
        return "after expiry" if last > OLD.not_after else "since"

    def _remembered(self, rollover: Rollover) -> tuple[Any, ...]:
        job = self.hub.jobs.get(rollover.job_id or "")
        waited = rollover.acted_at is not None and self.clock.time - rollover.acted_at >= timedelta(hours=12)
        return (
            rollover.id,
            rollover.done,
            rollover.outcome,
            rollover.incoming and rollover.incoming.version,
            rollover.is_due(self.clock.time),
            min(rollover.acts, MAX_ACTS + 1),
            waited,
            job is not None,
        )


class Watched:
    """Every port of the product, over the in-memory services of one state."""

    def __init__(self, state: State) -> None:
        self._state = state

    # reading
    def enrollment(self, registration_id: str) -> Enrollment | None:
        self._look("dps", "registrations")
        dps = self._state.dps
        body = dps.enrolled.get(registration_id.lower())
        if body is None:
            return None
        unassigned = {"status": "unassigned"}
        return parse_enrollment({**body, "registrationState": dps.registrations.get(NAME, unassigned)})

    def __getattr__(self, name: str) -> Any:
        state = self._state
        for place, service in (("hub", state.hub), ("vault", state.vault), ("table", state.table)):
            if hasattr(service, name):
                self._look(place)
                return getattr(service, name)
        raise AttributeError(name)

    def _look(self, *places: str) -> None:
        for place in places:
            self._state.tape.look(place)

    # writing
    def _write(self, do: Callable[[], Any], lost: type[Exception], place: str) -> Any:
        return self._state.tape.write(self._state, do, lost, place)

    def _effect(self, place: str, do: Callable[[], Any], lost: type[Exception] = Conflict) -> Any:
        rollover = self._state.rollover()
        records = Ledger(self._state.table).history(rollover) if rollover else []
        if not records or not any(r.what == "acts" for r in records[-3:]):
            raise Broken("I7: the world is changed without a record of who, what and why")
        return self._write(do, lost, place)

    def replace(self, enrollment: Enrollment, body: Mapping[str, Any]) -> None:
        state = self._state

        def do() -> None:
            before = set(state.dps.slots(NAME)) - {None}
            state.dps.replace(enrollment, body)
            after = set(state.dps.slots(NAME)) - {None}
            self._check_removed(before - after, after)

        self._effect("dps", do)

    def _check_removed(self, removed: set[str | None], after: set[str | None]) -> None:
        state, rollover = self._state, self._state.rollover()
        if not after:
            raise Broken("I1: the enrollment is left without any certificate")
        for gone in removed:
            if rollover is None or gone is None:
                raise Broken("a certificate is removed and no rollover is there")
            if gone != rollover.outgoing.sha256_thumbprint:
                if gone != rollover.replaces and not state.expired(gone):
                    raise Broken(f"I2: a certificate that is not of this rollover is removed: {LETTERS.get(gone, 's')}")
                continue
            if rollover.incoming is None or rollover.incoming.sha256_thumbprint not in state.has_used:
                raise Broken("I2: the outgoing certificate is retired and the device never used the incoming one")
            if not state.knobs.retire_when_moved and not state.expired(gone):
                raise Broken("I2: the outgoing certificate is retired before it has expired")

    def rewrite(self, identity: HubIdentity) -> None:
        state = self._state

        def do() -> None:
            before = state.hub.identities.get(NAME)
            accepted = set(before.thumbprints()) if before else set()
            state.hub.rewrite(identity)
            lost = accepted - set(identity.thumbprints())
            if state.device_uses in lost and not state.expired(state.device_uses):
                raise Broken("the hub no longer accepts the certificate that the device uses")

        self._effect("hub", do)

    def start_method_job(self, *arguments: Any) -> None:
        self._effect("hub", lambda: self._state.hub.start_method_job(*arguments), ServiceUnavailable)

    def issue(self, name: str) -> None:
        self._effect("vault", lambda: self._state.vault.issue(name), ServiceUnavailable)

    def commit(self, writes: list[Write]) -> list[str]:
        return self._write(lambda: self._state.table.commit(writes), Conflict, "table")  # type: ignore[no-any-return]

    def send(self, step: Step, rollover_id: str, delay: timedelta = timedelta(), life: timedelta | None = None) -> None:
        bag = self._state.bag
        self._write(lambda: bag.append((step, rollover_id)), ServiceUnavailable, "bag")


def a_state(knobs: Knobs) -> State:
    """A device that has lived on its certificate for a while, whose certificate is near its end."""
    clock = Clock(NOW - timedelta(days=100))
    state = State(
        knobs=knobs,
        clock=clock,
        dps=InMemoryDps(clock, mirror_primary=knobs.mirror_primary),
        hub=InMemoryHub(),
        vault=InMemoryVault(),
        table=InMemoryTable(),
    )
    policy = {"updateHubAssignment": knobs.refreshes, "migrateDeviceData": knobs.refreshes}
    state.dps.enroll(NAME, OLD, reprovisionPolicy=policy)
    state.dps.registered(NAME, HUB)
    state.hub.provision(NAME, OLD.sha256_thumbprint)
    state.vault.kept[CERTIFICATE] = Kept([OLD], {"rollover-enrollment": NAME})
    state.vault.issues = _renewed
    clock.time = NOW
    return state


def _renewed(_name: str) -> Certificate:
    return NEW
