"""What Application Insights is sent: our lines, spans and metrics, as Azure Monitor's own exporters put them.

That the service files them so is documented (azure-monitor-docs convert-classic-resource, "Table schemas"): MessageData
in ``traces``, RemoteDependencyData in ``dependencies``, ExceptionData in ``exceptions``, MetricData in
``customMetrics``; ``properties`` are ``customDimensions``, the tag ``ai.operation.id`` is ``operation_Id``.
"""

import inspect
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from azure.identity import ManagedIdentityCredential
from azure.monitor.opentelemetry.exporter.export import _base
from azure.monitor.opentelemetry.exporter.export._base import BaseExporter, ExportResult
from azure_functions_runtime.utils import executor

from shared import services
from shared.clients import monitor
from shared.events import LogEvent, log
from shared.plans import Step
from shared.telemetry import Metric, emit_to, measure
from shared.tracing import stepping, within
from tests.builders import a_rollover
from tests.certificates import NOW
from tests.contract.reasons import CLIENTS
from tests.emitted import a_traceparent

pytestmark = CLIENTS

PLACE = "InstrumentationKey=00000000-0000-0000-0000-000000000001;IngestionEndpoint=https://127.0.0.1:9/"


class Sent:
    """What would be posted to Application Insights."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.credentials: list[Any] = []

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [item for item in self.items if item["data"]["baseType"] == kind]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Sent]:
    """Exporting as in Azure, by a host's identity, to nobody."""
    found = Sent()

    def transmit(exporter: BaseExporter, envelopes: list[Any]) -> ExportResult:
        found.items += [envelope.as_dict() for envelope in envelopes]
        found.credentials.append(exporter._credential)
        return ExportResult.SUCCESS

    for name in ("CONTROLPLANE_DISABLED", "SDKSTATS_DISABLED", "STATSBEAT_DISABLED_ALL"):
        monkeypatch.setenv(f"APPLICATIONINSIGHTS_{name}", "true")
    monkeypatch.setenv("APPLICATIONINSIGHTS_AUTHENTICATION_STRING", "ClientId=host;Authorization=AAD")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(BaseExporter, "_transmit", transmit)
    monkeypatch.setattr(monitor, "_exporting", False)
    ours = logging.getLogger("rollover")
    before = list(ours.handlers), ours.level, ours.propagate
    ours.setLevel(logging.INFO)
    yield found
    emit_to(None, None)
    ours.handlers[:], ours.propagate = before[0], before[2]
    ours.setLevel(before[1])


