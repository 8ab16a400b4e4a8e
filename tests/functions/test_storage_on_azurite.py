"""The table and the queues against Microsoft's own stand-in for Storage (Azurite), with the real SDK clients."""

import base64
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from azure.data.tables import TableServiceClient
from azure.storage.queue import QueueClient, QueueServiceClient

from shared.clients.storage import TABLE, QueuedNudges, StoredTable
from shared.devices import Device, Devices
from shared.errors import Conflict
from shared.ledger import Ledger, Write
from shared.plans import Plan, Step
from shared.rollover import Outcome
from shared.rows import History
from shared.timers import Completed, Place, Timer, Timers
from tests.builders import DEVICE, a_rollover, begin_next
from tests.certificates import NOW

RECORD = History(NOW, "test", "started", "for a test")
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def table(azurite: str) -> Iterator[StoredTable]:
    """A table of this test alone that nobody has made yet."""
    with TableServiceClient.from_connection_string(azurite) as service:
        yield StoredTable(service.get_table_client(f"t{uuid.uuid4().hex}"))


@pytest.fixture
def ledger(table: StoredTable) -> Ledger:
    return Ledger(table)


# --- the table --------------------------------------------------------------------------------------------------


def test_nothing_is_found_in_a_table_that_there_is_not(ledger):
    assert ledger.last(DEVICE) is None
    assert list(ledger.rollovers()) == []
    assert list(ledger.due(NOW)) == []
    assert list(ledger.open()) == []
    assert ledger.refused_inputs() == []


def test_the_first_write_makes_the_table_and_a_rollover_comes_back_as_it_was(ledger):
    begun = ledger.begin(a_rollover(Step.INVOKE_REPROVISION_JOB, id="", outbox=("Rollover.Started/1",)), None, RECORD)
    assert ledger.read(begun.id) == begun
    assert [(record.seq, record.why) for record in ledger.history(begun)] == [(1, RECORD.why)]


def test_the_etag_that_a_write_gives_is_the_one_that_the_next_write_needs(ledger):
    rollover = ledger.begin(a_rollover(id=""), None, RECORD)
    for acts in range(1, 4):
        rollover = ledger.record(replace(rollover, acts=acts), RECORD)
    assert ledger.read(rollover.id) == rollover
    assert [record.seq for record in ledger.history(rollover)] == [1, 2, 3, 4]


def test_a_row_that_was_changed_since_is_a_conflict_and_nothing_of_the_transaction_is_written(ledger):
    begun = ledger.begin(a_rollover(id=""), None, RECORD)
    changed = ledger.record(replace(begun, acts=1), None)
    with pytest.raises(Conflict):
        ledger.record(replace(begun, acts=2), RECORD)
    assert ledger.read(begun.id) == changed
    assert len(ledger.history(begun)) == 1


def test_beginning_twice_from_the_same_sight_is_a_conflict(ledger):
    ledger.begin(a_rollover(id=""), None, RECORD)
    with pytest.raises(Conflict):
        ledger.begin(a_rollover(id=""), None, RECORD)
    assert len(list(ledger.rollovers())) == 1


def test_a_row_that_exists_already_is_a_conflict_at_the_table_itself(table):
    """Two that began at the very same moment: the ledger's own look at the target came too early."""
    write = Write({"PartitionKey": "p", "RowKey": "r", "n": 1})
    table.commit([write])
    with pytest.raises(Conflict):
        table.commit([Write({"PartitionKey": "p", "RowKey": "other", "n": 1}), write])
    assert table.read("p", "other") is None


def test_a_replacement_removes_the_columns_that_are_not_sent(table):
    [etag] = table.commit([Write({"PartitionKey": "p", "RowKey": "r", "old": 1})])
    table.commit([Write({"PartitionKey": "p", "RowKey": "r", "new": 1}, etag)])
    row, _ = table.read("p", "r")
    assert "old" not in row


STANDS = {
    "due-now": {"due_at": NOW},
    "due-long": {"due_at": NOW - timedelta(days=40)},
    "later": {"due_at": NOW + timedelta(microseconds=1)},
    "ended": {"due_at": None, "outcome": Outcome.DONE},
    "ended-unpublished": {"due_at": None, "outcome": Outcome.DONE, "outbox": ("Rollover.Completed/9",)},
    "later-unpublished": {"due_at": LATER, "outbox": ("Rollover.Started/1",)},
}


def test_the_timer_sees_what_is_due_and_what_is_unpublished_and_nothing_else(ledger):
    for device, facts in STANDS.items():
        ledger.begin(a_rollover(registration_id=device, **{"id": "", **facts}), None, RECORD)
    ledger.note_refused("event", "s", "r", NOW)
    found = sorted(rollover.registration_id for rollover in ledger.due(NOW))
    assert found == ["due-long", "due-now", "ended-unpublished", "later-unpublished"]


def test_the_sweep_sees_what_is_open_and_nothing_else(ledger):
    for device, facts in STANDS.items():
        ledger.begin(a_rollover(registration_id=device, **{"id": "", **facts}), None, RECORD)
    found = sorted(rollover.registration_id for rollover in ledger.open())
    assert found == ["due-long", "due-now", "later", "later-unpublished"]


