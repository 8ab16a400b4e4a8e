"""The MQTT side of the stand-in, with paho (the codec inside azure-iot-device) as the client."""

import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from local.azure.authority import make_authority
from local.azure.mqtt import MqttSession, matches, serve_mqtt
from local.azure.tls import server_context
from tests.conftest import test_net
from tests.contract.core_certificates import self_signed
from tests.contract.reasons import OURS
from tests.standin import LoopThread

pytestmark = OURS

PORT = 18883


class Echo:
    """A service that answers every message on the topic `back`, and refuses the client `nobody`."""

    def __init__(self) -> None:
        self.sessions: dict[str, MqttSession] = {}
        self.reasons: dict[str, str] = {}

    async def on_connect(self, session: MqttSession) -> int:
        self.sessions[session.client_id] = session
        return 5 if session.client_id == "nobody" else 0

    async def on_publish(self, session: MqttSession, topic: str, payload: bytes, qos: int) -> None:
        if topic == "boom":
            raise RuntimeError("a handler that fails")
        await session.publish("back/" + topic, payload, qos)

    async def on_subscribe(self, session: MqttSession, topic_filter: str, qos: int) -> int:
        return 0x80 if topic_filter == "forbidden/#" else min(qos, 1)

    async def on_disconnect(self, session: MqttSession, reason: str) -> None:
        self.reasons[session.client_id] = reason


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Echo, Path]]:
    host = f"{test_net()}.9"
    authority = make_authority([host])
    service, loop = Echo(), LoopThread()
    server, sessions = loop.run(serve_mqtt(service, host, PORT, server_context(authority)))
    ca_file, _ = authority.write(tmp_path_factory.mktemp("ca"))
    yield service, ca_file
    server.close()
    loop.run(sessions.stop())
    loop.stop()


class Client:
    """paho with TLS 1.2, as azure-iot-device drives it; collects what comes in."""

    def __init__(self, client_id: str, ca_file: Path, pem: Path | None = None) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.code: int | None = None
        self.granted: list[int] = []
        self.lost = False
        self._paho = paho.Client(client_id, clean_session=False)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(ca_file)
        if pem is not None:
            context.load_cert_chain(pem)
        self._paho.tls_set_context(context)
        self._paho.on_connect = lambda _c, _u, _f, code: setattr(self, "code", code)
        self._paho.on_disconnect = lambda *_: setattr(self, "lost", True)
        self._paho.on_subscribe = lambda _c, _u, _mid, granted: self.granted.extend(granted)
        self._paho.on_message = lambda _c, _u, message: self.messages.append((message.topic, message.payload))

    def connect(self, keep_alive: int = 30) -> "Client":
        self._paho.username_pw_set("host/device/?api-version=2021-04-12")
        self._paho.connect(f"{test_net()}.9", PORT, keep_alive)
        return self.until(lambda: self.code is not None)

    def until(self, done: "object") -> "Client":
        deadline = time.monotonic() + 5
        while not done():  # type: ignore[operator]
            assert time.monotonic() < deadline, "it did not happen in 5 s"
            self._paho.loop(0.05)
        return self

    def subscribe(self, topic_filter: str) -> int:
        self.granted.clear()
        self._paho.subscribe(topic_filter, qos=1)
        self.until(lambda: self.granted)
        return self.granted[0]

    def publish(self, topic: str, payload: bytes, qos: int) -> None:
        self._paho.publish(topic, payload, qos)


def test_an_unknown_self_signed_certificate_reaches_the_protocol(echo: tuple[Echo, Path], tmp_path: Path) -> None:
    """IoT front ends judge certificates in MQTT, not in TLS (azure-iot-sdk-python: CONNACK 5 is UnauthorizedError)."""
    service, ca_file = echo
    pem, der = self_signed("device-1", tmp_path)
    client = Client("device-1", ca_file, pem).connect()
    assert client.code == 0
    assert service.sessions["device-1"].peer_chain == [der]
    assert service.sessions["device-1"].username == "host/device/?api-version=2021-04-12"


def test_a_refused_client_is_told_its_return_code(echo: tuple[Echo, Path]) -> None:
    assert Client("nobody", echo[1]).connect().code == 5


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("size", [0, 1, 127, 128, 60_000])
def test_a_message_of_any_size_makes_the_round_trip(echo: tuple[Echo, Path], qos: int, size: int) -> None:
    client = Client(f"size-{size}-{qos}", echo[1]).connect()
    assert client.subscribe("back/#") == 1
    client.publish("$iothub/twin/GET/?$rid=1", b"x" * size, qos)
    client.until(lambda: client.messages)
    assert client.messages == [("back/$iothub/twin/GET/?$rid=1", b"x" * size)]


def test_nothing_is_sent_to_a_client_that_did_not_subscribe(echo: tuple[Echo, Path]) -> None:
    client = Client("deaf", echo[1]).connect()
    client.subscribe("other/#")
    client.publish("topic", b"1", 1)
    client.subscribe("back/#")
    client.publish("topic", b"2", 1)
    client.until(lambda: client.messages)
    assert client.messages == [("back/topic", b"2")]


def test_a_refused_filter_is_answered_with_0x80(echo: tuple[Echo, Path]) -> None:
    assert Client("curious", echo[1]).connect().subscribe("forbidden/#") == 0x80


def test_qos_2_closes_the_connection(echo: tuple[Echo, Path]) -> None:
    """docs, "Communicate with IoT Hub using MQTT": QoS 2 is not supported, the hub closes the connection."""
    client = Client("eager", echo[1]).connect()
    client.publish("topic", b"", 2)
    client.until(lambda: client.lost and "eager" in echo[0].reasons)  # the server notes it after it closed
    assert echo[0].reasons["eager"] == "QoS 2 is not supported"


def test_a_handler_that_fails_costs_only_its_own_connection(echo: tuple[Echo, Path]) -> None:
    client = Client("unlucky", echo[1]).connect()
    client.publish("boom", b"", 0)
    client.until(lambda: client.lost)
    assert Client("next", echo[1]).connect().code == 0


def test_a_silent_client_is_cut_after_one_and_a_half_keep_alives(echo: tuple[Echo, Path]) -> None:
    """MQTT 3.1.1, section 3.1.2.10."""
    Client("silent", echo[1]).connect(keep_alive=1)
    time.sleep(1.8)
    assert echo[0].reasons["silent"] == "nothing was heard for 1.5 keep-alives"


@pytest.mark.parametrize(
    ("topic_filter", "topic", "covered"),
    [
        ("$dps/registrations/res/#", "$dps/registrations/res/202/?$rid=1", True),
        ("a/#", "a", True),
        ("a/+/c", "a/b/c", True),
        ("a/+", "a/b/c", False),
        ("a/b", "a", False),
        ("a", "a/b", False),
    ],
)
def test_filters_cover_what_the_standard_says(topic_filter: str, topic: str, covered: bool) -> None:
    """MQTT 3.1.1, section 4.7."""
    assert matches(topic_filter, topic) is covered
