"""History that cannot be edited quietly: whatever is done to the records of a target is noticed, and named."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.chain import Break, Row, canonical, digest, genesis, sealed, verify
from shared.ledger import Ledger, Write
from shared.plans import Step
from shared.rows import History, from_row
from tests.builders import DEVICE, NEW_256, a_rollover, a_story, begin, begin_next, deliver_all
from tests.certificates import NOW
from tests.fakes import InMemoryHub, InMemoryTable

PARTITION = f"individual.{DEVICE}"
FIRST, SECOND, THIRD = (f"{PARTITION}.{number}" for number in (1, 2, 3))
ROWS = Path(__file__).parent / "rows"
RECORD = History(NOW, "pump\n7 ä€", "waits", 'the "hub" said: 503', Step.UPLOAD_SECONDARY, {"hub": [None, "0A"]}, {})
Table = dict[str, dict[str, Any]]
"""The rows of a partition by their keys."""


@cache
def _whole_history() -> str:
    """Three rollovers: one from the sweep to its end, as the functions carry it out, then two short ones."""
    world = a_story(retire_when_moved=True)
    start = InMemoryHub.start_method_job

    def reached(*arguments: Any) -> None:
        start(world.hub, *arguments)
        world.clock.advance(timedelta(seconds=1))
        world.dps.registered(DEVICE)
        world.hub.provision(DEVICE, NEW_256)

    world.hub.start_method_job = reached  # type: ignore[method-assign]
    begin(world)
    deliver_all(world)
    ledger = Ledger(world.table)
    for records in (3, 2):
        rollover = begin_next(ledger, a_rollover(id=""), RECORD)
        for _ in range(records - 1):
            rollover = ledger.record(replace(rollover, outbox=("Rollover.Refused/2",)), RECORD)
        ledger.record(replace(rollover, outbox=()), None)
    return json.dumps([row for (partition, _), (row, _) in world.table.rows.items() if partition == PARTITION])


def a_history() -> Table:
    return {row["RowKey"]: row for row in json.loads(_whole_history())}


def key(rollover: int, record: int) -> str:
    return f"history.{rollover:06}.{record:05}"


def broken(rows: Table, anchors: Any = None) -> Break | None:
    return verify(PARTITION, rows.values(), anchors).first_break


def at(rows: Table, anchors: Any = None) -> tuple[str, int] | None:
    found = broken(rows, anchors)
    return found and (found.rollover_id, found.record)


def facts(rows: Table, rollover: int, **changes: Any) -> dict[str, Any]:
    """The facts of a rollover's row, after ``changes``."""
    row = rows[f"rollover.{rollover:06}"]
    changed: dict[str, Any] = {**json.loads(row["facts"]), **changes}
    row["facts"] = json.dumps(changed)
    return changed


def forge(rows: Table, rollover: int, record: int, **changes: str) -> None:
    """Change columns of a record and give it the hash that fits."""
    row = rows[key(rollover, record)]
    row.update(changes)
    row["hash"] = digest(row)


def forge_on(rows: Table, rollover: int, record: int, **changes: str) -> None:
    """What somebody does who knows all of this: change a record and chain everything after it anew."""
    forge(rows, rollover, record, **changes)
    head = rows[key(rollover, record)]["hash"]
    for later in sorted(k for k in rows if k.startswith("history.") and k > key(rollover, record)):
        rows[later].update(sealed({k: v for k, v in rows[later].items() if k not in ("hash", "previous")}, head))
        head = rows[later]["hash"]
    for number in range(rollover, 4):
        count = facts(rows, number)["records"]
        facts(rows, number, head=rows[key(number, count)]["hash"])


def heads(rows: Table) -> dict[str, list[tuple[int, str]]]:
    """Anchors as the events of every rollover would give them: after its first record and after its last."""
    found = {}
    for number in (1, 2, 3):
        last = facts(rows, number)["records"]
        found[f"{PARTITION}.{number}"] = [(n, rows[key(number, n)]["hash"]) for n in (1, last)]
    return found


# --- a history that nobody touched -------------------------------------------------------------------------------


