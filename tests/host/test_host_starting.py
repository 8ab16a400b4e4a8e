"""Starting and stopping: one clear line when it cannot start, nothing left when it ends."""

import json
import signal
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.host.conftest import StartHost
from tests.host.hosts import Host, until

HEAD = "import azure.functions as func\napp = func.FunctionApp()\n"
QUEUE = '@app.queue_trigger(arg_name="m", queue_name="{name}", connection="{connection}")\ndef f(m): pass\n'
TIMER = '@app.timer_trigger(arg_name="t", schedule="{schedule}")\ndef f(t): pass\n'
ROUTES = '@app.route(route="a")\ndef f(req): pass\n@app.route(route="a")\ndef g(req): pass\n'
OUTPUT = '@app.queue_output(arg_name="o", queue_name="q", connection="C")\n@app.timer_trigger(arg_name="t", schedule="0 0 0 1 1 *")\ndef f(t, o): pass\n'
BLOB = '@app.blob_trigger(arg_name="b", path="p", connection="C")\ndef f(b): pass\n'

CANNOT_START = {
    "an import that fails": ("import not_there", "{}", "ModuleNotFoundError: No module named 'not_there'"),
    "a syntax error": ("def", "{}", "SyntaxError"),
    "an app that leaves": ("import sys; sys.exit(3)", "{}", "SystemExit(3)"),
    "a parameter without binding": (
        HEAD + '@app.route(route="a")\ndef f(wrong): pass\n',
        "{}",
        "the app cannot be indexed",
    ),
    "two functions of one name": (HEAD + ROUTES.replace("def g", "def f"), "{}", "the app cannot be indexed"),
    "two functions on one route": (HEAD + ROUTES, "{}", "function g: the route /api/a is taken"),
    "an output binding": (HEAD + OUTPUT, "{}", "function f: this host has no binding of type queue"),
    "an unknown trigger": (HEAD + BLOB, "{}", "function f: this host has no binding of type blobTrigger"),
    "no host.json": (HEAD, None, "host.json cannot be read: No such file or directory"),
    "a host.json that is no JSON": (HEAD, "{", "host.json cannot be used"),
    "a host.json that is no object": (HEAD, "[]", "host.json cannot be used"),
    "a span that is none": (HEAD, '{"extensions": {"queues": {"visibilityTimeout": 5}}}', "host.json cannot be used"),
    "a batch too large": (HEAD, '{"extensions": {"queues": {"batchSize": 33}}}', "batchSize must be 1 to 32"),
    "a missing connection": (
        HEAD + QUEUE.format(name="q", connection="NotSet"),
        "{}",
        "there is no storage connection 'NotSet'",
    ),
    "a connection string that is none": (
        HEAD + QUEUE.format(name="q", connection="Malformed"),
        "{}",
        "the setting Malformed is not a storage connection string",
    ),
    "a setting that is not there": (
        HEAD + QUEUE.format(name="%NOT_SET%", connection="Malformed"),
        "{}",
        "'%NOT_SET%' does not resolve to a value",
    ),
    "a schedule of five fields": (HEAD + TIMER.format(schedule="0 * * * *"), "{}", "function f: '0 * * * *' is not"),
    "a schedule that never comes": (HEAD + TIMER.format(schedule="0 0 0 30 2 *"), "{}", "function f: '0 0 0 30 2 *'"),
    "no function_app.py": (None, "{}", "there is no function_app.py"),
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Host]:
    """A host that cannot start for each of the reasons, two at a time; all have ended."""

    def run(reason: str) -> Host:
        folder = tmp_path_factory.mktemp("refused")
        source, host_json, _ = CANNOT_START[reason]
        for name, text in (("function_app.py", source), ("host.json", host_json)):
            if text is not None:
                (folder / name).write_text(text)
        host = Host(folder, folder, settings={"Malformed": "AccountKey=c2VjcmV0"})
        host.process.wait(30)
        return host

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(CANNOT_START, pool.map(run, CANNOT_START), strict=True))


@pytest.mark.parametrize("reason", CANNOT_START)
def test_a_host_that_cannot_start_says_why_in_one_line(refused: dict[str, Host], reason: str) -> None:
    host = refused[reason]
    line = host.log.removesuffix("\n")
    assert host.process.returncode == 1, line
    assert line.startswith("host: ")
    assert CANNOT_START[reason][2] in line
    assert "\n" not in line
    assert len(line) < 300
    assert "c2VjcmV0" not in line


