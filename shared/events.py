"""Names of what this project says: log events for operators' queries, lifecycle events for the topic.

Log lines read ``name key=value ...``; a record carries the same as ``fields``, which become custom dimensions in
Application Insights. Which fields an event may have is declared in ``shared.telemetry``; ``rollover_id``,
``registration_id`` and ``step`` are spelt the same everywhere. Values never hold keys, tokens or certificates.
"""

import json
import logging
from enum import StrEnum

_logger = logging.getLogger("rollover")


class LogEvent(StrEnum):
    """Every log event there is."""

    DECIDED = "decided"
    NUDGE_IGNORED = "nudge_ignored"
    NUDGE_LOST_RACE = "nudge_lost_race"
    INPUT_REFUSED = "input_refused"
    CERTIFICATE_EVENT = "certificate_event"
    ROLLOVER_STARTED = "rollover_started"
    NOTHING_TO_DO = "nothing_to_do"
    CANNOT_BEGIN = "cannot_begin"
    SWEPT = "swept"
    PINS_KEPT = "pins_kept"
    PINS_FAILED = "pins_failed"
    RESUMED = "resumed"
    POISONED = "poisoned"
    ANNOUNCE_FAILED = "announce_failed"
    TARGET_FAILED = "target_failed"
    SOURCE_UNREAD = "source_unread"
    UNCOVERED = "uncovered"
    ROW_UNREADABLE = "row_unreadable"
    STORAGE_DOWN = "storage_down"
    BREACH_PREVIEWED = "breach_previewed"
    GLASS_BROKEN = "glass_broken"
    OPERATED = "operated"
    CALL_REFUSED = "call_refused"
    CALL_FAILED = "call_failed"
    HUB_LOG_READ = "hub_log_read"
    BREACHED_CERTIFICATE_TRIED = "breached_certificate_tried"
    BREACH_NOMINATED = "breach_nominated"
    REFUSAL_UNEXPLAINED = "refusal_unexplained"
    HUB_SIZE_UNREAD = "hub_size_unread"
    TELEMETRY_FAILED = "telemetry_failed"
    FLEET_THROTTLED = "fleet_throttled"
    WAITING_TOO_LONG = "waiting_too_long"
    WAVE_OPENED = "wave_opened"
    DRIFTED = "drifted"


class Lifecycle(StrEnum):
    """CloudEvent types published to the custom topic; subscribers filter on them."""

    STARTED = "Rollover.Started"
    WAITING_TOO_LONG = "Rollover.WaitingTooLong"
    DEVICE_MOVED = "Rollover.DeviceMoved"
    COMPLETED = "Rollover.Completed"
    REFUSED = "Rollover.Refused"
    NEEDS_PERSON = "Rollover.NeedsPerson"
    CANNOT_BEGIN = "Rollover.CannotBegin"
    CONTAINED = "Rollover.Contained"
    RECOVERED = "Rollover.Recovered"
    CANCELLED = "Rollover.Cancelled"
    APPROVAL_NEEDED = "Rollover.ApprovalNeeded"
    GLASS_BROKEN = "Rollover.GlassBroken"
    BREACHED_CERTIFICATE_TRIED = "Rollover.BreachedCertificateTried"
    BREACH_NOMINATED = "Rollover.BreachNominated"
    DRIFTED = "Rollover.Drifted"
    COMPROMISED_BACK = "Rollover.CompromisedBack"


class Urgency(StrEnum):
    """Whom a lifecycle event is for; subscribers filter on it (``data.urgency``)."""

    PAGE = "page"
    """Somebody must get up."""
    TICKET = "ticket"
    """Somebody must do something, in working hours."""
    CHAT = "chat"
    """Good to know."""


_TICKETS: set[str] = {
    Lifecycle.REFUSED,
    Lifecycle.NEEDS_PERSON,
    Lifecycle.CANNOT_BEGIN,
    Lifecycle.WAITING_TOO_LONG,
    Lifecycle.DRIFTED,
    Lifecycle.BREACHED_CERTIFICATE_TRIED,
}
_PAGES_OF_A_BREACH: set[str] = {Lifecycle.REFUSED, Lifecycle.NEEDS_PERSON, Lifecycle.WAITING_TOO_LONG}
_PAGES: set[str] = {
    Lifecycle.APPROVAL_NEEDED,
    Lifecycle.GLASS_BROKEN,
    Lifecycle.BREACH_NOMINATED,
    Lifecycle.COMPROMISED_BACK,
}


def urgency(kind: str, *, contains: bool = False) -> Urgency:
    """Who should learn of it, and how soon; ``contains``: of a rollover that keeps something compromised out, or, of
    one that only waits, that has not yet come to that.

    A kind that only a later release knows is good to know.
    """
    if kind in _PAGES or (contains and kind in _PAGES_OF_A_BREACH):
        return Urgency.PAGE
    return Urgency.TICKET if kind in _TICKETS else Urgency.CHAT


NOTES: dict[str, str] = {
    Lifecycle.BREACHED_CERTIFICATE_TRIED: "The hub refused a connect as this device, or as one of this group, while the"
    " breach is contained and the device is not back. That a compromised certificate was tried is inferred: the hub's"
    " log says neither which certificate was presented nor by whom. It may be the device itself.",
}
"""What a subscriber must know of a kind of event, beside the rollover."""


_WARNINGS = {
    LogEvent.INPUT_REFUSED,
    LogEvent.CANNOT_BEGIN,
    LogEvent.POISONED,
    LogEvent.ANNOUNCE_FAILED,
    LogEvent.TARGET_FAILED,
    LogEvent.SOURCE_UNREAD,
    LogEvent.PINS_FAILED,
    LogEvent.UNCOVERED,
    LogEvent.ROW_UNREADABLE,
    LogEvent.STORAGE_DOWN,
    LogEvent.GLASS_BROKEN,
    LogEvent.CALL_REFUSED,
    LogEvent.CALL_FAILED,
    LogEvent.BREACHED_CERTIFICATE_TRIED,
    LogEvent.BREACH_NOMINATED,
    LogEvent.REFUSAL_UNEXPLAINED,
    LogEvent.HUB_SIZE_UNREAD,
    LogEvent.TELEMETRY_FAILED,
    LogEvent.WAITING_TOO_LONG,
    LogEvent.DRIFTED,
}


def log(event: LogEvent, **fields: object) -> None:
    """Write one log line; fields that are None are left out."""
    level = logging.WARNING if event in _WARNINGS else logging.INFO
    shown = {key: str(value) for key, value in fields.items() if value is not None}
    text = " ".join(f"{key}={_show(value)}" for key, value in shown.items())
    _logger.log(level, "%s %s", event.value, text, extra={"fields": {"event": event.value, **shown}})


def _show(text: str) -> str:
    return text if text and all(c.isalnum() or c in "-._:/~" for c in text) else json.dumps(text)
