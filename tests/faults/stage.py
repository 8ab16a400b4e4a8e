"""The truth behind a breach, in memory: DPS and hub as they are, a thief who never rests, and the rightful device.

Nothing here is what the product reads; that is ``tests.faults.flaky``. Time passes only in ``elapse``, and in it the
thief tries to register and to connect with every certificate he stole, what is under way ends, and the device does
what a device does: it takes its new certificate in its own time and registers when it is refused or asked.
"""

import heapq
import itertools
import random
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shared.certificate import Certificate, parse_certificate
from shared.enrollment import HubIdentity, Twin
from shared.incident import Mode
from shared.seen import Issuance
from tests.builders import CERTIFICATE, DEVICE, NEW, OLD
from tests.certificates import NOW, a_certificate
from tests.fakes import InMemoryHub, Kept, World, a_world

OTHER_DEVICE = "dev-02"
SECOND, SPARE = (
    parse_certificate(a_certificate(starts=NOW - timedelta(days=300), ends=NOW + timedelta(days=60)).der)
    for _ in range(2)
)
TWIN = Twin("t1", {"site": "Oslo", "rows": [1, 2.5, None]}, {"interval": 30, "nested": {"ø": True}})
TICK_S = 5.0


@dataclass(frozen=True)
class Draw:
    """What one seed makes of the world. What is stale, under way or not yet known everywhere adds up to less than
    ``settle``: that is what ``settle`` promises to cover."""

    mode: Mode
    compromised: str
    """``primary``, ``secondary`` or ``both``"""
    lone: bool
    """The enrollment has a primary only."""
    mirror: bool
    hub_slots: str
    policy_never: bool
    never_refreshes: bool
    reenables: bool
    """Whether a registration enables a disabled hub identity."""
    drops_on_change: bool
    propagation_s: float
    """How long DPS still judges by an entry as it was."""
    assigning_s: float
    """How long a registration may be under way, at most."""
    stale_s: float
    dropping_s: float
    """How long the hub takes to end a session, at most."""
    shown_late_s: float
    """How long the hub goes on showing a session that has ended, at most."""
    replacement: str
    """``there``, ``asked`` (comes when asked for) or ``late`` (somebody issues it some time)"""
    fetching_s: float
    """How long the device takes to fetch a new certificate."""
    pausing_s: float
    """How long the device pauses between two tries."""
    call_s: float
    """How long one call of the product takes, at most."""
    second_holder: bool
    """Another hub identity accepts a compromised certificate."""
    second_call: tuple[float, Mode] | None
    """After so many seconds somebody calls again, in a mode that may be another one."""

    @classmethod
    def of(cls, chance: random.Random) -> "Draw":
        """One world."""
        compromised = chance.choice(("primary", "secondary", "both"))
        lone = compromised == "primary" and chance.random() < 0.6
        return cls(
            mode=chance.choice(tuple(Mode)),
            compromised=compromised,
            lone=lone,
            mirror=chance.random() < 0.5,
            hub_slots=chance.choice(("same", "same", "enrollment")),
            policy_never=chance.random() < 0.25,
            never_refreshes=chance.random() < 0.5,
            reenables=chance.random() < 0.3,
            drops_on_change=chance.random() < 0.3,
            propagation_s=chance.choice((0.0, 1.0)),
            assigning_s=chance.choice((0.3, 2.0, 4.5)),
            stale_s=chance.uniform(0.0, 3.5),
            dropping_s=chance.choice((0.1, 2.0, 10.0, 55.0)),
            shown_late_s=chance.choice((0.0, 0.0, 20.0)),
            replacement=chance.choice(("there", "asked", "late")),
            fetching_s=chance.choice((1.0, 30.0, 600.0)),
            pausing_s=chance.choice((3.0, 12.0, 120.0)),
            call_s=chance.choice((0.02, 0.1, 0.3)),
            second_holder=chance.random() < 0.05,
            second_call=(chance.uniform(0.0, 40.0), chance.choice(tuple(Mode))) if chance.random() < 0.15 else None,
        )


