"""Where telemetry goes in Azure: Application Insights, through OpenTelemetry's SDK and Azure Monitor's exporters.

The Functions host keeps its own telemetry (requests, exceptions, its logs) and gets none of ours to forward: our log
lines leave by this way alone, with their fields. Decision 13 says why not by the host's ``telemetryMode``.
"""

import logging
import threading

from azure.monitor.opentelemetry.exporter import (
    AzureMonitorLogExporter,
    AzureMonitorMetricExporter,
    AzureMonitorTraceExporter,
)
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from shared.telemetry import SCOPE, emit_to

RESOURCE = Resource({SERVICE_NAME: SCOPE})
"""The cloud role name: tells our own telemetry from the host's."""
_SEVERITIES = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
}
_once = threading.Lock()
_exporting = False


def export_telemetry(connection_string: str) -> None:
    """Emit to the Application Insights that the connection string names, from now on; a second call does nothing.

    The exporters prove themselves with the identity that the host is told too, in
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING (exporter 1.0.0b58, ``_get_authentication_credential``).
    """
    global _exporting  # noqa: PLW0603  functions run in threads, and a process exports once
    with _once:
        if _exporting:
            return
        emit(
            AzureMonitorTraceExporter(connection_string=connection_string),
            PeriodicExportingMetricReader(AzureMonitorMetricExporter(connection_string=connection_string)),
            AzureMonitorLogExporter(connection_string=connection_string),
        )
        _exporting = True


def emit(
    spans: SpanExporter, metrics: MetricReader, lines: LogRecordExporter
) -> tuple[TracerProvider, MeterProvider, LoggerProvider]:
    """Set up the SDK: batches in threads of their own, flushed when the process ends.

    Nothing is sampled: alerts count lines and measurements, and a rollover has some dozen spans in a year.
    """
    tracers = TracerProvider(sampler=ALWAYS_ON, resource=RESOURCE)
    tracers.add_span_processor(BatchSpanProcessor(spans))
    loggers = LoggerProvider(resource=RESOURCE)
    loggers.add_log_record_processor(BatchLogRecordProcessor(lines))
    meters = MeterProvider([metrics], resource=RESOURCE)
    emit_to(tracers, meters)
    ours = logging.getLogger(SCOPE)
    ours.addHandler(FieldsHandler(loggers))
    ours.propagate = False  # else the host would forward each line once more, without its fields
    return tracers, meters, loggers


class FieldsHandler(logging.Handler):
    """Sends each line of ``shared.events.log`` with its fields as attributes, which become custom dimensions."""

    def __init__(self, loggers: LoggerProvider) -> None:
        super().__init__()
        self._logger = loggers.get_logger(SCOPE)

    def emit(self, record: logging.LogRecord) -> None:
        """Hand the line to the SDK, within the span in which it was written."""
        self._logger.emit(
            timestamp=int(record.created * 1_000_000_000),
            severity_number=_SEVERITIES.get(record.levelno, SeverityNumber.ERROR),
            severity_text=record.levelname,
            body=record.getMessage(),
            attributes=getattr(record, "fields", {}),
        )
