"""The dead-man alerts, against the metrics as they are recorded: silent while all is well, and not when it is not."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from azure.monitor.opentelemetry.exporter.export.metrics._exporter import APPLICATION_INSIGHTS_METRIC_TEMPORALITIES
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from scripts.bicep import read_folder
from shared.resuming import resume_due
from shared.sweeping import sweep
from shared.telemetry import emit_to
from tests.builders import a_story
from tests.infra import rules

INFRA = rules.ROOT / "infra"
MINUTE = timedelta(minutes=1)
QUERY = r'customMetrics \| where name == "([\w.]+)" \| summarize \w+ = count\(\) \| where \w+ == 0'


class Recorded:
    """What Application Insights has, minute by minute, as its exporter asks the SDK for it: only what is new."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader(preferred_temporality=APPLICATION_INSIGHTS_METRIC_TEMPORALITIES)
        emit_to(TracerProvider(), MeterProvider([self.reader]))
        self.rows: list[tuple[timedelta, str]] = []

    def export(self, at: timedelta) -> None:
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for metric in resource.scope_metrics[0].metrics:
                self.rows += [(at, metric.name) for _ in metric.data.data_points]

    def count(self, name: str, since: timedelta) -> int:
        return sum(1 for at, metric in self.rows if metric == name and at > since)


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    yield Recorded()
    emit_to(None, None)


def rule(name: str) -> tuple[str, timedelta, timedelta]:
    """The metric that a dead-man rule looks for, how far back, and how often."""
    alerts = read_folder(INFRA)[INFRA / "modules" / "alerts.bicep"].variables["rules"]
    [found] = [one for one in alerts if one["name"] == name]
    looked_at = re.fullmatch(QUERY, found["query"])
    assert looked_at, f"{name} is no dead-man rule: {found['query']}"
    return looked_at[1], _duration(found["window"]), _duration(found["every"])


def _duration(text: str) -> timedelta:
    number, unit = re.fullmatch(r"PT(\d+)([MH])", text).groups()
    return timedelta(**{{"M": "minutes", "H": "hours"}[unit]: int(number)})


@pytest.mark.parametrize(
    ("name", "alive", "dies", "does"),
    [
        ("no-sweep", timedelta(hours=1), timedelta(hours=24), sweep),
        ("no-clock", timedelta(minutes=1), timedelta(minutes=40), resume_due),
    ],
)
def test_the_alert_fires_within_its_window_once_nothing_is_done_any_more(recorded, name, alive, dies, does):
    metric, window, every = rule(name)
    world = a_story()
    now, fired = timedelta(), []
    while now < dies + window + every:
        if now < dies and now % alive == timedelta():
            does(world.services)
        recorded.export(now)
        if now % every == timedelta() and now >= window and recorded.count(metric, now - window) == 0:
            fired.append(now)
        now += MINUTE
    assert fired, "it never fires"
    assert fired[0] > dies, "it fires while all is well"
    assert fired[0] - dies <= window + every


def test_a_sweep_that_dies_before_its_end_counts_for_nothing(recorded):
    world = a_story()

    def certificates():
        raise SystemExit  # the host's time limit
        yield

    world.vault.certificates = certificates
    with pytest.raises(SystemExit):
        sweep(world.services)
    recorded.export(MINUTE)
    metric, _, _ = rule("no-sweep")
    assert recorded.count(metric, timedelta()) == 0
