"""Timer triggers, and what a moved clock does to a host."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.queue import QueueClient

from tests.host.hosts import APPS, Host, until

DAY = timedelta(days=1).total_seconds()
NOTICED_S = 0.2  # a host looks at the file every 50 ms, a timer at the clock every 100 ms
MONTHLY = "0 0 0 1 * *"
QUEUE = f"work-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def movable(azurite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    settings = {
        "SampleStorage": azurite,
        "WORK_QUEUE": QUEUE,
        "SWEEP": MONTHLY,
        "ONE_HUB": "x",
        "SWEEP_SECONDS": "0.15",
    }
    host = Host(APPS / "triggers", tmp_path_factory.mktemp("movable"), settings=settings)
    yield host.ready()
    host.kill()


@pytest.fixture
def monthly(movable: Host) -> Host:
    """A host at the real time, that has fired nothing yet; its function `sweep` is due on every first of a month."""
    movable.move_clock(0)
    time.sleep(3 * NOTICED_S)
    movable.forget()
    return movable


def distance(host: Host) -> float:
    """How far the app's clock is from ours, in seconds."""
    return (datetime.fromisoformat(host.get("/api/open").text) - datetime.now(UTC)).total_seconds()


def test_an_occurrence_overdue_after_a_jump_fires_at_once_and_once(monthly: Host) -> None:
    monthly.move_clock(400 * DAY)
    until(lambda: monthly.seen("sweep"), "the timer fired")
    time.sleep(2 * NOTICED_S)
    (fired,) = monthly.seen("sweep")
    assert fired["past_due"] is True
    assert datetime.fromisoformat(fired["now"]) > datetime.now(UTC) + timedelta(days=399)


def test_a_clock_that_was_set_back_does_not_silence_a_timer(monthly: Host) -> None:
    monthly.move_clock(400 * DAY)
    until(lambda: len(monthly.seen("sweep")) == 1, "the timer fired")
    monthly.move_clock(0)
    time.sleep(3 * NOTICED_S)
    monthly.move_clock(40 * DAY)
    until(lambda: len(monthly.seen("sweep")) == 2, "the timer fired again")


def test_the_app_lives_at_the_moved_time_within_a_moment(monthly: Host) -> None:
    for offset in (400 * DAY, 30.5, -3600.0, 0):
        monthly.move_clock(offset)
        until(lambda offset=offset: abs(distance(monthly) - offset) < 0.5, f"the clock is {offset} s off")


def test_a_clock_file_that_holds_no_usable_number_leaves_the_clock_alone(monthly: Host) -> None:
    monthly.move_clock(7200)
    until(lambda: distance(monthly) > 7000, "the clock was moved")
    for content in ("", "no number", "nan", "inf", "1e12", "1e300", "\xff"):
        monthly.clock_file.write_text(content, encoding="latin-1")
        time.sleep(NOTICED_S)
        assert distance(monthly) == pytest.approx(7200, abs=1), content
    monthly.move_clock(3600)
    until(lambda: distance(monthly) < 3700, "the clock is followed again")


def test_queues_go_on_after_a_jump_of_400_days(monthly: Host, queue_of: Callable[[str], QueueClient]) -> None:
    """SharedKey signs with the app's date; leases and waits are measured by clocks that nobody moves."""
    queue = queue_of(QUEUE)
    monthly.move_clock(400 * DAY)
    until(lambda: monthly.seen("sweep"), "the clock was moved")
    queue.send_message(json.dumps({"id": "later", "fail": 1}))
    until(lambda: len(monthly.seen("worked", id="later")) == 2, "the message failed and was tried again")
    until(lambda: queue.get_queue_properties().approximate_message_count == 0, "the message is gone")


def test_a_clock_moved_while_a_timer_runs_makes_it_fire_again(monthly: Host) -> None:
    monthly.move_clock(40 * DAY)
    until(lambda: len(monthly.seen("sweep")) == 1, "the timer runs")
    monthly.move_clock(80 * DAY)
    until(lambda: len(monthly.seen("sweep")) == 2, "it fired for the second move, too")
    time.sleep(2 * NOTICED_S)
    assert len(monthly.seen("sweep")) == 2


def test_a_timer_that_asks_for_it_runs_at_the_start_with_its_retry_policy(triggers: Host) -> None:
    until(lambda: len(triggers.seen("start")) == 2, "the second try")
    assert [note["attempt"] for note in triggers.seen("start")] == [0, 1]