def test_a_history_that_nobody_touched_holds_from_the_first_record_to_the_last():
    rows = a_history()
    found = verify(PARTITION, rows.values(), heads(rows))
    assert found.first_break is None
    assert (found.rollovers, found.covered, found.older, found.anchored) == (3, 16, {}, 6)
    assert [facts(rows, number)["records"] for number in (1, 2, 3)] == [11, 3, 2]


def test_the_order_in_which_rows_come_does_not_matter():
    assert verify(PARTITION, reversed(a_history().values())).first_break is None


def test_a_target_without_rows_has_no_history_to_break():
    assert verify(PARTITION, []).first_break is None


def test_every_rollover_follows_the_one_before_it_and_the_first_follows_what_its_target_is():
    rows = a_history()
    assert rows[key(1, 1)]["previous"] == genesis(PARTITION)
    assert rows[key(2, 1)]["previous"] == rows[key(1, 11)]["hash"] == facts(rows, 1)["head"]
    assert genesis(PARTITION) != genesis(PARTITION + "0")


def test_a_record_is_hashed_as_these_very_bytes():
    """They must stay what they are for ever: histories of years are verified with them."""
    row = sealed({"PartitionKey": "individual.a", "RowKey": key(1, 1), "who": "\u00e4\n", "before": '{"n": 1.0}'}, "")
    assert canonical(row) == (
        '{"PartitionKey":"individual.a","RowKey":"history.000001.00001","before":"{\\"n\\": 1.0}","previous":"'
        + "ca8442bcdc46c4459628f17b6bd54f3ba206a9bc946548753ad17b5dda2ee43e"
        + '","who":"\\u00e4\\n"}'
    )
    assert row["hash"] == "e78d0d8a53ef319b3a2974008e6274ddbe0ba6106506f3eba2e6dd45ae9176be"


def test_only_text_is_hashed():
    with pytest.raises(ValueError, match="'n' is not text"):
        sealed({"PartitionKey": "p", "RowKey": "r", "n": 0.1}, "")


texts = st.dictionaries(st.sampled_from(["who", "what", "why", "before"]), st.text(max_size=5))


@given(texts, texts)
def test_two_records_are_hashed_alike_only_when_they_are_alike(one, other):
    assert (canonical(one) == canonical(other)) == (one == other)


# --- one record was changed --------------------------------------------------------------------------------------

RECORDS = sorted(k for k in a_history() if k.startswith("history."))
COLUMNS = ("RowKey", "at", "who", "step", "what", "why", "before", "after", "previous", "hash")


def test_a_record_has_the_columns_that_are_flipped_here():
    assert {*a_history()[RECORDS[0]]} == {"PartitionKey", *COLUMNS}


@pytest.mark.parametrize("record", RECORDS)
def test_every_byte_of_every_column_that_is_flipped_is_named_at_exactly_its_record(record):
    """Bit 0 of every character; a key that exists already is left out, for a table holds it once."""
    rollover, seq = int(record[8:14]), int(record[15:])
    for column in COLUMNS:
        for place in range(len(a_history()[record][column])):
            rows = a_history()
            text = rows[record][column]
            rows[record][column] = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
            if rows[record]["RowKey"] in rows.keys() - {record}:
                continue
            assert at(rows) == (f"{PARTITION}.{rollover}", seq), (column, place)


@given(st.sampled_from(RECORDS), st.sampled_from(COLUMNS[1:]), st.none() | st.integers() | st.floats() | st.text())
def test_whatever_a_column_is_changed_to_is_named_at_exactly_its_record(record, column, value):
    rows = a_history()
    before = rows[record].pop(column)
    if value is not None:
        rows[record][column] = value
    expected = None if value == before else (f"{PARTITION}.{int(record[8:14])}", int(record[15:]))
    assert at(rows) == expected


def test_a_column_that_was_added_is_named():
    rows = a_history()
    rows[key(2, 2)]["approved_by"] = "somebody"
    assert at(rows) == (SECOND, 2)


