"""The hub's door, with a bare MQTT client: it tells a refusal in MQTT from one in TLS, and notices when it is cut."""

import queue
import ssl
import threading
import time
from pathlib import Path

import paho.mqtt.client as paho

from tests.contract.dps_kit import Credential
from tests.contract.target import Target

KEEPALIVE_S = 10
ANSWER_S = 30
ACCEPTED = "accepted"
SERVER_UNAVAILABLE = 3


class Session:
    """A connection, or the try of one. `outcome`: accepted, connack (refused by its return code), or tls."""

    def __init__(self, target: Target, device_id: str, credential: Credential, folder: Path) -> None:
        host = target.endpoints["iothub"]["device_host"]
        context = target.tls()
        # As azure-iot-device does; and in TLS 1.3 a refusal would come after the handshake.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*credential.files(folder))
        self._over = threading.Event()
        self.over_at: float | None = None
        self._answers: queue.Queue[int] = queue.Queue()
        self._client = paho.Client(device_id, clean_session=True, reconnect_on_failure=False)
        self._client.tls_set_context(context)
        self._client.username_pw_set(f"{host}/{device_id}/?api-version=2021-04-12")
        self._client.on_connect = lambda _c, _u, _f, code: self._answers.put(code)
        self._client.on_disconnect = lambda *_: self._cut()
        self.outcome = self._connect(host)

    def _connect(self, host: str) -> str:
        try:
            self._client.connect(host, 8883, keepalive=KEEPALIVE_S)
        except (ssl.SSLError, ConnectionError):
            self._cut()
            return "tls"
        self._client.loop_start()
        try:
            code = self._answers.get(timeout=ANSWER_S)
        except queue.Empty:
            code = -1
        if code == paho.CONNACK_ACCEPTED:
            return ACCEPTED
        self.close()
        return "connack" if code > 0 else "tls"

    def _cut(self) -> None:
        self.over_at = self.over_at or time.monotonic()
        self._over.set()

    @property
    def accepted(self) -> bool:
        """Whether the device was let in."""
        return self.outcome == ACCEPTED

    @property
    def alive(self) -> bool:
        """Whether it is in now."""
        return self.accepted and not self._over.is_set()

    def over_within(self, seconds: float) -> bool:
        """Wait for the end of the session."""
        return self._over.wait(seconds)

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()
