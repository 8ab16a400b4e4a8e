"""The world of a breach as the walk sees it: a thief with a stolen key, the hub's sessions, and the truth about both.

A registration takes its time: one that DPS admitted writes the hub identity a little later, when the door may be shut
by then. What the product promises rests on one bound: it has ended ``Policy.settle`` after the door was shut. The
model holds that, no more and no less. Anybody who uses a stolen certificate is the thief here; the rightful device
uses others. Moves that lead to the same state of the cloud are one move: the device fetches a certificate when it
registers with it.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shared.decide_recovery import REPROVISION_LIMIT
from shared.enrollment import HubIdentity, Removed, Twin
from shared.incident import Mode
from shared.plans import Plan, Step
from shared.rollover import Rollover
from shared.rows import removed_from_row
from shared.settings import Settings
from tests.builders import EFFECTS
from tests.certificates import NOW
from tests.fakes import HUB, Clock, InMemoryDps, InMemoryTable, Kept, some_settings
from tests.walk.breach_services import ENDS, LETTERS, OTHER, RenewingVault, SessionHub
from tests.walk.model import CERTIFICATE, NAME, OLD, Knobs, State

TWIN = Twin("t1", {"site": "Oslo"}, {"interval": 30})
MOMENT = timedelta(milliseconds=1)
ACTS = 3
"""One more than any step needs."""
SETTLE = timedelta(seconds=10)
SHOWN = timedelta(minutes=1)
"""After so long at most the hub shows that a session ended."""
LIMIT = timedelta(days=7)
"""``Policy.straggler_grace``."""


@dataclass(frozen=True)
class BreachKnobs(Knobs):
    """One world: what is stolen, what is called for, and what Azure may do."""

    mode: Mode = Mode.REMOVE
    stolen: str = "primary"
    """``primary`` (the only one), ``both`` (two certificates), ``secondary``, ``all`` (what the call finds)."""
    calm: bool = True
    """Else the call may come in any state of an open expiry rollover."""
    reenables: bool = False
    """Whether a registration enables a disabled hub identity."""
    shows_late: bool = False
    """Whether the hub goes on showing a session for a while after it ended it."""
    vault_renews: bool = True
    second_call: Mode | None = None
    """The mode of another call that may come while the first is open."""
    operated: bool = False
    """Whether a person may cancel and retry."""
    fuse: int = 10
    plan: Plan = Plan.BREACH
    """``DISALLOW`` for a world in which the device is disallowed and allowed again."""


@dataclass(frozen=True)
class UnderWay:
    """A registration that DPS admitted and that has not come to the hub."""

    certificate: str
    slots: tuple[str | None, str | None]
    ends_by: datetime | None = None
    """None as long as the door is open to it."""


@dataclass
class BreachState(State):
    """One state of that world."""

    knobs: BreachKnobs
    stolen: frozenset[str] = frozenset({OLD.sha256_thumbprint})
    under_way: UnderWay | None = None
    tokens: tuple[tuple[Mode, str], ...] = ()
    """Of the previews that a person looked at."""
    previewing: bool = False
    effects = EFFECTS

    def clone(self) -> "BreachState":
        new = super().clone()
        new.hub.twins, new.hub.sessions = dict(self.hub.twins), dict(self.hub.sessions)
        new.bag = []  # ``explore.nudged`` does without
        return new  # type: ignore[return-value]

    def killed(self) -> "BreachState":
        new = self.clone()
        new.previewing = False
        new.notice_door()
        return new

    def watched(self) -> Any:
        from tests.walk.breach_watch import BreachWatched

        return BreachWatched(self)

    def settings(self) -> Settings:
        return replace(some_settings(max_acts=ACTS, settle=SETTLE), breach_fuse=self.knobs.fuse)

    # --- time ------------------------------------------------------------------------------------------------

    def pass_until(self, when: datetime) -> None:
        """Time passes; a registration that was under way when the door was shut does not outlast its bound."""
        if self.under_way and self.under_way.ends_by and self.under_way.ends_by <= when:
            self.clock.time = max(self.clock.time, self.under_way.ends_by)
            self.end_registration()
        if when - self.clock.time >= SHOWN:
            self.hub.show(NAME)
        self.clock.time = max(self.clock.time, when)

    def notice_door(self) -> None:
        """Note since when the door is shut to the registration that is under way."""
        if self.under_way is not None:
            shut = not self.admits(self.under_way.certificate)
            ends_by = (self.under_way.ends_by or self.clock.time + SETTLE) if shut else None
            self.under_way = replace(self.under_way, ends_by=ends_by)

    # --- devices ---------------------------------------------------------------------------------------------

    def expired(self, sha256_thumbprint: str) -> bool:
        return ENDS[sha256_thumbprint] <= self.clock.time

    def admits(self, sha256_thumbprint: str) -> bool:
        """Whether DPS lets in who shows this certificate."""
        body = self.dps.enrolled.get(NAME)
        enabled = body is not None and body["provisioningStatus"] == "enabled"
        return enabled and sha256_thumbprint in self.dps.slots(NAME) and not self.expired(sha256_thumbprint)

    def accepts(self, sha256_thumbprint: str) -> bool:
        """Whether the hub lets in who shows this certificate."""
        identity = self.hub.identities.get(NAME)
        pinned = identity is not None and identity.enabled and sha256_thumbprint in identity.thumbprints()
        return pinned and not self.expired(sha256_thumbprint)

    def begin_registration(self, sha256_thumbprint: str) -> None:
        if self.under_way is None and self.admits(sha256_thumbprint):
            self.under_way = UnderWay(sha256_thumbprint, self.dps.slots(NAME))

    def end_registration(self) -> None:
        """It comes to the hub, whatever became of the enrollment meanwhile."""
        if self.under_way is not None:
            ending, self.under_way = self.under_way, None
            self._at_hub(ending.certificate, ending.slots)

    def register(self, sha256_thumbprint: str) -> None:
        """A registration from beginning to end."""
        if self.admits(sha256_thumbprint):
            self._at_hub(sha256_thumbprint, self.dps.slots(NAME))

    def _at_hub(self, sha256_thumbprint: str, slots: tuple[str | None, str | None]) -> None:
        self.clock.advance(MOMENT)
        self.dps.registered(NAME, HUB)
        known = self.hub.identities.get(NAME)
        if known is not None and not self.knobs.refreshes:
            return
        kept = ("enabled", "status_reason", "connected", "connection_changed")
        fields = {name: getattr(known, name) for name in kept} if known else {}
        if self.knobs.reenables:
            fields["enabled"] = True
        primary, secondary = slots if self.knobs.hub_slots == "enrollment" else (sha256_thumbprint,) * 2
        self.hub.put(NAME, primary, secondary, **fields)

    def connect(self, sha256_thumbprint: str) -> None:
        if self.accepts(sha256_thumbprint):
            self.clock.advance(MOMENT)
            self.hub.connect(NAME, sha256_thumbprint, self.clock.time)

    def own(self) -> list[str]:
        """The rightful device's certificates that are not stolen, newest first."""
        found = [one.sha256_thumbprint for one in (*reversed(self.vault.kept[CERTIFICATE].versions), OTHER)]
        return [one for one in found if one not in self.stolen]

    # --- the truth -------------------------------------------------------------------------------------------

    def exposed(self) -> list[str]:
        """What lets in, or will let in, who shows a stolen certificate; whatever the product has read."""
        found = [f"DPS admits {LETTERS[one]}" for one in sorted(self.stolen) if self.admits(one)]
        found += [f"the hub accepts {LETTERS[one]}" for one in sorted(self.stolen) if self.accepts(one)]
        if self.hub.sessions.get(NAME) in self.stolen:
            found.append("a session lives")
        if self.under_way is not None:
            found.append("a registration is under way")
        return found

    def hub_twin(self) -> str:
        """``b`` as before the breach, ``i`` as a registration makes it anew, ``-`` none."""
        twin = self.hub.twin(NAME)
        return "-" if twin is None else "b" if twin.equals(TWIN) else "i"

    def kept(self, number: int) -> Removed | None:
        """What the rollover with this number has kept of a hub identity."""
        found = self.table.rows.get((f"individual.{NAME}", f"removed.{number:06}"))
        return removed_from_row(found[0]) if found else None

    # --- what tells two states apart -------------------------------------------------------------------------

    def key(self) -> tuple[Any, ...]:
        """As in ``State.key``. What a decision of ``Plan.BREACH`` never looks at is left out once that plan runs, and
        no second call can come: whether the device registered since the baseline, until the step that sets
        the baseline anew is done (``rollover.advance``); whether a session is newer than the last registration
        (``exposure._is_newer``); and when it last acted, which only the wait for a job asks for. Of the tokens the
        last alone is confirmed again.
        """
        rollover = self.rollover()
        body, identity = self.dps.enrolled.get(NAME), self.hub.identities.get(NAME)
        return (
            body and (body["provisioningStatus"], self._letters(self.dps.slots(NAME))),
            identity and self._identity(identity),
            self.hub_twin(),
            self.registered(rollover),
            self._coming(rollover),
            self._letters(c.sha256_thumbprint for c in self.vault.kept[CERTIFICATE].versions),
            self.vault.kept[CERTIFICATE].enabled,
            self._letters(sorted(self.stolen)),
            self.spent,
            self.tokens and self.tokens[-1][0],
            rollover and self._remembered(rollover),
            tuple(self._kept(n) for n in range(1, 4)),
        )

    def _letters(self, thumbprints: Any) -> str:
        return "".join(LETTERS.get(t, "s") if t else "-" for t in thumbprints)

    def _identity(self, identity: HubIdentity) -> tuple[Any, ...]:
        session = self.hub.sessions.get(NAME)
        record = self.dps.registrations.get(NAME)
        began = identity.connection_changed
        newer = began is not None and record is not None and began > _when(record)
        return (
            identity.enabled,
            self._letters((identity.primary, identity.secondary)),
            identity.status_reason is not None,
            identity.connected and (newer and not self._plain_breach(), session and LETTERS[session]),
        )

    def _coming(self, rollover: Rollover | None) -> Any:
        if self.under_way is None:
            return None
        due, by = rollover.due_at if rollover else None, self.under_way.ends_by
        return self._letters((self.under_way.certificate, *self.under_way.slots)), by and bool(due and by <= due)

    def _kept(self, number: int) -> Any:
        kept = self.kept(number)
        if kept is None:
            return None
        identity = self.hub.identities.get(NAME)
        same = identity is not None and identity.generation == kept.generation
        return kept.twin.equals(TWIN), same, kept.connected and self.clock.time < kept.at + timedelta(minutes=1)

    def _plain_breach(self) -> bool:
        """Whether ``Plan.BREACH`` runs, and will until the end."""
        rollover, knobs = self.rollover(), self.knobs
        plain = knobs.mode is not Mode.REPROVISION and knobs.second_call is None
        return plain and rollover is not None and rollover.plan is Plan.BREACH

    def registered(self, rollover: Rollover | None) -> str:
        if rollover is not None and self._plain_breach() and Step.DELETE_PRIMARY not in rollover.done:
            return "whenever"
        record = self.dps.registrations.get(NAME)
        if record is None:
            return "never"
        return "since" if rollover and rollover.baseline and _when(record) > rollover.baseline else "before"

    def _remembered(self, rollover: Rollover) -> tuple[Any, ...]:
        now = self.clock.time
        waited = now - rollover.waiting_since if rollover.waiting_since else timedelta()
        if self._plain_breach():
            rollover = replace(rollover, acted_at=None)
        acted = now - rollover.acted_at if rollover.acted_at else timedelta()
        return (
            *super()._remembered(rollover),
            rollover.incident and (rollover.incident.mode, rollover.incident.approved_by is not None),
            rollover.incident and len(rollover.incident.compromised),
            (rollover.waiting_for or "").partition(":")[0],
            [waited >= bound for bound in (SETTLE, timedelta(minutes=2), timedelta(minutes=10))].count(True),
            acted >= timedelta(minutes=5),
            now >= rollover.started_at + LIMIT,
            not_moved_in_time(rollover, now),
        )


