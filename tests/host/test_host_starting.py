"""Starting and stopping: one clear line when it cannot start, nothing left when it ends."""

import json
import signal
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from azure.storage.queue import QueueClient

from tests.host.conftest import StartHost
from tests.host.hosts import APPS, Host, until

APP = "import azure.functions as func\napp = func.FunctionApp()\n"
QUEUE = '@app.queue_trigger(arg_name="m", queue_name="{name}", connection="{connection}")\n'
OUTPUT = '@app.queue_output(arg_name="o", queue_name="q", connection="C")\n@app.route(route="a")\n'

CANNOT_START = {
    "a broken host.json": ("", "host.json cannot be used: "),
    "an import that fails": ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
    "an app that leaves": ("import sys; sys.exit(3)", "SystemExit(3)"),
    "an output binding": (APP + OUTPUT + "def f(req, o): pass", "function f: this host has no binding of type queue"),
    "a missing connection": (
        APP + QUEUE.format(name="q", connection="NotSet") + "def f(m): pass",
        "there is no storage connection 'NotSet'",
    ),
    "a setting that is not there": (
        APP + QUEUE.format(name="%NOT_SET%", connection="C") + "def f(m): pass",
        "'%NOT_SET%' does not resolve to a value",
    ),
}


def write_app(folder: Path, source: str) -> Path:
    (folder / "function_app.py").write_text(source)
    (folder / "host.json").write_text("{}" if source else "{")
    return folder


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Host]:
    """A host that cannot start for each of the reasons, two at a time; all have ended."""

    def run(reason: str) -> Host:
        folder = tmp_path_factory.mktemp("refused")
        host = Host(write_app(folder, CANNOT_START[reason][0]), folder)
        host.process.wait(30)
        return host

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(CANNOT_START, pool.map(run, CANNOT_START), strict=True))


type Stuck = tuple[Host, Future[tuple[int, float]]]


@pytest.fixture(scope="module", autouse=True)
def stuck(azurite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stuck]:
    """A host that was told to end while a function runs that never does; it takes its time beside the other tests."""
    settings = {"SampleStorage": azurite, "QUEUE": "writes"}
    host = Host(APPS / "writer", tmp_path_factory.mktemp("stuck"), settings=settings).ready()

    def stop() -> tuple[int, float]:
        begun = time.monotonic()
        return host.stop(), time.monotonic() - begun

    with ThreadPoolExecutor() as pool:
        asked = pool.submit(host.get, "/slow?seconds=600")
        time.sleep(0.3)
        yield host, pool.submit(stop)
        assert isinstance(asked.exception(), requests.ConnectionError)


def one_line(host: Host) -> str:
    """What a host said that could not start: one line, exit code 1."""
    # The library warns of an app that has no HTTP function; that is not the host's line.
    line = "".join(line for line in host.log.splitlines(keepends=True) if "Auth level is not" not in line)
    line = line.removesuffix("\n")
    assert host.process.returncode == 1, line
    assert line.startswith("host: ")
    assert "\n" not in line
    assert len(line) < 300
    return line


@pytest.mark.parametrize("reason", CANNOT_START)
def test_a_host_that_cannot_start_says_why_in_one_line(refused: dict[str, Host], reason: str) -> None:
    assert CANNOT_START[reason][1] in one_line(refused[reason])


def test_a_port_in_use_is_one_clear_line(start_host: StartHost, triggers: Host, azurite: str) -> None:
    host = start_host("writer", "--port", str(triggers.port), SampleStorage=azurite, QUEUE="writes")
    assert host.ended() == 1
    address = triggers.url.removeprefix("http://")
    assert one_line(host) == f"host: cannot listen on {address}: Address already in use"


def test_keys_are_for_the_owner_alone_and_stay_over_a_restart(start_host: StartHost, azurite: str) -> None:
    first = start_host("writer", SampleStorage=azurite, QUEUE="writes").ready()
    assert stat.S_IMODE(first.keys_file.stat().st_mode) == 0o600
    keys = first.keys
    assert first.stop() == 0
    second = start_host("writer", SampleStorage=azurite, QUEUE="writes").ready()
    assert second.keys == keys
    assert len(set(keys.values())) == 3


def test_an_interrupt_lets_what_runs_end_and_leaves_no_process(start_host: StartHost, azurite: str) -> None:
    """SIGINT, from the keyboard, is taken as SIGTERM is."""
    host = start_host("writer", SampleStorage=azurite, QUEUE="writes").ready()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(host.get, "/slow?seconds=0.7")
        time.sleep(0.2)
        host.process.send_signal(signal.SIGINT)
        assert slow.result().text == "done"
    assert host.ended() == 0
    assert host.log.splitlines()[-1].endswith("[host] stopping; what runs may end")
    with pytest.raises(requests.ConnectionError):
        host.get("/slow?seconds=0")


def test_a_message_that_is_worked_on_is_finished_before_the_end(
    start_host: StartHost, azurite: str, queue_of: Callable[[str], QueueClient]
) -> None:
    settings = {"SampleStorage": azurite, "WORK_QUEUE": "ending", "SWEEP": "0 0 0 1 1 *", "ONE_HUB": "x"}
    host = start_host("triggers", **settings)
    queue = queue_of("ending")
    queue.create_queue()
    for number in range(12):
        queue.send_message(json.dumps({"id": number, "seconds": 0.5}))
    until(lambda: host.seen("work"), "the first message is worked on")
    assert host.stop() == 0
    begun, ended = ({note["id"] for note in host.seen(what)} for what in ("work", "worked"))
    assert begun == ended
    visible = queue.peek_messages(max_messages=32)
    assert len(visible) == 12 - len(begun) > 0, "what was not begun is there for the next host, at once"


def test_a_function_that_never_ends_is_cut_off_after_ten_seconds(stuck: Stuck) -> None:
    host, stopping = stuck
    code, took = stopping.result()
    assert code == 0
    assert 9.5 < took < 20
    assert "still running after 10 s, cut off: slow" in host.log
