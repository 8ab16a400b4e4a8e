"""The hub's resource log, category Connections: the documented shape, for what really happened at the door."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from azure.iot.device import IoTHubDeviceClient
from azure.iot.device.exceptions import ConnectionFailedError, CredentialError

from tests.certificates import Made
from tests.conftest import test_net
from tests.contract.iothub_parts import Rest, certificate, device_client, until
from tests.contract.reasons import LOG
from tests.standin import StandIn

pytestmark = LOG

Record = dict[str, Any]
PORT = 8097


@dataclass
class Reader:
    """What reads the event hub: keeps the batches, and can be told to be down first."""

    batches: list[list[Any]] = field(default_factory=list)
    down_for: int = 0

    def records(self) -> list[Record]:
        return [record for batch in self.batches for message in batch for record in message["records"]]


@pytest.fixture
def reader(azure: StandIn) -> Iterator[Reader]:
    """A reader that the hub's log is sent to."""
    found = Reader()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if found.down_for:
                found.down_for -= 1
                self.send_response(503)
            else:
                found.batches.append(body)
                self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer((f"{test_net()}.1", PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    azure.control.patch("/knobs", {"hub_log_delay_s": 0.05, "identity_drop_delay_s": 0.05})
    azure.control.put("/hub-log", {"reader": f"http://{test_net()}.1:{PORT}/x?code=secret"})
    yield found
    azure.control.put("/hub-log", {"reader": None})
    server.shutdown()
    server.server_close()


@pytest.fixture
def device(azure: StandIn, tmp_path: Path) -> Iterator[Callable[..., IoTHubDeviceClient]]:
    """Makes clients that are shut down at the end."""
    clients: list[IoTHubDeviceClient] = []

    def make(made: Made, device_id: str = "device") -> IoTHubDeviceClient:
        clients.append(device_client(azure, device_id, made, tmp_path))
        return clients[-1]

    yield make
    for client in clients:
        client.shutdown()


def refuse(client: IoTHubDeviceClient) -> None:
    with pytest.raises((CredentialError, ConnectionFailedError)):
        client.connect()


def test_a_refused_connect_in_the_documented_shape(azure, reader, device) -> None:
    """Shape: azure-docs monitor-iot-hub-reference; level and codes of a failure: the captured deviceDisconnect of
    tutorial-use-metrics-and-diags; 401003: troubleshoot-error-codes. Which certificate was shown is nowhere said."""
    Rest(azure).create("device", certificate())
    refuse(device(certificate()))
    [record] = until(reader.records, "the record")
    properties = json.loads(record.pop("properties"))
    resource = azure.world.names.resource_id("Microsoft.Devices/IotHubs", azure.world.names.hub_name)
    assert (record.pop("resourceId"), record.pop("time")[-1]) == (resource.upper(), "Z")
    assert record == {
        "operationName": "deviceConnect",
        "category": "Connections",
        "level": "Error",
        "resultType": "401003",
        "resultDescription": "IoTHubUnauthorized",
        "location": "local",
    }
    assert properties == {
        "deviceId": "device",
        "protocol": "Mqtt",
        "authType": None,
        "maskedIpAddress": "127.0.0.XXX",
        "statusCode": "401",
    }


def test_connects_and_disconnects(azure, reader, device) -> None:
    """A goodbye is no error; a second client of the same ID ends the first with 400027 (troubleshoot-error-codes)."""
    made = certificate()
    Rest(azure).create("device", made)
    first, second = device(made), device(made)
    first.connect()
    second.connect()
    second.disconnect()
    records: list[Record] = until(lambda: len(found := reader.records()) >= 4 and found, "four records")
    told = [(one["operationName"], one["level"], one.get("resultType")) for one in records]
    assert told == [
        ("deviceConnect", "Information", None),
        ("deviceDisconnect", "Error", "400027"),
        ("deviceConnect", "Information", None),
        ("deviceDisconnect", "Information", None),
    ]
    assert json.loads(json.loads(records[0]["properties"])["authType"])["type"] == "x509Certificate"


def test_a_refusal_by_tls_leaves_no_record(azure, reader, device) -> None:
    """A device that never gets to the MQTT layer is not seen by the hub."""
    azure.control.patch("/knobs", {"hub_refusal": "tls"})
    made = certificate()
    rest = Rest(azure)
    rest.create("device", made)
    refuse(device(certificate()))
    azure.control.patch("/knobs", {"hub_refusal": "connack"})
    device(made).connect()
    assert until(reader.records, "a record")[0]["level"] == "Information"


def test_a_claimed_device_id_is_told_as_it_was_claimed(azure, reader, device) -> None:
    """The log's device ID is the client's word; whether there is such a device the registry knows."""
    refuse(device(certificate(), "nobody"))
    [record] = until(reader.records, "the record")
    assert json.loads(record["properties"])["deviceId"] == "nobody"


def test_what_is_unknown_of_the_log_is_a_knob(azure, reader, device) -> None:
    """Properties as object: captured in 2018. Twice and out of order: at-least-once, "not guaranteed to be ordered"
    (iot-hub-monitor-resource-health)."""
    knobs = {"hub_log_properties": "object", "hub_log_duplicates": True, "hub_log_reorder": True}
    azure.control.patch("/knobs", knobs | {"hub_log_delay_s": 1.0})
    for n in range(4):
        refuse(device(certificate(), f"nobody-{n}"))
    records: list[Record] = until(lambda: len(found := reader.records()) >= 8 and found, "eight records")
    names = [one["properties"]["deviceId"] for one in records]
    assert sorted(names) == sorted(f"nobody-{n}" for n in range(4) for _ in range(2))
    assert names != sorted(names)


def test_the_log_may_be_lost(azure, reader, device) -> None:
    azure.control.patch("/knobs", {"hub_log_loss": 1.0})
    refuse(device(certificate(), "lost"))
    azure.control.patch("/knobs", {"hub_log_loss": 0.0})
    refuse(device(certificate(), "told"))
    [record] = until(reader.records, "the record")
    assert "told" in record["properties"]


def test_a_reader_that_is_down_gets_it_later(azure, reader, device) -> None:
    """Event Hubs keeps what nobody has read."""
    reader.down_for = 1
    refuse(device(certificate(), "nobody"))
    assert until(reader.records, "the record")


def test_nothing_is_sent_while_nobody_reads_and_the_key_is_never_shown(azure, reader, device) -> None:
    shown = azure.control.put("/hub-log", {"reader": f"http://{test_net()}.1:{PORT}/x?code=secret"})
    assert shown == {"reader": f"http://{test_net()}.1:{PORT}/x"}
    azure.control.put("/hub-log", {"reader": None})
    refuse(device(certificate(), "unread"))
    azure.control.put("/hub-log", {"reader": f"http://{test_net()}.1:{PORT}/x?code=secret"})
    refuse(device(certificate(), "read"))
    [record] = until(reader.records, "the record")
    assert '"read"' in record["properties"]
