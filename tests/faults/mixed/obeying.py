"""A person who does to the letter what the product says is next, and knows no more than it says.

A phrase that is not known here, or a reason that names nothing to mend, is a failure of the product's words.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.enrollment import parse_time
from shared.incident import Mode
from shared.overdue import overdue
from shared.rollover import Outcome, Rollover
from shared.status import next_in_words
from tests.certificates import NOW
from tests.faults.mixed.device import Device
from tests.faults.mixed.people import People

Deed = Callable[["Obedient", Device, Rollover | None, str], None]


@dataclass(frozen=True)
class Promise:
    """What the product said that it does by itself."""

    until: datetime
    said: str
    of: tuple[str, datetime | None] | None
    """The rollover that ended, and when, if one did: what ended later is another end, with a next step of its own."""
    registering: bool = False
    """Whether the device must register first."""


def _end_of(rollover: Rollover | None) -> tuple[str, datetime | None] | None:
    return (rollover.id, rollover.ended_at) if rollover is not None else None


class Obedient:
    """Reads ``next_step_in_words`` of what ended, and does it."""

    def __init__(self, people: People, breaks: Callable[[str], None]) -> None:
        self._people = people
        self.fleet = people.fleet
        self._breaks = breaks
        self.told: list[str] = []
        """What was obeyed, in order."""
        self._obeyed: dict[str, object] = {}
        self._since: dict[str, datetime] = {}
        self.promised: dict[str, Promise] = {}
        """By device."""

    def obey(self, device: Device) -> bool:
        """Do what the device's latest rollover says, if it says something; whether it did."""
        last = self.fleet.last(device.name)
        if last is None or last.outcome in (Outcome.DONE, Outcome.PREEMPTED):
            return False
        if last.awaits_approval:
            self._people.approves(device)
            return True
        if last.outcome is None:
            return False
        if self._obeyed.get(device.name) == (last.id, last.ended_at):
            return False  # once is enough: it is to come true now
        self._obeyed[device.name] = (last.id, last.ended_at)
        said = next_in_words(last).removeprefix("A person: ").replace(last.id, "{id}")
        self.told.append(f"{last.status}: {said}")
        if last.outcome is Outcome.REFUSED and not last.next_action:
            self._breaks(f"refused, and no next step: {said!r}")
        for pattern, deed in PHRASES:
            if found := re.search(pattern, said):
                said = said[: found.start()] + said[found.end() :]
                deed(self, device, last, last.outcome_reason or "")
        if re.search(r"\w", said):
            self._breaks(f"a next step that nobody understands: {said!r}")
        return True

    def heed(self, device: Device) -> None:
        """Do what is said of an open rollover that waits too long, once; where a person is called soon, it is to be
        that call which brings it home.
        """
        last = self.fleet.last(device.name)
        found = last and overdue(last, self.fleet.clock.time, self.fleet.world.services.settings.policy)
        if last is None or found is None or last.outcome is not None:
            return
        if not last.plan.expires or last.outgoing.not_after <= self.fleet.clock.time:
            return
        known = f"{last.id} since {found.since}"
        if known not in self._since:
            self._since[known] = self.fleet.clock.time
            self.told.append(f"waits too long: {found.next_step}".replace(last.id, "{id}"))
            for pattern, deed in WARNINGS:
                if re.search(pattern, found.next_step):
                    deed(self, device, last, found.why)

    def mend_what_cannot_begin(self, device: Device, reason: str) -> None:
        """Do something about what keeps a rollover from beginning."""
        known = f"{device.name}: {reason}"
        if self.fleet.clock.time - self._since.get(known, NOW) < timedelta(days=3) and known in self._since:
            return
        self._since[known] = self.fleet.clock.time
        self.told.append(f"cannot begin: {reason}")
        self._mend(device, None, reason)

    def _mend(self, device: Device, last: Rollover | None, reason: str) -> None:
        for pattern, deed in REASONS:
            if re.search(pattern, reason):
                deed(self, device, last, reason)
                return
        self._breaks(f"a reason that names nothing to mend: {reason!r}")

    def _promise(self, device: Device, within: timedelta, said: str, *, registering: bool = False) -> None:
        until = self.fleet.clock.time + within
        self.promised[device.name] = Promise(until, said, _end_of(self.fleet.last(device.name)), registering)

    def broken_promise(self, device: Device, within: timedelta) -> Promise | None:
        """What was promised and is over without having been kept; forgotten then, as is what was kept."""
        last, promise = self.fleet.last(device.name), self.promised.get(device.name)
        if promise is None or last is None:
            return None
        if last.outcome in (None, Outcome.DONE) or _end_of(last) != promise.of:
            del self.promised[device.name]
        elif promise.registering and not self._has_registered_since(device, last):
            self.promised[device.name] = replace(promise, until=self.fleet.clock.time + within)
        elif self.fleet.clock.time > promise.until:
            return self.promised.pop(device.name)
        return None

    def _has_registered_since(self, device: Device, last: Rollover) -> bool:
        at = self.fleet.world.dps.registrations.get(device.name, {}).get("lastUpdatedDateTimeUtc")
        return at is not None and last.ended_at is not None and parse_time(at) > last.ended_at

    # --- deeds ------------------------------------------------------------------------------------------------------

    def mends(self, device: Device, last: Rollover | None, reason: str) -> None:
        self._mend(device, last, reason)

    def retries(self, _device: Device, last: Rollover | None, _reason: str) -> None:
        if last is not None:
            self._people.retries(last.id)

    def calls_with_remove(self, device: Device, last: Rollover | None, _reason: str) -> None:
        self._people.calls_breach(device, Mode.REMOVE, registration_id=device.name)

    def calls_again(self, device: Device, last: Rollover | None, _reason: str) -> None:
        mode = last.incident.mode if last is not None and last.incident is not None else Mode.REMOVE
        self._people.calls_breach(device, mode, registration_id=device.name)

    def issues(self, device: Device, _last: Rollover | None, _reason: str) -> None:
        self.fleet.moods[device.name] = "asked"
        self.fleet.add_version(device.name)

    def issues_and_waits(self, device: Device, last: Rollover | None, reason: str) -> None:
        self.issues(device, last, reason)
        self.waits_for_sweep(device, last, reason)

    def takes_out_of_hub(self, device: Device, _last: Rollover | None, reason: str) -> None:
        identity, uses = self.fleet.identity(device.name), device.uses.sha256_thumbprint
        if identity is not None and identity.holds("", uses):
            self.fleet.hub.rewrite(replace(identity, primary=uses, secondary=uses))
            self.fleet.happened()

    def mends_issuer(self, device: Device, _last: Rollover | None, _reason: str) -> None:
        self.fleet.moods[device.name] = "asked"

    def signs(self, device: Device, _last: Rollover | None, _reason: str) -> None:
        pending = self.fleet.world.vault.kept[f"{device.name}-cert"].pending
        self.fleet.moods[device.name] = "asked"
        if pending is not None and pending.needs_signing:
            self.fleet.add_version(device.name)

    def brings_online(self, device: Device, last: Rollover | None, _reason: str) -> None:
        device.away_until, device.lazy_s = self.fleet.clock.time, 10.0
        device.version_came()
        incoming = last.incoming.sha256_thumbprint if last is not None and last.incoming is not None else ""
        for one in self.fleet.world.vault.kept[f"{device.name}-cert"].versions:
            if one.sha256_thumbprint == incoming and one not in device.holds:
                device.holds.append(one)

    def takes_out_what_is_not_needed(self, device: Device, _last: Rollover | None, _reason: str) -> None:
        latest = self.fleet.world.vault.kept[f"{device.name}-cert"].versions[-1].sha256_thumbprint
        slots = dict(zip(("primary", "secondary"), self.fleet.world.dps.slots(device.name), strict=True))
        spare = [one for one in self._people.spare_slots(device) if slots[one] != latest]
        if spare:
            self._people.sets_slot(device, spare[0], None)

    def puts_in_what_it_uses(self, device: Device, _last: Rollover | None, _reason: str) -> None:
        slots = self._people.spare_slots(device)
        if len(slots) == 2:
            self._people.sets_slot(device, slots[-1], device.uses)

    def enables(self, device: Device, _last: Rollover | None, _reason: str) -> None:
        self._people.sets_status(device, "enabled")

    def creates(self, device: Device, _last: Rollover | None, _reason: str, *, enabled: bool = False) -> None:
        if device.name in self.fleet.world.dps.enrolled:
            return
        good = self.fleet.good_version(device.name)
        if enabled and device.uses in device.living() and device.uses not in device.stolen:
            good = device.uses  # as it was told
        if good is None:
            self.issues(device, _last, _reason)
            good = self.fleet.good_version(device.name)
        assert good is not None
        device.disturbed = True
        status = "enabled" if enabled else "disabled"
        self.fleet.world.dps.enroll(device.name, good, provisioningStatus=status)
        self.fleet.happened()
        device.version_came()

    def creates_enabled(self, device: Device, last: Rollover | None, reason: str) -> None:
        self.creates(device, last, reason, enabled=True)

    def ends_deaths(self, _device: Device, _last: Rollover | None, _reason: str) -> None:
        self.fleet.crashing.clear()

    def nothing(self, _device: Device, _last: Rollover | None, _reason: str) -> None:
        pass

    def waits_a_day(self, device: Device, _last: Rollover | None, reason: str) -> None:
        self._promise(device, timedelta(hours=25), reason)

    def waits_for_sweep(self, device: Device, _last: Rollover | None, reason: str) -> None:
        self._promise(device, timedelta(hours=1), reason)

    def waits_until_it_registers(self, device: Device, _last: Rollover | None, reason: str) -> None:
        self._promise(device, timedelta(hours=1), reason, registering=True)


