"""The app's writes: counted, and one of them made fatal or its answer lost."""

import json

import pytest
import requests

from tests.host.conftest import StartHost
from tests.host.hosts import Host
from tests.host.target import Target


def test_only_what_changes_something_counts_as_a_write(writer: Host, target: Target) -> None:
    before = len(writer.get("/admin/local/writes", "master").json())
    calls = "PUT,GET,POST:enrollments/query,POST:oauth2/token,PUT:refused,POST,PATCH,DELETE"
    assert writer.get(f"/write?calls={calls}").status_code == 200
    made = [f"PUT {target.url}/1", f"POST {target.url}/6", f"PATCH {target.url}/7", f"DELETE {target.url}/8"]
    assert writer.get("/admin/local/writes", "master").json()[before:] == made
    assert len(target.received) == 8


def test_the_host_dies_right_after_the_nth_write_reached_the_server(
    start_host: StartHost, azurite: str, target: Target
) -> None:
    option = ("--die-after-write", "2")
    host = start_host("writer", *option, SampleStorage=azurite, QUEUE="writes", TARGET=target.url).ready()
    with pytest.raises(requests.ConnectionError):
        host.get("/write?calls=GET,PUT,GET,PUT,PUT")
    assert host.ended() == 137
    assert target.received == ["GET /1", "PUT /2", "GET /3", "PUT /4"]
    assert f"write 2 (PUT {target.url}/4) was made; the process is killed as asked" in host.log


@pytest.mark.parametrize(
    ("number", "outcomes"), [(2, [[200, "ConnectionError", 200], "answered"]), (4, [[200] * 3, "ServiceResponseError"])]
)
def test_a_lost_answer_is_an_error_after_the_write_was_made(
    start_host: StartHost, azurite: str, target: Target, number: int, outcomes: list[object]
) -> None:
    """azure-core RequestsTransport: by ServiceRequestError it would say that nothing was sent."""
    option = ("--lose-reply-of-write", str(number))
    host = start_host("writer", *option, SampleStorage=azurite, QUEUE="writes", TARGET=target.url).ready()
    assert [json.loads(host.get("/write?calls=PUT,PUT,PUT").text), host.get("/through-the-sdk").text] == outcomes
    assert target.received == ["PUT /1", "PUT /2", "PUT /3", "POST /sdk"]
    assert len(host.get("/admin/local/writes", "master").json()) == 4
    assert f"write {number} " in host.log
    assert "secret" not in host.log
