"""A small fleet as it truly is: DPS, hub, vault, devices with a will of their own, thieves; moved by ``elapse``.

Nothing here is what the product reads (``tests.faults.mixed.ports``). Whatever happens later waits in one heap; a
function of the product is an event too, and while it waits for an answer everybody else goes on.
"""

import heapq
import itertools
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from shared.certificate import Certificate, parse_certificate
from shared.enrollment import HubIdentity
from shared.plans import Step
from shared.rollover import Rollover
from shared.rows import from_row
from shared.seen import Issuance, Job
from tests.certificates import NOW, Made, a_certificate
from tests.fakes import Kept, a_world
from tests.faults.flaky import Rates
from tests.faults.mixed.device import TWIN, Device
from tests.faults.mixed.draw import Draw
from tests.faults.stage import TrueHub

CALM = Rates(write=0.0, read=0.0, stale=0.0, kill=0.0, nudge=0.0)
DEPTH = 2
"""How many functions run at the same time."""


class FleetHub(TrueHub):
    """A hub whose jobs reach the devices, and whose devices notice that a session has ended."""

    _stage: "Fleet"  # type: ignore[assignment]

    def start_method_job(self, job_id: str, device_id: str, method: str, payload: Mapping[str, Any]) -> None:
        super().start_method_job(job_id, device_id, method, payload)
        if not self._stage.devices[device_id].is_asked(payload):
            self.jobs[job_id] = Job(finished=True, summary="completed: 0 answered, 1 not reached", unanswered=True)

    def connect(self, device_id: str, thumbprint: str, *, thief: bool) -> bool:
        taken = super().connect(device_id, thumbprint, thief=thief)
        if taken and thief:
            self._stage.devices[device_id].wake_in(self._stage.chance.uniform(5, 60))
        return taken

    def _end(self, device_id: str, session: Any) -> None:
        super()._end(device_id, session)
        if device_id not in self.live:
            self._stage.devices[device_id].wake_in(self._stage.chance.uniform(5, 60))


