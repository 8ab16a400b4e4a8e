"""What the product emits, caught in memory by OpenTelemetry's own SDK; and the functions, called as the worker does."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import shared.services
from shared import api
from shared.telemetry import emit_to
from tests.fakes import World
from tests.http_api import app_functions, invoke


def a_traceparent() -> str:
    """Where some invocation stands in the host's own trace."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


@dataclass
class Emitted:
    """Spans and metrics of one test, over all processes that it pretends to have."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    readers: list[InMemoryMetricReader] = field(default_factory=list)

    def start_process(self) -> None:
        """What is emitted from now on comes from another process, which knows only what lies in the table."""
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.readers.append(InMemoryMetricReader())
        emit_to(tracers, MeterProvider([self.readers[-1]]))

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """In the order in which they ended."""
        return [span for span in self.exporter.get_finished_spans() if name in (None, span.name)]

    def traces(self) -> set[str]:
        """IDs of all traces."""
        return {f"{span.context.trace_id:032x}" for span in self.spans()}

    def metrics(self) -> dict[str, dict[tuple[str, ...], Any]]:
        """Metric → values of its attributes → the sum of a counter, the sum and number of a histogram."""
        found: dict[str, dict[tuple[str, ...], Any]] = {}
        for reader in self.readers:
            data = reader.get_metrics_data()
            for metric in _metrics(data):
                for point in metric.data.data_points:
                    key = tuple(str(value) for _, value in sorted(point.attributes.items()))
                    kept = found.setdefault(metric.name, {})
                    kept[key] = _add(kept.get(key), point)
        return found


def _metrics(data: Any) -> Iterator[Any]:
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            yield from scope.metrics


def _add(before: Any, point: Any) -> Any:
    if isinstance(point, HistogramDataPoint):
        total, count = before or (0.0, 0)
        return total + point.sum, count + point.count
    return (before or 0) + point.value


@contextmanager
def emitting() -> Iterator[Emitted]:
    """Catch what is emitted meanwhile."""
    caught = Emitted()
    caught.start_process()
    try:
        yield caught
    finally:
        emit_to(None, None)


@dataclass
class Functions:
    """The functions of the app over a world in memory. Each run has an invocation of its own in the host's trace."""

    world: World
    invocations: list[str] = field(default_factory=list)

    def run(self, name: str, triggered_by: Any, trace_parent: str | None = None) -> Any:
        """One invocation."""
        self.invocations.append(trace_parent or a_traceparent())
        return invoke(app_functions()[name][1], triggered_by, self.invocations[-1])


def functions_over(world: World, monkeypatch: pytest.MonkeyPatch) -> Functions:
    """The functions, whose services are this world's."""
    monkeypatch.setattr(shared.services, "services", lambda: world.services)
    monkeypatch.setattr(api, "services", lambda: world.services)
    return Functions(world)
