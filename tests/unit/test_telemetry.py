"""What is emitted is declared, and what is declared is emitted; the page about it is drawn from the declarations."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.draw_telemetry import PAGE, drawn
from shared.events import LogEvent
from shared.telemetry import FIELDS, METRICS, SPANS, Metric, SpanName

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [*sorted((ROOT / "shared").rglob("*.py")), *sorted((ROOT / "functions").glob("*.py"))]


def calls(function: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call of a function by its plain name, with the file it is in."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function:
                yield path.name, node


def member(node: ast.expr, enumeration: str) -> str | None:
    """``X`` of ``Enumeration.X``; None of anything else."""
    is_one = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == enumeration
    return node.attr if is_one else None  # type: ignore[attr-defined]


def test_the_page_about_telemetry_is_drawn_from_what_is_declared():
    """The page is the list that names are held to: whoever changes one sees it there. `python -m
    scripts.draw_telemetry`."""
    assert PAGE.read_text() == drawn(PAGE.read_text())


def test_every_log_event_is_declared_and_written_somewhere():
    written = {member(call.args[0], "LogEvent") for _, call in calls("log")}
    assert written == set(LogEvent.__members__)
    assert set(FIELDS) == set(LogEvent)


def test_no_line_has_a_field_that_is_not_declared():
    """Fields that are spread from a mapping are held by tests/functions/test_traces.py."""
    for file, call in calls("log"):
        event = LogEvent[member(call.args[0], "LogEvent")]
        fields = {one.arg for one in call.keywords if one.arg}
        assert fields <= set(FIELDS[event]), f"{file}:{call.lineno}"


def test_every_metric_is_declared_and_measured_somewhere_with_its_attributes():
    source = "".join(path.read_text() for path in SOURCES if path.name != "telemetry.py")
    measured = {member(call.args[0], "Metric") for _, call in calls("measure")} - {None}
    assert {name for name in Metric.__members__ if f"Metric.{name}" in source} | measured == set(Metric.__members__)
    assert set(METRICS) == set(Metric)
    for file, call in calls("measure"):
        if name := member(call.args[0], "Metric"):
            assert {one.arg for one in call.keywords} == set(METRICS[Metric[name]].attributes), f"{file}:{call.lineno}"


def test_every_span_is_declared():
    assert set(SPANS) == set(SpanName)


@pytest.mark.parametrize("names", [[*Metric], [*LogEvent], [*SpanName]], ids=["metrics", "events", "spans"])
def test_names_are_told_apart_by_more_than_their_letters_case(names):
    assert len({name.lower() for name in names}) == len(names)


def test_what_is_the_same_is_spelt_the_same_everywhere():
    spelt = {field for fields in FIELDS.values() for field in fields}
    spelt |= {field for one in METRICS.values() for field in one.attributes}
    spelt |= {field for _, fields in SPANS.values() for field in fields}
    assert {"rollover_id", "registration_id", "step"} <= spelt
    assert not spelt & {"rollover", "id", "registration", "device", "registrationId", "rolloverId", "step_name"}


def test_every_way_to_measure_is_used():
    """An alert on what nobody measures never fires."""
    module = ast.parse((ROOT / "shared" / "telemetry.py").read_text())
    ways = {one.name for one in module.body if isinstance(one, ast.FunctionDef)}
    assert not [way for way in ways if way.startswith(("measure", "tell")) and not list(calls(way))]
