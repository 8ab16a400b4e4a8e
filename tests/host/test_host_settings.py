"""What a host reads before it starts: host.json, keys, connections, schedules, retry policies, routes."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from local.host.keys import Keys, read_keys
from local.host.queue_messages import account_of
from local.host.routes import add_functions
from local.host.settings import BadSetting, parse_span, read_host_json, resolve
from local.host.timers import Timer
from local.host.worker import AppNotIndexed, Function, Retry, Worker


def test_host_json_has_the_documented_defaults(tmp_path: Path) -> None:
    """azure-docs functions-bindings-storage-queue, functions-host-json."""
    (tmp_path / "host.json").write_text("{}")
    options = read_host_json(tmp_path)
    queues = options.queues
    assert options.route_prefix == "api"
    assert (queues.batch_size, queues.new_batch_threshold, queues.max_dequeue_count, queues.base64) == (16, 8, 5, True)
    assert (queues.max_polling_interval, queues.visibility_timeout) == (timedelta(minutes=1), timedelta(0))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"extensions": []}', '{"extensions": {"queues": {"visibilityTimeout": 5}}}']
    + [
        f'{{"extensions": {{"queues": {{{option}}}}}}}'
        for option in (
            '"batchSize": 33',
            '"batchSize": 0',
            '"batchSize": null',
            '"newBatchThreshold": -1',
            '"maxDequeueCount": 0',
            '"maxPollingInterval": "00:00:00.050"',
            '"visibilityTimeout": "1 minute"',
            '"messageEncoding": 1',
        )
    ],
)
def test_a_host_json_that_the_real_host_refuses_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "host.json").write_text(text)
    with pytest.raises(BadSetting, match=r"^host\.json cannot be used: "):
        read_host_json(tmp_path)


def test_a_missing_host_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"^host\.json cannot be read: No such file"):
        read_host_json(tmp_path)


@pytest.mark.parametrize(
    ("text", "seconds"), [("00:00:00.100", 0.1), ("00:01:00", 60), ("1.02:03:04", 93784), ("36:00:00", 129600)]
)
def test_a_span_is_read_as_dot_net_writes_it(text: str, seconds: float) -> None:
    assert parse_span(text).total_seconds() == seconds


def test_a_setting_is_put_in_the_place_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "value")
    assert resolve("a-%NAME%-b-%NAME%") == "a-value-b-value"


def test_a_plain_connection_wins_over_the_one_with_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """azure-docs functions-reference: the exact name is looked for first."""
    monkeypatch.setenv("Here__queueServiceUri", "https://identity.queue.core.windows.net")
    assert account_of("Here").account_name == "identity"
    monkeypatch.setenv("AzureWebJobsHere", "AccountName=prefixed;AccountKey=c2VjcmV0;EndpointSuffix=core.windows.net")
    assert account_of("Here").account_name == "identity"
    monkeypatch.setenv("Here", "AccountName=plain;AccountKey=c2VjcmV0;EndpointSuffix=core.windows.net")
    assert account_of("Here").account_name == "plain"


def test_a_connection_string_that_is_none_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("Malformed", "AccountKey=c2VjcmV0")
    with pytest.raises(BadSetting, match=r"^the setting Malformed is not a storage connection string$"):
        account_of("Malformed")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"master": "", "function": "a", "eventgrid_extension": "b"}']
)
def test_a_keys_file_that_is_of_no_use_is_refused(tmp_path: Path, content: str) -> None:
    """An empty key would match a request without one."""
    (tmp_path / "keys.json").write_text(content)
    with pytest.raises(BadSetting, match=r"keys\.json cannot be used: \w+$"):
        read_keys(tmp_path / "keys.json")


def test_keys_that_cannot_be_kept_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="cannot be used: FileNotFoundError"):
        read_keys(tmp_path / "nowhere" / "keys.json")


def test_an_app_without_function_app_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AppNotIndexed, match=r"^there is no function_app\.py in "):
        asyncio.run(Worker().start(tmp_path))


@pytest.mark.parametrize("schedule", ["0 * * * *", "0 0 0 30 2 *", "61 * * * * *", "", "00:05:00", "0 0 0 0 0 0 0"])
def test_what_is_no_schedule_is_refused(schedule: str) -> None:
    with pytest.raises(BadSetting, match="is not a schedule of six fields that ever comes due"):
        timer(schedule)


def timer(schedule: str) -> Timer:
    return Timer(Worker(), Function("f", "f", {"type": "timerTrigger", "schedule": schedule}, None))


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
    assert timer(schedule)._next(datetime.fromisoformat(after)) == datetime.fromisoformat(due)


def test_an_exponential_backoff_doubles_up_to_the_longest_pause() -> None:
    """azure-docs functions-bindings-error-pages."""
    retry = Retry(-1, timedelta(seconds=2), timedelta(seconds=15))
    assert [retry.delay(attempt) for attempt in (1, 2, 3, 4, 5, 9999)] == [2, 4, 8, 15, 15, 15]
    assert [Retry(3, timedelta(seconds=2), None).delay(attempt) for attempt in (1, 2, 3)] == [2, 2, 2]


def test_two_functions_on_one_route_are_refused() -> None:
    worker = Worker()
    for name in "fg":
        worker.functions[name] = Function(name, name, {"type": "httpTrigger", "route": "a"}, None)
    with pytest.raises(BadSetting, match=r"^function g: the route /api/a is taken"):
        add_functions(web.Application().router, worker, Keys({}), "api")


@pytest.mark.parametrize("route", ["a/{b?}", "a/{b c}", "a/{"])
def test_a_route_that_cannot_be_served_here_is_refused(route: str) -> None:
    worker = Worker()
    worker.functions["f"] = Function("f", "f", {"type": "httpTrigger", "route": route}, None)
    with pytest.raises(BadSetting, match=r"^function f: the route "):
        add_functions(web.Application().router, worker, Keys({}), "api")
