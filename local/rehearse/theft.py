"""What became of a stolen key: from journal entries and what the scenario saw to facts. Pure.

The thief and the rightful device have one registration ID and, until the breach is over, one certificate. What the
journal says of either is told apart by the address it came from.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from local.rehearse.journal import DeviceFacts, Entry, Refusal, Session, facts_of

SERVICES: Mapping[str, str] = {"dps": "DPS", "iothub": "the hub"}
APP = "rollover"
"""The principal by which the app does everything in Azure."""


@dataclass
class Theft:
    """One key that is stolen and contained, as the scenario saw it. Times are seconds since 1970, real time."""

    registration_id: str
    mode: str
    stolen: str
    """SHA-256 of the certificate whose key was copied."""
    address: str
    """Where the thief comes from."""
    began: float
    queued_messages: int
    """How many cloud-to-device messages waited for the device."""
    previewed_messages: int | None = None
    confirmed: float | None = None
    """When the call that confirmed was sent."""
    incident: str | None = None
    contained: float | None = None
    """When the app's history says that it was read back to be contained."""
    replacement: str | None = None
    """SHA-256 of what the vault holds at the end."""
    twin_restored: bool = False
    still_exposed: list[str] = field(default_factory=list)
    """At the end, by the app, DPS and hub."""


@dataclass(frozen=True)
class TheftFacts:
    """What the journal says of it. Times ending in `_s` are seconds from the confirmation; None: it never happened."""

    theft: Theft
    device: DeviceFacts
    """The rightful device since the theft; its longest gap is the time that the breach cost it."""
    thief: DeviceFacts
    door_shut_s: float | None
    """The app's first write to the enrollment was answered: it is disabled."""
    evicted_s: float | None
    """The last session with the stolen certificate ended, the thief's or the device's own."""
    verified_s: float | None
    recovered_s: float | None
    """The device is back on another certificate, and what the app wrote to its twin, if anything, is written."""
    accepted_after: int
    """How often the thief was let in, by DPS or hub, after the app had said that it is contained."""

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """The thief's refusals since the confirmation."""
        confirmed = self.theft.confirmed
        return tuple(one for one in self.thief.refusals if confirmed is not None and one.wall >= confirmed)

    def refused_by(self, service: str) -> int:
        """How often the thief was refused by "dps" or "iothub" since the confirmation."""
        return sum(one.service == service for one in self.refused)


def without(entries: Iterable[Entry], addresses: Iterable[str]) -> list[Entry]:
    """The entries that do not come from one of these addresses."""
    left_out = set(addresses)
    return [entry for entry in entries if entry.get("address") not in left_out]


def theft_facts(entries: Sequence[Entry], theft: Theft, until: float) -> TheftFacts:
    """What became of it, observed up to `until` (seconds since 1970)."""
    name = theft.registration_id
    thief = facts_of([entry for entry in entries if entry.get("address") == theft.address], [name], until)[0]
    device = _since(facts_of(without(entries, [theft.address]), [name], until)[0], theft.began, until)
    stolen = [one for one in (*thief.sessions, *device.sessions) if one.sha256 == theft.stolen]
    contained = theft.contained
    return TheftFacts(
        theft=theft,
        device=device,
        thief=thief,
        door_shut_s=_after(theft, min(_writes(entries, theft, "dps", "enrollments"), default=None)),
        evicted_s=_after(theft, _evicted(stolen, contained)),
        verified_s=_after(theft, contained),
        recovered_s=_after(theft, _recovered(entries, theft, device)),
        accepted_after=sum(_is_later(at, contained) for at in _let_in(thief)),
    )


def _since(device: DeviceFacts, began: float, until: float) -> DeviceFacts:
    """What of a device's facts is not from before: a session that lived then is still one."""

    def later(one: Any) -> bool:
        return bool(one.wall >= began)

    sessions = tuple(one for one in device.sessions if one.ended > began)
    return DeviceFacts.of(
        device.registration_id,
        sessions,
        tuple(filter(later, device.registrations)),
        tuple(filter(later, device.refusals)),
        until,
    )


def _evicted(stolen: Sequence[Session], contained: float | None) -> float | None:
    """When the last of the sessions ended that had begun before it was contained; None while one lives."""
    before = [one for one in stolen if not _is_later(one.began, contained)]
    if not before or any(one.ended_because is None for one in before):
        return None
    return max(one.ended for one in before)