def not_moved_in_time(rollover: Rollover, now: datetime) -> bool:
    """Whether mode reprovision has waited for the device as long as it may (``decide_recovery.REPROVISION_LIMIT``)."""
    began = rollover.reopened_at or rollover.started_at
    return rollover.plan is Plan.BREACH_REPROVISION and now >= began + REPROVISION_LIMIT


def _when(record: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(record["lastUpdatedDateTimeUtc"][:26] + "+00:00")


def a_breached_state(knobs: BreachKnobs) -> BreachState:
    """A device on a certificate near its end, connected; somebody has stolen what the knobs say."""
    clock = Clock(NOW - timedelta(days=100))
    hub, vault = SessionHub(shows_late=knobs.shows_late), RenewingVault()
    state = BreachState(
        knobs=knobs,
        clock=clock,
        dps=InMemoryDps(clock, mirror_primary=knobs.mirror_primary),
        hub=hub,
        vault=vault,
        table=InMemoryTable(),
    )
    slots = {"both": (OLD, OTHER), "secondary": (OTHER, OLD)}.get(knobs.stolen, (OLD,))
    if knobs.stolen == "both" or knobs.plan is Plan.DISALLOW:
        state.stolen = frozenset(one.sha256_thumbprint for one in slots)
    policy = {"updateHubAssignment": knobs.refreshes, "migrateDeviceData": knobs.refreshes}
    state.dps.enroll(NAME, *slots, reprovisionPolicy=policy)
    state.dps.registered(NAME, HUB)
    in_hub = state.dps.slots(NAME) if knobs.hub_slots == "enrollment" else (OLD.sha256_thumbprint,) * 2
    hub.put(NAME, *in_hub)
    hub.twins[NAME] = TWIN
    hub.connect(NAME, OLD.sha256_thumbprint, clock.time)
    vault.kept[CERTIFICATE] = Kept([OLD], {"rollover-enrollment": NAME})
    vault.renews = knobs.vault_renews
    clock.time = NOW
    return state
