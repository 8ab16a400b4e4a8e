"""The Kusto queries of alerts, workbook and documents, held against what ``shared.telemetry`` declares.

No parser of Kusto can be had here; this reads a query's words. It knows the operators and functions that we use, the
columns of the tables (azure-monitor-docs convert-classic-resource, "Table schemas": a query within the scope of an
Application Insights resource sees the classic names), and what may stand in ``customDimensions``.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from scripts.bicep import read_folder
from shared.drift import Finding
from shared.events import LogEvent
from shared.plans import Plan, Step
from shared.rollover import Outcome
from shared.telemetry import CAME, FIELDS, METRICS, SPANS, Metric, SpanName
from shared.timers import Timer
from shared.triage import Class
from shared.verdict import Verdict

ROOT = Path(__file__).parents[2]

_COMMON = {"timestamp", "operation_Id", "operation_ParentId", "customDimensions", "cloud_RoleName", "itemType"}
COLUMNS = {
    "traces": _COMMON | {"message", "severityLevel"},
    "customMetrics": _COMMON | {"name", "valueSum", "valueCount", "valueMin", "valueMax"},
    "dependencies": _COMMON | {"name", "duration", "success", "type", "id"},
    "requests": _COMMON | {"name", "duration", "success", "resultCode", "id"},
    "exceptions": _COMMON | {"type", "outerMessage", "innermostMessage", "problemId", "details"},
}
_WORDS = """
    let union where extend project summarize by distinct order sort asc desc take top count render bin ago now and or in
    not has contains startswith tostring todouble toint round iff sum min max avg countif sumif dcount arg_max make_set
    columnchart timechart barchart isnotempty isempty between datetime timespan datetime_diff join kind inner leftanti
    on true false parse_json strcat take_any"""
WORDS = set(re.findall(r"\w+", _WORDS))
VALUES = {
    "event": {*LogEvent},
    "step": {*Step},
    "next_step": {*Step},
    "plan": {*Plan},
    "outcome": {*Outcome},
    "verdict": {kind.__name__ for kind in get_args(Verdict)} | {"Raised", "LostRace"},
    "came": {*CAME},
    "finding": {*Class, *Finding},
    "timer": {*Timer},
}
TEXT = r'"(?:[^"\\]|\\.)*"'


def in_template(folder: Path) -> list[tuple[str, str]]:
    """Where, and the query: of the alerts and the workbook."""
    alerts = read_folder(folder)[folder / "modules" / "alerts.bicep"]
    found = [(f"alert {rule['name']}", rule["query"]) for rule in alerts.variables["rules"]]
    for item in json.loads((folder / "workbook.json").read_text())["items"]:
        if "query" in item["content"]:
            found.append((f"workbook {item['name']}", item["content"]["query"]))
    return found


def in_documents() -> Iterator[tuple[str, str]]:
    """The same, of every block of Kusto in the documents."""
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for query in re.findall(r"```(?:kusto|kql)\n(.*?)```", page.read_text(), re.DOTALL):
            yield page.name, query


def wrong(query: str) -> list[str]:
    """What is wrong with a query."""
    query = re.sub(r"//.*", "", query)
    bare = re.sub(TEXT, '""', query)
    found = [f"unbalanced {pair}" for pair in ("()", "[]") if bare.count(pair[0]) != bare.count(pair[1])]
    if bare.count('"') % 2:
        found.append("a text has no end")
    tables = {table for table in COLUMNS if re.search(rf"\b{table}\b", bare)}
    if not tables:
        return [*found, "looks at no table"]
    return found + _wrong_words(bare, tables) + _wrong_values(query) + _wrong_fields(query)


def _wrong_words(bare: str, tables: set[str]) -> list[str]:
    """Every bare word is known: an operator, a function, a column of a table, or named in the query itself."""
    bare = re.sub(r"customDimensions\.\w+", "customDimensions", bare)
    named = set(re.findall(r"\b([A-Za-z_]\w*)\s*=(?!=|~)", bare))
    known = WORDS | set(COLUMNS) | named | set().union(*(COLUMNS[table] for table in tables))
    used = re.findall(r"(?<![\w.\"])([A-Za-z_]\w*)", re.sub(r"\b\d+(?:\.\d+)?[smhd]?\b", "", bare))
    return [f"nothing is called {word}" for word in sorted(set(used) - known)]


def compared(query: str) -> Iterator[tuple[str, str]]:
    """(what, the text that it is compared with), where what is a column or a custom dimension."""
    what = r"(?:tostring\()?\b(?:customDimensions\.)?(\w+)\)?"
    for name, text in re.findall(rf'{what}\s*(?:==|!=|=~)\s*"([^"]*)"', query):
        yield name, text
    for name, texts in re.findall(rf"{what}\s*!?in\s*\(((?:\s*{TEXT}\s*,?)+)\)", query):
        for text in re.findall(r'"([^"]*)"', texts):
            yield name, text


def _wrong_values(query: str) -> list[str]:
    found = [f"no {name} is {text!r}" for name, text in compared(query) if text not in VALUES.get(name, {text})]
    names = {*Metric, *SpanName}
    found += [
        f"nothing has the name {text!r}" for name, text in compared(query) if name == "name" and text not in names
    ]
    found += [f"no metric {text!r}" for text in re.findall(r'"(rollover\.[^"]*)"', query) if text not in [*Metric]]
    return found


def _wrong_fields(query: str) -> list[str]:
    """Each statement uses only fields of the events, metrics or spans that it names; of any, where it names none."""
    found = []
    for statement in query.split(";"):
        named = {text for name, text in compared(statement) if name in ("event", "name")}
        fields: set[str] = {"event"}
        for event, its in FIELDS.items():
            fields |= set(its) if not named or event in named else set()
        for metric, one in METRICS.items():
            fields |= set(one.attributes) if not named or metric in named else set()
        for span, (_, its) in SPANS.items():
            fields |= set(its) if not named or span in named else set()
        used = set(re.findall(r"customDimensions\.(\w+)", statement))
        found += [f"no {' or '.join(sorted(named)) or 'thing'} has a {one}" for one in sorted(used - fields)]
    return found


def metrics_used(query: str) -> set[str]:
    """The metrics that a query looks at."""
    return {text for text in re.findall(r'"(rollover\.[^"]*)"', query) if text in [*Metric]}
