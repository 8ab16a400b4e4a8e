"""A thief with a stolen certificate and key: he registers over HTTPS with mTLS, and connects over MQTT."""

import ssl
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import requests

from tests.rehearsal.plant import Plant

CONNECTED, NOT_AUTHORIZED = 0, 5
PORT = 8883


class Thief:
    """What DPS and hub answer him; ``stay`` keeps a session open as long as the hub lets him."""

    def __init__(self, plant: Plant, name: str, pem: Path) -> None:
        self._plant = plant
        self._name = name
        self._pem = pem
        self._session: paho.Client | None = None
        self._lost = threading.Event()

    def register(self) -> str:
        """``assigned``, or how DPS refuses: a status of HTTP or of the registration."""
        dps = self._plant.document["dps"]
        base = f"{dps['service_url']}/{dps['id_scope']}/registrations/{self._name}"
        tls: dict[str, Any] = {"cert": str(self._pem), "verify": self._plant.ca_file}
        version = {"api-version": "2021-06-01"}
        body = {"registrationId": self._name}
        asked = requests.put(f"{base}/register", params=version, json=body, timeout=10, **tls)
        if asked.status_code != 202:
            return str(asked.status_code)
        for _ in range(20):
            time.sleep(0.3)
            operation = asked.json()["operationId"]
            answer = requests.get(f"{base}/operations/{operation}", params=version, timeout=10, **tls)
            if answer.status_code == 200:
                return str(answer.json()["status"])
        raise AssertionError("the registration came to no end")

    def connect(self) -> int:
        """The hub's answer to a connect: the return code of MQTT; a session that was opened is closed again."""
        client, code = self._open()
        client.disconnect()
        client.loop_stop()
        return code

    def stay(self) -> None:
        """Connect and remain connected."""
        self._session, code = self._open()
        assert code == CONNECTED, "the stolen certificate was accepted before"
        self._session.on_disconnect = lambda *_: self._lost.set()

    @property
    def thrown_out(self) -> bool:
        """Whether the hub has ended the session."""
        return self._lost.is_set()

    def leave(self) -> None:
        """Give up."""
        if self._session is not None:
            self._session.loop_stop()

    def _open(self) -> tuple[paho.Client, int]:
        host = self._plant.document["iothub"]["device_host"]
        client = paho.Client(self._name, clean_session=True)
        client.reconnect_delay_set(600, 600)  # once thrown out, he does not come back by himself
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(self._plant.ca_file)
        context.load_cert_chain(self._pem)
        client.tls_set_context(context)
        client.username_pw_set(f"{host}/{self._name}/?api-version=2021-04-12")
        codes: list[int] = []
        answered = threading.Event()

        def on_connect(_client: Any, _data: Any, _flags: Any, code: int) -> None:
            codes.append(code)
            answered.set()

        client.on_connect = on_connect
        client.connect(host, PORT, 30)
        client.loop_start()
        assert answered.wait(10), "the hub answered no connect"
        return client, codes[0]
