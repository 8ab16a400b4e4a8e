"""Spans. One trace tells a rollover's whole story, through queue messages and months of waiting.

Its row keeps where it began (``Rollover.trace``, a W3C traceparent); each step is a span below that, whatever nudged
it, on whichever machine. What there is, is declared in ``shared.telemetry``; while nothing is emitted, nothing is done.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.plans import Plan, Step
from shared.rollover import Rollover
from shared.telemetry import Metric, SpanName, measure, tracer

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span

TRACEPARENT = r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})"
"""W3C Trace Context, traceparent."""


def _context_of(traceparent: str) -> "Context | None":
    """A context below that span; None when it is none."""
    found = re.fullmatch(TRACEPARENT, traceparent)
    if tracer() is None or found is None:
        return None
    from opentelemetry import context, trace

    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    there = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(flags))
    return trace.set_span_in_context(trace.NonRecordingSpan(there), context.Context()) if there.is_valid else None


@contextmanager
def within(traceparent: str) -> Iterator[None]:
    """What is emitted meanwhile belongs below that span of somebody else; nothing changes when it is none."""
    below = _context_of(traceparent)
    if below is None:
        yield
        return
    from opentelemetry import context

    token = context.attach(below)
    try:
        yield
    finally:
        context.detach(token)


def here() -> str:
    """The traceparent of the present span; empty when nothing is traced."""
    return _here()[0]


def _here() -> "tuple[str, list[Link]]":
    """The same, and a link to it."""
    if tracer() is None:
        return "", []
    from opentelemetry import trace

    now = trace.get_current_span().get_span_context()
    if not now.is_valid:
        return "", []
    return f"00-{now.trace_id:032x}-{now.span_id:016x}-{now.trace_flags:02x}", [trace.Link(now)]


@contextmanager
def _span(
    name: SpanName, below: "Context | None", links: "list[Link]", attributes: Mapping[str, str]
) -> "Iterator[Span | None]":
    making = tracer()
    if making is None:
        yield None
        return
    with making.start_as_current_span(name, below, links=links, attributes=attributes) as span:
        yield span


@contextmanager
def beginning(registration_id: str, plan: Plan, cause: str, *, alone: bool = False) -> Iterator[str]:
    """A rollover begins in here; the traceparent for its row.

    It becomes a part of the trace of whatever began it, which is then the whole story from the event to the last step.
    ``alone``: what began it begins many, so each has a trace of its own, linked to that.
    """
    below, links = None, []
    if alone and tracer() is not None:
        from opentelemetry.context import Context

        below, links = Context(), _here()[1]
    attributes = {"registration_id": registration_id, "plan": plan, "cause": cause}
    with _span(SpanName.BEGIN, below, links, attributes):
        yield here()


@contextmanager
def continuing(rollover: Rollover, name: SpanName, **attributes: str) -> "Iterator[Span | None]":
    """A span of the rollover's own trace, however long ago that began, linked to the invocation that it runs in.

    A rollover that began untraced goes on in the trace of the invocation.
    """
    told = {"rollover_id": rollover.id, "registration_id": rollover.registration_id, "plan": rollover.plan}
    below = _context_of(rollover.trace)
    links = _here()[1] if below is not None else []
    with _span(name, below, links, {**told, **attributes}) as span:
        yield span


@dataclass
class Noted:
    """What a run of a step came to, for its span and its metric."""

    verdict: str = "Raised"
    why: str = ""
    acted: bool = False
    outcome: str = ""


@contextmanager
def stepping(rollover: Rollover, step: Step, now: Callable[[], datetime]) -> Iterator[Noted]:
    """One run of a step: its span and its duration, with what is noted meanwhile."""
    noted, begun = Noted(), now()
    with continuing(rollover, SpanName.STEP, step=step) as span:
        try:
            yield noted
        finally:
            if span is not None:
                found: dict[str, Any] = {"verdict": noted.verdict, "why": noted.why, "acted": noted.acted}
                span.set_attributes({**found, **({"outcome": noted.outcome} if noted.outcome else {})})
            duration = (now() - begun).total_seconds()
            measure(Metric.STEP_DURATION, duration, step=step, verdict=noted.verdict)