def _recovered(entries: Sequence[Entry], theft: Theft, device: DeviceFacts) -> float | None:
    back = [one.began for one in device.sessions if one.sha256 != theft.stolen]
    return max([min(back), *_writes(entries, theft, "iothub", "twins")]) if back else None


def _writes(entries: Sequence[Entry], theft: Theft, service: str, kind: str) -> list[float]:
    """When the app's writes to this enrollment or twin were answered, since the confirmation."""
    path = f"/{kind}/{theft.registration_id}".casefold()
    return [
        entry["wall"]
        for entry in entries
        if entry["kind"] == "request"
        and entry["service"] == service
        and entry["principal"] == APP
        and entry["writes"]
        and entry["status"] in (200, 201, 204)
        and entry["path"].casefold() == path
        and theft.confirmed is not None
        and entry["wall"] >= theft.confirmed
    ]


def _let_in(thief: DeviceFacts) -> list[float]:
    return [one.began for one in thief.sessions] + [one.wall for one in thief.registrations]


def _is_later(at: float, contained: float | None) -> bool:
    return contained is not None and at > contained


def _after(theft: Theft, at: float | None) -> float | None:
    return None if at is None or theft.confirmed is None else max(0.0, at - theft.confirmed)


def problems_of(facts: TheftFacts) -> list[str]:
    """What is not as it must be once the rehearsal is over; each begins with the device's name."""
    theft = facts.theft
    return [f"{theft.registration_id}: {said}" for wrong, said in _CHECKS if wrong(facts)] + [
        f"{theft.registration_id}: still exposed at the end: {one}" for one in theft.still_exposed
    ]


def _was_never_in(facts: TheftFacts) -> bool:
    confirmed = facts.theft.confirmed
    return confirmed is None or not any(one.began < confirmed for one in facts.thief.sessions)


def _did_not_register(facts: TheftFacts) -> bool:
    confirmed = facts.theft.confirmed
    return confirmed is None or not any(one.wall < confirmed for one in facts.thief.registrations)


def _said_too_early(facts: TheftFacts) -> bool:
    evicted, verified = facts.evicted_s, facts.verified_s
    return verified is not None and (evicted is None or evicted > verified)


def _not_refused(service: str) -> Callable[[TheftFacts], bool]:
    """Before, during and after recovery; where the hub accepts until the device is back, after it only."""

    def wrong(facts: TheftFacts) -> bool:
        marks = [facts.evicted_s, facts.verified_s, facts.recovered_s]
        if None in marks:
            return False  # that is said already
        evicted, verified, recovered = (mark for mark in marks if mark is not None)
        spans = [(evicted, verified), (verified, recovered)] if verified < recovered else []
        confirmed = facts.theft.confirmed or 0.0
        tries = [one.wall - confirmed for one in facts.refused if one.service == service]
        last = max(verified, recovered)
        return not all(any(begin <= at <= end for at in tries) for begin, end in spans) or max(tries, default=0) <= last

    return wrong


_CHECKS: Sequence[tuple[Callable[[TheftFacts], bool], str]] = (
    (_was_never_in, "the thief never had a session with the hub, so nothing was shown"),
    (_did_not_register, "the thief never registered, so nothing was shown"),
    (lambda facts: facts.theft.confirmed is None, "nobody confirmed the breach"),
    (
        lambda facts: facts.theft.previewed_messages != facts.theft.queued_messages,
        "the preview did not count the messages that wait for the device",
    ),
    (lambda facts: facts.door_shut_s is None, "the app did not write the enrollment"),
    (lambda facts: facts.evicted_s is None, "a session with the stolen certificate lives on"),
    (lambda facts: facts.verified_s is None, "the app does not say that it is contained"),
    (_said_too_early, "the app said contained while a session with the stolen certificate lived"),
    (lambda facts: facts.accepted_after > 0, "the thief was let in after the app had said contained"),
    (_not_refused("dps"), "the thief was not seen refused by DPS before, during and after recovery"),
    (_not_refused("iothub"), "the thief was not seen refused by the hub before, during and after recovery"),
    (lambda facts: facts.recovered_s is None, "the device did not come back on another certificate"),
    (
        lambda facts: facts.device.thumbprints[-1:] != (facts.theft.replacement,),
        "the device is not on the vault's latest certificate at the end",
    ),
    (lambda facts: not facts.theft.twin_restored, "its tags and desired properties are not what they were"),
)
