"""Vault events that are lost, repeated or overtake one another, and what comes of it. Pure.

An event is a hint: whatever becomes of it, each certificate is rolled once, and before it ends.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from local.rehearse.journal import Entry, by_device

DELIVERED, DROPPED = "Delivered", "dropped"


@dataclass(frozen=True)
class Roll:
    """One rollover as the app lists it. `outgoing` is a SHA-256 thumbprint; `cause` says what made the app begin."""

    registration_id: str
    outgoing: str
    status: str
    cause: str


@dataclass
class Mishap:
    """What Event Grid did to the vault's events on request, and what the scenario saw at the end."""

    drop: bool = False
    copies: int = 1
    reorder_s: float = 0.0
    ends: dict[str, datetime] = field(default_factory=dict)
    """SHA-256 thumbprint → when that certificate ended, of every certificate that was to be rolled."""
    rolls: list[Roll] = field(default_factory=list)

    def switches(self) -> dict[str, Any]:
        """As the stand-in takes them."""
        return {"drop": self.drop, "copies": self.copies, "reorder_s": self.reorder_s}


@dataclass(frozen=True)
class MishapFacts:
    """What the journal says: events by what became of them, and when the devices moved on."""

    mishap: Mishap
    sent: int
    """By the vault, the dropped ones too."""
    dropped: int
    deliveries: Mapping[str, int]
    """Event ID → how often it was delivered, of all that were not dropped."""
    out_of_order: int
    """Deliveries that came after one of a later event."""
    left: Mapping[tuple[str, str], timedelta]
    """Device (lower case) and certificate → how long before the certificate's end the device connected with another
    one, having used this one before; negative: after it."""

    @property
    def delivered(self) -> int:
        return sum(self.deliveries.values())


def mishap_facts(entries: Sequence[Entry], mishap: Mishap) -> MishapFacts:
    """The facts in these entries of the journal."""
    events = sorted((one for one in entries if one["kind"] == "event"), key=lambda one: int(one["seq"]))
    sent = [one["id"] for one in events if "attempt" not in one]
    dropped = {one["id"] for one in events if one["outcome"] == DROPPED}
    arrived = [one["id"] for one in events if "attempt" in one and one["outcome"] == DELIVERED]
    counts = Counter(arrived)
    return MishapFacts(
        mishap=mishap,
        sent=len(sent),
        dropped=len(dropped),
        deliveries={one: counts[one] for one in sent if one not in dropped},
        out_of_order=_out_of_order(sent, arrived),
        left=dict(_moves(entries, mishap.ends)),
    )


def _out_of_order(sent: Sequence[str], arrived: Sequence[str]) -> int:
    order = {one: number for number, one in enumerate(sent)}
    latest, late = -1, 0
    for one in arrived:
        late += order[one] < latest
        latest = max(latest, order[one])
    return late


def _moves(entries: Sequence[Entry], ends: Mapping[str, datetime]) -> Iterator[tuple[tuple[str, str], timedelta]]:
    for name, own in by_device(entries).items():
        used = ""
        for one in own:
            if one["kind"] != "connect" or one.get("service") != "iothub" or not one["accepted"]:
                continue
            if used in ends and one["sha256"] != used:
                yield (name, used), ends[used] - datetime.fromisoformat(one["at"])
            used = one["sha256"]


def problems_of(facts: MishapFacts, used: Mapping[str, Sequence[str]]) -> list[str]:
    """What went wrong. `used`: registration ID → SHA-256 of the certificates its sessions were made with, in order."""
    return [*_not_maltreated(facts), *(text for name in used for text in _of_device(facts, name, used[name]))]


def _not_maltreated(facts: MishapFacts) -> list[str]:
    """Why the run shows nothing: the events went another way than was asked."""
    asked, short = facts.mishap, sum(times < facts.mishap.copies for times in facts.deliveries.values())
    if not facts.sent:
        return ["events: the vault sent none"]
    if asked.drop:
        by_event = sum(not one.cause.startswith("sweep") for one in asked.rolls)
        arrived = facts.sent - facts.dropped
        return [
            *([f"events: {arrived} of {facts.sent} were not dropped"] if arrived else []),
            *([f"events: {by_event} rollovers were begun by something else than the sweep"] if by_event else []),
        ]
    return [
        *([f"events: {short} of {facts.sent} were delivered fewer than {asked.copies} times"] if short else []),
        *(["events: all came in order"] if asked.reorder_s and not facts.out_of_order else []),
    ]


def _of_device(facts: MishapFacts, name: str, used: Sequence[str]) -> Iterator[str]:
    retired = Counter(used[:-1])
    rolls = Counter(one.outgoing for one in facts.mishap.rolls if one.registration_id == name)
    for sha256 in dict.fromkeys([*retired, *rolls]):
        if rolls[sha256] != 1:
            yield f"{name}: {rolls[sha256]} rollovers of certificate {sha256[:8]}, not one"
        elif sha256 not in retired:
            yield f"{name}: a rollover of certificate {sha256[:8]}, which the device still uses or never used"
    yield from (
        f"{name}: its rollover of certificate {one.outgoing[:8]} is {one.status}"
        for one in facts.mishap.rolls
        if one.registration_id == name and one.status != "done"
    )
    for sha256 in retired:
        left = facts.left.get((name.casefold(), sha256))
        if left is None:
            yield f"{name}: nobody knows when certificate {sha256[:8]} ends"
        elif left <= timedelta(0):
            yield f"{name}: it left certificate {sha256[:8]} {-left} after its end"


def mishap_section(facts: MishapFacts | None) -> dict[str, Any] | None:
    """`events` of report.json."""
    if facts is None:
        return None
    per_certificate = Counter((one.registration_id, one.outgoing) for one in facts.mishap.rolls)
    return {
        "asked": facts.mishap.switches(),
        "sent": facts.sent,
        "dropped": facts.dropped,
        "delivered": facts.delivered,
        "out_of_order": facts.out_of_order,
        "certificates": len(facts.mishap.ends),
        "rolled_once": sum(times == 1 for times in per_certificate.values()),
        "begun_by": dict(Counter(one.cause.split(" ")[0] for one in facts.mishap.rolls)),
        "least_left_days": round(min(facts.left.values()) / timedelta(days=1), 2) if facts.left else None,
    }


def mishap_in_words(events: Mapping[str, Any] | None) -> list[str]:
    """What the verdict says of it."""
    if events is None:
        return []
    left = events["least_left_days"]
    soonest = "" if left is None else f", the last {left:.1f} days before its end"
    return [
        f"{events['sent']} vault events: {events['dropped']} dropped, {events['delivered']} deliveries,"
        f" {events['out_of_order']} out of order; {events['rolled_once']} of {events['certificates']} certificates"
        f" rolled exactly once{soonest}"
    ]
