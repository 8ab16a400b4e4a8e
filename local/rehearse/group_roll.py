"""What became of a group whose CA was rolled: from journal entries and what the scenario saw to facts. Pure.

Old and new are told by who signed a session's leaf, which the desk wrote down; the forger by the address he comes from.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from local.rehearse.journal import DeviceFacts, Entry, Refusal, Session, facts_of
from local.rehearse.theft import APP, without

INTERMEDIATE, ROOT = "intermediate", "root"
EXPIRY, BREACH = "expiry", "breach"
MOST_POINTS = 400
"""In a curve, at most: no picture shows more."""

type Generation = Literal["old", "new", "forged"]


@dataclass
class GroupRoll:
    """One CA of a group that is rolled, as the scenario saw it. Times are seconds since 1970, real time."""

    group_id: str
    anchor: str
    """What the group trusts: `INTERMEDIATE`, a certificate of its own, or `ROOT`, by name."""
    plan: str
    """`EXPIRY` or `BREACH`."""
    outgoing: str
    """SHA-256 thumbprint of the CA certificate that the group trusts."""
    began: float
    """The new CA is put into the vault; in a breach, the old one's key is stolen."""
    address: str
    """Where the forger comes from."""
    incoming: str | None = None
    forged: tuple[str, ...] = ()
    """The names that the forger made himself certificates for: of a device, and one that never was."""
    signed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Each leaf that the desk gave out → the CAs above it (`desk.Desk.issued`)."""
    rollover_id: str | None = None
    confirmed: float | None = None
    """When the last call was sent that a breach needs: the confirmation, or a second person's approval."""
    contained: float | None = None
    shown: dict[str, Any] = field(default_factory=dict)
    """What the app says of the rollover, read last."""
    twins_kept: int | None = None
    """How many devices have the tags and desired properties that they had; None: not looked at."""
    still_exposed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class GroupFacts:
    """What the journal says of it. Times ending in `_s` are seconds from the start of it; None: it never happened.

    The start is the call that confirmed, or the new version in the vault.
    """

    roll: GroupRoll
    devices: tuple[DeviceFacts, ...]
    """Since it began; a session that lived then is one."""
    forgers: tuple[DeviceFacts, ...]
    """One for each name, in the order of `roll.forged`."""
    moved_s: Mapping[str, float]
    """Device → when its first session with a leaf of the new CA began."""
    lost: tuple[str, ...]
    """The devices that have no session with such a leaf at the end."""
    door_shut_s: float | None
    """The app's first write to the group was answered."""
    evicted_s: float | None
    """The last session that a leaf of the old CA, or a forged one, had from before it was contained."""
    evicted: int
    """How many such sessions there were when the call was sent."""
    contained_s: float | None
    """The app's word."""
    recovered_s: float | None
    """The last device has its new session."""
    accepted_after: int
    """How often the forger was let in, by DPS or hub, after the app had said that it is contained."""
    curve: tuple[tuple[float, int, int], ...]
    """At each change, from the first session on: seconds since `roll.began`, devices on the old CA, on the new one."""

    def refused_by(self, service: str, name: str | None = None) -> int:
        """How often the forger was refused by "dps" or "iothub" since the start, as `name` or at all."""
        return sum(
            refusal.service == service and refusal.wall >= _start(self.roll)
            for one in self.forgers
            if name in (None, one.registration_id)
            for refusal in one.refusals
        )


