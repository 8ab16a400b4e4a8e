"""How rollovers lie in the table, now and for later releases.

The files in ``rows/`` are rows as releases have written them. They are never changed: a release that cannot read
them would lose sight of the rollovers that are open while it is deployed.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.certificate import Outgoing
from shared.enrollment import Slot
from shared.incident import Incident, Mode
from shared.plans import Plan, Step
from shared.rollover import Incoming, Outcome, Rollover
from shared.rows import History, from_row, history_from_row, history_row, stamp, to_row
from tests.builders import a_rollover
from tests.certificates import NOW

ROWS = Path(__file__).parent / "rows"


def stored(name: str) -> dict[str, Any]:
    return json.loads((ROWS / name).read_text())


times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
texts = st.text(max_size=40)
hexes = st.text("0123456789ABCDEF", min_size=40, max_size=64)
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-._:", min_size=1, max_size=30)
outgoings = st.builds(Outgoing, hexes, hexes, times, st.none() | hexes, st.none() | texts, st.none() | texts)
incidents = st.builds(
    Incident,
    id=texts,
    mode=st.sampled_from(Mode),
    reason=texts,
    requested_by=texts,
    requested_by_id=texts,
    compromised=st.lists(outgoings, max_size=2).map(tuple),
    ticket=st.none() | texts,
    accepted_routes=st.lists(texts, max_size=2).map(tuple),
    break_glass=st.none() | texts,
    approve_by=st.none() | times,
    approved_by=st.none() | texts,
    restores=st.none() | texts,
    together=st.lists(texts, max_size=2).map(tuple),
    was_enabled=st.booleans(),
)
incomings = st.builds(Incoming, texts, hexes, hexes, times)
rollovers = st.builds(
    Rollover,
    id=st.builds("individual.{}.{}".format, names, st.integers(1, 999_999)),
    plan=st.sampled_from(Plan),
    registration_id=names,
    device_id=texts,
    certificate_name=texts,
    cause=texts,
    started_at=times,
    outgoing=outgoings,
    standby=st.sampled_from(Slot),
    replaces=st.none() | hexes,
    baseline=st.none() | times,
    on_incoming_at_start=st.booleans(),
    tried_again_at=st.none() | times,
    incoming=st.none() | incomings,
    incident=st.none() | incidents,
    done=st.lists(st.sampled_from(Step), max_size=5, unique=True).map(tuple),
    acts=st.integers(0, 100),
    acted_at=st.none() | times,
    backs=st.integers(0, 16),
    waiting_for=st.none() | texts,
    waiting_since=st.none() | times,
    arrived_at=st.none() | times,
    held_up_since=st.none() | times,
    refused_since=st.none() | times,
    told_overdue_at=st.none() | times,
    due_at=st.none() | times,
    outcome=st.none() | st.sampled_from(Outcome),
    outcome_reason=st.none() | texts,
    next_action=st.none() | texts,
    ended_at=st.none() | times,
    records=st.integers(0, 99_999),
    head=texts,
    outbox=st.lists(texts, max_size=3).map(tuple),
    trace=texts,
    etag=texts,
)


@given(rollovers)
def test_a_rollover_comes_back_from_its_row_as_it_was(rollover):
    assert from_row(to_row(rollover), rollover.etag) == rollover


@given(rollovers)
def test_a_row_holds_only_what_a_table_takes(rollover):
    """Strings, booleans and integers; keys without / \\ # ? (azure-docs: table service data model)."""
    row = to_row(rollover)
    for key, value in row.items():
        assert type(value) in (str, bool, int) or isinstance(value, str), key
    assert not set("/\\#?") & set(row["PartitionKey"] + row["RowKey"])


@given(rollovers)
def test_the_columns_that_are_queried_say_what_the_facts_say(rollover):
    row = to_row(rollover)
    assert row["open"] is (rollover.outcome is None)
    assert row["unpublished"] is bool(rollover.outbox)
    assert row["due_at"] == (stamp(rollover.due_at) if rollover.due_at else "")
    assert row["status"] == rollover.status


records = st.builds(
    History,
    at=times,
    who=texts,
    what=texts,
    why=texts,
    step=st.none() | st.sampled_from(Step),
    before=st.dictionaries(texts, texts | st.none(), max_size=3),
    after=st.dictionaries(texts, st.lists(texts, max_size=2), max_size=3),
    seq=st.integers(1, 99_999),
)


