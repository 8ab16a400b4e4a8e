"""What the HTTP functions show."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from shared.errors import BadInput
from shared.ledger import RefusedInput
from shared.rollover import ESTABLISHES, PLANS, Rollover
from shared.rows import History
from shared.services import Services

STATUSES = ("running", "waiting", "done", "refused", "needs_person")
FILTERS = ("status", "registration_id")


def list_rollovers(filters: Mapping[str, str], services: Services) -> dict[str, Any]:
    """Rollovers, latest first, and what could not be used.

    Raises:
        BadInput: a filter that there is not, or a status that there is not.
    """
    if unknown := [key for key in filters if key not in FILTERS]:
        raise BadInput(f"there is no filter {unknown[0]!r}; there are {', '.join(FILTERS)}")
    status = filters.get("status")
    if status is not None and status not in STATUSES:
        raise BadInput(f"there is no status {status!r}; there are {', '.join(STATUSES)}")
    found = [r for r in services.ledger.rollovers(filters.get("registration_id")) if status in (None, r.status)]
    found.sort(key=lambda r: r.started_at, reverse=True)
    return {
        "rollovers": [_shown(rollover) for rollover in found],
        "refused_inputs": [_shown_refusal(refused) for refused in services.ledger.refused_inputs()],
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
    history = [_shown_record(record) for record in services.ledger.history(rollover)]
    return {**_shown(rollover), "steps": steps, "history": history}


def _shown(rollover: Rollover) -> dict[str, Any]:
    incoming = rollover.incoming
    return {
        "id": rollover.id,
        "status": rollover.status,
        "plan": rollover.plan,
        "registration_id": rollover.registration_id,
        "device_id": rollover.device_id,
        "certificate_name": rollover.certificate_name,
        "cause": rollover.cause,
        "started_at": _iso(rollover.started_at),
        "ended_at": _iso(rollover.ended_at),
        "next_step": rollover.next_step,
        "waiting_for": rollover.waiting_for,
        "waiting_since": _iso(rollover.waiting_since),
        "looks_again_at": _iso(rollover.due_at),
        "reason": rollover.outcome_reason,
        "next_action": rollover.next_action,
        "standby_slot": rollover.standby,
        "outgoing": {
            "sha256_thumbprint": rollover.outgoing.sha256_thumbprint,
            "sha1_thumbprint": rollover.outgoing.sha1_thumbprint,
            "not_after": _iso(rollover.outgoing.not_after),
        },
        "incoming": incoming
        and {
            "version": incoming.version,
            "sha256_thumbprint": incoming.sha256_thumbprint,
            "sha1_thumbprint": incoming.sha1_thumbprint,
            "not_after": _iso(incoming.not_after),
        },
    }


def _shown_record(record: History) -> dict[str, Any]:
    return {**asdict(record), "at": _iso(record.at)}


def _shown_refusal(refused: RefusedInput) -> dict[str, Any]:
    return {**asdict(refused), "first_seen": _iso(refused.first_seen), "last_seen": _iso(refused.last_seen)}


def _iso(when: datetime | None) -> str | None:
    return when.isoformat() if when else None