class Fleet:
    """The truth, moved by ``elapse``."""

    def __init__(self, draw: Draw, rates: Rates, chance: random.Random) -> None:
        self.draw, self.rates, self.chance = draw, rates, chance
        self.injected: Counter[str] = Counter()
        self.world = a_world(mirror_primary=draw.mirror, retire_when_moved=draw.retire_when_moved)
        self.world.settings = replace(self.world.settings, breach_fuse=draw.fuse)
        self.world.hub = self.hub = FleetHub(self)  # type: ignore[arg-type]
        self.clock = self.world.clock
        self.devices: dict[str, Device] = {}
        self.made: dict[str, Made] = {}
        self.spells: dict[str, tuple[datetime, str]] = {}
        """Service → until when it answers badly, and how."""
        self.crashing: dict[Step, datetime] = {}
        """Steps whose function dies, whatever it is given."""
        self.moods: dict[str, str] = {}
        """How the vault issues for a device when it is asked."""
        self.watch: Callable[[], None] = lambda: None
        self.has_version: Callable[[str], None] = lambda _name: None
        """Called when the vault has a new version."""
        self._events: list[tuple[datetime, int, Callable[[], None], bool]] = []
        self._numbers = itertools.count()
        self._was: dict[str, tuple[list[datetime], list[Any]]] = {}
        self._lasts: dict[str, tuple[int, Rollover | None]] = {}
        self._running = 0
        self.world.vault.issues = self._asked
        for number in range(draw.devices):
            self._settle_in(f"dev-{number + 1}")
        self.clock.time = NOW
        self.happened()

    def _settle_in(self, name: str) -> None:
        self.clock.time = NOW - timedelta(days=300)
        old = self.make(name, ends=NOW + timedelta(days=self.chance.uniform(4, 45)))
        slots = [old]
        if self.chance.random() < 0.25:  # what an earlier rollover left behind
            slots.append(self.make(name, ends=NOW + timedelta(days=self.chance.uniform(-5, 3))))
        updates = {"updateHubAssignment": not self.draw.policy_never, "migrateDeviceData": True}
        if self.chance.random() < 0.5:
            slots.reverse()
        self.world.dps.enroll(name, *slots, reprovisionPolicy=updates)
        self.world.dps.registered(name)
        device = self.devices[name] = Device(self, name, old)
        in_hub = self.world.dps.slots(name) if self.draw.hub_slots == "enrollment" else (old.sha256_thumbprint,) * 2
        self.hub.put(name, *in_hub)
        self.hub.twins[name] = TWIN
        self.hub.connect(name, old.sha256_thumbprint, thief=False)
        versions = sorted(slots, key=lambda one: one.not_after)
        self.world.vault.kept[f"{name}-cert"] = Kept(versions, {"rollover-enrollment": name})
        self.moods[name] = self.chance.choice(("asked", "asked", "asked", "late", "never", "unsigned", "bad", "itself"))
        device.wake_in(self.chance.uniform(0, 10) * 86400)

    # --- time -------------------------------------------------------------------------------------------------------

    def later(self, seconds: float, do: Callable[[], None], *, product: bool = False) -> None:
        """Let something happen when its time comes; ``product`` when a function of the product runs then."""
        when = self.clock.time + timedelta(seconds=seconds)
        heapq.heappush(self._events, (when, next(self._numbers), do, product))

    def elapse(self, seconds: float) -> None:
        """Let time pass; whatever is due in it happens."""
        until = self.clock.time + timedelta(seconds=seconds)
        while self._events and self._events[0][0] <= until:
            when, _, do, product = heapq.heappop(self._events)
            self.clock.time = max(when, self.clock.time)
            if product and self._running >= DEPTH:
                self.later(1.0, do, product=True)
                until = max(until, self.clock.time)
            else:
                do()
        self.clock.time = max(until, self.clock.time)

    @contextmanager
    def running(self) -> Any:
        """While a function of the product runs."""
        self._running += 1
        if self._running > 1:
            self.injected["another function in between"] += 1
        try:
            yield
        finally:
            self._running -= 1

    def happened(self) -> None:
        """After any change: what was is remembered, for reads that are late, and the truth is looked at."""
        dps, hub, vault = self.world.dps, self.hub, self.world.vault
        for name in self.devices:
            kept = vault.kept[f"{name}-cert"]
            self._note(f"enrolled {name}", dps.enrolled.get(name))
            self._note(f"registration {name}", dps.registrations.get(name))
            self._note(f"identity {name}", hub.identities.get(name))
            self._note(f"twin {name}", hub.twins.get(name) if name in hub.identities else None)
            self._note(f"vault {name}", (tuple(kept.versions), kept.enabled, kept.pending))
        self.watch()

    def _note(self, what: str, value: Any) -> None:
        times, values = self._was.setdefault(what, ([], []))
        if not times or (values[-1] is not value and values[-1] != value):
            times.append(self.clock.time)
            values.append(value)

    def was(self, what: str, age_s: float) -> Any:
        """The state of something so long ago."""
        times, values = self._was[what]
        if not age_s:
            return values[-1]
        return values[max(bisect_right(times, self.clock.time - timedelta(seconds=age_s)) - 1, 0)]

    # --- the vault --------------------------------------------------------------------------------------------------

    def make(self, name: str, ends: datetime | None = None, **how: Any) -> Certificate:
        """A certificate for a device, made now."""
        now = self.clock.time.replace(microsecond=0)
        ends = ends or now + timedelta(days=self.draw.lifetime_days)
        starts = min(now, ends - timedelta(days=1))
        made = a_certificate(**{"common_name": name, "starts": starts, "ends": ends.replace(microsecond=0), **how})
        certificate = parse_certificate(made.der)
        self.made[certificate.sha256_thumbprint] = made
        return certificate

    def add_version(self, name: str, certificate: Certificate | None = None, *, enabled: bool = True) -> None:
        """The vault has a new version."""
        kept = self.world.vault.kept[f"{name}-cert"]
        kept.versions, kept.enabled, kept.pending = [*kept.versions, certificate or self.make(name)], enabled, None
        self.devices[name].version_came()
        self.happened()
        self.has_version(name)

    def good_version(self, name: str) -> Certificate | None:
        """The newest version of the vault that may let the device in."""
        kept, now, stolen = self.world.vault.kept[f"{name}-cert"], self.clock.time, self.devices[name].stolen
        enabled = kept.versions if kept.enabled else kept.versions[:-1]
        fit = [one for one in enabled if one.common_name == name and one.not_before <= now < one.not_after]
        return next((one for one in reversed(fit) if one not in stolen), None)

    def a_bad_version(self, name: str) -> None:
        """The vault has a version that must not take over."""
        now, last = self.clock.time, self.world.vault.kept[f"{name}-cert"].versions[-1]
        kind = self.chance.choice(("name", "key", "ends earlier", "expired", "not yet", "disabled"))
        self.injected[f"bad version: {kind}"] += 1
        match kind:
            case "name":
                self.add_version(name, self.make(name, common_name="another"))
            case "key":
                self.add_version(name, self.make(name, key=self.made[last.sha256_thumbprint].key))
            case "ends earlier":
                self.add_version(name, self.make(name, ends=last.not_after - timedelta(days=1)))
            case "expired":
                self.add_version(name, self.make(name, ends=now - timedelta(hours=1)))
            case "not yet":
                self.add_version(name, self.make(name, starts=now + timedelta(days=20)))
            case _:
                self.add_version(name, enabled=False)

    def _asked(self, certificate_name: str) -> Certificate | None:
        name = certificate_name.removesuffix("-cert")
        kept, mood = self.world.vault.kept[certificate_name], self.moods[name]
        if kept.pending is not None and kept.pending.in_progress:
            return None
        kept.pending = Issuance(in_progress=mood != "never", needs_signing=mood == "unsigned", error=None)
        if mood == "never":
            kept.pending = replace(kept.pending, error="the issuer refused")
            self.injected["the vault does not renew"] += 1
        elif mood != "unsigned":
            comes = self.a_bad_version if mood == "bad" else self.add_version
            self.moods[name] = "asked" if mood == "bad" else mood
            span = (3600, 12 * 86400) if mood == "late" else (1, 90)
            pending = kept.pending

            def issued() -> None:
                if kept.pending is pending:
                    comes(name)

            self.later(self.chance.uniform(*span), issued)
        return None

    def event_is_lost(self, *, calm: bool) -> bool:
        """Whether Event Grid, or its subscription, loses an event."""
        if calm or self.chance.random() >= self.draw.events_lost:
            return False
        self.injected["event lost"] += 1
        return True

    # --- DPS --------------------------------------------------------------------------------------------------------

    def admits(self, name: str, certificate: Certificate, age_s: float = 0.0) -> bool:
        """Whether DPS admits who shows this certificate."""
        body, now = self.was(f"enrolled {name}", age_s), self.clock.time
        if body is None or body["provisioningStatus"] != "enabled" or certificate.common_name != name:
            return False
        return certificate.not_before <= now < certificate.not_after and certificate.sha256_thumbprint in held(body)

    def register(self, name: str, certificate: Certificate, then: Callable[[], None] = lambda: None) -> bool:
        """Begin a registration. It is judged now and ends at the hub a little later, whatever happens meanwhile."""
        if not self.admits(name, certificate, self.draw.propagation_s):
            return False
        thumbprint = certificate.sha256_thumbprint
        pair = self.world.dps.slots(name) if self.draw.hub_slots == "enrollment" else (thumbprint, thumbprint)

        def ends() -> None:
            self.world.dps.registered(name)
            self.hub.register(name, *pair)
            self.happened()
            then()

        self.later(self.chance.uniform(0.5, 1.0) * self.draw.assigning_s, ends)
        return True

    # --- the truth --------------------------------------------------------------------------------------------------

    def accepts(self, name: str, certificate: Certificate) -> bool:
        """Whether the hub lets in who shows this certificate."""
        identity = self.hub.identities.get(name)
        pinned = identity is not None and identity.enabled and certificate.sha256_thumbprint in identity.thumbprints()
        return pinned and self.clock.time < certificate.not_after

    def exposed(self, name: str, certificates: list[Certificate]) -> list[str]:
        """What truly lets one of these certificates in at this moment, by any entry of DPS and hub."""
        found = []
        for one in certificates:
            known = one.sha256_thumbprint[:6]
            found += [f"DPS admits {known}"] if self.admits(name, one, self.draw.propagation_s) else []
            found += [f"the hub accepts {known}"] if self.accepts(name, one) else []
            session = self.hub.live.get(name)
            found += [f"a session of {known} lives"] if session and session.thumbprint == one.sha256_thumbprint else []
        return found

    def last(self, name: str) -> Rollover | None:
        """The device's latest rollover, as it lies in the ledger."""
        rows, partition = self.world.table.rows, f"individual.{name}"
        if (partition, "target") not in rows:
            return None
        row, version = rows[partition, f"rollover.{rows[partition, 'target'][0]['last']:06}"]
        if self._lasts.get(name, (0, None))[0] != version:
            self._lasts[name] = (version, from_row(row, str(version)))
        return self._lasts[name][1]

    def identity(self, name: str) -> HubIdentity | None:
        """The device's identity, as it is."""
        return self.hub.identities.get(name)


def held(body: Mapping[str, Any]) -> list[str]:
    """SHA-256 thumbprints in the slots of an enrollment."""
    slots = body["attestation"]["x509"]["clientCertificates"]
    return [slot["info"]["sha256Thumbprint"] for slot in slots.values() if slot]
