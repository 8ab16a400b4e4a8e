"""Direct methods: delivered or not, answered or not."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.iot.device import IoTHubDeviceClient, MethodRequest, MethodResponse
from azure.iot.hub.models import CloudToDeviceMethod

from tests.contract.iothub_parts import Rest, certificate, device_client, registry_manager
from tests.contract.reasons import QUOTAS
from tests.contract.target import Target
from tests.standin import StandIn

CALL = {"methodName": "reprovision", "payload": {"rollover_id": "r1"}, "responseTimeoutInSeconds": 5}


@pytest.fixture
def rest(target: Target, device_id: str) -> Rest:
    return Rest(target, about=device_id)


@pytest.fixture
def device(target: Target, rest: Rest, tmp_path: Path) -> Iterator[IoTHubDeviceClient]:
    made = certificate()
    rest.create(rest.about, made)
    client = device_client(target, rest.about, made, tmp_path)
    client.connect()
    yield client
    client.shutdown()


def answer_with(client: IoTHubDeviceClient, status: int, payload: Any) -> list[MethodRequest]:
    """Let the device answer every call; gives the list of calls that grows as they come."""
    calls: list[MethodRequest] = []

    def handle(call: MethodRequest) -> None:
        calls.append(call)
        client.send_method_response(MethodResponse.create_from_method_request(call, status, payload))

    client.on_method_request_received = handle
    return calls


def invoke(rest: Rest, call: dict[str, Any] = CALL) -> requests.Response:
    return rest.call("POST", f"/twins/{rest.about}/methods", call)


def document(answer: requests.Response) -> dict[str, Any]:
    """The JSON document that the error body carries as text."""
    body = answer.json()
    assert body["ExceptionMessage"] == ""
    inner: dict[str, Any] = json.loads(body["Message"])
    return inner


def test_the_answer_is_the_devices_own(target: Target, rest: Rest, device: IoTHubDeviceClient, device_id: str) -> None:
    """docs: "Understand and invoke direct methods": 200, with the status that the device chose."""
    calls = answer_with(device, 409, {"state": "no-certificate"})
    result = registry_manager(target).invoke_device_method(
        device_id, CloudToDeviceMethod(method_name="reprovision", payload={"rollover_id": "r1"})
    )
    assert (result.status, result.payload) == (409, {"state": "no-certificate"})
    assert (calls[0].name, calls[0].payload) == ("reprovision", {"rollover_id": "r1"})


@pytest.mark.parametrize(
    ("sent", "heard"), [({"payload": ""}, ""), ({"payload": None}, None), ({}, None), ({"payload": [1, "x"]}, [1, "x"])]
)
def test_any_json_is_a_payload(rest: Rest, device: IoTHubDeviceClient, sent: dict[str, Any], heard: Any) -> None:
    """azure-iot-hub turns payload=None into ""; other clients leave it out."""
    calls = answer_with(device, 200, None)
    assert invoke(rest, {"methodName": "m", **sent}).json() == {"status": 200, "payload": None}
    assert calls[0].payload == heard


def test_an_unknown_device_is_404001(rest: Rest) -> None:
    """azure-iot-sdk-java#329 tells 404001 and 404103 apart."""
    answer = invoke(rest)
    assert (answer.status_code, answer.headers["iothub-errorcode"]) == (404, "DeviceNotFound")
    assert document(answer)["errorCode"] == 404001


def test_a_device_that_is_away_is_404103(rest: Rest, device_id: str) -> None:
    """azure-iot-sdk-csharp#3442: the same HTTP status, another number in a document inside the body."""
    rest.create(device_id, certificate())
    answer = invoke(rest)
    assert (answer.status_code, answer.headers["iothub-errorcode"]) == (404, "DeviceNotOnline")
    assert document(answer)["errorCode"] == 404103


def test_a_connected_device_that_did_not_subscribe_is_404103(rest: Rest, device: IoTHubDeviceClient) -> None:
    """azure-iot-sdk-csharp#3442: "isn't online or hasn't registered the direct method callback"."""
    assert document(invoke(rest))["errorCode"] == 404103


def test_a_silent_device_is_504101(rest: Rest, device: IoTHubDeviceClient) -> None:
    """azure-iot-sdk-csharp#1139: it was delivered, nobody knows what came of it."""
    heard: list[MethodRequest] = []
    device.on_method_request_received = heard.append
    answer = invoke(rest)
    assert (answer.status_code, document(answer)["errorCode"]) == (504, 504101)
    assert len(heard) == 1


def test_a_device_that_goes_away_meanwhile_is_404_although_it_was_delivered(
    rest: Rest, device: IoTHubDeviceClient
) -> None:
    """azure-iot-sdk-csharp#317: "Device unavailable ==> device initiates disconnect"."""
    heard = threading.Event()
    device.on_method_request_received = lambda _call: heard.set()
    threading.Thread(target=lambda: heard.wait(5) and device.disconnect()).start()
    answer = invoke(rest)
    assert answer.status_code == 404
    assert document(answer)["message"] == "Device unavailable"


def test_the_connect_timeout_waits_for_the_device(rest: Rest, device: IoTHubDeviceClient) -> None:
    """docs: "Understand and invoke direct methods", connectTimeoutInSeconds."""
    device.disconnect()

    def come_back() -> None:
        time.sleep(0.2)
        device.connect()
        answer_with(device, 200, "back")

    threading.Thread(target=come_back).start()
    assert invoke(rest, CALL | {"connectTimeoutInSeconds": 5}).json()["payload"] == "back"


def test_the_connect_timeout_ends(rest: Rest, device_id: str) -> None:
    """docs: "Understand and invoke direct methods", connectTimeoutInSeconds."""
    rest.create(device_id, certificate())
    started = time.monotonic()
    assert document(invoke(rest, CALL | {"connectTimeoutInSeconds": 1}))["errorCode"] == 404103
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"responseTimeoutInSeconds": 4}, "ArgumentInvalid"),
        ({"responseTimeoutInSeconds": 301}, "ArgumentInvalid"),
        ({"connectTimeoutInSeconds": 301}, "ArgumentInvalid"),
        ({"methodName": None}, "ArgumentNull"),
        ({"payload": "x" * 128 * 1024}, "MessageTooLarge"),
    ],
)
def test_a_call_out_of_bounds_is_refused(rest: Rest, wrong: dict[str, Any], name: str, device_id: str) -> None:
    """docs: "Understand and invoke direct methods": 5 to 300 s, 128 KB."""
    rest.create(device_id, certificate())
    assert invoke(rest, CALL | wrong).headers["iothub-errorcode"] == name


@QUOTAS
def test_methods_are_metered_in_4_kb(azure: StandIn, rest: Rest, device_id: str) -> None:
    """docs: quotas and throttling; S1: 160 KB a second and unit."""
    rest.create(device_id, certificate())
    azure.control.patch("/throttles", {"limits": {"iothub/methods": {"amount": 3, "per_s": 3600}}})
    assert invoke(rest, CALL | {"payload": "x" * 5000}).status_code == 404
    assert invoke(rest, CALL).status_code == 404
    assert invoke(rest, CALL).status_code == 429
