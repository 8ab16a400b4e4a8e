"""What the HTTP functions show, and how they say no: problem+json (RFC 9457)."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from shared.errors import BadInput, Misconfigured, NotFound, ServiceRefused, ServiceUnavailable
from shared.ledger import RefusedInput
from shared.rollover import ESTABLISHES, PLANS, Rollover
from shared.rows import History
from shared.services import Services

STATUSES = ("running", "waiting", "done", "refused", "needs_person")
FILTERS = ("status", "registration_id")


def answer(make: Callable[[], Mapping[str, Any]], instance: str) -> dict[str, Any]:
    """The parts of an HTTP answer: what ``make`` gives, or a problem for each kind of failure.

    ``instance`` is the request's URL; its query is left out of the problem, for it may carry a key.
    """
    try:
        return _json(200, make(), "application/json")
    except BadInput as error:
        return _problem(400, "The request cannot be understood", str(error), instance)
    except NotFound as error:
        return _problem(404, "No such rollover", str(error), instance)
    except Misconfigured as error:
        return _problem(500, "The app is not configured", str(error), instance)
    except ServiceRefused as error:
        return _problem(502, "A service refuses", str(error), instance)
    except ServiceUnavailable as error:
        return _problem(503, "A service does not answer", f"{error}; try again in a minute", instance)


def _json(status: int, body: Mapping[str, Any], mimetype: str) -> dict[str, Any]:
    return {"body": json.dumps(body, indent=2), "status_code": status, "mimetype": mimetype}


def _problem(status: int, title: str, detail: str, instance: str) -> dict[str, Any]:
    body = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance.partition("?")[0],
    }
    return _json(status, body, "application/problem+json")


def list_rollovers(filters: Mapping[str, str], services: Services) -> dict[str, Any]:
    """Rollovers, latest first, and what could not be used.

    Raises:
        BadInput: a filter that there is not, or a status that there is not.
    """
    wanted = {key: value for key, value in filters.items() if key != "code"}
    if unknown := [key for key in wanted if key not in FILTERS]:
        raise BadInput(f"there is no filter {unknown[0]!r}; there are {', '.join(FILTERS)}")
    status = wanted.get("status")
    if status is not None and status not in STATUSES:
        raise BadInput(f"there is no status {status!r}; there are {', '.join(STATUSES)}")
    found = [r for r in services.ledger.rollovers(wanted.get("registration_id")) if status in (None, r.status)]
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
