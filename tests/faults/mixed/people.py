"""People in the mixed runs: what they call for, what they do by hand, and what they break. In no order, at any time."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from shared.breaching import confirm, preview
from shared.callers import Role
from shared.errors import BadInput, Conflict, NotFound, NotPermitted, RolloverError, ServiceUnavailable, Unsuitable
from shared.incident import Mode
from shared.operating import allow, approve, cancel, disallow, retry
from shared.plans import Step
from shared.rollover import Outcome
from shared.services import Services
from tests.fakes import info, somebody
from tests.faults.flaky import Killed
from tests.faults.mixed.device import DAY, HOUR, Device
from tests.faults.mixed.fleet import Fleet
from tests.faults.mixed.ports import Ports

ONCALL, SECOND = somebody("oncall", Role.BREACH_EXECUTE), somebody("oncall-2", Role.BREACH_EXECUTE)
Call = Callable[[Services], Any]


class People:
    """Whoever has a role, or a hand in the portal."""

    def __init__(self, fleet: Fleet, ports: Callable[[], Ports]) -> None:
        self.fleet = fleet
        self._ports = ports
        self._chance = fleet.chance
        self.answers: list[str] = []
        """What calls were refused with."""
        self.disallowed: set[str] = set()
        self.held: set[str] = set()
        """Enrollments that somebody disabled by hand, for a while."""
        self.approving = 0.7
        """How often a second person agrees; within the hour for sure only when it is 1."""

    # --- calls ------------------------------------------------------------------------------------------------------

    def call(self, do: Call) -> None:
        """Call the API, again and again until it is answered."""

        def attempt() -> None:
            with self.fleet.running():
                try:
                    do(self._ports().services)
                except (Unsuitable, NotFound, NotPermitted, BadInput) as error:
                    self.answers.append(str(error))
                    return
                except (Killed, ServiceUnavailable, Conflict, RolloverError):
                    pass
                else:
                    return
            self.fleet.later(self._chance.uniform(0.5, 30.0), attempt, product=True)

        self.fleet.later(0.0, attempt, product=True)

    def calls_breach(self, device: Device, mode: Mode, **selector: Any) -> None:
        """Look at a preview and confirm it; when something has changed since, look at a new one."""
        asked = {"reason": "stolen laptop", "mode": mode.value, **selector}
        token: str | None = None

        def look_and_confirm(_services: Services) -> None:
            nonlocal token
            if token is None:
                looking = self._ports()
                looking.preview()
                try:
                    token = preview(asked, ONCALL, looking.services)["confirm_token"]
                except NotFound as error:
                    if "delete it there" in str(error) and device.name in self.fleet.world.dps.enrolled:
                        self.deletes_identity(device)
                    raise
            try:
                confirm({"confirm": token}, ONCALL, self._ports().services)
            except Unsuitable as error:
                if "contains sooner" in str(error):
                    raise
                token = None
                raise Conflict(str(error)) from None

        self.fleet.injected[f"breach call: {mode.value}"] += 1
        self.call(look_and_confirm)
        if self.fleet.draw.fuse < 1:
            within = 600.0 if self.approving == 1.0 else 2 * HOUR
            self.fleet.later(self._chance.uniform(60, within), lambda: self.approves(device))

    def approves(self, device: Device) -> None:
        """A second person agrees, if somebody must; or has something better to do."""
        last = self.fleet.last(device.name)
        if last is not None and last.awaits_approval and self._chance.random() < self.approving:
            self.call(lambda services: approve(last.id, "agreed", SECOND, services))

    def remembers(self, device: Device) -> None:
        """Call again for what nobody approved in time, or what there was no enrollment for, once there is one."""
        last = self.fleet.last(device.name)
        under_way = last is not None and last.plan.replaces and last.outcome in (None, Outcome.NEEDS_PERSON)
        open_to = [one for one in device.stolen if self.fleet.exposed(device.name, [one])]
        if open_to and not under_way and device.name in self.fleet.world.dps.enrolled:
            mode = self._chance.choice(tuple(Mode))
            self.calls_breach(device, mode, thumbprint=open_to[0].sha256_thumbprint)

    def retries(self, rollover_id: str, routes: tuple[str, ...] = ()) -> None:
        """Call retry."""
        self.call(lambda services: retry(rollover_id, "mended", routes, ONCALL, services))

    def allows(self, name: str) -> None:
        """Take a disallowing back."""

        def do(services: Services) -> None:
            allow(name, "found again", ONCALL, services)
            self.disallowed.discard(name)

        self.call(do)

    # --- hands ------------------------------------------------------------------------------------------------------

    def edits(self, device: Device, change: Callable[[dict[str, Any]], None]) -> None:
        """Edit the enrollment in the portal."""
        if device.name in self.fleet.world.dps.enrolled:
            device.disturbed = True
            self.fleet.world.dps.edit(device.name, change)
            self.fleet.happened()

    def sets_status(self, device: Device, status: str) -> None:
        """Enable or disable the enrollment by hand."""
        self.edits(device, lambda body: body.update(provisioningStatus=status))

    def sets_slot(self, device: Device, slot: str, certificate: Any) -> None:
        """Put a certificate into a slot, or take it out; the last one is never taken out."""

        def change(body: dict[str, Any]) -> None:
            slots = dict(body["attestation"]["x509"]["clientCertificates"])
            slots[slot] = {"info": info(certificate)} if certificate else None
            if any(slots.values()):
                body["attestation"]["x509"]["clientCertificates"] = slots

        self.edits(device, change)

    def spare_slots(self, device: Device) -> list[str]:
        """The slots that do not hold what the device uses."""
        slots = zip(("primary", "secondary"), self.fleet.world.dps.slots(device.name), strict=True)
        return [slot for slot, held in slots if held != device.uses.sha256_thumbprint]

    def deletes_identity(self, device: Device) -> None:
        """Delete the hub identity by hand; its twin is lost."""
        if (identity := self.fleet.identity(device.name)) is not None:
            device.twin_lost = True
            self.fleet.hub.delete(identity)
            self.fleet.happened()


MISHAPS: dict[str, int] = {
    "theft": 4,
    "cancel": 2,
    "retry": 2,
    "disallow": 1,
    "disables the enrollment": 1,
    "clears a slot": 2,
    "puts a stranger into a slot": 1,
    "deletes the identity": 1,
    "deletes the enrollment": 1,
    "a spell": 5,
    "a function dies": 2,
    "a device goes away": 4,
    "the vault renews by itself": 2,
    "a bad version": 2,
    "the latest version is disabled": 1,
    "an event five times": 2,
}
"""What goes wrong, and how often beside the others."""


class Mishaps:
    """Lets things go wrong."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._fleet = people.fleet
        self._chance = people.fleet.chance

    def strike(self) -> None:
        """One more thing goes wrong."""
        kind = self._chance.choices(list(MISHAPS), list(MISHAPS.values()))[0]
        device = self._chance.choice(list(self._fleet.devices.values()))
        self._fleet.injected[kind] += 1
        self._strike(kind, device)
        device.tempt()

    def _strike(self, kind: str, device: Device) -> None:
        match kind:
            case "theft":
                self._theft(device)
            case "cancel" | "retry" | "disallow":
                self._call(kind, device)
            case "a spell":
                self._spell()
            case "a function dies":
                until = self._fleet.clock.time + timedelta(hours=self._chance.choice((0.5, 6, 24)))
                self._fleet.crashing.update(dict.fromkeys(self._chance.sample(list(Step)[:10], 5), until))
            case "a device goes away":
                device.goes_away(self._chance.choice((HOUR, DAY, 10 * DAY, 25 * DAY)))
            case "an event five times":
                for _ in range(5):
                    self._fleet.has_version(device.name)
            case "the vault renews by itself":
                self._fleet.add_version(device.name)
            case "a bad version":
                self._fleet.a_bad_version(device.name)
            case _:
                self._hand(kind, device)

    def _call(self, kind: str, device: Device) -> None:
        people, name, last = self._people, device.name, self._fleet.last(device.name)
        match kind:
            case "cancel" if last is not None and last.outcome is None:
                people.call(lambda services: cancel(last.id, "not today", ONCALL, services))
            case "retry" if last is not None and last.outcome not in (None, Outcome.DONE):
                people.retries(last.id)
            case "disallow" if name in self._fleet.world.dps.enrolled:  # else it counts as a device of a group
                people.disallowed.add(name)
                people.call(lambda services: disallow(name, "lost", None, ONCALL, services))
                if self._chance.random() < 0.5:
                    self._fleet.later(self._chance.uniform(1, 5) * DAY, lambda: people.allows(name))

    def _hand(self, kind: str, device: Device) -> None:
        people, chance = self._people, self._chance
        match kind:
            case "disables the enrollment":
                people.held.add(device.name)
                people.sets_status(device, "disabled")
            case "clears a slot" if slots := people.spare_slots(device):
                people.sets_slot(device, chance.choice(slots), None)
            case "puts a stranger into a slot" if slots := people.spare_slots(device) or ["secondary"]:
                people.sets_slot(device, chance.choice(slots), self._fleet.make(device.name, common_name="stranger"))
            case "deletes the identity":
                people.deletes_identity(device)
            case "deletes the enrollment":
                self._fleet.world.dps.enrolled.pop(device.name, None)
            case "the latest version is disabled":
                self._fleet.world.vault.kept[f"{device.name}-cert"].enabled = False
        self._fleet.happened()

    def _spell(self) -> None:
        service = self._chance.choice(("DPS", "hub", "vault", "table", "queue", "topic"))
        how = self._chance.choice(("429", "503", "403") if service in ("DPS", "hub", "vault") else ("429", "503"))
        lasts = timedelta(hours=self._chance.choice((0.1, 1, 6, 30)))
        self._fleet.spells[service] = (self._fleet.clock.time + lasts, how)

    def _theft(self, device: Device) -> None:
        chance, fleet = self._chance, self._fleet
        device.is_robbed(device.uses)
        if chance.random() < 0.3:
            enrolled = fleet.world.dps.slots(device.name)
            for one in device.living():
                if one.sha256_thumbprint in enrolled:
                    device.is_robbed(one)
        stolen = list(device.stolen)

        def call(mode: Mode) -> None:
            whole = {"certificate_name": f"{device.name}-cert"}, {"registration_id": device.name}
            one = {"thumbprint": stolen[-1].sha256_thumbprint}
            selector = chance.choice(whole) if len(stolen) > 1 else chance.choice((*whole, one))
            self._people.calls_breach(device, mode, **selector)

        after = chance.choice((300.0, HOUR, DAY))
        fleet.later(after, lambda: call(chance.choice(tuple(Mode))))
        if chance.random() < 0.2:
            fleet.later(after + chance.uniform(1, 600), lambda: call(chance.choice(tuple(Mode))))