def test_what_was_given_up_of_a_plan_is_found_as_long_as_nothing_came_after_it(ledger):
    for outcome in (None, *Outcome):
        name = outcome.value if outcome else "open"
        due = None if outcome else NOW
        new = a_rollover(id="", registration_id=name, plan=Plan.MEMBER_EXPIRY, outcome=outcome, due_at=due)
        ledger.begin(new, None, RECORD)
    ledger.begin(a_rollover(id="", registration_id="another-plan", outcome=Outcome.REFUSED), None, RECORD)
    found = sorted(rollover.registration_id for rollover in ledger.given_up(Plan.MEMBER_EXPIRY))
    assert found == ["cancelled", "needs_person", "refused"]
    last = ledger.last("refused")
    ledger.begin(a_rollover(id="", registration_id="refused", plan=Plan.MEMBER_EXPIRY), last, RECORD)
    assert len(list(ledger.given_up(Plan.MEMBER_EXPIRY))) == 2


def test_all_devices_that_are_known_are_listed(table):
    devices = Devices(table)
    assert devices.all() == {}
    for device_id in ("a", "b#?"):
        devices.know(device_id, f"reg-{device_id}", "cert")
    assert devices.all() == {"a": Device("reg-a", "cert"), "b#?": Device("reg-b#?", "cert")}


def test_targets_are_found_slice_by_slice(ledger, table):
    for device in ("dev-04", "dev-01", "dev-03", "dev-02", "dev-02"):
        begin_next(ledger, a_rollover(registration_id=device, id=""), RECORD)
    Timers(table).note_completed(Timer.WATCH, NOW, NOW)
    Timers(table).go_on("individual.dev-01", NOW)
    found = [(partition, len(rollovers)) for partition, rollovers in ledger.targets("")]
    assert found == [
        ("individual.dev-01", 1),
        ("individual.dev-02", 2),
        ("individual.dev-03", 1),
        ("individual.dev-04", 1),
    ]
    assert [partition for partition, _ in ledger.targets("individual.dev-03")] == ["individual.dev-04"]
    assert len(ledger.rollovers_in("individual.dev-02")) == 2


def test_what_timers_remember_comes_back(table):
    timers = Timers(table)
    assert (timers.completed(Timer.SWEEP), timers.place()) == (None, Place())
    for minute in (1, 2):
        timers.note_completed(Timer.SWEEP, NOW, NOW + timedelta(minutes=minute))
        timers.go_on(f"individual.dev-{minute}", NOW)
    assert timers.completed(Timer.SWEEP) == Completed(NOW + timedelta(minutes=2), timedelta(minutes=2))
    assert timers.place() == Place("individual.dev-2", NOW)


def test_rollovers_are_found_by_target_and_history_by_rollover(ledger):
    for device in ("dev-01", "dev-01", "dev-010", "DEV-02"):
        begin_next(ledger, a_rollover(registration_id=device, id=""), RECORD)
    assert len(list(ledger.rollovers())) == 4
    assert [rollover.id for rollover in ledger.rollovers("Dev-01")] == ["individual.dev-01.1", "individual.dev-01.2"]
    assert len(ledger.history(ledger.read("individual.dev-01.2"))) == 1


def test_a_registration_id_with_every_sign_that_there_may_be_is_a_key(ledger):
    """Letters, digits, and - . _ : (azure-docs concepts-service: registration ID)."""
    begun = ledger.begin(a_rollover(registration_id="site:plant_7-x.A", id=""), None, RECORD)
    assert ledger.read(begun.id) == begun
    assert list(ledger.rollovers("site:plant_7-x.A")) == [begun]


def test_refused_inputs_are_counted(ledger):
    for minute in range(3):
        ledger.note_refused("queue upload-secondary", "\ufffd'; drop", "not a nudge", NOW + timedelta(minutes=minute))
    [refused] = ledger.refused_inputs()
    assert (refused.count, refused.first_seen, refused.last_seen) == (3, NOW, NOW + timedelta(minutes=2))


# --- the history, with `python -m scripts.verify_history` --------------------------------------------------------


@pytest.fixture
def deployed(azurite: str) -> Iterator[StoredTable]:
    """The table that a deployment uses, new: other tests of the session may have left theirs."""
    with TableServiceClient.from_connection_string(azurite) as service:
        service.delete_table(TABLE)  # says nothing where there is none
        yield StoredTable(service.get_table_client(TABLE))
        service.delete_table(TABLE)


