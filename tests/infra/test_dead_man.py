"""The dead-man alerts, against the metrics as they are recorded: silent while all is well, and not when it is not."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from azure.monitor.opentelemetry.exporter.export.metrics._exporter import APPLICATION_INSIGHTS_METRIC_TEMPORALITIES
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from scripts.bicep import read_folder
from shared.telemetry import emit_to
from shared.timers import Timer
from tests.builders import a_story
from tests.emitted import functions_over
from tests.fakes import World
from tests.infra import rules

INFRA = rules.ROOT / "infra"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
QUERY = (
    r'customMetrics \| where name == "([\w.]+)" and customDimensions.timer == "(\w+)"'
    r" \| summarize \w+ = count\(\) \| where \w+ == 0"
)


class Recorded:
    """What Application Insights has, minute by minute, as its exporter asks the SDK for it: only what is new."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader(preferred_temporality=APPLICATION_INSIGHTS_METRIC_TEMPORALITIES)
        emit_to(TracerProvider(), MeterProvider([self.reader]))
        self.rows: list[tuple[timedelta, str, str]] = []

    def export(self, at: timedelta) -> None:
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for metric in resource.scope_metrics[0].metrics:
                points = metric.data.data_points
                self.rows += [(at, metric.name, dict(point.attributes).get("timer", "")) for point in points]

    def count(self, looked_at: tuple[str, str], since: timedelta) -> int:
        return sum(1 for at, *row in self.rows if tuple(row) == looked_at and at > since)


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    yield Recorded()
    emit_to(None, None)


def rule(name: str) -> tuple[tuple[str, str], timedelta, timedelta]:
    """The metric and the timer that a dead-man rule looks for, how far back, and how often."""
    alerts = read_folder(INFRA)[INFRA / "modules" / "alerts.bicep"].variables["rules"]
    [found] = [one for one in alerts if one["name"] == name]
    looked_at = re.fullmatch(QUERY, found["query"])
    assert looked_at, f"{name} is no dead-man rule: {found['query']}"
    return (looked_at[1], looked_at[2]), _duration(found["window"]), _duration(found["every"])


def _duration(text: str) -> timedelta:
    number, unit = re.fullmatch(r"PT(\d+)([MH])", text).groups()
    return timedelta(**{{"M": "minutes", "H": "hours"}[unit]: int(number)})


class HostLimitError(BaseException):
    """The host ends a run that takes too long, wherever it is."""


def never(_: World, __: Callable[[], None]) -> None:
    """The timer does not even begin."""


def cut_off(world: World, run: Callable[[], None]) -> None:
    """The timer begins each time, and never comes to its end."""

    def dies(*_: object, **__: object) -> None:
        raise HostLimitError

    world.vault.certificates = world.table.scan = dies  # type: ignore[method-assign, assignment]
    with pytest.raises(HostLimitError):
        run()


def fails(world: World, run: Callable[[], None]) -> None:
    """The timer begins each time, and meets something that nobody thought of."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a surprise")

    world.vault.certificates = world.table.scan = fail  # type: ignore[method-assign, assignment]
    with pytest.raises(RuntimeError, match="a surprise"):
        run()


TIMERS = {
    "no-sweep": (Timer.SWEEP, HOUR, 24 * HOUR),
    "no-clock": (Timer.RESUME, MINUTE, 40 * MINUTE),
    "no-watch": (Timer.WATCH, 5 * MINUTE, 4 * HOUR),
}


@pytest.mark.parametrize("after", [never, cut_off, fails])
@pytest.mark.parametrize(("name", "timer", "every_run", "dies"), [(name, *one) for name, one in TIMERS.items()])
def test_the_alert_fires_within_its_window_once_no_run_ends_any_more(
    recorded, monkeypatch, name, timer, every_run, dies, after
):
    looked_at, window, every = rule(name)
    assert looked_at[1] == timer
    world = a_story()
    functions = functions_over(world, monkeypatch)
    now, fired, start = timedelta(), [], world.clock()
    while now < dies + window + every:
        world.clock.time = start + now
        if now % every_run == timedelta():
            run = lambda: functions.run(timer.value, None)  # noqa: E731
            run() if now < dies else after(world, run)
        recorded.export(now)
        if now % every == timedelta() and now >= window and recorded.count(looked_at, now - window) == 0:
            fired.append(now)
        now += MINUTE
    assert fired, "it never fires"
    assert fired[0] > dies, "it fires while all is well"
    assert fired[0] - dies <= window + every
    completed = world.services.timers.completed(timer)
    assert completed is not None
    assert completed.at == start + dies - every_run, "the row tells the last run that came to its end"


WITHOUT = {"keep_pins"}
"""Without it a breach of a group is narrowed less, and says so; nothing stands still."""


def test_every_timer_has_its_dead_man():
    golden = json.loads((rules.ROOT / "tests" / "functions" / "function_app.json").read_text())
    timers = {name for name, one in golden.items() if one["bindings"][0]["type"] == "timerTrigger"}
    assert timers - WITHOUT == set(Timer) == {timer for timer, _, _ in TIMERS.values()}
