"""The hub's resource log, category Connections, on its way to an event hub.

docs, "Monitoring Azure IoT Hub data reference": upper-case resource ID, `properties` as JSON text, `authType` JSON text
within it. `level` and the codes of a disconnect are those of the records captured in "Use metrics and diagnostics
logs". Of a refused connect nobody published a record; it is put together from these and the error codes. `authType`
by X.509 is what a recorded message of a device calls its connection.

docs, "Monitor, diagnose, and troubleshoot" (resource health): not guaranteed to be reliable or ordered, several minutes
late. So each of these is a knob (`hub_log_...`). The log is sent only while somebody reads it.
"""

import asyncio
import json
import logging
import random
from collections.abc import Mapping
from itertools import batched
from typing import Any

import aiohttp

from local.azure.clock import Clock
from local.azure.knobs import Knobs
from local.azure.names import Names

log = logging.getLogger(__name__)
UNAUTHORIZED, THROTTLED, REMOTE, NEW_CONNECTION = "401003", "429001", "404104", "400027"
CODES = {
    UNAUTHORIZED: "IoTHubUnauthorized",
    THROTTLED: "ThrottlingException",
    REMOTE: "DeviceConnectionClosedRemotely",
    NEW_CONNECTION: "ConnectionForcefullyClosedOnNewConnection",
}
X509 = {"scope": "device", "type": "x509Certificate", "issuer": "external", "acceptingIpFilterRule": None}
PER_MESSAGE = 25
AGAIN_S = 1.0
ANSWER_S = 900.0  # the reader answers when it is done with the batch, its retries included


class ConnectionLog:
    """Records on their way. They are handed over one batch at a time, as a partition of an event hub does it."""

    def __init__(self, names: Names, clock: Clock, knobs: Knobs) -> None:
        self._resource_id = names.resource_id("Microsoft.Devices/IotHubs", names.hub_name).upper()
        self._clock = clock
        self._knobs = knobs
        self._random = random.Random(0)
        self._waiting: list[dict[str, Any]] = []
        self._sending: asyncio.Task[None] | None = None
        self.reader: str | None = None
        """Where batches are posted: a URL of the Functions host, with its key."""

    def connected(self, device_id: str, address: str | None) -> None:
        """A device was let in."""
        self._write("deviceConnect", device_id, address, None)

    def refused(self, device_id: str, address: str | None, code: str) -> None:
        """A connect as this device was turned away."""
        self._write("deviceConnect", device_id, address, code)

    def disconnected(self, device_id: str, address: str | None, code: str | None) -> None:
        """A connection has ended; without a code, because the device said goodbye."""
        self._write("deviceDisconnect", device_id, address, code)

    def _write(self, operation: str, device_id: str, address: str | None, code: str | None) -> None:
        if self.reader is None or self._random.random() < self._knobs.hub_log_loss:
            return
        accepted = operation == "deviceConnect" and code is None
        properties = {
            "deviceId": device_id,
            "protocol": "Mqtt",
            "authType": json.dumps(X509) if accepted else None,
            "maskedIpAddress": f"{(address or '').rpartition('.')[0]}.XXX",
            "statusCode": code[:3] if code else None,
        }
        outcome = {"resultType": code, "resultDescription": CODES[code]} if code else {}
        self._waiting.append(
            {
                "time": self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
                "resourceId": self._resource_id,
                "operationName": operation,
                "category": "Connections",
                "level": "Error" if code else "Information",
                **outcome,
                "properties": json.dumps(properties) if self._knobs.hub_log_properties == "text" else properties,
                "location": "local",
            }
        )
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._knobs.hub_log_delay_s)
            records, self._waiting = self._waiting, []
            if self._knobs.hub_log_duplicates:
                records = [record for record in records for _ in range(2)]
            if self._knobs.hub_log_reorder:
                self._random.shuffle(records)
            await self._hand_over([{"records": some} for some in batched(records, PER_MESSAGE, strict=False)])

    async def _hand_over(self, messages: list[Mapping[str, Any]]) -> None:
        """Event Hubs keeps a batch until the reader has had it; what the reader makes of it is the reader's affair."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        while (reader := self.reader) is not None:
            try:
                async with (
                    aiohttp.ClientSession(timeout=timeout) as session,
                    session.post(reader, json=messages) as answer,
                ):
                    if answer.status < 500:
                        if answer.status >= 300:
                            log.error("the reader of the hub's log answered %d: a batch is lost", answer.status)
                        return
            except (TimeoutError, aiohttp.ClientError):
                pass  # not its text: it may show the URL, and with it the host's key
            await asyncio.sleep(AGAIN_S)

    def clear(self) -> None:
        """Nothing on its way. Whoever reads goes on reading: that belongs to the installation."""
        self._waiting.clear()
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        self._random.seed(0)
