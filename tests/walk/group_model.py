"""The world of a group as the walk sees it: two devices, a thief with a CA's key, an engine that works through them.

The engine is a small one: it lists who registered, then does one device a turn; ``shared.fleet`` says what a step may
know of it. It comes to all that a step tells apart: not begun, not listed, some left (named), over the threshold, all
done, halted. That the real works come to the same, whenever their host dies, is held in ``tests/fleet``: EVICT, CHECK
and RESTORE with a whole breach (``test_breach_kills``, ``test_restoring``), WAVE, its halts and its stragglers in
``test_waves``. As in the walk of a single device, a registration takes its time: one that DPS admitted writes the hub a
little later, ``Policy.settle`` after the door was shut at the latest. That is all the model promises.

What keeps the walk finite, and why nothing is lost by it: the two devices are alike, so who of them has what is left
out (``GroupState.key``); of messages only the step that is due counts (``explore.nudged``); to ask devices and to look
for them takes one turn, for nothing is changed by it; who has moved is forgotten once a breach goes on, whose rules do
not ask for it. The thief holds one identity at a time, of the fleet or made up: the engine takes each device for
itself and the steps ask whether any is left, so of two the second would only make the product stay longer at its work.
"""

import copy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from shared.certificate import Certificate, parse_certificate
from shared.devices import Devices
from shared.enrollment import Slot
from shared.fleet import FleetProgress
from shared.ledger import Ledger
from shared.looks import Looks
from shared.nudges import encode_nudge
from shared.plans import Plan, Step
from shared.previews import Previews
from shared.rollover import Rollover, group_partition
from shared.services import Services
from shared.settings import Settings
from shared.stepping import carry_out
from shared.timers import Timers
from tests.builders import EFFECTS
from tests.certificates import NOW, a_ca
from tests.fakes import (
    Clock,
    InMemoryAuthorities,
    InMemoryCallers,
    InMemoryDps,
    InMemoryHub,
    InMemoryTable,
    Kept,
    RecordedTopic,
    some_settings,
)
from tests.walk.breach_services import RenewingVault
from tests.walk.model import Tape, latest

GROUP, CERTIFICATE = "g", "g-ca"
FLEET = ("d1", "d2")
MADE = "x"
"""A device that only the thief knows."""
SETTLE, LIMIT = timedelta(seconds=10), timedelta(days=7)
ACTS = 3
ENOUGH = 0.5
"""Which share of the devices is the threshold."""
YEARS = timedelta(days=3650)

_ROOT = a_ca("Root", ends=NOW + YEARS)
_MADE = {
    "o": a_ca("Line CA", _ROOT),
    "n": a_ca("Line CA", _ROOT, ends=NOW + timedelta(days=400)),
    "N": a_ca("Line CA", _ROOT, ends=NOW + timedelta(days=500)),
    "s": a_ca("Stranger", _ROOT, ends=NOW + timedelta(days=450)),
}
ROOT = parse_certificate(_ROOT.der)
CAS: dict[str, Certificate] = {letter: parse_certificate(made.der) for letter, made in _MADE.items()}
KEYS = {parse_certificate(made.der).sha256_thumbprint: made.key for made in _MADE.values()}
LETTERS = {one.sha256_thumbprint: letter for letter, one in CAS.items()}
OLD, NEW, NEXT, STRANGER = CAS["o"], CAS["n"], CAS["N"], CAS["s"]


@dataclass(frozen=True)
class GroupKnobs:
    """What is unknown about Azure, what the platform team may choose, and what happens."""

    by_reference: bool = False
    mirror_primary: bool = True
    retire_when_moved: bool = False
    shown: bool = True
    """Whether Resource Manager gives CA certificates back."""
    vouched: bool = False
    """Whether CA certificates are verified on upload."""
    minds: bool = False
    """Whether it minds that a group names the CA certificate that is to be deleted."""
    breach: bool = False
    """Whether a CA is stolen, and the breach called."""
    calm: bool = True
    """Else the breach is called out of any state of an expiry rollover."""
    vault_renews: bool = True
    operated: bool = False
    shared_ca: bool = False
    """Whether another enabled group names the same CA certificate."""


