"""HTTP triggers: who may call what, what a function sees, how its answer comes back (azure-docs
functions-bindings-http-webhook-trigger, function-keys-how-to)."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.host.hosts import APPS, Host, until

LEVELS = {"/api/open": "anonymous", "/api/guarded": "function", "/api/guarded/admin": "admin"}
OPENED_BY = {
    "anonymous": {None, "wrong", "eventgrid_extension", "function", "master"},
    "function": {"function", "master"},
    "admin": {"master"},
}


@pytest.mark.parametrize("place", ["header", "query"])
@pytest.mark.parametrize("key", [None, "wrong", "eventgrid_extension", "function", "master"])
@pytest.mark.parametrize("path", LEVELS)
def test_a_function_answers_only_to_the_keys_of_its_level(
    triggers: Host, path: str, key: str | None, place: str
) -> None:
    value = {**triggers.keys, "wrong": "nobody's"}.get(key or "")
    headers = {"x-functions-key": value} if value and place == "header" else {}
    params = {"code": value} if value and place == "query" else {}
    expected = 200 if key in OPENED_BY[LEVELS[path]] else 401
    assert triggers.get(path, headers=headers, params=params).status_code == expected


def test_the_key_in_the_header_wins_over_the_one_in_the_query(triggers: Host) -> None:
    right, wrong = triggers.keys["function"], "nobody's"
    assert triggers.get("/api/guarded", headers={"x-functions-key": wrong}, params={"code": right}).status_code == 401
    assert triggers.get("/api/guarded", headers={"x-functions-key": right}, params={"code": wrong}).status_code == 200


@pytest.mark.parametrize("path", ["/admin/host/status", "/admin/local/writes"])
def test_administration_takes_only_the_master_key(triggers: Host, path: str) -> None:
    assert [triggers.get(path, key).status_code for key in (None, "function", "master")] == [401, 401, 200]


def test_a_function_sees_route_query_and_body_and_its_answer_comes_back_whole(triggers: Host) -> None:
    headers = {"x-given": "ü".encode().decode("latin-1")}
    answer = triggers.post("/api/echo/a%20b/c/d?x=1&y=", "function", data='{"é": 1}'.encode(), headers=headers)
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "route": {"name": "a b", "rest": "c/d"},
        "query": {"x": "1", "y": ""},
        "body": '{"é": 1}',
    }


def test_a_fixed_segment_wins_over_a_parameter(triggers: Host) -> None:
    assert triggers.post("/api/echo/anybody/fixed", "function").text == "fixed"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/nothing"), ("GET", "/open"), ("GET", "/api/echo/a/b"), ("DELETE", "/admin/host/status")],
)
def test_what_is_no_route_or_another_method_is_not_found(triggers: Host, method: str, path: str) -> None:
    assert triggers.call(method, path, "master").status_code == 404


@pytest.mark.parametrize("path", ["/api/fails", "/api/leaves"])
def test_a_function_that_fails_is_a_500_that_tells_nothing(triggers: Host, path: str) -> None:
    answer = triggers.get(path, "function")
    assert (answer.status_code, answer.text) == (500, "")
    assert "on purpose" in triggers.log


def test_a_function_that_calls_sys_exit_leaves_the_host_running(triggers: Host) -> None:
    triggers.get("/api/leaves", "function")
    assert triggers.get("/api/open").status_code == 200


def test_an_empty_route_prefix_puts_functions_at_the_root(writer: Host) -> None:
    assert writer.get("/slow?seconds=0").text == "done"
    assert writer.get("/api/slow?seconds=0").status_code == 404


def test_a_function_runs_in_the_folder_of_its_app(triggers: Host) -> None:
    assert triggers.get("/api/beside", "function").text == (APPS / "triggers" / "host.json").read_text()


def test_log_lines_of_functions_that_run_at_once_name_their_own_invocation(triggers: Host) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda who: triggers.get(f"/api/speaks?who={who}", "function"), ("ann", "bob")))
    lines = [line for line in triggers.log.splitlines() if line.endswith((" ann", " bob"))]
    speakers = {
        who: {line.split("[")[1].split("]")[0] for line in lines if line.endswith(who)} for who in ("ann", "bob")
    }
    assert all(len(of_one) == 1 for of_one in speakers.values()), lines
    assert speakers["ann"] != speakers["bob"]


def test_keys_never_show_in_the_log(triggers: Host) -> None:
    key = triggers.keys["eventgrid_extension"]
    triggers.get(f"/api/fails?code={triggers.keys['function']}")
    triggers.post(f"/runtime/webhooks/eventgrid?functionName=on_event&code={key}", data="no json")
    triggers.post(f"/runtime/webhooks/eventgrid?functionName=on_event&code={key}", json={"data": 1})
    time.sleep(0.1)
    assert not [name for name, value in triggers.keys.items() if value in triggers.log]


def test_a_function_can_be_run_by_hand_with_the_master_key(triggers: Host) -> None:
    """azure-docs functions-manually-run-non-http: 202 and no word on how it went."""
    body = {"input": json.dumps({"id": "by-hand"})}
    assert triggers.post("/admin/functions/on_work", "master", json=body).status_code == 202
    until(lambda: triggers.seen("work", id="by-hand", count=1), "the queue function ran")
    event = {"id": "1", "specversion": "1.0", "type": "t", "source": "s", "data": {"by": "hand"}}
    triggers.post("/admin/functions/on_event", "master", json={"input": json.dumps(event)})
    until(lambda: triggers.seen("event", data={"by": "hand"}), "the event function ran")
    triggers.post("/admin/functions/on_one", "master", json={"input": {"by": "hand"}})
    until(lambda: triggers.seen("one", body={"by": "hand"}), "the event hub function ran")
    sweeps = len(triggers.seen("sweep"))
    assert triggers.post("/admin/functions/sweep", "master", json={}).status_code == 202
    until(lambda: len(triggers.seen("sweep")) > sweeps, "the timer ran")


@pytest.mark.parametrize(
    ("path", "key", "body", "status"),
    [
        ("/admin/functions/sweep", "function", "{}", 401),
        ("/admin/functions/nobody", "master", "{}", 404),
        ("/admin/functions/guarded", "master", "{}", 404),
        ("/admin/functions/sweep", "master", "no json", 400),
        ("/admin/functions/sweep", "master", "[]", 400),
        ("/admin/functions/sweep", "master", b"\xff", 400),
    ],
)
def test_a_run_by_hand_is_refused(triggers: Host, path: str, key: str, body: str | bytes, status: int) -> None:
    assert triggers.post(path, key, data=body).status_code == status
