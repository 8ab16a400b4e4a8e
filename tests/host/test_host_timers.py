"""Timer triggers, and what a moved clock does to a host."""

import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from tests.host.conftest import StartHost
from tests.host.hosts import Host, until

DAY = timedelta(days=1).total_seconds()


@pytest.fixture
def hourly(start_host: StartHost, azurite: str) -> Host:
    """A host with a clock of its own, whose function `sweep` is due at every full hour."""
    queue = f"work-{uuid.uuid4().hex[:8]}"
    host = start_host("triggers", SampleStorage=azurite, WORK_QUEUE=queue, SWEEP="0 0 * * * *", ONE_HUB="x").ready()
    host.queue_name = queue  # type: ignore[attr-defined]
    return host


def app_time(host: Host) -> datetime:
    return datetime.fromisoformat(host.get("/api/open").text)


def distance(host: Host) -> float:
    """How far the app's clock is from ours, in seconds."""
    return (app_time(host) - datetime.now(UTC)).total_seconds()


def test_an_occurrence_overdue_after_a_jump_fires_at_once_and_once(hourly: Host) -> None:
    hourly.move_clock(400 * DAY)
    until(lambda: hourly.seen("sweep"), "the timer fired", within_s=2)
    time.sleep(0.5)
    (fired,) = hourly.seen("sweep")
    assert fired["past_due"] is True
    assert datetime.fromisoformat(fired["now"]) > datetime.now(UTC) + timedelta(days=399)


def test_a_clock_that_was_set_back_does_not_silence_a_timer(hourly: Host) -> None:
    hourly.move_clock(400 * DAY)
    until(lambda: len(hourly.seen("sweep")) == 1, "the timer fired")
    hourly.move_clock(0)
    until(lambda: abs(distance(hourly)) < 1, "the clock is back")
    hourly.move_clock(7200)
    until(lambda: len(hourly.seen("sweep")) == 2, "the timer fired again", within_s=2)


def test_the_app_lives_at_the_moved_time_within_a_moment(hourly: Host) -> None:
    for offset in (400 * DAY, 30.5, -3600.0, 0):
        hourly.move_clock(offset)
        time.sleep(0.15)
        assert distance(hourly) == pytest.approx(offset, abs=0.1)


@pytest.mark.parametrize("content", ["", "no number", "nan", "inf", "1e300", "\xff"])
def test_a_clock_file_that_holds_no_usable_number_leaves_the_clock_alone(hourly: Host, content: str) -> None:
    hourly.move_clock(7200)
    until(lambda: distance(hourly) > 7000, "the clock was moved")
    hourly.clock_file.write_text(content, encoding="latin-1")
    time.sleep(0.15)
    assert distance(hourly) == pytest.approx(7200, abs=1)
    hourly.move_clock(3600)
    until(lambda: distance(hourly) < 3700, "the clock is followed again", within_s=1)


def test_queues_go_on_after_a_jump_of_400_days(hourly: Host, azurite: str) -> None:
    """SharedKey signs with the app's date; leases and waits are measured by clocks that nobody moves."""
    name = hourly.queue_name  # type: ignore[attr-defined]
    queue = QueueClient.from_connection_string(azurite, name, message_encode_policy=TextBase64EncodePolicy())
    hourly.move_clock(400 * DAY)
    until(lambda: hourly.seen("sweep"), "the clock was moved")
    queue.send_message(json.dumps({"id": "later", "fail": 1}))
    until(lambda: len(hourly.seen("worked", id="later")) == 2, "the message failed and was tried again")
    until(lambda: queue.get_queue_properties().approximate_message_count == 0, "the message is gone")


def test_a_clock_moved_while_a_timer_runs_makes_it_fire_again(start_host: StartHost, azurite: str) -> None:
    settings = {"SampleStorage": azurite, "WORK_QUEUE": "unused", "SWEEP": "0 0 * * * *", "ONE_HUB": "x"}
    host = start_host("triggers", SWEEP_SECONDS="0.6", **settings).ready()
    host.move_clock(DAY)
    until(lambda: len(host.seen("sweep")) == 1, "the timer runs")
    host.move_clock(2 * DAY)
    until(lambda: len(host.seen("sweep")) == 2, "it fired for the second move, too", within_s=3)


def test_a_timer_that_asks_for_it_runs_at_the_start_with_its_retry_policy(triggers: Host) -> None:
    until(lambda: len(triggers.seen("start")) == 2, "the second try")
    assert [note["attempt"] for note in triggers.seen("start")] == [0, 1]


@pytest.mark.parametrize(
    ("schedule", "after", "due"),
    [
        ("0 17 * * * *", "2026-11-24T12:17:00Z", "2026-11-24T13:17:00Z"),
        ("*/5 * * * * *", "2026-11-24T12:17:03Z", "2026-11-24T12:17:05Z"),
        ("0 0 0 1 * Mon", "2026-11-24T00:00:00Z", "2027-02-01T00:00:00Z"),
    ],
)
def test_a_schedule_is_read_as_ncrontab_reads_it(schedule: str, after: str, due: str) -> None:
    """atifaziz/NCrontab CrontabSchedule.cs: strictly after; the day of the month and of the week must both match."""
    from local.host.timers import Timer
    from local.host.worker import Function, Worker

    timer = Timer(Worker(), Function("f", "f", {"type": "timerTrigger", "schedule": schedule}, None))
    assert timer._next(datetime.fromisoformat(after)) == datetime.fromisoformat(due)
