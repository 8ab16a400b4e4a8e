"""What the HTTP functions show."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from shared.api import Answer
from shared.breaching import Confirmed
from shared.certificate import Outgoing
from shared.errors import BadInput
from shared.fleet import FleetProgress
from shared.group_device import READMITS
from shared.incident import Incident
from shared.ledger import RefusedInput
from shared.listing_rollovers import page_of_rollovers
from shared.overdue import Overdue, overdue
from shared.paging import PAGING
from shared.plans import ESTABLISHES, PLANS, Step
from shared.rollover import Outcome, Rollover
from shared.rows import History
from shared.services import Services
from shared.status import next_in_words, still_exposed, works_of
from shared.timers import Timer

STATUSES = ("awaiting_approval", "running", "waiting", *Outcome)
FILTERS = ("status", "registration_id", "enrollment_group", "incident", "overdue", *PAGING)


def list_rollovers(filters: Mapping[str, str], services: Services) -> dict[str, Any]:
    """One page of rollovers, latest first, when the timers last came to their end, and what could not be used.

    Raises:
        BadInput: a filter that there is not, or a status, limit or mark that there is not.
    """
    if unknown := [key for key in filters if key not in FILTERS]:
        raise BadInput(f"there is no filter {unknown[0]!r}; there are {', '.join(FILTERS)}")
    status = filters.get("status")
    if status is not None and status not in STATUSES:
        raise BadInput(f"there is no status {status!r}; there are {', '.join(STATUSES)}")
    if filters.get("overdue", "true") != "true":
        raise BadInput("overdue is true, or left out")
    shown, continuation = page_of_rollovers(filters, services)
    return {
        "rollovers": [_shown(rollover, services) for rollover in shown],
        "timers": [_shown_timer(timer, services) for timer in Timer],
        "refused_inputs": [_shown_refusal(refused) for refused in services.ledger.refused_inputs()],
        "continuation": continuation,
    }


def _shown_timer(timer: Timer, services: Services) -> dict[str, Any]:
    last = services.timers.completed(timer)
    return {
        "timer": timer,
        "completed_at": _iso(last.at if last else None),
        "took_seconds": int(last.took.total_seconds()) if last else None,
        "age_seconds": int((services.now() - last.at).total_seconds()) if last else None,
    }


def show_rollover(rollover_id: str, services: Services) -> dict[str, Any]:
    """One rollover with its plan, what it waits for, and its history.

    Raises:
        BadInput: not the ID of a rollover.
        NotFound: there is none.
    """
    rollover = services.ledger.read(rollover_id)
    steps = [
        {"step": step, "establishes": ESTABLISHES[step], "done": step in rollover.done} for step in PLANS[rollover.plan]
    ]
    history = services.ledger.history(rollover)
    return {
        **_shown(rollover, services),
        "contained_at": _iso(_contained_at(rollover, history)),
        "still_exposed": still_exposed(rollover, services),
        "steps": steps,
        "fleet": [_shown_work(work) for work in works_of(rollover, services)],
        "history": [_shown_record(record) for record in history],
    }


def _contained_at(rollover: Rollover, history: list[History]) -> datetime | None:
    said = [record.at for record in history if record.step is Step.VERIFY_CONTAINMENT and record.what == "done"]
    return said[-1] if rollover.contained and said else None


def accepted(rollover: Rollover, note: str | None = None) -> Answer:
    """What a call gets that a rollover carries out; ``note`` is what the call meant to one that was open."""
    url = _url(rollover)
    body: dict[str, Any] = {
        "id": rollover.id,
        "url": url,
        "status": rollover.status,
        "next_step_in_words": next_in_words(rollover),
    }
    if rollover.incident is not None and rollover.incident.leaf:
        body["warning"] = READMITS
    if note:
        body["note"] = note
    return Answer(body, 202, {"Location": url})


def foreseen(rollover: Rollover) -> Answer:
    """What a disallowing would do; an open one that does it already has its ID here."""
    incident = rollover.incident
    of_group = incident is not None and bool(incident.leaf)
    body: dict[str, Any] = {
        "preview": True,
        "registration_id": rollover.registration_id,
        "device_id": rollover.device_id,
        "already": rollover.id or None,
        "does": [
            "an enrollment of its own is made for it, disabled, with its certificate: that decides before its group"
            if of_group
            else "its enrollment is disabled: DPS admits it with no certificate",
            "its hub identity is disabled, which ends its session; its twin is kept",
        ],
    }
    if of_group:
        body["warning"] = READMITS
    return Answer(body)


def confirmed(confirmation: Confirmed) -> Answer:
    """What the confirmation of a breach gets: where to look for what it began."""
    rollovers = confirmation.rollovers
    waiting = [one for one in rollovers if one.status == "awaiting_approval"]
    several = f"/api/rollovers?incident={confirmation.incident_id}"
    body = {
        "incident": confirmation.incident_id,
        "rollovers": [{"id": one.id, "url": _url(one), "status": one.status} for one in rollovers],
        "status": (waiting or rollovers)[0].status,
        "next_step": next_in_words((waiting or rollovers)[0]),
    }
    return Answer(body, 202, {"Location": _url(rollovers[0]) if len(rollovers) == 1 else several})


def _url(rollover: Rollover) -> str:
    return f"/api/rollovers/{rollover.id}"


def _overdue(rollover: Rollover, services: Services) -> Overdue | None:
    return overdue(rollover, services.now(), services.settings.policy)


def _shown(rollover: Rollover, services: Services) -> dict[str, Any]:
    incoming, late = rollover.incoming, _overdue(rollover, services)
    return {
        "id": rollover.id,
        "status": rollover.status,
        "plan": rollover.plan,
        "registration_id": rollover.registration_id or None,
        "device_id": rollover.device_id or None,
        "enrollment_group": rollover.group_id,
        "member_of": rollover.member_of,
        "certificate_name": rollover.certificate_name,
        "cause": rollover.cause,
        "started_at": _iso(rollover.started_at),
        "ended_at": _iso(rollover.ended_at),
        "next_step": rollover.next_step,
        "waiting_for": rollover.waiting_for,
        "waiting_since": _iso(rollover.waiting_since),
        "overdue_since": _iso(late.since if late else None),
        "looks_again_at": _iso(rollover.due_at),
        "reason": rollover.outcome_reason,
        "next_action": rollover.next_action,
        "next_step_in_words": next_in_words(rollover, late),
        "contained": rollover.contained,
        "incident": rollover.incident and _shown_incident(rollover.incident),
        "standby_slot": rollover.standby,
        "outgoing": _shown_certificate(rollover.outgoing),
        "incoming": incoming
        and {
            "version": incoming.version,
            "sha256_thumbprint": incoming.sha256_thumbprint,
            "sha1_thumbprint": incoming.sha1_thumbprint,
            "not_after": _iso(incoming.not_after),
        },
    }


def _shown_certificate(outgoing: Outgoing) -> dict[str, Any]:
    return {
        "sha256_thumbprint": outgoing.sha256_thumbprint or None,
        "sha1_thumbprint": outgoing.sha1_thumbprint,
        "not_after": _iso(outgoing.not_after),
    }


def _shown_incident(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.id,
        "mode": incident.mode,
        "reason": incident.reason,
        "ticket": incident.ticket,
        "requested_by": incident.requested_by,
        "approve_by": _iso(incident.approve_by),
        "approved_by": incident.approved_by,
        "compromised_since": _iso(incident.compromised_since),
        "suspects_only": incident.suspects_only,
        "break_glass": incident.break_glass,
        "compromised": [_shown_certificate(one) for one in incident.compromised],
        "accepted_escape_routes": list(incident.accepted_routes),
    }


def _shown_work(progress: FleetProgress) -> dict[str, Any]:
    return {
        "work": progress.work,
        "listed": progress.listed,
        "devices": progress.devices,
        "done": progress.done,
        "left": progress.devices - progress.done,
        "stragglers": list(progress.stragglers),
        "halted": progress.halted,
        "threshold_reached": progress.threshold_reached,
        "waves": [
            {
                "number": wave.number,
                "size": wave.size,
                "reachable": wave.reachable,
                "moved": wave.moved,
                "asked": wave.asked,
                "asked_at": _iso(wave.asked_at),
            }
            for wave in progress.waves
        ],
    }


def _shown_record(record: History) -> dict[str, Any]:
    return {**asdict(record), "at": _iso(record.at)}


def _shown_refusal(refused: RefusedInput) -> dict[str, Any]:
    return {**asdict(refused), "first_seen": _iso(refused.first_seen), "last_seen": _iso(refused.last_seen)}


def _iso(when: datetime | None) -> str | None:
    return when.isoformat() if when else None