def test_a_record_that_moved_to_another_target_is_named_in_both():
    rows, other = a_history(), {}
    moved = rows.pop(key(3, 2))
    other[key(3, 2)] = {**moved, "PartitionKey": "individual.dev-02"}
    assert at(rows) == (THIRD, 2)
    found = verify("individual.dev-02", other.values()).first_break
    assert found == Break("individual.dev-02.1", 0, "the rollover is missing")


@pytest.mark.parametrize("record", RECORDS)
def test_a_changed_record_with_a_hash_that_fits_is_named_at_the_record_that_follows_it(record):
    """Nothing in the record itself is wrong then. The last record of a rollover is named by the rollover's row."""
    rows = a_history()
    rollover, seq = int(record[8:14]), int(record[15:])
    forge(rows, rollover, seq, why="because")
    last = facts(rows, rollover)["records"]
    assert at(rows) == (f"{PARTITION}.{rollover}", min(seq + 1, last))


def test_the_last_record_of_a_rollover_with_a_hash_that_fits_and_a_head_is_named_at_the_next_rollover():
    rows = a_history()
    forge(rows, 2, 3, why="because")
    facts(rows, 2, head=rows[key(2, 3)]["hash"])
    assert at(rows) == (THIRD, 1)


# --- records were removed, added, swapped ------------------------------------------------------------------------


def remove_the_last(rows: Table) -> None:
    del rows[key(3, 2)]


def remove_one(rows: Table) -> None:
    del rows[key(1, 4)]


def remove_the_first(rows: Table) -> None:
    del rows[key(1, 1)]


def truncate(rows: Table) -> None:
    for seq in range(6, 12):
        del rows[key(1, seq)]


def truncate_and_count_anew(rows: Table) -> None:
    truncate(rows)
    facts(rows, 1, records=5)


def truncate_and_give_the_head_that_fits(rows: Table) -> None:
    truncate(rows)
    facts(rows, 1, records=5, head=rows[key(1, 5)]["hash"])


def remove_one_and_move_up(rows: Table) -> None:
    for seq in range(4, 11):
        rows[key(1, seq)] = {**rows[key(1, seq + 1)], "RowKey": key(1, seq)}
    del rows[key(1, 11)]
    facts(rows, 1, records=10)


def remove_one_and_move_up_with_hashes_that_fit(rows: Table) -> None:
    remove_one_and_move_up(rows)
    for seq in range(4, 11):
        forge(rows, 1, seq)


def swap(rows: Table) -> None:
    one, other = rows[key(1, 4)], rows[key(1, 5)]
    rows[key(1, 4)], rows[key(1, 5)] = {**other, "RowKey": key(1, 4)}, {**one, "RowKey": key(1, 5)}


def swap_with_hashes_that_fit(rows: Table) -> None:
    swap(rows)
    forge(rows, 1, 4)
    forge(rows, 1, 5)


def swap_between_rollovers(rows: Table) -> None:
    rows[key(1, 2)], rows[key(2, 2)] = (
        {**rows[key(2, 2)], "RowKey": key(1, 2)},
        {**rows[key(1, 2)], "RowKey": key(2, 2)},
    )


def insert(rows: Table) -> None:
    for seq in range(11, 3, -1):
        rows[key(1, seq + 1)] = {**rows[key(1, seq)], "RowKey": key(1, seq + 1)}
    facts(rows, 1, records=12)


def insert_with_hashes_that_fit(rows: Table) -> None:
    insert(rows)
    for seq in range(4, 13):
        forge(rows, 1, seq)


def append(rows: Table) -> None:
    row = {k: v for k, v in rows[key(1, 11)].items() if k not in ("hash", "previous")} | {"RowKey": key(1, 12)}
    rows[key(1, 12)] = sealed(row, rows[key(1, 11)]["hash"])


def append_and_count_it(rows: Table) -> None:
    append(rows)
    facts(rows, 1, records=12, head=rows[key(1, 12)]["hash"])


def repeat_the_hash_of_another(rows: Table) -> None:
    rows[key(1, 7)]["hash"] = rows[key(1, 8)]["hash"]


def strip_a_hash(rows: Table) -> None:
    for column in ("hash", "previous"):
        del rows[key(1, 7)][column]