PHRASES: tuple[tuple[str, Deed], ...] = (
    (r"mend what the service complains about", Obedient.mends),
    (r"mend what it waits for", Obedient.mends),
    (r"see in the history what each attempt met, mend it", Obedient.mends),
    (r"see in the history what each attempt met", Obedient.mends),
    (r"look for the exceptions of the function \w+ with this rollover's ID, mend the cause", Obedient.ends_deaths),
    (r"mend the certificate's issuer or policy in the vault", Obedient.mends_issuer),
    (r"issue a new version (of the certificate )?in the vault", Obedient.issues),
    (r"bring the device online or give it its new certificate by hand", Obedient.brings_online),
    (r"find out who and why", Obedient.nothing),
    (r"issue a version in the vault that can take over: it begins at once", Obedient.issues_and_waits),
    (r"see that a slot holds the certificate that the device uses", Obedient.puts_in_what_it_uses),
    (r"create it again with the certificate that the device uses", Obedient.creates_enabled),
    (r"take it out if no device uses it", Obedient.takes_out_what_is_not_needed),
    (r"take it out of the hub identity if no device uses it", Obedient.takes_out_of_hub),
    (r"take out the one that is not needed", Obedient.takes_out_what_is_not_needed),
    (r"create it with the replacement certificate, disabled", Obedient.creates),
    (r"enable it when the device may come back", Obedient.enables),
    (r": its twin is kept", Obedient.nothing),
    (
        r"call the breach again with mode remove, or look into the hub: what it shows may lag",
        Obedient.calls_with_remove,
    ),
    (r"call the breach again with mode remove; a retry waits on", Obedient.calls_with_remove),
    (r"call the breach again with mode remove", Obedient.calls_with_remove),
    (r"(then )?call the breach again", Obedient.calls_again),
    (r"the next day's sweep begins it again", Obedient.waits_a_day),
    (
        r"the sweep begins it again (within|after) a day(, or when the vault has|,) a new version( at once)?",
        Obedient.waits_a_day,
    ),
    (r"the sweep begins it again (within|after) a day(, a new version at once)?", Obedient.waits_a_day),
    (r"the sweep begins the rollover again", Obedient.waits_a_day),
    (r"the sweep starts over within a day unless the vault's certificate is disabled", Obedient.waits_a_day),
    (r"the next sweep rolls to it", Obedient.waits_for_sweep),
    (r"the sweep goes on once it registers", Obedient.waits_until_it_registers),
    (r"(then )?POST /api/rollovers/\{id\}/retry( goes on where it was)?", Obedient.retries),
    (r"then retry the rollover", Obedient.retries),
    (r"what is contained stays so", Obedient.nothing),
    (
        r"Device and hub may use either certificate now: a newer version of the vault is taken up once the device has"
        r" registered with one of them",
        Obedient.nothing,
    ),
    (
        r"Nothing was undone: the enrollment may be disabled, the hub identity disabled or gone; after a false alarm,"
        r" enable the enrollment by hand: while it is enabled, the sweep rolls it as any other",
        Obedient.nothing,
    ),
)
"""What a next step may say, in the order in which it is done."""

