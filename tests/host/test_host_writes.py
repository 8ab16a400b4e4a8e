"""The app's writes: counted, and one of them made fatal or its answer lost."""

import json

import pytest
import requests

from tests.host.conftest import StartHost
from tests.host.target import Target


def test_only_what_changes_something_counts_as_a_write(start_host: StartHost, azurite: str, target: Target) -> None:
    host = start_host("writer", SampleStorage=azurite, QUEUE="unused", TARGET=target.url).ready()
    calls = "PUT,GET,POST:enrollments/query,POST:oauth2/token,PUT:refused,POST,PATCH,DELETE"
    assert host.get(f"/write?calls={calls}").status_code == 200
    made = [f"PUT {target.url}/1", f"POST {target.url}/6", f"PATCH {target.url}/7", f"DELETE {target.url}/8"]
    assert host.get("/admin/local/writes", "master").json() == made
    assert len(target.received) == 8


@pytest.mark.parametrize("number", [1, 2])
def test_the_host_dies_right_after_the_nth_write_reached_the_server(
    start_host: StartHost, azurite: str, target: Target, number: int
) -> None:
    option = ("--die-after-write", str(number))
    host = start_host("writer", *option, SampleStorage=azurite, QUEUE="unused", TARGET=target.url).ready()
    with pytest.raises(requests.ConnectionError):
        host.get("/write?calls=GET,PUT,GET,PUT,PUT")
    assert host.ended() == 137
    assert target.received == ["GET /1", "PUT /2", "GET /3", "PUT /4"][: 2 * number]
    path = 2 * number
    assert f"write {number} (PUT {target.url}/{path}) was made; the process is killed" in host.log


def test_a_lost_answer_is_an_error_after_the_write_was_made(
    start_host: StartHost, azurite: str, target: Target
) -> None:
    option = ("--lose-reply-of-write", "2")
    host = start_host("writer", *option, SampleStorage=azurite, QUEUE="unused", TARGET=target.url).ready()
    results = json.loads(host.get("/write?calls=PUT,PUT,PUT").text)
    assert results == [200, "ConnectionError", 200]
    assert target.received == ["PUT /1", "PUT /2", "PUT /3"]
    assert len(host.get("/admin/local/writes", "master").json()) == 3
    assert "secret" not in host.log


def test_the_sdks_take_a_lost_answer_for_a_request_that_was_sent(
    start_host: StartHost, azurite: str, target: Target
) -> None:
    """azure-core RequestsTransport: ServiceResponseError; ServiceRequestError would mean that nothing was sent."""
    option = ("--lose-reply-of-write", "1")
    host = start_host("writer", *option, SampleStorage=azurite, QUEUE="unused", TARGET=target.url).ready()
    assert host.get("/through-the-sdk").text == "ServiceResponseError"
    assert target.received == ["POST /sdk"]
