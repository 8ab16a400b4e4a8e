"""Looks ahead: the horizon with what the ledger knows of refusals, as the API shows it and the sweep tells it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.errors import BadInput, RolloverError
from shared.events import LogEvent, log
from shared.horizon import PATIENCE, Expiry, Fate, Kind, as_ended, horizon, is_urgent, is_waiting_for_sweep
from shared.horizon_members import horizon_of_members
from shared.paging import PAGING, page
from shared.services import Services
from shared.survey import Survey
from shared.surveying import survey
from shared.target import Due
from shared.telemetry import Metric, measure

FILTERS = ("before", "days", "uncovered", *PAGING)
MOST_LOOKS = 100
"""Targets whose last rollover is read, of those that are due and not begun: normally there is none."""
MOST_LINES = 100
"""Uncovered certificates that one sweep names in the log, soonest first."""


def look_ahead(found: Survey, services: Services) -> list[Expiry]:
    """Every certificate that something trusts, soonest end first, and what becomes of it."""
    now, due, refused = services.now(), services.settings.due, _refused(services)
    expiries = horizon(found, now, due, refused) + horizon_of_members(found, now, due, refused)
    expiries.sort(key=lambda one: one.order)
    waiting = [one for one in expiries if one.partition and is_waiting_for_sweep(one, now)]
    ended = {(one.partition, one.order): _as_ended(one, services) for one in waiting[:MOST_LOOKS]}
    return [ended.get((one.partition, one.order), one) for one in expiries]


def _refused(services: Services) -> dict[str, str]:
    """Vault certificate → why the last sweep could not begin, unless that passes by itself."""
    try:
        noted = services.ledger.refused_inputs()
    except RolloverError:
        return {}
    now = services.now()
    return {
        one.subject: one.reason
        for one in reversed(noted)
        if now - one.last_seen < PATIENCE and (one.source == "certificate" or (one.source == "sweep" and one.announced))
    }


def _as_ended(expiry: Expiry, services: Services) -> Expiry:
    try:
        return as_ended(expiry, services.ledger.last_in(expiry.partition), services.now())
    except RolloverError:
        return expiry


# --- the sweep ----------------------------------------------------------------------------------------------------


def tell_horizon(found: Survey, services: Services) -> None:
    """Count, and name in the log, what nothing would roll; and say how soon anything ends."""
    now = services.now()
    expiries = look_ahead(found, services)
    urgent = [one for one in expiries if is_urgent(one, now, services.settings.warn)]
    measure(Metric.UNCOVERED, len(urgent))
    if (soonest := _soonest(expiries, now)) is not None:
        measure(Metric.SOONEST, (soonest - now).total_seconds())
    for one in urgent[:MOST_LINES]:
        log(
            LogEvent.UNCOVERED,
            registration_id=one.name if one.kind is Kind.ENROLLMENT else None,
            group_id=one.name if one.kind is Kind.GROUP else None,
            ca_certificate=one.name if one.kind is Kind.AUTHORITY else None,
            certificate=one.name if one.kind is Kind.MEMBER else None,
            ends=one.ends and one.ends.isoformat(),
            why=one.why,
        )


def _soonest(expiries: Sequence[Expiry], now: datetime) -> datetime | None:
    return next((one.ends for one in expiries if one.ends and one.ends > now and one.fate is not Fate.IDLE), None)


# --- GET /api/certificates ----------------------------------------------------------------------------------------


def list_certificates(filters: Mapping[str, str], services: Services) -> dict[str, Any]:
    """One page of the horizon. A list that cannot be read is named in ``missing``; the others are told all the same.

    Raises:
        BadInput: a filter that there is not, or that cannot be understood.
    """
    if unknown := [key for key in filters if key not in FILTERS]:
        raise BadInput(f"there is no filter {unknown[0]!r}; there are {', '.join(FILTERS)}")
    now = services.now()
    before = _before(filters, now)
    if filters.get("uncovered", "true") != "true":
        raise BadInput("uncovered is true, or left out")
    found = _surveyed(services)
    everything = look_ahead(found, services)
    asked = [one for one in everything if before is None or (one.ends is not None and one.ends < before)]
    if "uncovered" in filters:
        asked = [one for one in asked if one.fate is Fate.UNCOVERED]
    soonest = _soonest(everything, now)
    shown, continuation = page(asked, lambda one: one.order, filters)
    return {
        "certificates": [_shown(one, now, services.settings.warn) for one in shown],
        "total": len(asked),
        "uncovered": sum(one.fate is Fate.UNCOVERED for one in asked),
        "soonest": soonest.isoformat() if soonest else None,
        "missing": [{"source": source, "why": str(error)} for source, error in found.missing.items()],
        "continuation": continuation,
    }


def _surveyed(services: Services) -> Survey:
    try:
        notes = services.devices.all()
    except RolloverError:
        notes = {}  # the ledger's own list fails too, and is named
    return survey(services, notes)


def _before(filters: Mapping[str, str], now: datetime) -> datetime | None:
    if "before" in filters and "days" in filters:
        raise BadInput("before and days say the same; give one")
    if days := filters.get("days"):
        if not days.isascii() or not days.isdigit() or len(days) > 5:
            raise BadInput("days must be a whole number up to 99999")
        return now + timedelta(days=int(days))
    if (before := filters.get("before")) is None:
        return None
    try:
        when = datetime.fromisoformat(before)
    except ValueError:
        raise BadInput("before must be a time like 2027-01-31T00:00:00Z") from None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when


def _shown(one: Expiry, now: datetime, warn: Due) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "name": one.name,
        "slots": list(one.slots),
        "sha1_thumbprint": one.sha1_thumbprint or None,
        "sha256_thumbprint": one.sha256_thumbprint or None,
        "not_after": one.ends.isoformat() if one.ends else None,
        "expired": one.ends is not None and one.ends <= now,
        "fate": one.fate,
        "why": one.why,
        "urgent": is_urgent(one, now, warn),
        "certificate_name": one.certificate_name or None,
        "due_at": one.due_at.isoformat() if one.due_at else None,
        "rollover_id": one.rollover_id,
        "used_by": list(one.used_by),
        "verified": one.verified,
    }