def strip_what_it_follows(rows: Table) -> None:
    del rows[key(1, 7)]["previous"]
    forge(rows, 1, 7)


def make_the_first_records_look_old(rows: Table) -> None:
    for seq in range(1, 8):
        for column in ("hash", "previous"):
            del rows[key(1, seq)][column]


def make_a_rollover_look_old(rows: Table) -> None:
    for seq in range(1, 12):
        for column in ("hash", "previous"):
            del rows[key(1, seq)][column]
    facts(rows, 1, head="")


def make_the_last_rollover_look_old(rows: Table) -> None:
    for seq in (1, 2):
        for column in ("hash", "previous"):
            del rows[key(3, seq)][column]
    facts(rows, 3, head="")


def take_the_head_away(rows: Table) -> None:
    facts(rows, 2, head="")


def give_another_head(rows: Table) -> None:
    facts(rows, 2, head="0" * 64)


def count_no_records(rows: Table) -> None:
    for seq in (1, 2):
        del rows[key(3, seq)]
    facts(rows, 3, records=0, head="")


def remove_a_rollover_and_its_records(rows: Table) -> None:
    for row in [k for k in rows if k.startswith(("rollover.000002", "history.000002"))]:
        del rows[row]


def remove_a_rollover_and_move_the_next_down(rows: Table) -> None:
    for seq in (1, 2):
        rows[key(2, seq)] = {**rows[key(3, seq)], "RowKey": key(2, seq)}
        del rows[key(3, seq)]
        forge(rows, 2, seq)
    del rows[key(2, 3)]
    rows["rollover.000002"] = {**rows.pop("rollover.000003"), "RowKey": "rollover.000002"}
    rows["target"]["last"] = 2


def remove_only_the_row_of_a_rollover(rows: Table) -> None:
    del rows["rollover.000002"]


def remove_the_first_rollover(rows: Table) -> None:
    for row in [k for k in rows if k.startswith(("rollover.000001", "history.000001"))]:
        del rows[row]


def remove_the_last_rollover(rows: Table) -> None:
    for row in [k for k in rows if k.startswith(("rollover.000003", "history.000003"))]:
        del rows[row]


def remove_the_target(rows: Table) -> None:
    del rows["target"]


def count_more_rollovers(rows: Table) -> None:
    rows["target"]["last"] = 4


def count_rollovers_in_words(rows: Table) -> None:
    rows["target"]["last"] = "3"


def count_rollovers_in_fractions(rows: Table) -> None:
    rows["target"]["last"] = 3.0


def hide_a_record_behind_an_odd_key(rows: Table) -> None:
    rows["history.000001.000012"] = {**rows[key(1, 11)], "RowKey": "history.000001.000012"}


def put_a_record_before_the_first(rows: Table) -> None:
    rows[key(1, 0)] = {**rows[key(1, 1)], "RowKey": key(1, 0)}


def spoil_the_facts(rows: Table) -> None:
    rows["rollover.000002"]["facts"] = "{"


def spoil_the_count(rows: Table) -> None:
    facts(rows, 2, records="3")