def work_of(shown: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """How far a work on the group's devices is, as the app shows it of a rollover; empty while it is not begun."""
    return next((one for one in shown.get("fleet", ()) if one["work"] == name), {})


def group_facts(entries: Sequence[Entry], roll: GroupRoll, names: Sequence[str], until: float) -> GroupFacts:
    """What became of it for these devices, observed up to `until` (seconds since 1970)."""
    own = without(entries, [roll.address])
    ever = facts_of(own, names, until)
    devices = tuple(_since(one, roll.began, until) for one in ever)
    others = [entry for entry in entries if entry.get("address") == roll.address]
    forgers = tuple(facts_of(others, roll.forged, until))
    moved = {one.registration_id: at for one in devices if (at := _moved(one, roll)) is not None}
    old = [one for who in (*devices, *forgers) for one in who.sessions if _generation(one, roll) != "new"]
    start, everybody = _start(roll), len(moved) == len(names) and bool(names)
    return GroupFacts(
        roll=roll,
        devices=devices,
        forgers=forgers,
        moved_s={name: at - start for name, at in moved.items()},
        lost=tuple(one.registration_id for one in devices if not _is_on_new(one, roll)),
        door_shut_s=_after(start, _first_write(entries, roll)),
        evicted_s=_after(start, _evicted(old, roll.contained)),
        evicted=sum(one.began <= start < one.ended for one in old),
        contained_s=_after(start, roll.contained),
        recovered_s=_after(start, max(moved.values())) if everybody else None,
        accepted_after=sum(_is_after(at, roll.contained) for one in forgers for at in _let_in(one)),
        curve=_curve(ever, roll, until),
    )


def _start(roll: GroupRoll) -> float:
    return roll.began if roll.confirmed is None else roll.confirmed


def _after(start: float, at: float | None) -> float | None:
    return None if at is None else max(0.0, at - start)


def _is_after(at: float, contained: float | None) -> bool:
    return contained is not None and at > contained


def _since(device: DeviceFacts, began: float, until: float) -> DeviceFacts:
    def later(one: Any) -> bool:
        return bool(one.wall >= began)

    sessions = tuple(one for one in device.sessions if one.ended > began)
    registrations, refusals = filter(later, device.registrations), filter(later, device.refusals)
    return DeviceFacts.of(device.registration_id, sessions, tuple(registrations), tuple(refusals), until)


def _generation(session: Session, roll: GroupRoll) -> Generation:
    above = roll.signed.get(session.sha256)
    if above is None:
        return "forged"
    return "new" if roll.incoming in above else "old"


def _moved(device: DeviceFacts, roll: GroupRoll) -> float | None:
    return min((one.began for one in device.sessions if _generation(one, roll) == "new"), default=None)


def _is_on_new(device: DeviceFacts, roll: GroupRoll) -> bool:
    return any(one.ended_because is None and _generation(one, roll) == "new" for one in device.sessions)


def _first_write(entries: Iterable[Entry], roll: GroupRoll) -> float | None:
    """When the app's first write to the group was answered, since the start."""
    path = f"/enrollmentGroups/{roll.group_id}".casefold()
    return min(
        (
            entry["wall"]
            for entry in entries
            if entry["kind"] == "request"
            and entry["service"] == "dps"
            and entry["principal"] == APP
            and entry["writes"]
            and entry["status"] == 200
            and entry["path"].casefold() == path
            and entry["wall"] >= _start(roll)
        ),
        default=None,
    )


def _evicted(old: Sequence[Session], contained: float | None) -> float | None:
    """When the last of these sessions ended that had begun before it was contained; None while one lives."""
    before = [one for one in old if not _is_after(one.began, contained)]
    if not before or any(one.ended_because is None for one in before):
        return None
    return max(one.ended for one in before)


def _let_in(forger: DeviceFacts) -> list[float]:
    return [one.began for one in forger.sessions] + [one.wall for one in forger.registrations]


def _curve(devices: Sequence[DeviceFacts], roll: GroupRoll, until: float) -> tuple[tuple[float, int, int], ...]:
    """Counts at each change, thinned out evenly where there are more than a picture shows."""
    changes: list[tuple[float, int, int]] = []
    for device in devices:
        for session, following in pairwise([*device.sessions, None]):
            if session is None:  # what follows the last one
                continue
            kind = _generation(session, roll)
            old, new = int(kind == "old"), int(kind == "new")
            # The hub hands a session over in one step: where the next one began first, that is when this one ended.
            ended = min(session.ended, following.began) if following else session.ended
            changes.append((session.began, old, new))
            if ended < until:
                changes.append((ended, -old, -new))
    counts, olds, news = dict[float, tuple[int, int]](), 0, 0
    for at, old, new in sorted(changes):
        olds, news = olds + old, news + new
        counts[round(at - roll.began, 3)] = olds, news
    points = [(at, *both) for at, both in counts.items()]
    if len(points) > MOST_POINTS:
        points = [points[round(n * (len(points) - 1) / (MOST_POINTS - 1))] for n in range(MOST_POINTS)]
    return tuple(points)


def problems_of(facts: GroupFacts) -> list[str]:
    """What is not as it must be once the rehearsal is over; each begins with the group's name."""
    checks = _BREACH if facts.roll.plan == BREACH else _EXPIRY
    found = [said for wrong, said in (*_BOTH, *checks) if wrong(facts)]
    found += [f"still exposed at the end: {one}" for one in facts.roll.still_exposed]
    found += [f"lost: {name}" for name in facts.lost]
    return [f"{facts.roll.group_id}: {one}" for one in found]


def _said_too_early(facts: GroupFacts) -> bool:
    evicted, contained = facts.evicted_s, facts.contained_s
    return contained is not None and (evicted is None or evicted > contained)


def _forger_was_not_in(facts: GroupFacts) -> bool:
    start = _start(facts.roll)
    return not facts.forgers or not all(any(one.began < start for one in who.sessions) for who in facts.forgers)


def _not_refused(facts: GroupFacts, service: str) -> bool:
    """Whether the forger was not refused under each name after the last device was back."""
    back = _start(facts.roll) + (facts.recovered_s or 0.0)

    def last(refusals: Sequence[Refusal]) -> float:
        return max((one.wall for one in refusals if one.service == service), default=0.0)

    return facts.recovered_s is not None and any(last(one.refusals) <= back for one in facts.forgers)


_BOTH = (
    (lambda facts: facts.roll.rollover_id is None, "the app began no rollover"),
    (lambda facts: facts.roll.shown.get("status") != "done", "the app does not say that it is done"),
    (lambda facts: facts.roll.twins_kept not in (None, len(facts.devices)), "not every twin is what it was"),
)
_EXPIRY = (
    (lambda facts: not work_of(facts.roll.shown, "wave").get("waves"), "the app says of no waves"),
    (lambda facts: any(one.refusals for one in facts.devices), "devices were refused"),
)
_BREACH = (
    (_forger_was_not_in, "the forger had no session under each of his names, so nothing was shown"),
    (lambda facts: facts.roll.confirmed is None, "nobody confirmed the breach"),
    (lambda facts: facts.door_shut_s is None, "the app did not write the group"),
    (lambda facts: facts.evicted_s is None, "a session by the old CA lives on"),
    (lambda facts: facts.contained_s is None, "the app does not say that it is contained"),
    (_said_too_early, "the app said contained while a session by the old CA lived"),
    (lambda facts: facts.accepted_after > 0, "the forger was let in after the app had said contained"),
    (lambda facts: _not_refused(facts, "dps"), "the forger was not seen refused by DPS after the devices were back"),
    (lambda facts: _not_refused(facts, "iothub"), "the forger was not seen refused by the hub after that"),
)