@dataclass
class Session:
    """One connection, made with one certificate. ``ends`` once the hub means to end it."""

    thumbprint: str
    generation: str
    thief: bool
    ends: datetime | None = None


class TrueHub(InMemoryHub):
    """Sessions outlive a change of thumbprints, and for a while the disabling or deletion of their identity."""

    def __init__(self, stage: "Stage") -> None:
        super().__init__()
        self._stage = stage
        self.live: dict[str, Session] = {}

    def connect(self, device_id: str, thumbprint: str, *, thief: bool) -> bool:
        """Judge a connect; the device ID's former session is closed by it."""
        identity = self.identities.get(device_id)
        if identity is None or not identity.enabled or thumbprint not in identity.thumbprints():
            return False
        self.live[device_id] = Session(thumbprint, identity.generation, thief)
        self._show(device_id, connected=True)
        return True

    def _show(self, device_id: str, *, connected: bool) -> None:
        if (identity := self.identities.get(device_id)) is not None:
            changed = self._stage.clock.time
            self.identities[device_id] = replace(identity, connected=connected, connection_changed=changed)

    def rewrite(self, identity: HubIdentity) -> None:
        current = self._as_read(identity)
        self._version += 1
        fields = {
            name: getattr(identity, name) for name in ("primary", "secondary", "enabled", "status_reason", "device_id")
        }
        self.identities[identity.device_id] = replace(current, etag=str(self._version), **fields)
        self.judge(identity.device_id)

    def delete(self, identity: HubIdentity) -> None:
        super().delete(identity)
        self.judge(identity.device_id)

    def register(self, device_id: str, primary: str | None, secondary: str | None) -> None:
        """What a completed registration writes."""
        known, draw = self.identities.get(device_id), self._stage.draw
        if known is None:
            self.put(device_id, primary, secondary)
        elif not draw.policy_never or draw.never_refreshes:
            self._version += 1
            enabled = known.enabled or draw.reenables
            fields = {"primary": primary, "secondary": secondary, "enabled": enabled}
            self.identities[device_id] = replace(known, etag=str(self._version), **fields)
        self.judge(device_id)

    def judge(self, device_id: str) -> None:
        """Mean to end a session that is not deserved any more."""
        session = self.live.get(device_id)
        if session is not None and session.ends is None and not self._deserved(device_id, session):
            delay = self._stage.chance.uniform(0.0, self._stage.draw.dropping_s)
            session.ends = self._stage.clock.time + timedelta(seconds=delay)
            self._stage.later(delay, lambda: self._end(device_id, session))

    def _deserved(self, device_id: str, session: Session) -> bool:
        identity = self.identities.get(device_id)
        if identity is None or identity.generation != session.generation or not identity.enabled:
            return False
        return not self._stage.draw.drops_on_change or session.thumbprint in identity.thumbprints()

    def _end(self, device_id: str, session: Session) -> None:
        # Looked at again, as the stand-in does: what was taken back in the meantime does not end a session.
        if self.live.get(device_id) is not session:
            return
        if self._deserved(device_id, session):
            session.ends = None
            return
        del self.live[device_id]
        delay = self._stage.chance.uniform(0.0, self._stage.draw.shown_late_s)
        self._stage.later(delay, lambda: None if device_id in self.live else self._show(device_id, connected=False))