DONE_TO_IT: dict[Callable[[Table], None], tuple[str, int, str]] = {
    remove_the_last: (THIRD, 2, "missing"),
    remove_one: (FIRST, 4, "missing"),
    remove_the_first: (FIRST, 1, "missing"),
    truncate: (FIRST, 6, "missing"),
    truncate_and_count_anew: (FIRST, 5, "names another hash of its last record"),
    truncate_and_give_the_head_that_fits: (SECOND, 1, "follows another one"),
    remove_one_and_move_up: (FIRST, 4, "not that of what it says"),
    remove_one_and_move_up_with_hashes_that_fit: (FIRST, 4, "follows another one"),
    swap: (FIRST, 4, "not that of what it says"),
    swap_with_hashes_that_fit: (FIRST, 4, "follows another one"),
    swap_between_rollovers: (FIRST, 2, "not that of what it says"),
    insert: (FIRST, 5, "not that of what it says"),
    insert_with_hashes_that_fit: (FIRST, 5, "follows another one"),
    append: (FIRST, 12, "one too many: the rollover's row counts 11"),
    append_and_count_it: (SECOND, 1, "follows another one"),
    repeat_the_hash_of_another: (FIRST, 7, "not that of what it says"),
    strip_a_hash: (FIRST, 7, "carries no hash"),
    strip_what_it_follows: (FIRST, 7, "follows another one"),
    make_the_first_records_look_old: (FIRST, 8, "follows another one"),
    make_a_rollover_look_old: (SECOND, 1, "follows another one"),
    make_the_last_rollover_look_old: (THIRD, 1, "carries no hash"),
    take_the_head_away: (SECOND, 3, "names another hash of its last record"),
    give_another_head: (SECOND, 3, "names another hash of its last record"),
    count_no_records: (THIRD, 1, "missing"),
    remove_a_rollover_and_its_records: (SECOND, 0, "the rollover is missing"),
    remove_a_rollover_and_move_the_next_down: (SECOND, 1, "follows another one"),
    remove_only_the_row_of_a_rollover: (SECOND, 0, "the rollover is missing; 3 of its records are left"),
    remove_the_first_rollover: (FIRST, 0, "the rollover is missing"),
    remove_the_last_rollover: (THIRD, 0, "the rollover is missing"),
    remove_the_target: (PARTITION, 0, "counts 0 rollovers, there are 3"),
    count_more_rollovers: (f"{PARTITION}.4", 0, "the rollover is missing"),
    count_rollovers_in_words: (PARTITION, 0, "counts '3' rollovers, there are 3"),
    count_rollovers_in_fractions: (PARTITION, 0, "counts 3.0 rollovers, there are 3"),
    hide_a_record_behind_an_odd_key: (PARTITION, 0, "no row with the key 'history.000001.000012'"),
    put_a_record_before_the_first: (PARTITION, 0, "no row with the key 'history.000001.00000'"),
    spoil_the_facts: (SECOND, 0, "does not say how many records"),
    spoil_the_count: (SECOND, 0, "does not say how many records"),
}


@pytest.mark.parametrize(("change", "named"), DONE_TO_IT.items(), ids=[change.__name__ for change in DONE_TO_IT])
def test_it_is_named(change, named):
    rows = a_history()
    change(rows)
    found = broken(rows)
    assert found is not None
    rollover_id, record, what = named
    assert (found.rollover_id, found.record) == (rollover_id, record), found
    assert what in found.what


def test_counts_go_up_to_the_break():
    rows = a_history()
    rows[key(2, 2)]["who"] = "nobody"
    found = verify(PARTITION, rows.values())
    assert (found.rollovers, found.covered) == (1, 12)


# --- who can write the table can chain it anew: anchors ----------------------------------------------------------


@pytest.mark.parametrize("record", RECORDS)
def test_a_history_that_was_chained_anew_is_noticed_by_what_was_published_and_by_nothing_else(record):
    rows = a_history()
    published = heads(rows)
    rollover, seq = int(record[8:14]), int(record[15:])
    forge_on(rows, rollover, seq, who="nobody")
    assert at(rows) is None, "the limit of a chain that lies in the table"
    anchored = 1 if seq == 1 else facts(rows, rollover)["records"]
    found = broken(rows, published)
    assert found is not None
    assert (found.rollover_id, found.record) == (f"{PARTITION}.{rollover}", anchored)
    assert "a published event names another hash" in found.what


def test_a_rollover_that_grew_since_its_event_is_as_the_event_says():
    rows = a_history()
    anchors = {FIRST: [(4, rows[key(1, 4)]["hash"])], "individual.dev-02.1": [(1, "x")]}
    found = verify(PARTITION, rows.values(), anchors)
    assert (found.first_break, found.anchored) == (None, 1)


def test_a_last_rollover_that_was_removed_with_every_trace_is_noticed_by_its_event():
    rows = a_history()
    published = heads(rows)
    remove_the_last_rollover(rows)
    rows["target"]["last"] = 2
    assert at(rows) is None, "the limit of a chain that lies in the table"
    assert at(rows, published) == (THIRD, 0)