def test_a_port_in_use_is_one_clear_line(start_host: StartHost, triggers: Host, azurite: str) -> None:
    host = start_host("writer", "--port", str(triggers.port), SampleStorage=azurite, QUEUE="unused")
    assert host.ended() == 1
    address = triggers.url.removeprefix("http://")
    assert host.log == f"host: cannot listen on {address}: Address already in use\n"


def test_keys_are_for_the_owner_alone_and_stay_over_a_restart(start_host: StartHost, azurite: str) -> None:
    first = start_host("writer", SampleStorage=azurite, QUEUE="unused").ready()
    assert stat.S_IMODE(first.keys_file.stat().st_mode) == 0o600
    keys = first.keys
    assert first.stop() == 0
    second = start_host("writer", SampleStorage=azurite, QUEUE="unused").ready()
    assert second.keys == keys
    assert len(set(keys.values())) == 3


@pytest.mark.parametrize("content", ["", "{", "{}", '{"master": "", "function": "a", "eventgrid_extension": "b"}'])
def test_a_keys_file_that_is_of_no_use_is_one_clear_line(start_host: StartHost, tmp_path: Path, content: str) -> None:
    """An empty key would match a request without one."""
    (tmp_path / "keys.json").write_text(content)
    host = start_host("writer")
    assert host.ended() == 1
    assert host.log.startswith("host: the keys file ")
    assert host.log.count("\n") == 1


def test_the_app_runs_in_its_own_folder(start_host: StartHost, tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "host.json").write_text("{}")
    (app / "beside.txt").write_text("found")
    function = '@app.route(route="a", auth_level="anonymous")\ndef f(req: func.HttpRequest) -> str:\n'
    (app / "function_app.py").write_text(HEAD + function + '    return open("beside.txt").read()\n')
    assert start_host(app).ready().get("/api/a").text == "found"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_runs_end_and_leaves_no_process(start_host: StartHost, azurite: str, number: int) -> None:
    host = start_host("writer", SampleStorage=azurite, QUEUE="unused").ready()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(host.get, "/slow?seconds=0.7")
        time.sleep(0.2)
        host.process.send_signal(number)
        assert slow.result().text == "done"
    assert host.ended() == 0
    assert "Traceback" not in host.log
    with pytest.raises(requests.ConnectionError):
        host.get("/slow?seconds=0")


def test_a_message_that_is_worked_on_is_finished_before_the_end(
    start_host: StartHost, azurite: str, tmp_path: Path
) -> None:
    from azure.storage.queue import QueueClient, TextBase64EncodePolicy

    settings = {"SampleStorage": azurite, "WORK_QUEUE": "ending", "SWEEP": "0 0 0 1 1 *", "ONE_HUB": "x"}
    host = start_host("triggers", **settings).ready()
    queue = QueueClient.from_connection_string(azurite, "ending", message_encode_policy=TextBase64EncodePolicy())
    until(lambda: "at_start" in host.log, "the host runs")
    for number in range(6):
        queue.send_message(json.dumps({"id": number, "seconds": 0.5}))
    until(lambda: host.seen("work"), "the first message is worked on")
    assert host.stop() == 0
    begun, ended = ({note["id"] for note in host.seen(what)} for what in ("work", "worked"))
    assert begun == ended
    assert len(begun) <= 4
    waiting = 6 - len(begun)
    assert len(queue.peek_messages(max_messages=32)) == waiting, "what was not begun is there for the next host, now"


def test_a_function_that_never_ends_is_cut_off_after_ten_seconds(start_host: StartHost, azurite: str) -> None:
    host = start_host("writer", SampleStorage=azurite, QUEUE="unused").ready()
    with ThreadPoolExecutor() as pool:
        stuck = pool.submit(host.get, "/slow?seconds=600")
        time.sleep(0.2)
        begun = time.monotonic()
        assert host.stop() == 0
        assert 9.5 < time.monotonic() - begun < 12
        assert isinstance(stuck.exception(), requests.ConnectionError)
    assert "still running after 10 s, cut off: slow" in host.log