@given(rollovers, records)
def test_a_history_record_comes_back_from_its_row_with_the_number_of_the_rollover_that_wrote_it(rollover, record):
    row = history_row(rollover, record)
    back = history_from_row(row)
    assert back.seq == rollover.records
    assert {**vars(back), "seq": 0} == {**vars(record), "seq": 0}


@given(times, times)
def test_stamps_sort_as_the_times_they_stand_for(one, other):
    assert (stamp(one) < stamp(other)) == (one < other)


def test_rows_of_one_target_sort_by_number():
    keys = [to_row(a_rollover(id=f"individual.dev-01.{number}"))["RowKey"] for number in (9, 10, 99, 100, 999_999)]
    assert keys == sorted(keys)


# --- rows that releases have written ----------------------------------------------------------------------------


def test_an_open_rollover_of_an_earlier_release_is_read():
    rollover = from_row(stored("running.json"), "7")
    assert rollover == Rollover(
        id="individual.dev-01.3",
        plan=Plan.EXPIRY,
        registration_id="Dev-01",
        device_id="pump-7",
        certificate_name="dev-01-cert",
        cause="event CertificateNearExpiry (its tag rollover-enrollment says so)",
        started_at=NOW,
        outgoing=Outgoing("0A", "0B", NOW + timedelta(days=30), "0c"),
        standby=Slot.PRIMARY,
        replaces="0D",
        baseline=datetime(2025, 12, 24, 12, 0, 0, 948646, tzinfo=UTC),
        incoming=Incoming("v2", "1A", "1B", NOW + timedelta(days=395)),
        done=(Step.ISSUE_CERTIFICATE, Step.UPLOAD_SECONDARY, Step.STAGE_HUB_THUMBPRINT),
        acts=2,
        acted_at=NOW + timedelta(minutes=3, milliseconds=500),
        waiting_for="the reprovision job ended (completed: 1 answered, 0 not reached); the device has not registered"
        " with the incoming certificate yet",
        waiting_since=NOW + timedelta(minutes=1),
        due_at=NOW + timedelta(minutes=5),
        records=6,
        outbox=("Rollover.Started/1",),
        etag="7",
    )
    assert rollover.next_step is Step.INVOKE_REPROVISION_JOB


def test_an_ended_rollover_of_an_earlier_release_is_read():
    rollover = from_row(stored("ended.json"), "1")
    assert (rollover.outcome, rollover.next_action) == (Outcome.NEEDS_PERSON, "mend it")
    assert (rollover.due_at, rollover.incoming, rollover.outgoing.public_key_sha256) == (None, None, None)


@pytest.mark.parametrize("name", ["running.json", "ended.json", "going_back.json"])
def test_a_row_of_an_earlier_release_is_written_back_without_loss(name):
    """Columns and facts may be added; none that was there may go or change."""
    row = stored(name)
    back = to_row(from_row(row, "1"))
    facts, facts_back = json.loads(row.pop("facts")), json.loads(back["facts"])
    assert row.items() <= back.items()
    outgoing, outgoing_back = facts.pop("outgoing"), facts_back["outgoing"]
    assert outgoing.items() <= outgoing_back.items()
    assert {k: facts_back[k] for k in facts} == facts


def test_a_history_record_of_an_earlier_release_is_read():
    record = history_from_row(stored("history.json"))
    assert (record.seq, record.step, record.what) == (4, Step.UPLOAD_SECONDARY, "acts")
    assert record.before == {"vault_version": "v2", "primary": None, "secondary": "0B"}
    assert record.at == NOW + timedelta(minutes=2)


def test_facts_that_a_release_adds_have_defaults_for_the_rows_of_the_one_before():
    row = stored("running.json")
    required = (
        "plan",
        "registration_id",
        "device_id",
        "certificate_name",
        "cause",
        "started_at",
        "outgoing",
        "standby",
    )
    facts = {key: value for key, value in json.loads(row["facts"]).items() if key in required}
    rollover = from_row({**row, "facts": json.dumps(facts)}, "1")
    assert rollover.next_step is Step.ISSUE_CERTIFICATE


def test_facts_that_a_later_release_added_are_no_obstacle_when_it_is_rolled_back():
    row = stored("running.json")
    facts = {**json.loads(row["facts"]), "wave": 3}
    assert from_row({**row, "facts": json.dumps(facts), "new_column": 1}, "7") == from_row(row, "7")
