"""`python -m scripts.verify_history`, over an in-memory table: what it says, how it ends, and what it reads."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from scripts.verify_history import main, open_table, read_anchors, run, verify_all
from shared.errors import Misconfigured
from shared.ledger import Ledger, Row
from shared.rows import History
from tests.builders import a_rollover
from tests.certificates import NOW
from tests.fakes import InMemoryTable

RECORD = History(NOW, "test", "started", "for a test")
TAMPERED = ("individual.dev-02", "history.000001.00002")


def a_table() -> InMemoryTable:
    """Three targets with one rollover of three records each, and a refused input."""
    table = InMemoryTable()
    ledger = Ledger(table)
    for device in ("dev-01", "dev-02", "dev-03"):
        rollover = ledger.begin(a_rollover(id="", registration_id=device), None, RECORD)
        ledger.record(ledger.record(rollover, RECORD), RECORD)
    ledger.note_refused("event", "subject", "reason", NOW)
    return table


def tampered(table: InMemoryTable) -> InMemoryTable:
    row, version = table.rows[TAMPERED]
    table.rows[TAMPERED] = ({**row, "who": "nobody"}, version)
    return table


def event(rollover_id: str, records: Any, head: Any) -> str:
    """A line of an export, with what else a CloudEvent has."""
    data = {"rolloverId": rollover_id, "historyRecords": records, "historyHead": head}
    return json.dumps({"specversion": "1.0", "id": f"{rollover_id}/1", "type": "Rollover.Started", "data": data})


def test_a_clean_table_ends_well_and_says_how_much_was_looked_at(capsys):
    assert run(a_table(), {}) == 0
    said = "clean: 3 targets, 0 broken; 3 rollovers, 9 records covered, 0 older than hashes, 0 anchors hold\n"
    assert capsys.readouterr().out == said


def test_a_break_is_a_line_that_names_target_rollover_and_record(capsys):
    assert run(tampered(a_table()), {}) == 1
    line, totals = capsys.readouterr().out.splitlines()
    assert line.startswith("BROKEN dev-02: individual.dev-02.1, record 2: the record's hash is not")
    assert totals.startswith("BROKEN: 3 targets, 1 broken; 2 rollovers, 7 records covered")


def test_one_device_is_looked_at_alone_whatever_the_case_of_its_name(capsys):
    assert run(tampered(a_table()), {}, "DEV-01") == 0
    assert run(tampered(a_table()), {}, "Dev-02") == 1
    assert "1 targets, 1 broken" in capsys.readouterr().out


def test_no_history_at_all_is_not_taken_for_a_clean_one(capsys):
    """A wrong storage account, a misspelt device and a table that somebody emptied look like this."""
    assert run(InMemoryTable(), {}) == 2
    assert run(a_table(), {}, "dev-04") == 2
    assert capsys.readouterr().err.count("no history was found") == 2


def test_events_that_the_table_agrees_with_are_counted(capsys):
    table = a_table()
    row, _ = table.rows[TAMPERED]
    assert run(table, read_anchors(event("individual.dev-02.1", 2, row["hash"]))) == 0
    assert capsys.readouterr().out.startswith("clean: 3 targets, 0 broken; 3 rollovers, 9 records covered")
    assert run(tampered(table), read_anchors(event("individual.dev-02.1", 2, row["hash"])), "dev-01") == 0


def test_a_target_that_only_events_know_of_is_a_break(capsys):
    anchors = read_anchors(event("individual.dev-04.1", 3, "ab"))
    assert run(a_table(), anchors) == 1
    assert run(InMemoryTable(), anchors) == 1
    assert "BROKEN dev-04: individual.dev-04.1, itself: the rollover is missing" in capsys.readouterr().out
    assert run(a_table(), anchors, "dev-01") == 0


def test_a_record_that_is_written_while_the_table_is_read_is_no_break():
    """The rows of a large partition come in pages; history comes before the rollovers that count it."""
    table = a_table()

    class Written(InMemoryTable):
        looks = 0

        def scan(self, prefix: str, **narrowed: Any) -> Iterator[Any]:
            self.looks += 1
            for row, etag in table.scan(prefix, **narrowed):
                yield self.old_sight(row), etag

        def old_sight(self, row: Row) -> Row:
            late = self.looks == 1 and row["RowKey"] == "rollover.000001"
            return row | {"facts": row["facts"].replace('"records": 3', '"records": 4')} if late else row

    assert [one.first_break for one in verify_all(Written(), {})] == [None] * 3


# --- anchors -----------------------------------------------------------------------------------------------------


def test_anchors_are_read_from_events_and_other_events_say_nothing():
    cannot_begin = json.dumps({"type": "Rollover.CannotBegin", "data": {"certificateName": "c", "reason": "r"}})
    older = json.dumps({"type": "Rollover.Started", "data": {"rolloverId": "individual.a.1"}})
    lines = [event("individual.a.1", 1, "ab"), "", cannot_begin, older, event("individual.a.1", 4, "cd")]
    assert read_anchors("\n".join([*lines, lines[0]])) == {"individual.a.1": {(1, "ab"), (4, "cd")}}


NO_EVENTS = {
    "no JSON": "{",
    "a list": "[]",
    "a word": '"data"',
    "no data": "{}",
    "data that is nothing": '{"data": null}',
    "no rollover": '{"data": {"historyHead": "ab", "historyRecords": 1}}',
    "not a rollover's ID": event("dev-01", 1, "ab"),
    "a rollover that is a number": event(7, 1, "ab"),  # type: ignore[arg-type]
    "records in words": event("individual.a.1", "one", "ab"),
    "no records": event("individual.a.1", None, "ab"),
}


@pytest.mark.parametrize("line", NO_EVENTS.values(), ids=NO_EVENTS.keys())
def test_a_line_that_is_no_event_is_named_by_its_number(line):
    with pytest.raises(ValueError, match=r"^line 2 is no lifecycle event$"):
        read_anchors(event("individual.a.1", 1, "ab") + "\n" + line)


# --- settings, and what cannot be read ---------------------------------------------------------------------------

SECRET = "c2VjcmV0"
CANNOT = {
    "no setting": ({}, "neither RolloverStorage nor RolloverStorage__tableServiceUri is set"),
    "no connection string": ({"RolloverStorage": f"AccountKey={SECRET}"}, "RolloverStorage cannot be understood"),
    "a URL without a name": (
        {"RolloverStorage__tableServiceUri": "https://"},
        "RolloverStorage__tableServiceUri cannot be underst",
    ),
}


@pytest.mark.parametrize(("environment", "said"), CANNOT.values(), ids=CANNOT.keys())
def test_a_setting_that_does_not_help_is_named_and_not_shown(environment, said):
    with pytest.raises(Misconfigured) as error:
        open_table(environment)
    assert said in str(error.value)
    assert SECRET not in str(error.value)


@pytest.fixture
def command() -> typer.Typer:
    app = typer.Typer()
    app.command()(main)
    return app


@pytest.mark.parametrize("text", [None, "{", "\udcff"], ids=["absent", "no JSON", "no text"])
def test_anchors_that_cannot_be_read_are_one_line_and_a_next_step(command, tmp_path: Path, text):
    file = tmp_path / "events.jsonl"
    if text is not None:
        file.write_text(text, "utf-8", errors="surrogateescape")
    result = CliRunner().invoke(command, ["--anchors", str(file)])
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert result.output.startswith("verify_history: the anchors cannot be read: ")


def test_a_table_that_does_not_answer_is_one_line_and_a_next_step(command, monkeypatch):
    monkeypatch.setenv("RolloverStorage", f"AccountName=a;AccountKey={SECRET};TableEndpoint=http://127.0.0.1:9/a")
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert result.output.startswith("verify_history: the table cannot be read: table gave no answer to a query")
    assert "role Storage Table Data Reader" in result.output
    assert SECRET not in result.output
