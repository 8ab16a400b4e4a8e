"""Somebody with a copy of a device's key and certificate, who wants in by every door there is, again and again.

Two that hold the same key cannot be told apart by it, and the hub lets only one of them have a session: it throws
the other one out (400027), who comes back and does the same. So it goes here too, for nothing is staged: the device
is not kept offline, and the thief does not wait for it. What tells them apart is the address they come from, as in
the hub's Connections log: the thief has one of its own.
"""

import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as paho

PORT = 8883
ANSWER_S = 5.0
PAUSE_S = 0.5
REGISTER = "$dps/registrations/PUT/iotdps-register/?$rid=1"
REPLIES = "$dps/registrations/res/#"

type Tell = Callable[[str, str], None]
"""Called with what happened ("let in", "refused", "thrown out", "not answered") and by whom ("dps", "hub")."""


def address_of(document: Mapping[str, Any]) -> str:
    """Where thieves come from: an address of the installation's net that nobody else has."""
    host = urlsplit(document["control"]["url"]).hostname or ""
    return f"{host.rpartition('.')[0]}.66"


class Thief(threading.Thread):
    """From `start` to `stop`: registers at DPS, then connects to the hub and stays for as long as it is let.

    `stolen` is the device's file of key and certificate, read now and never again. Speaks bare MQTT, for a thief
    keeps to no SDK's manners: no backoff, and the hub is tried whatever DPS says.
    """

    def __init__(self, document: Mapping[str, Any], registration_id: str, stolen: Path, tell: Tell) -> None:
        super().__init__(name=f"thief-{registration_id}", daemon=True)
        self._id = registration_id
        self._dps, self._hub = document["dps"], document["iothub"]
        self._address = address_of(document)
        self._tls = ssl.create_default_context(cafile=document["ca_file"])
        self._tls.load_cert_chain(stolen)
        self._tell = tell
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            for service, goes_in in (("dps", self._register), ("hub", self._connect)):
                try:
                    goes_in()
                except OSError:
                    self._tell("not answered", service)
                if self._ended.wait(PAUSE_S):
                    return

    def stop(self) -> None:
        """End after the try under way."""
        self._ended.set()
        if self.ident is not None:
            self.join(2 * ANSWER_S)

    def _register(self) -> None:
        """One registration. Its outcome is not waited for: DPS writes the hub without that, or it does not."""
        client = self._client(f"{self._dps['id_scope']}/registrations/{self._id}/api-version=2019-03-31")
        replies: list[str] = []
        client.on_message = lambda _client, _data, message: replies.append(message.topic)
        client.on_subscribe = lambda *_: client.publish(REGISTER, json.dumps({"registrationId": self._id}), qos=1)
        if self._is_let_in(client, self._dps["device_host"]):
            client.subscribe(REPLIES, qos=1)
            _loop(client, lambda: bool(replies))
            client.disconnect()
        admitted = bool(replies) and "/res/202/" in replies[0]
        self._tell("let in" if admitted else "refused", "dps")

    def _connect(self) -> None:
        """One session with the hub, until it is over."""
        client = self._client(f"{self._hub['device_host']}/{self._id}/?api-version=2021-04-12")
        if not self._is_let_in(client, self._hub["device_host"]):
            self._tell("refused", "hub")
            return
        self._tell("let in", "hub")
        while not self._ended.is_set() and client.loop(0.05) == paho.MQTT_ERR_SUCCESS:
            pass
        client.disconnect()
        self._tell("thrown out", "hub")

    def _client(self, username: str) -> paho.Client:
        client = paho.Client(self._id)
        client.tls_set_context(self._tls)
        client.username_pw_set(username)
        return client

    def _is_let_in(self, client: paho.Client, host: str) -> bool:
        codes: list[int] = []
        client.on_connect = lambda _client, _data, _flags, code: codes.append(code)
        client.connect(host, PORT, bind_address=self._address)
        _loop(client, lambda: bool(codes))
        return codes == [0]


def _loop(client: paho.Client, done: Callable[[], bool]) -> None:
    """Let the client work until `done`, its connection is over, or nothing came in time."""
    deadline = time.monotonic() + ANSWER_S
    while not done() and time.monotonic() < deadline and client.loop(0.05) == paho.MQTT_ERR_SUCCESS:
        pass