@dataclass(frozen=True)
class Work:
    """A work in one round: of those that were listed, who is left and who is not as he should be."""

    listed: tuple[str, ...] | None = None
    left: tuple[str, ...] = ()
    bad: frozenset[str] = frozenset()
    halted: bool = False


@dataclass(frozen=True)
class UnderWay:
    """A thief's registration that DPS admitted and that has not come to the hub."""

    device_id: str
    ca: str
    ends_by: datetime | None = None
    """None as long as the door is open to it."""


class PickyAuthorities(InMemoryAuthorities):
    """CA certificates that Resource Manager may not show, and may not delete while they are named."""

    shown = True

    def all(self) -> Any:
        found = super().all()
        return found if self.shown else [self._bare(one) for one in found]

    def get(self, name: str) -> Any:
        found = super().get(name)
        return found if found is None or self.shown else self._bare(found)

    def _bare(self, one: Any) -> Any:
        certificate = one.certificate
        return replace(
            one,
            certificate=None,
            thumbprint=certificate.sha1_thumbprint,
            common_name=certificate.common_name,
            expires=certificate.not_after,
        )


@dataclass
class GroupState:
    """One state of that world. ``spent`` are the mishaps used up, so that the walk is finite."""

    knobs: GroupKnobs
    clock: Clock
    dps: InMemoryDps
    hub: InMemoryHub
    vault: RenewingVault
    table: InMemoryTable
    authorities: PickyAuthorities
    works: dict[tuple[str, str, int], Work] = field(default_factory=dict)
    registered: frozenset[str] = frozenset(FLEET)
    used: frozenset[tuple[str, str]] = frozenset()
    """Which device has ever registered under which CA since the walk began: it can do so again."""
    bag: list[tuple[Step, str]] = field(default_factory=list)
    stolen: frozenset[str] = frozenset()
    """Letters of the CAs whose key a thief has."""
    under_way: UnderWay | None = None
    token: str = ""
    previewing: bool = False
    spent: frozenset[str] = frozenset()
    tape: Tape = field(default_factory=Tape)
    effects: ClassVar[Any] = EFFECTS

    def clone(self) -> "GroupState":
        """A copy that shares only what is never changed in place."""
        dps, hub, vault, table, there = (
            copy.copy(x) for x in (self.dps, self.hub, self.vault, self.table, self.authorities)
        )
        clock = Clock(self.clock.time)
        dps._clock = clock
        dps.grouped, hub.identities = dict(dps.grouped), dict(hub.identities)
        vault.kept = {name: replace(kept, versions=list(kept.versions)) for name, kept in vault.kept.items()}
        table.rows, there.kept, there.codes = dict(table.rows), dict(there.kept), dict(there.codes)
        return replace(
            self,
            clock=clock,
            dps=dps,
            hub=hub,
            vault=vault,
            table=table,
            authorities=there,
            works=dict(self.works),
            bag=[],  # ``explore.nudged`` does without
            tape=Tape(),
        )

    def killed(self) -> "GroupState":
        """What is left when the host is killed at this moment, in the middle of a run."""
        new = self.clone()
        new.previewing = False
        new.notice_door()
        return new

    @property
    def services(self) -> Services:
        """As the product sees them, watched."""
        from tests.walk.group_watch import GroupWatched

        watched: Any = GroupWatched(self)
        return Services(
            provisioning=watched,
            hub=watched,
            vault=watched,
            authorities=watched.authorities(),
            fleet=watched,
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

    def settings(self) -> Settings:
        """The application settings of this world."""
        policy = some_settings(retire_when_moved=self.knobs.retire_when_moved, max_acts=ACTS, settle=SETTLE)
        return replace(policy, ca_verified_on_upload=self.knobs.vouched)

    def rollover(self) -> Rollover | None:
        """The group's latest rollover as it lies in the ledger."""
        return latest(self.table, group_partition(GROUP))

    def deliver(self, nudge: tuple[Step, str], tape: Tape | None = None) -> None:
        """One run of a step's function."""
        self.tape = tape or Tape()
        step, rollover_id = nudge
        carry_out(step, encode_nudge(rollover_id).encode(), self.services, self.effects[step])

    # --- time -----------------------------------------------------------------------------------------------------

    def pass_until(self, when: datetime) -> None:
        """Time passes; a registration that was under way when the door was shut does not outlast its bound."""
        if self.under_way and self.under_way.ends_by and self.under_way.ends_by <= when:
            self.clock.time = max(self.clock.time, self.under_way.ends_by)
            self.end_registration()
        self.clock.time = max(self.clock.time, when)

    def notice_door(self) -> None:
        """Note since when the door is shut to the registration that is under way."""
        if self.under_way is not None:
            shut = not self.admits(self.under_way.ca)
            ends_by = (self.under_way.ends_by or self.clock.time + SETTLE) if shut else None
            self.under_way = replace(self.under_way, ends_by=ends_by)

    # --- DPS and devices ------------------------------------------------------------------------------------------

    def trusted(self) -> tuple[str, str]:
        """Letters of what the slots trust; ``-`` for nothing, ``?`` for a name that nobody has."""
        group = self.dps.group(GROUP)
        if group is None:
            return "-", "-"
        anchors = group.anchors(InMemoryAuthorities.all(self.authorities))
        found = []
        for slot in Slot:
            one = anchors[slot]
            found.append(LETTERS.get(one.sha256_thumbprint, "s") if one else "?" if group.references[slot] else "-")
        return found[0], found[1]

    def admits(self, ca: str) -> bool:
        """Whether DPS lets in who shows a certificate under this CA."""
        group = self.dps.group(GROUP)
        if group is None or not group.enabled or ca not in self.trusted() or CAS[ca].not_after <= self.clock.time:
            return False
        verified = {one.sha1_thumbprint for one in InMemoryAuthorities.all(self.authorities) if one.verified}
        above = {CAS[ca].sha1_thumbprint} if self.knobs.by_reference else {ROOT.sha1_thumbprint}
        return bool(above & verified)

    def begin_registration(self, device_id: str, ca: str) -> None:
        if self.under_way is None and self.admits(ca):
            self.under_way = UnderWay(device_id, ca)

    def end_registration(self) -> None:
        """It comes to the hub, whatever became of the group meanwhile."""
        if self.under_way is not None:
            ending, self.under_way = self.under_way, None
            self._at_hub(ending.device_id, f"T-{ending.ca}")

    def register(self, device_id: str, ca: str) -> None:
        """The rightful device registers, from beginning to end."""
        if self.admits(ca):
            self._at_hub(device_id, f"L-{ca}")
            self.used |= {(device_id, ca)}

    def _at_hub(self, device_id: str, leaf: str) -> None:
        self.hub.provision(device_id, leaf)
        self.registered |= {device_id}

    def leaf(self, device_id: str) -> str:
        """What the hub pins: ``L-n`` the device's own under n, ``T-o`` a thief's, ``-`` nothing."""
        identity = self.hub.identities.get(device_id)
        return str(identity.primary) if identity else "-"

    def thiefs(self) -> list[str]:
        """Devices as which the hub lets the thief in."""
        return [one for one in self.hub.identities if self.leaf(one).startswith("T-")]

    def own(self) -> list[str]:
        """Letters of the CAs under which a rightful device may get a certificate, newest first."""
        return [LETTERS[one.sha256_thumbprint] for one in reversed(self.vault.kept[CERTIFICATE].versions)]

    # --- the engine -----------------------------------------------------------------------------------------------

    def progress(self, rollover: Rollover, work: str) -> FleetProgress | None:
        known = self.works.get((rollover.id, work, rollover.round))
        if known is None:
            return None
        devices = known.listed or ()
        done = [one for one in devices if self._is_done(one, work, known, rollover)]
        left = tuple(one for one in devices if one not in done)
        enough = known.listed is not None and len(done) >= ENOUGH * len(devices)
        return FleetProgress(
            work=work,
            listed=known.listed is not None,
            devices=len(devices),
            done=len(done),
            batches=1,
            batches_done=int(not known.left if work in CHANGING else not left),
            stragglers=left,
            halted="the engine gives up" if known.halted else None,
            threshold_reached=work in ("wave", "restore") and enough,
        )

    def _is_done(self, device_id: str, work: str, known: Work, rollover: Rollover) -> bool:
        match work:
            case "evict":
                return device_id not in known.left
            case "check":
                return device_id not in known.left and device_id not in known.bad
            case "wave":
                incoming = rollover.incoming
                return incoming is not None and self.leaf(device_id) == f"L-{LETTERS[incoming.sha256_thumbprint]}"
            case _:
                return self.leaf(device_id) != "-"

    def working(self) -> tuple[str, str, int] | None:
        """The work that the engine would go on with."""
        rollover = self.rollover()
        if rollover is None or rollover.outcome is not None:
            return None
        key = (rollover.id, _WORKS.get(rollover.next_step or Step.ISSUE_CERTIFICATE, ""), rollover.round)
        known = self.works.get(key)
        goes_on = known is not None and not known.halted and (known.listed is None or known.left)
        return key if goes_on else None

    def turn(self) -> None:
        """One turn of the engine: it lists, or does one device; then the rollover looks."""
        key = self.working()
        if key is None:
            return
        known, work = self.works[key], key[1]
        if known.listed is None:
            listed = tuple(sorted(self.registered))
            # Asking devices, and looking whether they are back, changes nothing by itself: no turns for that.
            known = replace(known, listed=listed, left=listed if work in CHANGING else ())
        else:
            device_id = known.left[0]
            known = replace(known, left=known.left[1:])
            if work == "evict":
                self.hub.identities.pop(device_id, None)
            elif work == "check" and device_id in self.hub.identities:
                known = replace(known, bad=known.bad | {device_id})
        self.works[key] = known
        self.look_again()

    def give_up(self) -> None:
        """The engine goes no further, as when a role is missing or a wave's devices do not move."""
        if (key := self.working()) is not None:
            self.works[key] = replace(self.works[key], halted=True)
            self.look_again()

    def look_again(self) -> None:
        """The rollover is due now, and nudged."""
        rollover = self.rollover()
        if rollover is not None and rollover.next_step is not None and rollover.waiting_for:
            Ledger(self.table).record(replace(rollover, due_at=self.clock.time), None)
            self.bag.append((rollover.next_step, rollover.id))

    # --- the truth ------------------------------------------------------------------------------------------------

    def exposed(self) -> list[str]:
        """What lets in, or will let in, a thief; whatever the product has read."""
        found = [f"DPS admits under {ca}" for ca in sorted(self.stolen) if self.admits(ca)]
        found += [f"the hub accepts {one}" for one in self.thiefs()]
        if self.under_way is not None and self.under_way.ca in self.stolen:
            found.append("a registration is under way")
        return found

    # --- what tells two states apart ------------------------------------------------------------------------------

    def key(self) -> tuple[Any, ...]:
        """States with one key go on alike. The two devices of the fleet are alike but for their names: who of them
        has what is left out, unless the engine still has both before it, which it takes by name."""
        rollover = self.rollover()
        body = self.dps.grouped.get(GROUP)
        coming = self.under_way
        due = rollover.due_at if rollover else None
        devices = [self._device(one) for one in FLEET]
        return (
            body and (body["provisioningStatus"], self.trusted()),
            tuple(sorted((one.name, one.verified) for one in self.authorities.kept.values())),
            tuple(devices if self._both_ahead() else sorted(devices)),
            self._device(MADE),
            self.registered,
            "".join(self.own()),
            self.vault.kept[CERTIFICATE].enabled,
            self.stolen,
            self.spent,
            bool(self.token),
            coming and (coming.ca, coming.ends_by and bool(due and coming.ends_by <= due)),
            OLD.not_after <= self.clock.time,
            rollover and self._remembered(rollover),
            tuple(work and work.listed and len(work.listed) for work in self._present_works()),
            tuple(work and work.halted for work in self._present_works()),
        )

    def alike(self) -> bool:
        """Whether the devices of the fleet differ in nothing but their names: what one can do the other need not."""
        one, other = (self._device(device_id) for device_id in FLEET)
        return one == other and not self._both_ahead()

    def _both_ahead(self) -> bool:
        return any(work is not None and set(FLEET) <= set(work.left) for work in self._present_works())

    def _present_works(self) -> list[Work | None]:
        rollover = self.rollover()
        if rollover is None:
            return []
        return [self.works.get((rollover.id, work, rollover.round)) for work in _WORKS.values()]

    def _device(self, device_id: str) -> tuple[Any, ...]:
        rollover = self.rollover()
        contained = rollover is not None and rollover.plan is Plan.GROUP_BREACH and rollover.outcome is None
        # Who has moved counts for an expiry alone (``group_watch``).
        used = () if contained else tuple(sorted(ca for one, ca in self.used if one == device_id and ca != "o"))
        works = tuple(
            work is not None and (device_id in work.left, device_id in work.bad) for work in self._present_works()
        )
        return (
            self.leaf(device_id),
            used,
            self.under_way is not None and self.under_way.device_id == device_id,
            str(works),
        )

    def _remembered(self, rollover: Rollover) -> tuple[Any, ...]:
        now = self.clock.time
        waited = now - rollover.waiting_since if rollover.waiting_since else timedelta()
        began = max(rollover.outgoing.not_after, rollover.started_at) if rollover.plan.expires else rollover.started_at
        return (
            rollover.id,
            rollover.done,
            rollover.outcome,
            rollover.incoming and rollover.incoming.version,
            rollover.is_due(now),
            min(rollover.acts, ACTS),
            (rollover.waiting_for or "").partition(":")[0],
            waited >= SETTLE,
            now >= began + LIMIT,
            rollover.incident and len(rollover.incident.compromised),
        )


CHANGING = ("evict", "check")
_WORKS = {
    Step.REMOVE_HUB_REGISTRATION: "evict",
    Step.VERIFY_CONTAINMENT: "check",
    Step.INVOKE_REPROVISION_JOB: "wave",
    Step.RESTORE_TWIN: "restore",
}


def a_group_state(knobs: GroupKnobs) -> GroupState:
    """A group near its CA's end, with both devices at the hub."""
    clock = Clock(NOW)
    vault, authorities = RenewingVault(), PickyAuthorities()
    state = GroupState(
        knobs=knobs,
        clock=clock,
        dps=InMemoryDps(clock, mirror_primary=knobs.mirror_primary),
        hub=InMemoryHub(),
        vault=vault,
        table=InMemoryTable(),
        authorities=authorities,
        stolen=frozenset("o") if knobs.breach and knobs.calm else frozenset(),
    )
    authorities.add("root", ROOT)
    authorities.shown = knobs.shown
    if knobs.by_reference:
        authorities.add("ca-o", OLD)
        state.dps.enroll_group(GROUP, ca_references=["ca-o"])
        if knobs.shared_ca:
            state.dps.enroll_group("h", ca_references=["ca-o"])
    else:
        state.dps.enroll_group(GROUP, OLD)
        if knobs.shared_ca:
            state.dps.enroll_group("h", OLD)
    state.dps.members_of[GROUP] = list(FLEET)
    for device_id in FLEET:
        state.dps.registered(device_id)
        state.hub.provision(device_id, "L-o")
    vault.kept[CERTIFICATE] = Kept([OLD], {"rollover-group": GROUP}, keys=KEYS)
    vault.renews, vault.fresh = knobs.vault_renews, (NEW, NEXT)
    return state