@pytest.fixture
def flush(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Send what is waiting, and end."""
    made: list[Any] = []
    emit = monitor.emit
    monkeypatch.setattr(monitor, "emit", lambda *exporters: made.extend(emit(*exporters)))

    def end() -> None:
        for provider in made:
            provider.shutdown()

    return end


def test_a_line_arrives_with_its_fields_within_its_trace(sent: Sent, flush: Any) -> None:
    monitor.export_telemetry(PLACE)
    trace = a_traceparent()
    with within(trace):
        log(LogEvent.DECIDED, rollover_id="individual.dev-01.1", step=Step.UPLOAD_SECONDARY, why='a "quoted" reason')
        log(LogEvent.POISONED, rollover_id="individual.dev-01.1")
    flush()
    line, warning = sent.of("MessageData")
    data = line["data"]["baseData"]
    assert data["message"].startswith("decided rollover_id=individual.dev-01.1 step=upload_secondary")
    fields = {"event": "decided", "rollover_id": "individual.dev-01.1", "step": "upload_secondary"}
    assert data["properties"].items() >= {**fields, "why": 'a "quoted" reason'}.items()
    assert line["tags"]["ai.operation.id"] == trace[3:35]
    assert line["tags"]["ai.cloud.role"] == "rollover"
    assert (data["severityLevel"], warning["data"]["baseData"]["severityLevel"]) == (1, 2)


def test_a_step_arrives_as_a_dependency_of_the_rollovers_operation(sent: Sent, flush: Any) -> None:
    monitor.export_telemetry(PLACE)
    rollover = a_rollover(Step.UPLOAD_SECONDARY, trace=a_traceparent())
    with stepping(rollover, Step.UPLOAD_SECONDARY, lambda: NOW) as noted:
        noted.verdict = "Wait"
    with pytest.raises(RuntimeError), stepping(rollover, Step.UPLOAD_SECONDARY, lambda: NOW):
        raise RuntimeError("a surprise")
    flush()
    fine, failed = sent.of("RemoteDependencyData")
    assert fine["tags"]["ai.operation.id"] == failed["tags"]["ai.operation.id"] == rollover.trace[3:35]
    assert fine["tags"]["ai.operation.parentId"] == rollover.trace[36:52]
    data = fine["data"]["baseData"]
    assert (data["name"], data["type"], data["success"]) == ("step", "InProc", True)
    assert data["properties"]["verdict"] == "Wait"
    assert failed["data"]["baseData"]["success"] is False
    [raised] = sent.of("ExceptionData")
    assert raised["tags"]["ai.operation.id"] == rollover.trace[3:35]


def test_nothing_is_sampled_away_though_the_caller_did_not_ask_for_a_trace(sent: Sent, flush: Any) -> None:
    """A dead-man alert that misses its line because somebody kept only every tenth is a false alarm at night."""
    monitor.export_telemetry(PLACE)
    unasked = a_traceparent().removesuffix("01") + "00"
    with within(unasked), stepping(a_rollover(), Step.ISSUE_CERTIFICATE, lambda: NOW):
        log(LogEvent.RESUMED, count=1)
    with stepping(a_rollover(trace=unasked), Step.ISSUE_CERTIFICATE, lambda: NOW):
        pass
    flush()
    assert [item["tags"]["ai.operation.id"] for item in sent.of("RemoteDependencyData")] == [unasked[3:35]] * 2
    assert len(sent.of("MessageData")) == 1


def test_metrics_arrive_by_name_with_sum_number_least_and_greatest(sent: Sent, flush: Any) -> None:
    monitor.export_telemetry(PLACE)
    measure(Metric.STARTED, plan="expiry")
    measure(Metric.STARTED, plan="expiry")
    for seconds in (1.5, 4.5):
        measure(Metric.STEP_DURATION, seconds, step="upload_secondary", verdict="Wait")
    flush()
    ours = [item["data"]["baseData"] for item in sent.of("MetricData")]
    points = {one["metrics"][0]["name"]: (one["metrics"][0], one["properties"]) for one in ours}
    counted, attributes = points["rollover.started"]
    assert (counted["value"], attributes) == (2, {"plan": "expiry"})
    measured, attributes = points["rollover.step.duration"]
    assert [measured[name] for name in ("value", "count", "min", "max")] == [6.0, 2, 1.5, 4.5]
    assert attributes == {"step": "upload_secondary", "verdict": "Wait"}


def test_it_is_sent_by_the_identity_that_the_host_is_told(
    sent: Sent, flush: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """azure-monitor-opentelemetry-exporter 1.0.0b58, ``_get_authentication_credential``."""
    made = []

    class Identity(ManagedIdentityCredential):
        def __init__(self, *, client_id: str) -> None:
            made.append(client_id)
            super().__init__(client_id=client_id)

    monkeypatch.setattr(_base, "ManagedIdentityCredential", Identity)
    monitor.export_telemetry(PLACE)
    log(LogEvent.RESUMED, count=0)
    flush()
    assert {type(one) for one in sent.credentials} == {Identity}
    assert set(made) == {"host"}


def test_the_host_gets_no_line_a_second_time(sent: Sent, flush: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What reaches the root logger, the worker hands to the host, and the host sends it on without fields."""
    log(LogEvent.RESUMED, count=1)
    monitor.export_telemetry(PLACE)
    monitor.export_telemetry(PLACE)
    log(LogEvent.RESUMED, count=2)
    flush()
    assert [record.getMessage() for record in caplog.records] == ["resumed count=1"]
    assert [item["data"]["baseData"]["message"] for item in sent.of("MessageData")] == ["resumed count=2"]


@pytest.mark.parametrize("place", ["", "nonsense"])
def test_telemetry_that_cannot_be_set_up_stops_nothing(place: str, caplog: pytest.LogCaptureFixture) -> None:
    services._export_telemetry(place)
    said = [record.getMessage() for record in caplog.records if record.name == "rollover"]
    assert said == (["telemetry_failed why=ValueError"] if place else [])


def test_the_worker_leaves_synchronous_functions_without_the_hosts_trace() -> None:
    """azure-functions-runtime 1.3.0: so functions take ``context``. Once it does, ``invoked`` may go."""
    assert "opentelemetry" not in inspect.getsource(executor)
