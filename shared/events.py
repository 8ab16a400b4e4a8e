"""Names of what this project says: log events for operators' queries, lifecycle events for the topic.

Log lines read ``name key=value ...``; the fields ``rollover_id``, ``registration_id`` and ``step`` are spelt the
same everywhere. Values never hold keys, tokens or certificates.
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
    RESUMED = "resumed"
    POISONED = "poisoned"
    ANNOUNCE_FAILED = "announce_failed"
    TARGET_FAILED = "target_failed"
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
    FLEET_THROTTLED = "fleet_throttled"


class Lifecycle(StrEnum):
    """CloudEvent types published to the custom topic; subscribers filter on them."""

    STARTED = "Rollover.Started"
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


NOTES: dict[str, str] = {
    Lifecycle.BREACHED_CERTIFICATE_TRIED: "The hub refused a connect as this device while its breach is contained and"
    " the device is not back. That a compromised certificate was tried is inferred: the hub's log says neither which"
    " certificate was presented nor by whom. It may be the device itself.",
}
"""What a subscriber must know of a kind of event, beside the rollover."""


_WARNINGS = {
    LogEvent.INPUT_REFUSED,
    LogEvent.CANNOT_BEGIN,
    LogEvent.POISONED,
    LogEvent.ANNOUNCE_FAILED,
    LogEvent.TARGET_FAILED,
    LogEvent.ROW_UNREADABLE,
    LogEvent.STORAGE_DOWN,
    LogEvent.GLASS_BROKEN,
    LogEvent.CALL_REFUSED,
    LogEvent.CALL_FAILED,
    LogEvent.BREACHED_CERTIFICATE_TRIED,
    LogEvent.BREACH_NOMINATED,
    LogEvent.REFUSAL_UNEXPLAINED,
}


def log(event: LogEvent, **fields: object) -> None:
    """Write one log line; fields that are None are left out."""
    level = logging.WARNING if event in _WARNINGS else logging.INFO
    text = " ".join(f"{key}={_show(value)}" for key, value in fields.items() if value is not None)
    _logger.log(level, "%s %s", event.value, text)


def _show(value: object) -> str:
    text = str(value)
    return text if text and all(c.isalnum() or c in "-._:/~" for c in text) else json.dumps(text)
