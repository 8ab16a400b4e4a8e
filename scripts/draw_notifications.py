"""Draws table and examples of docs/notifications.md from the code that makes the events: `python -m
scripts.draw_notifications`."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from scripts import drawing
from shared.announce import event_data
from shared.certificate import Outgoing
from shared.clients.topic import cloud_event
from shared.enrollment import Slot
from shared.events import Lifecycle, Urgency, urgency
from shared.incident import Incident, Mode
from shared.overdue import overdue
from shared.plans import PLANS, Plan, Step
from shared.rollover import Incoming, Outcome, Rollover
from shared.seen import Policy

PAGE = Path(__file__).resolve().parents[1] / "docs" / "notifications.md"
BEGIN = "<!-- {name}: drawn by scripts/draw_notifications.py; a test compares -->\n"

WHEN: Mapping[Lifecycle, str] = {
    Lifecycle.STARTED: "a rollover, or what a person called for, began",
    Lifecycle.DEVICE_MOVED: "the hub itself shows the device on the incoming certificate",
    Lifecycle.COMPLETED: "every step is done",
    Lifecycle.REFUSED: "it must not go on: `reason` says what is wrong, mostly with the new certificate",
    Lifecycle.NEEDS_PERSON: "it cannot go on by itself: `reason` says why, `nextStep` what to do",
    Lifecycle.WAITING_TOO_LONG: "it waits at one step for longer than"
    " [its budget](rollover.md#how-long-a-step-may-wait): `reason` says for what, `nextStep` what"
    " to do; it goes on by itself, and is announced once a wait",
    Lifecycle.CANNOT_BEGIN: "a certificate that is due belongs to no enrollment, or to one that is not ours to roll;"
    " again every day while it holds",
    Lifecycle.CONTAINED: "read back twice: neither DPS nor hub lets anything compromised in",
    Lifecycle.RECOVERED: "the device is back on the incoming certificate, with its twin",
    Lifecycle.CANCELLED: "a person ended it; nothing is undone",
    Lifecycle.APPROVAL_NEEDED: "a breach call touches more devices than the fuse allows: a second person must agree,"
    " and **nothing is contained until then**",
    Lifecycle.GLASS_BROKEN: "somebody went on without that second person",
    Lifecycle.BREACHED_CERTIFICATE_TRIED: "the hub refused a device that is contained and not back; at most hourly",
    Lifecycle.DRIFTED: "DPS or hub do not hold what a rollover left there: `reason` says what, `nextStep` what to do;"
    " nothing was done; again when it is still so after a day without a look",
    Lifecycle.COMPROMISED_BACK: "what was contained is accepted again: a compromised certificate is back, or a device"
    " that is kept out is let in; nothing was done",
    Lifecycle.BREACH_NOMINATED: "the hub accepts a certificate that nobody here issued; nothing was done; again every"
    " day while it holds",
}
"""What each event says; a kind that lacks here cannot be drawn."""

_AT = datetime(2026, 11, 25, 3, 7, 12, 345678, tzinfo=UTC)
_TRACE = "00-6f1f7b9d4c6a4e0c9a55c1c4c2b7f3aa-0b6c1d2e3f405162-01"
_ROLLOVER = Rollover(
    id="individual.meter-10.3",
    plan=Plan.EXPIRY,
    registration_id="meter-10",
    device_id="meter-10",
    certificate_name="meter-10",
    cause="event CertificateNearExpiry (its tag names the enrollment)",
    started_at=_AT,
    outgoing=Outgoing("A1" * 20, "B2" * 32, datetime(2026, 12, 20, tzinfo=UTC), None),
    standby=Slot.SECONDARY,
    records=1,
    head="5c" * 32,
    trace=_TRACE,
)
_INCOMING = Incoming("9a3c", "C3" * 20, "D4" * 32, datetime(2027, 12, 20, tzinfo=UTC))


def _examples() -> dict[str, dict[str, Any]]:
    incident = Incident(
        id="breach-20261125T030700",
        mode=Mode.REMOVE,
        reason="stolen laptop",
        requested_by="Ada (00000000-0000-0000-0000-000000000001)",
        requested_by_id="00000000-0000-0000-0000-000000000001",
        compromised=(_ROLLOVER.outgoing,),
    )
    needs = replace(
        _ROLLOVER,
        incoming=_INCOMING,
        outcome=Outcome.NEEDS_PERSON,
        outcome_reason="the outgoing certificate ended 7 days ago and the device never came",
        next_action="see whether the device is alive; the next day's sweep begins it again",
        records=12,
    )
    steps = (Step.DISABLE_ENROLLMENT, Step.REMOVE_HUB_REGISTRATION, Step.VERIFY_CONTAINMENT)
    waits = replace(
        _ROLLOVER,
        done=PLANS[Plan.EXPIRY][:3],
        arrived_at=_AT,
        incoming=_INCOMING,
        waiting_for="the reprovision job ended (completed: 0 answered, 1 not reached); the device has not registered"
        " with the incoming certificate yet",
        waiting_since=_AT,
        records=9,
    )
    contained = replace(_ROLLOVER, plan=Plan.BREACH, incident=incident, done=steps, records=6)
    nominated = {
        "urgency": urgency(Lifecycle.BREACH_NOMINATED),
        "deviceId": "meter-10",
        "registrationId": "meter-10",
        "reason": f"its hub identity accepts {'E5' * 32}, which neither enrollment, ledger nor vault ever had",
    }
    return {
        "started": _envelope(Lifecycle.STARTED, f"{_ROLLOVER.id}/1", event_data(_ROLLOVER, Lifecycle.STARTED)),
        "needs": _envelope(
            Lifecycle.NEEDS_PERSON, f"{needs.id}/{needs.records}", event_data(needs, Lifecycle.NEEDS_PERSON)
        ),
        "waits": _envelope(
            Lifecycle.WAITING_TOO_LONG,
            f"{waits.id}/{waits.records}",
            event_data(waits, Lifecycle.WAITING_TOO_LONG, overdue(waits, _AT + timedelta(days=3), Policy())),
        ),
        "contained": _envelope(
            Lifecycle.CONTAINED, f"{contained.id}/{contained.records}", event_data(contained, Lifecycle.CONTAINED)
        ),
        "nominated": _envelope(Lifecycle.BREACH_NOMINATED, "hub log/meter-10/20261125T030712", nominated),
    }


def _envelope(kind: Lifecycle, event_id: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """As the topic delivers it (CloudEvents 1.0, JSON)."""
    return cloud_event(event_id, kind, "meter-10", data, _AT, _TRACE)


def _urgency(kind: Lifecycle) -> str:
    alone, of_a_breach = urgency(kind), urgency(kind, contains=True)
    when = "is to keep something out and does not yet" if kind is Lifecycle.WAITING_TOO_LONG else "keeps something out"
    return alone if alone is of_a_breach else f"{alone}; {of_a_breach} if it {when}"


def tables() -> dict[str, str]:
    """Name of a place in the page → what stands there."""
    order = [*Urgency]
    kinds = sorted(Lifecycle, key=lambda kind: order.index(urgency(kind, contains=True)))
    rows = ["| event | for | says that |", "|---|---|---|"]
    rows += [f"| `{kind}` | {_urgency(kind)} | {WHEN[kind]} |" for kind in kinds]
    examples = {name: f"```json\n{json.dumps(one, indent=2)}\n```" for name, one in _examples().items()}
    return {"kinds": "\n".join(rows), **examples}


def drawn(page: str) -> str:
    """The page with its tables made anew."""
    return drawing.drawn(page, BEGIN, tables())


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text()))
