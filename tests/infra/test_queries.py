"""Every query looks for what the code emits, and everything that is measured is looked at by a query."""

import pytest

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
