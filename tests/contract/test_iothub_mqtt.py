"""The hub's MQTT rules, with paho as the client: what azure-iot-device never does wrong."""

import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from tests.certificates import Made
from tests.contract.iothub_parts import PATIENCE_S, Rest, certificate, journal
from tests.contract.reasons import PACKETS
from tests.standin import StandIn

pytestmark = PACKETS

TOPICS = (
    "$iothub/methods/POST/#",
    "$iothub/twin/res/#",
    "$iothub/twin/PATCH/properties/desired/#",
    "devices/device/messages/devicebound/#",
)


class RawClient:
    """A connection whose packets the test chooses."""

    def __init__(self, azure: StandIn, made: Made | None, folder: Path) -> None:
        self.code: int | None = None
        self.granted: list[int] = []
        self.lost = False
        self._host = azure.endpoints["iothub"]["device_host"]
        self._context = ssl.create_default_context(cafile=azure.endpoints["ca_file"])
        if made is not None:
            path = folder / "raw.pem"
            path.write_text(made.key_pem + made.pem)
            self._context.load_cert_chain(path)

    def connect(self, username: str | None = None, client_id: str = "device") -> int | None:
        self._paho = paho.Client(client_id)
        self._paho.tls_set_context(self._context)
        self._paho.username_pw_set(username or f"{self._host}/device/?api-version=2021-04-12")
        self._paho.on_connect = lambda _c, _u, _f, code: setattr(self, "code", code)
        self._paho.on_disconnect = lambda *_: setattr(self, "lost", True)
        self._paho.on_subscribe = lambda _c, _u, _mid, granted: self.granted.extend(granted)
        self._paho.connect(self._host, 8883)
        self.until(lambda: self.code is not None or self.lost)
        return self.code

    def until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline
            self._paho.loop(0.02)

    def subscribe(self, *filters: str) -> list[int]:
        self.granted.clear()
        self._paho.subscribe([(one, 1) for one in filters])
        self.until(lambda: len(self.granted) == len(filters))
        return self.granted

    def publish(self, topic: str, payload: bytes = b"", qos: int = 1) -> None:
        self._paho.publish(topic, payload, qos)

    def close(self) -> None:
        self._paho.disconnect()


@pytest.fixture
def client(azure: StandIn, tmp_path: Path) -> Iterator[RawClient]:
    made = certificate()
    Rest(azure).create("device", made)
    raw = RawClient(azure, made, tmp_path)
    yield raw
    raw.close()


@pytest.mark.parametrize(
    ("username", "client_id"),
    [
        ("other-hub/device/?api-version=2021-04-12", "device"),
        ("{host}/other/?api-version=2021-04-12", "device"),
        ("{host}/device/?api-version=2021-04-12", "other"),
        ("{host}/device/module/?api-version=2021-04-12", "device"),
        ("{host}/device/", "device"),
        ("device", "device"),
    ],
)
def test_a_user_name_names_hub_and_device(azure: StandIn, client: RawClient, username: str, client_id: str) -> None:
    """docs: "Communicate with an IoT hub using the MQTT protocol": {host}/{device ID}/?api-version=…, client ID."""
    host = azure.endpoints["iothub"]["device_host"]
    assert client.connect(username.format(host=host), client_id) == 5
    assert not journal(azure, "connect")[0]["accepted"]


@pytest.mark.parametrize("refusal", ["connack", "tls"])
def test_a_device_without_a_certificate_is_refused(azure: StandIn, tmp_path: Path, refusal: str) -> None:
    """docs: "Authenticate identities with X.509 certificates". With the knob, TLS lets it in and the hub cuts it."""
    azure.control.patch("/knobs", {"hub_refusal": refusal})
    Rest(azure).create("device", certificate())
    raw = RawClient(azure, None, tmp_path)
    assert raw.connect() == (5 if refusal == "connack" else None)
    assert journal(azure, "connect")[0]["reason"] == "no certificate was shown"


def test_only_the_hubs_own_topics_can_be_subscribed(client: RawClient) -> None:
    """docs: "Communicate with an IoT hub using the MQTT protocol"; nobody hears another device."""
    client.connect()
    assert client.subscribe(*TOPICS) == [1, 1, 1, 1]
    assert client.subscribe("devices/other/messages/devicebound/#", "#", "$iothub/#") == [0x80] * 3


def test_a_topic_that_the_hub_does_not_know_ends_the_connection(azure: StandIn, client: RawClient) -> None:
    """docs: "Communicate with an IoT hub using the MQTT protocol"."""
    client.connect()
    client.publish("devices/other/messages/events/")
    client.until(lambda: client.lost)
    assert journal(azure, "disconnect")[0]["reason"] == "a topic that the hub does not know"


def test_qos_2_ends_the_connection(azure: StandIn, client: RawClient) -> None:
    """docs: "Communicate with an IoT hub using the MQTT protocol": QoS 2 is not supported."""
    client.connect()
    client.publish("devices/device/messages/events/", qos=2)
    client.until(lambda: client.lost)
    assert azure.world.hub.telemetry["device"] == 0


def test_a_reported_patch_that_is_no_object_is_a_bad_request(azure: StandIn, client: RawClient) -> None:
    """docs: "Communicate with an IoT hub using the MQTT protocol", status 400 of a twin update."""
    client.connect()
    client.subscribe("$iothub/twin/res/#")
    client.publish("$iothub/twin/PATCH/properties/reported/?$rid=7", b"[1]")
    client.publish("devices/device/messages/events/property=1", b"x")
    client.until(lambda: azure.world.hub.telemetry["device"] == 1)
    assert Rest(azure).call("GET", "/twins/device").json()["version"] == 1


def test_an_answer_to_no_call_is_dropped(azure: StandIn, client: RawClient) -> None:
    """docs: "Understand and invoke direct methods": an answer after the time-out reaches nobody."""
    client.connect()
    client.publish("$iothub/methods/res/200/?$rid=ffff", b"{}")
    client.publish("devices/device/messages/events/", b"x")
    client.until(lambda: azure.world.hub.telemetry["device"] == 1)
    assert not client.lost
