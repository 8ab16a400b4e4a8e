"""The device's session with IoT Hub, with azure-iot-device.

The SDK's own reconnecting is off. It would go on with the old certificate while a new one is being taken up, and it
stops for good when the hub refuses; who connects when, and with what, is decided in ``machine.py`` alone.

A swap makes the new session before it ends the old one. The hub closes the older session of a device itself when
the newer one is accepted (error 400027), so the device is never without one, and if the hub refuses the new
certificate the old session has not been touched. Without the SDK's reconnecting the two do not fight.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from azure.iot.device import X509, IoTHubDeviceClient, MethodRequest, MethodResponse

from device.ports import MethodReply
from device.registration import sort_out
from device.store import Assignment

log = logging.getLogger(__name__)


class HubConnection:
    """Opens sessions. ``keep_alive_s`` is the MQTT keep-alive in seconds, at most 1740."""

    def __init__(self, ca_pem: str | None, keep_alive_s: int = 60) -> None:
        self._ca_pem = ca_pem
        self._keep_alive_s = keep_alive_s

    def open(
        self,
        assignment: Assignment,
        credential_file: Path,
        on_method: Callable[[str, Any], MethodReply],
        on_lost: Callable[[], None],
    ) -> HubSession:
        """Connect and listen for methods. Raises Refused or Unreachable; then nothing is left open."""
        pem = str(credential_file)
        client = IoTHubDeviceClient.create_from_x509_certificate(
            x509=X509(cert_file=pem, key_file=pem),
            hostname=assignment.hub,
            device_id=assignment.device_id,
            server_verification_cert=self._ca_pem,
            keep_alive=self._keep_alive_s,
            auto_connect=False,
            connection_retry=False,
        )
        session = HubSession(client, on_method, on_lost)
        try:
            session.begin()
        except Exception as error:  # noqa: BLE001 sorted into the two kinds the agent knows
            session.close()
            raise sort_out(error) from None
        return session


class HubSession:
    """One connection to the hub, from ``begin`` to ``close`` or to its loss."""

    def __init__(
        self,
        client: IoTHubDeviceClient,
        on_method: Callable[[str, Any], MethodReply],
        on_lost: Callable[[], None],
    ) -> None:
        self._client = client
        self._on_method = on_method
        self._on_lost = on_lost
        self._ended = threading.Event()

    def begin(self) -> None:
        """Connect; raises what the SDK raises."""
        self._client.on_connection_state_change = self._connection_changed
        self._client.connect()
        # Only now: subscribing needs a connection, and the setter subscribes.
        self._client.on_method_request_received = self._method_called

    def close(self) -> None:
        self._ended.set()
        try:
            self._client.shutdown()
        except Exception:  # the connection may be gone already, in any way
            log.debug("the old session ended with an error", exc_info=True)

    def _connection_changed(self) -> None:
        if not self._client.connected and not self._ended.is_set():
            self._ended.set()
            self._on_lost()

    def _method_called(self, request: MethodRequest) -> None:
        reply = self._on_method(request.name, request.payload)
        try:
            self._client.send_method_response(
                MethodResponse.create_from_method_request(request, reply.status, reply.payload)
            )
        except Exception as error:  # noqa: BLE001 the caller may be gone; what it asked for is done all the same
            log.warning("the answer to method %s was not sent: %s", request.name, type(error).__name__)
        if reply.afterwards:
            reply.afterwards()