def verify_history(azurite: str, *arguments: str, **environment: str) -> tuple[int, list[str]]:
    """Exit code and lines of the script, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "scripts.verify_history", *arguments],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "RolloverStorage": azurite, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "AccountKey" not in done.stdout + done.stderr
    return done.returncode, (done.stdout + done.stderr).splitlines()


ODD = replace(
    RECORD,
    why='a\nb\t"c" \u00e4 \u20ac \U0001f600  \\ ',
    before={"n": 1.0, "hub": [None, "0A"]},
    step=Step.DELETE_PRIMARY,
)


def test_a_record_that_was_changed_in_the_table_is_named_and_so_is_one_that_an_event_knows_otherwise(
    azurite, deployed, tmp_path
):
    ledger = Ledger(deployed)
    for device in ("dev-01", "dev-02", "dev-03"):
        for _ in range(2):
            rollover = begin_next(ledger, a_rollover(registration_id=device, id=""), RECORD)
            rollover = ledger.record(ledger.record(rollover, ODD), replace(ODD, why="", before={}))
    ledger.note_refused("event", "s", "r", NOW)
    told = "3 targets, 0 broken; 6 rollovers, 18 records covered, 0 older than hashes, 0 anchors hold"
    assert verify_history(azurite) == (0, [f"clean: {told}"])
    # What a person does with a table browser.
    row, etag = deployed.read("individual.dev-02", "history.000001.00002")
    deployed.commit([Write({**row, "who": "nobody"}, etag)])
    code, (line, totals) = verify_history(azurite)
    assert (code, totals.partition(";")[0]) == (1, "BROKEN: 3 targets, 1 broken")
    assert line.startswith(
        "BROKEN dev-02: individual.dev-02.1, record 2: the record's hash is not that of what it says"
    )
    assert verify_history(azurite, "--registration-id", "dev-02")[0] == 1
    assert verify_history(azurite, "--registration-id", "dev-03")[0] == 0
    data = {"rolloverId": rollover.id, "historyRecords": 3, "historyHead": "0" * 64}
    (tmp_path / "events").write_text(json.dumps({"type": "Rollover.Completed", "data": data}))
    code, (line, _) = verify_history(azurite, "--registration-id", "dev-03", "--anchors", str(tmp_path / "events"))
    assert code == 1
    assert line.startswith("BROKEN dev-03: individual.dev-03.2, record 3: a published event names another hash")


def test_an_identity_that_nobody_gave_us_is_one_line_and_a_next_step():
    """The SDK would log a page about every kind of credential that it tried."""
    nobody = {"IDENTITY_ENDPOINT": "http://127.0.0.1:9", "IDENTITY_HEADER": "x"}
    code, (line,) = verify_history("", RolloverStorage__tableServiceUri="https://127.0.0.1:9", **nobody)
    assert code == 2
    assert line.startswith("verify_history: the table cannot be read: ")
    assert "who is signed in" in line


def test_a_table_that_there_is_not_is_no_clean_history(azurite):
    code, (line,) = verify_history(azurite)
    assert (code, "no history was found" in line) == (2, True)


# --- the queues -------------------------------------------------------------------------------------------------


@pytest.fixture
def queue(azurite: str) -> Iterator[QueueClient]:
    """The queue of one step, not made yet; raw, as the host reads it."""
    with QueueClient.from_connection_string(azurite, Step.UPLOAD_SECONDARY.queue) as client:
        yield client
        client.delete_queue()


@pytest.fixture
def nudges(azurite: str) -> Iterator[QueuedNudges]:
    with QueueServiceClient.from_connection_string(azurite) as service:
        yield QueuedNudges(service)


def test_the_first_nudge_makes_the_queue_and_is_base64_of_json(nudges, queue):
    """The queue trigger reads base64 (azure-docs functions-bindings-storage-queue: messageEncoding)."""
    nudges.send(Step.UPLOAD_SECONDARY, "individual.dev-01.1")
    message = queue.receive_message()
    assert json.loads(base64.b64decode(message.content, validate=True)) == {"rollover_id": "individual.dev-01.1"}


def test_a_nudge_never_expires(nudges, queue):
    nudges.send(Step.UPLOAD_SECONDARY, "individual.dev-01.1")
    assert queue.receive_message().expires_on.year == 9999


def test_a_nudge_of_the_timer_expires_after_its_life(nudges, queue):
    """So that the nudges of every minute do not pile up in front of an app that is down."""
    nudges.send(Step.UPLOAD_SECONDARY, "individual.dev-01.1", life=timedelta(seconds=90))
    message = queue.receive_message()
    assert message.expires_on - message.inserted_on == timedelta(seconds=90)


def test_a_nudge_with_a_delay_is_not_seen_before_its_time(nudges, queue):
    nudges.send(Step.UPLOAD_SECONDARY, "individual.dev-01.1", timedelta(seconds=1.2))
    assert queue.receive_message() is None
    nudges.send(Step.UPLOAD_SECONDARY, "individual.dev-01.2")
    assert "dev-01.2" in base64.b64decode(queue.receive_message().content).decode()
    peeked = queue.get_queue_properties().approximate_message_count
    assert peeked == 2


def test_every_step_has_a_queue_of_its_own(nudges, azurite):
    for step in Step:
        nudges.send(step, f"individual.{step.queue}.1")
    with QueueServiceClient.from_connection_string(azurite) as service:
        assert {queue.name for queue in service.list_queues()} >= {step.queue for step in Step}
        for step in Step:
            client = service.get_queue_client(step.queue)
            assert step.queue in base64.b64decode(client.receive_message().content).decode()
            client.delete_queue()
