"""Every query looks for what the code emits, and everything that is measured is looked at by a query."""

import pytest

from shared.drift import Finding
from shared.rollover import Plan
from shared.telemetry import Metric
from tests.infra import queries, rules

INFRA = rules.ROOT / "infra"


@pytest.mark.parametrize(("where", "query"), [*queries.in_documents()])
def test_a_query_of_the_documents_looks_for_what_is_emitted(where, query):
    assert queries.wrong(query) == []


def test_every_metric_is_looked_at_by_an_alert_the_workbook_or_a_document():
    """What nobody looks at is not worth its price."""
    looked_at = set()
    for _, query in [*queries.in_template(INFRA), *queries.in_documents()]:
        looked_at |= queries.metrics_used(query)
    assert {*Metric} - looked_at == set()


def looks_for(alert: str, what: str) -> set[str]:
    """The values of a column or custom dimension that an alert's query names."""
    query = dict(queries.in_template(INFRA))[f"alert {alert}"]
    return {text for name, text in queries.compared(query) if name == what}


def test_somebody_is_woken_by_whatever_breach_is_not_contained():
    assert looks_for("not-contained", "plan") == {plan for plan in Plan if plan.contains and plan.replaces}


def test_every_difference_that_the_watch_finds_is_alerted_on():
    assert looks_for("compromised-back", "finding") | looks_for("drifted", "finding") == {*Finding}


SWEPT, DECIDED = (f'traces | where customDimensions.event == "{event}" ' for event in ("swept", "decided"))
WRONG = {
    "an event that is never logged": 'traces | where customDimensions.event == "sweeped"',
    "one of several": 'traces | where tostring(customDimensions.event) in ("swept", "sweeped")',
    "a field that no line has": 'traces | where customDimensions.rollover == "x"',
    "a field that lines of this event have not": SWEPT + "| project customDimensions.why",
    "a verdict that there is not": DECIDED + 'and customDimensions.verdict == "No"',
    "a metric that is not measured": 'customMetrics | where name == "rollover.sweeps" | summarize sum(valueSum)',
    "a column that the table has not": 'customMetrics | where name == "rollover.started" | summarize sum(value)',
    "an attribute that the metric has not": (
        'customMetrics | where name == "rollover.started" | summarize sum(valueSum) by tostring(customDimensions.step)'
    ),
    "a word with a slip in it": 'traces | were customDimensions.event == "swept"',
    "a bracket too few": 'traces | where (customDimensions.event == "swept"',
    "a text without end": 'traces | where customDimensions.event == "swept',
    "no table": 'trace | where customDimensions.event == "swept"',
    "a span that there is not": 'dependencies | where name == "steps"',
}


@pytest.mark.parametrize("query", WRONG.values(), ids=WRONG)
def test_a_query_is_caught_that_has(query):
    assert queries.wrong(query) != []


def test_what_is_used_of_kusto_is_known():
    """Else every query would be called wrong."""
    query = """
        let slow = dependencies | where name == "step" and duration > 1000 | distinct operation_Id;
        union traces, exceptions
        | where operation_Id in (slow)  // of any kind
        | summarize lines = count() by bin(timestamp, 1h), event = tostring(customDimensions.event)
        | order by timestamp desc"""
    assert queries.wrong(query) == []