def test_a_last_record_that_was_removed_with_every_trace_is_noticed_by_its_event():
    rows = a_history()
    published = heads(rows)
    remove_the_last(rows)
    facts(rows, 3, records=1, head=rows[key(3, 1)]["hash"])
    assert at(rows) is None, "the limit of a chain that lies in the table"
    assert at(rows, published) == (THIRD, 2)


def test_a_target_that_was_removed_is_noticed_by_its_events():
    assert at({}, heads(a_history())) == (FIRST, 0)


# --- rows of the release before ----------------------------------------------------------------------------------


def a_target_of_the_release_before() -> InMemoryTable:
    """Two ended rollovers and an open one, with the rows of the last release as they lie in ``rows/``."""
    table = InMemoryTable()
    record, running = (json.loads((ROWS / name).read_text()) for name in ("history.json", "running.json"))
    partition = {"PartitionKey": running["PartitionKey"]}
    writes: list[dict[str, Any]] = [{**partition, "RowKey": "target", "last": 3}]
    for number in (1, 2, 3):
        writes.append({**running, "RowKey": f"rollover.{number:06}"})
        writes += [{**record, "RowKey": key(number, seq)} for seq in range(1, 7)]
    table.commit([Write(row) for row in writes])
    return table


def rows_of(table: InMemoryTable) -> Table:
    return {row["RowKey"]: row for row, _ in table.scan("", partition=PARTITION)}


OLDER = {FIRST: 6, SECOND: 6, THIRD: 6}


def test_a_history_of_the_release_before_is_not_covered_and_no_break():
    found = verify(PARTITION, rows_of(a_target_of_the_release_before()).values(), {THIRD: [(6, "")]})
    assert (found.first_break, found.covered, found.older) == (None, 0, OLDER)


def test_a_rollover_that_was_open_when_the_release_came_is_covered_from_then_on():
    table = a_target_of_the_release_before()
    ledger = Ledger(table)
    last = ledger.last(DEVICE)
    assert last is not None
    assert (last.head, last.records) == ("", 6)
    ledger.record(ledger.record(ledger.record(last, None), RECORD), RECORD)
    begin_next(ledger, a_rollover(id=""), RECORD)
    rows = rows_of(table)
    found = verify(PARTITION, rows.values())
    assert (found.first_break, found.covered, found.older) == (None, 3, OLDER)
    assert rows[key(3, 7)]["previous"] == genesis(PARTITION)
    assert from_row(rows["rollover.000003"], "").head == rows[key(3, 8)]["hash"]
    rows[key(3, 7)]["who"] = "nobody"
    assert at(rows) == (THIRD, 7)


def test_a_rollover_after_ended_ones_of_the_release_before_begins_the_chain():
    table = a_target_of_the_release_before()
    ledger = Ledger(table)
    begin_next(ledger, a_rollover(id=""), RECORD)
    found = verify(PARTITION, rows_of(table).values())
    assert (found.first_break, found.covered, found.older) == (None, 1, OLDER)


def test_a_record_of_the_release_before_that_is_missing_is_named_all_the_same():
    rows = rows_of(a_target_of_the_release_before())
    del rows[key(2, 4)]
    assert at(rows) == (SECOND, 4)


def test_a_release_without_hashes_that_was_rolled_back_to_breaks_the_chain():
    """It writes records without a hash and forgets the head: from there on nothing is proven, and that is said."""
    table = InMemoryTable()
    ledger = Ledger(table)
    rollover = ledger.record(ledger.begin(a_rollover(id=""), None, RECORD), RECORD)
    rows: Table = rows_of(table)
    old: Row = {k: v for k, v in rows[key(1, 2)].items() if k not in ("hash", "previous")} | {"RowKey": key(1, 3)}
    table.commit([Write({**old})])
    row, etag = table.read(PARTITION, "rollover.000001") or ({}, "")
    without = {k: v for k, v in json.loads(row["facts"]).items() if k != "head"}
    table.commit([Write({**row, "facts": json.dumps({**without, "records": 3})}, etag)])
    assert at(rows_of(table)) == (rollover.id, 3)
