"""Everything that this project emits, declared: log events with their fields, metrics, spans; and how they are emitted.

``docs/telemetry.md`` is drawn from here; every query in alerts, workbook and documents is held against it.

Only the OpenTelemetry API is used, and not even that is imported before somebody says where to emit to (``emit_to``);
until then nothing is emitted. Spans are made in ``shared.tracing``, log lines in ``shared.events``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from shared.connection_log import UNREADABLE, Kind
from shared.events import LogEvent, log
from shared.rollover import Rollover
from shared.triage import Class

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram, MeterProvider
    from opentelemetry.trace import Tracer, TracerProvider

SCOPE = "rollover"
"""The name of tracer, meter and logger."""

_TOLD = ("rollover_id", "registration_id", "group_id", "step")
CAME = ("begun", "nudged", "open", "nothing", "cannot", "failed", "unseen")
"""What may come of a target of a sweep: ``shared.starting.Started.what``; failed; or unseen, for a list was missing."""

FIELDS: Mapping[LogEvent, tuple[str, ...]] = {
    LogEvent.DECIDED: (*_TOLD, "plan", "verdict", "why"),
    LogEvent.NUDGE_IGNORED: (*_TOLD, "next_step", "why"),
    LogEvent.NUDGE_LOST_RACE: _TOLD,
    LogEvent.INPUT_REFUSED: ("source", "reason", "input", "times"),
    LogEvent.CERTIFICATE_EVENT: ("certificate", "kind", "event_id"),
    LogEvent.ROLLOVER_STARTED: ("rollover_id", "registration_id", "group_id", "plan", "why", "cause"),
    LogEvent.NOTHING_TO_DO: ("registration_id", "group_id", "why"),
    LogEvent.CANNOT_BEGIN: ("certificate", "why"),
    LogEvent.SWEPT: (*CAME, "closely"),
    LogEvent.PINS_KEPT: ("devices",),
    LogEvent.PINS_FAILED: ("why",),
    LogEvent.RESUMED: ("count",),
    LogEvent.POISONED: _TOLD,
    LogEvent.ANNOUNCE_FAILED: ("rollover_id", "registration_id", "subject", "why"),
    LogEvent.TARGET_FAILED: ("certificate", "device_id", "target", "why"),
    LogEvent.SOURCE_UNREAD: ("source", "why"),
    LogEvent.UNCOVERED: ("registration_id", "group_id", "ca_certificate", "certificate", "ends", "why"),
    LogEvent.ROW_UNREADABLE: ("row", "why"),
    LogEvent.STORAGE_DOWN: (*_TOLD, "why"),
    LogEvent.BREACH_PREVIEWED: ("incident", "caller", "devices"),
    LogEvent.GLASS_BROKEN: ("incident", "caller", "why"),
    LogEvent.OPERATED: ("rollover_id", "registration_id", "what", "caller", "why"),
    LogEvent.CALL_REFUSED: ("caller", "method", "url", "status", "why"),
    LogEvent.CALL_FAILED: ("caller", "method", "url", "error", "where"),
    LogEvent.HUB_LOG_READ: (*Kind, UNREADABLE, *Class, "cooling", "over_budget", "failed"),
    LogEvent.BREACHED_CERTIFICATE_TRIED: ("rollover_id", "registration_id", "device_id", "at"),
    LogEvent.BREACH_NOMINATED: ("registration_id", "device_id", "why"),
    LogEvent.REFUSAL_UNEXPLAINED: ("registration_id", "device_id", "at", "why"),
    LogEvent.TELEMETRY_FAILED: ("why",),
    LogEvent.HUB_SIZE_UNREAD: ("why",),
    LogEvent.FLEET_THROTTLED: ("rollover_id", "work", "batch"),
    LogEvent.WAITING_TOO_LONG: (*_TOLD, "plan", "why", "next_action"),
    LogEvent.WAVE_OPENED: ("rollover_id", "wave", "devices"),
    LogEvent.DRIFTED: ("rollover_id", "registration_id", "group_id", "finding", "why"),
}
"""Every log event there is, with the fields that it may have."""


class Metric(StrEnum):
    """Every metric there is; a query finds it in ``customMetrics`` by this name."""

    STARTED = "rollover.started"
    ENDED = "rollover.ended"
    STEP_DURATION = "rollover.step.duration"
    STEP_WAITED = "rollover.step.waited"
    DOOR_SHUT = "rollover.breach.door_shut"
    CONTAINED = "rollover.breach.contained"
    COMPLETED = "rollover.timer.completed"
    TARGETS = "rollover.sweep.targets"
    UNCOVERED = "rollover.horizon.uncovered"
    SOONEST = "rollover.horizon.soonest"
    DUE = "rollover.resume.due"
    OVERDUE = "rollover.watch.overdue"
    DRIFTS = "rollover.watch.drifts"
    POISONED = "rollover.poisoned"
    ANNOUNCE_FAILED = "rollover.announce.failed"
    REFUSALS = "rollover.refusals"


@dataclass(frozen=True)
class Instrument:
    """How something is measured. A ``histogram`` arrives as number, sum, least and greatest of each minute."""

    kind: str
    unit: str
    what: str
    attributes: tuple[str, ...] = ()


METRICS: Mapping[Metric, Instrument] = {
    Metric.STARTED: Instrument("counter", "{rollover}", "rollovers that began", ("plan",)),
    Metric.ENDED: Instrument("counter", "{rollover}", "rollovers that ended", ("plan", "outcome")),
    Metric.STEP_DURATION: Instrument("histogram", "s", "one run of a step; a verdict each", ("step", "verdict")),
    Metric.STEP_WAITED: Instrument("histogram", "s", "how long a step had waited when it went on", ("step",)),
    Metric.DOOR_SHUT: Instrument("histogram", "s", "from the call to the door at DPS shut", ("plan",)),
    Metric.CONTAINED: Instrument("histogram", "s", "from the call to contained, read back twice", ("plan",)),
    Metric.COMPLETED: Instrument("counter", "{run}", "runs of timers that came to their end", ("timer",)),
    Metric.TARGETS: Instrument("counter", "{target}", "targets that sweeps saw to", ("came",)),
    Metric.UNCOVERED: Instrument(
        "histogram", "{certificate}", "certificates near their end that nothing would roll, at each sweep"
    ),
    Metric.SOONEST: Instrument("histogram", "s", "until the soonest end of a certificate in use, at each sweep"),
    Metric.DUE: Instrument("histogram", "{rollover}", "rollovers that were due at a turn of the clock"),
    Metric.OVERDUE: Instrument("histogram", "{rollover}", "rollovers that wait too long at a turn of the watch"),
    Metric.DRIFTS: Instrument("counter", "{target}", "what was found not as a rollover left it", ("finding",)),
    Metric.POISONED: Instrument("counter", "{message}", "messages that failed five times", ("step",)),
    Metric.ANNOUNCE_FAILED: Instrument("counter", "{event}", "lifecycle events that the topic did not take"),
    Metric.REFUSALS: Instrument("counter", "{device}", "refused connects that were looked into", ("finding",)),
}


class SpanName(StrEnum):
    """Every span there is. ``shared.clients.monitor`` sends it as a dependency of type InProc."""

    BEGIN = "begin"
    STEP = "step"
    CHANGE = "change"
    POISON = "poison"


SPANS: Mapping[SpanName, tuple[str, tuple[str, ...]]] = {
    SpanName.BEGIN: (
        "a rollover begins: the root of its trace, below what began it",
        ("registration_id", "plan", "cause"),
    ),
    SpanName.STEP: ("one run of a step", (*_TOLD, "plan", "verdict", "why", "acted", "outcome")),
    SpanName.CHANGE: ("a person cancels, retries or approves", ("rollover_id", "registration_id", "plan", "what")),
    SpanName.POISON: ("a message failed too often", (*_TOLD, "plan")),
}
"""What each span is, and the attributes that it may have."""


# --- where to -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Emitter:
    tracer: "Tracer"
    instruments: Mapping[Metric, "Counter | Histogram"]


_emitter: _Emitter | None = None


def emit_to(tracers: "TracerProvider | None", meters: "MeterProvider | None") -> None:
    """From now on emit there; to nowhere, without providers."""
    global _emitter  # noqa: PLW0603  one process emits to one place
    if tracers is None or meters is None:
        _emitter = None
        return
    meter = meters.get_meter(SCOPE)
    instruments: dict[Metric, Counter | Histogram] = {}
    for name, one in METRICS.items():
        make = meter.create_counter if one.kind == "counter" else meter.create_histogram
        instruments[name] = make(name, one.unit, one.what)
    _emitter = _Emitter(tracers.get_tracer(SCOPE), instruments)


def tracer() -> "Tracer | None":
    """What makes spans; None while nothing is emitted."""
    return None if _emitter is None else _emitter.tracer


def measure(metric: Metric, value: float = 1, **attributes: str) -> None:
    """Count, or note a measurement."""
    if _emitter is None:
        return
    instrument = _emitter.instruments[metric]
    note = instrument.add if METRICS[metric].kind == "counter" else instrument.record  # type: ignore[union-attr]
    note(value, attributes)


def tell_started(rollover: Rollover, why: str) -> None:
    """A rollover began: in the log, and counted."""
    log(
        LogEvent.ROLLOVER_STARTED,
        rollover_id=rollover.id,
        registration_id=rollover.registration_id or None,
        group_id=rollover.group_id,
        plan=rollover.plan,
        why=why,
        cause=rollover.cause,
    )
    measure(Metric.STARTED, plan=rollover.plan)


def measure_ended(rollover: Rollover) -> None:
    """A rollover that may have ended just now."""
    if rollover.outcome is not None:
        measure(Metric.ENDED, plan=rollover.plan, outcome=rollover.outcome)


def measure_sweep(came: Mapping[str, int]) -> None:
    """A sweep came to its end; how often its targets came out how."""
    for what, times in came.items():
        measure(Metric.TARGETS, times, came=what)