WARNINGS: tuple[tuple[str, Deed], ...] = (
    (r"bring the device online, or give it its new certificate by hand", Obedient.brings_online),
    (r"^enable it", Obedient.enables),
    (r"sign the vault's certificate request", Obedient.signs),
    (r"issue a new version of the certificate in the vault", Obedient.issues),
)
"""What a rollover that waits too long may ask for. The others go on by themselves."""

REASONS: tuple[tuple[str, Deed], ...] = (
    (r"the vault could not issue a new version", Obedient.mends_issuer),
    (r"signing request waits to be signed", Obedient.signs),
    (r"cannot take over|it is disabled|certificate, v\d+, is disabled|was reported compromised", Obedient.issues),
    (r"the incoming certificate expired before", Obedient.issues),
    (r"no replacement yet", Obedient.issues),
    (
        r"holds (another|a) certificate .* (since the rollover started|take it out if it is not needed)",
        Obedient.takes_out_what_is_not_needed,
    ),
    (r"put the certificate that the device uses into a slot", Obedient.puts_in_what_it_uses),
    (r"both slots hold", Obedient.takes_out_what_is_not_needed),
    (r"the enrollment no longer exists|no individual enrollment", Obedient.creates_enabled),
    (r"the enrollment is disabled", Obedient.enables),
    (r"device has never registered|has not registered|device is not back|reprovision job", Obedient.brings_online),
    (r"(then )?call the breach again", Obedient.calls_again),
    (r"needs a person first", Obedient.nothing),
    (
        r"somebody changed the enrollment since the rollover started: no slot holds the outgoing certificate",
        Obedient.nothing,
    ),
    (r"(DPS|hub|vault) answered|the service answered|no answer|the answer was lost", Obedient.nothing),
    (r"acted \d+ times and what it establishes still does not hold|does not show yet", Obedient.nothing),
)
"""What a reason names that a person can do something about."""