class Stage:
    """One world with its people, moved by ``elapse``."""

    def __init__(self, draw: Draw, chance: random.Random, **policy: Any) -> None:
        self.draw = draw
        self.chance = chance
        self.world: World = a_world(mirror_primary=draw.mirror, **policy)
        self.world.hub = self.hub = TrueHub(self)
        self.clock = self.world.clock
        self.world.clock.time = NOW - timedelta(days=100)
        both = [OLD, SECOND] if draw.compromised == "both" else [OLD, SPARE]
        slots = [OLD] if draw.lone else both if draw.compromised != "secondary" else both[::-1]
        self.stolen = [c.sha256_thumbprint for c in ([OLD, SECOND] if draw.compromised == "both" else [OLD])]
        updates = {"updateHubAssignment": not draw.policy_never, "migrateDeviceData": True}
        self.world.dps.enroll(DEVICE, *slots, reprovisionPolicy=updates)
        self.world.dps.registered(DEVICE)
        self.device_holds = slots[0].sha256_thumbprint
        self.hub.put(DEVICE, *self._hub_slots(self.device_holds))
        self.hub.twins[DEVICE] = TWIN
        if draw.second_holder:
            self.hub.put(OTHER_DEVICE, OLD.sha256_thumbprint, OLD.sha256_thumbprint)
        self.clock.time = NOW
        self._events: list[tuple[datetime, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._was: dict[str, tuple[list[datetime], list[Any]]] = {}
        self._thief_registers_at = self._device_tries_at = self.clock.time
        self._device_registers = self._device_was_assigned = False
        self._fetched_at: datetime | None = None
        self._answered_jobs = 0
        self.watch: Callable[[], None] = lambda: None
        """Called after everything that happened."""
        self._stock_vault()
        self._remember()

    # --- time ---------------------------------------------------------------------------------------------------

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Let something happen when its time comes."""
        when = self.clock.time + timedelta(seconds=seconds)
        heapq.heappush(self._events, (when, next(self._numbers), do))

    def elapse(self, seconds: float) -> None:
        """Let time pass; everybody acts at every event and at every tick in it."""
        until = self.clock.time + timedelta(seconds=seconds)
        while True:
            tick = min(until, self.clock.time + timedelta(seconds=TICK_S))
            if self._events and self._events[0][0] <= tick:
                when, _, do = heapq.heappop(self._events)
                self.clock.time = max(when, self.clock.time)
                do()
            else:
                self.clock.time = tick
            self.happened()
            if self.clock.time >= until:
                return

    def happened(self) -> None:
        """After any change: the truth is remembered and looked at before and after everybody reacts."""
        self._remember()
        self.watch()
        self._thief()
        self._device()
        self._remember()
        self.watch()

    # --- what was, for reads that are late ------------------------------------------------------------------------

    def _remember(self) -> None:
        dps, hub, vault = self.world.dps, self.hub, self.world.vault
        kept = vault.kept[CERTIFICATE]
        now = {
            "enrolled": dps.enrolled.get(DEVICE),
            "registration": dps.registrations.get(DEVICE),
            "identity": hub.identities.get(DEVICE),
            "other": hub.identities.get(OTHER_DEVICE),
            "twin": hub.twin(DEVICE),
            "vault": (tuple(kept.versions), kept.pending),
        }
        for name, value in now.items():
            times, values = self._was.setdefault(name, ([], []))
            if not times or values[-1] != value:
                times.append(self.clock.time)
                values.append(value)

    def was(self, name: str, age_s: float) -> Any:
        """The state of something so long ago."""
        times, values = self._was[name]
        return values[max(bisect_right(times, self.clock.time - timedelta(seconds=age_s)) - 1, 0)]

    # --- the vault ------------------------------------------------------------------------------------------------

    def _stock_vault(self) -> None:
        kept = Kept([OLD], {"rollover-enrollment": DEVICE})
        self.world.vault.kept[CERTIFICATE] = kept

        def comes() -> None:
            if NEW not in kept.versions:
                kept.versions.append(NEW)
            kept.pending = None

        def asked(_name: str) -> Certificate | None:
            if kept.pending is None:
                kept.pending = Issuance(in_progress=True, needs_signing=False, error=None)
                if self.draw.replacement == "asked":
                    self.later(self.chance.uniform(0.0, 4.0), comes)
            return None

        self.world.vault.issues = asked
        if self.draw.replacement == "there":
            comes()
        elif self.draw.replacement == "late":
            self.later(self.chance.uniform(5.0, 2400.0), comes)

    # --- DPS ------------------------------------------------------------------------------------------------------

    def admits(self, thumbprint: str) -> bool:
        """Whether DPS admits this certificate now."""
        body = self.was("enrolled", self.draw.propagation_s)
        return body["provisioningStatus"] == "enabled" and thumbprint in _held(body)

    def register(self, thumbprint: str, then: Callable[[], None] = lambda: None) -> bool:
        """Begin a registration. It is judged now and ends at the hub a little later, whatever happens meanwhile."""
        if not self.admits(thumbprint):
            return False
        pair = self._hub_slots(thumbprint)

        def ends() -> None:
            self.world.dps.registered(DEVICE)
            self.hub.register(DEVICE, *pair)
            then()

        self.later(self.chance.uniform(0.5, 1.0) * self.draw.assigning_s, ends)
        return True

    def _hub_slots(self, thumbprint: str) -> tuple[str | None, str | None]:
        return self.world.dps.slots(DEVICE) if self.draw.hub_slots == "enrollment" else (thumbprint, thumbprint)

    # --- people ---------------------------------------------------------------------------------------------------

    def _thief(self) -> None:
        if self.clock.time >= self._thief_registers_at:
            self._thief_registers_at = self.clock.time + timedelta(seconds=self.chance.uniform(0.2, 1.5))
            self.register(self.chance.choice(self.stolen))
        session = self.hub.live.get(DEVICE)
        anew = self.chance.random() < 0.2  # a session that has just begun looks like one of the device that is back
        if session is None or not session.thief or anew:
            _ = any(self.hub.connect(DEVICE, one, thief=True) for one in self.stolen)

    def _device(self) -> None:
        if self.clock.time < self._device_tries_at or self._device_registers:
            return
        self._device_tries_at = self.clock.time + timedelta(seconds=self.chance.uniform(0.3, 1.0) * self.draw.pausing_s)
        self._fetch()
        session = self.hub.live.get(DEVICE)
        if self._asked():
            self._answered_jobs = len(self.hub.asked)
        elif session is not None and not session.thief:
            return
        elif self.hub.connect(DEVICE, self.device_holds, thief=False) or self._device_was_assigned:
            self._device_was_assigned = False
            return
        self._device_registers = self.register(self.device_holds, self._device_is_assigned)

    def _device_is_assigned(self) -> None:
        self._device_registers, self._device_was_assigned = False, True  # it asks DPS for the outcome, then connects
        self._device_tries_at = self.clock.time + timedelta(seconds=self.chance.uniform(0.05, 2.0))

    def _asked(self) -> bool:
        return len(self.hub.asked) > self._answered_jobs and self.device_holds == NEW.sha256_thumbprint

    def _fetch(self) -> None:
        if NEW not in self.world.vault.kept[CERTIFICATE].versions:
            return
        if self._fetched_at is None:
            self._fetched_at = self.clock.time + timedelta(seconds=self.chance.uniform(0.0, self.draw.fetching_s))
        if self.clock.time >= self._fetched_at:
            self.device_holds = NEW.sha256_thumbprint

    # --- the truth --------------------------------------------------------------------------------------------------

    def exposed(self) -> list[str]:
        """What truly lets a compromised certificate in at this moment."""
        found = [f"DPS admits {one[:6]}" for one in self.stolen if self.admits(one)]
        for device_id, identity in self.hub.identities.items():
            if identity.enabled and not set(identity.thumbprints()).isdisjoint(self.stolen):
                found.append(f"the hub accepts it for {device_id}")
        found += [
            f"a session of {device_id} lives"
            for device_id, session in self.hub.live.items()
            if session.thumbprint in self.stolen
        ]
        return found


def _held(body: dict[str, Any]) -> list[str]:
    slots = body["attestation"]["x509"]["clientCertificates"]
    return [slot["info"]["sha256Thumbprint"] for slot in slots.values()]
