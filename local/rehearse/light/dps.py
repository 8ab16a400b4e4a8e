"""Registering through DPS by MQTT (azure-docs iot-mqtt-connect-to-iot-dps), in the manners of azure-iot-device."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from device.errors import Refused, Unreachable
from device.store import Assignment
from local.rehearse.light.mqtt import Link
from local.rehearse.light.network import Network

VERSION = "2021-06-01"
REPLIES = "$dps/registrations/res/#"
REGISTER = "$dps/registrations/PUT/iotdps-register/?$rid=1"
STATUS = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={}"
# azure-iot-device waits so long before each look; a device may look 5 times in 10 s.
PAUSE_S = 2.0
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Reply:
    """A reply of DPS: the status of its topic, when to ask again, its body."""

    status: int
    retry_after_s: float
    body: Mapping[str, Any]

    @classmethod
    def read(cls, topic: str, payload: bytes) -> "Reply":
        """Of a message below `$dps/registrations/res/`; ValueError when it is none."""
        path, _, query = topic.partition("?")
        wait = parse_qs(query).get("retry-after", ["0"])[0]
        return cls(int(path.strip("/").rpartition("/")[2]), float(wait), json.loads(payload or b"{}"))


class LightRegistration:
    """The device side of one DPS (a `device.ports.Registration`)."""

    def __init__(
        self, network: Network, host: str, id_scope: str, registration_id: str, pause_s: float = PAUSE_S
    ) -> None:
        self._network = network
        self._host = host
        self._id_scope = id_scope
        self._id = registration_id
        self._pause_s = pause_s

    def register(self, credential_file: Path) -> Assignment:
        """Register with the key and chain in this file. Raises Refused or Unreachable."""
        return self._network.run(self._register(credential_file))

    async def _register(self, credential_file: Path) -> Assignment:
        username = f"{self._id_scope}/registrations/{self._id}/api-version={VERSION}"
        tls = self._network.tls(credential_file)
        link = await Link.connect(self._host, tls, self._id, username, address=self._network.address)
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._converse(link)
        except TimeoutError:
            raise Unreachable(f"DPS did not finish the registration within {DEADLINE_S:g} s") from None
        finally:
            link.close()

    async def _converse(self, link: Link) -> Assignment:
        replies: asyncio.Queue[Reply | None] = asyncio.Queue()
        link.on_message = lambda topic, payload: replies.put_nowait(Reply.read(topic, payload))
        link.on_lost = lambda: replies.put_nowait(None)
        await link.subscribe(REPLIES)
        topic, payload = REGISTER, json.dumps({"registrationId": self._id}).encode()
        while True:
            await link.publish(topic, payload)
            reply = await replies.get()
            if reply is None:
                raise Unreachable("DPS ended the connection before it answered")
            if 300 <= reply.status < 500 and reply.status != 429:
                raise Refused(f"DPS answered {reply.body.get('errorCode', reply.status)}: {reply.body.get('message')}")
            if reply.status == 200 and reply.body.get("status") != "assigning":
                return _assignment(reply.body)
            if reply.status < 300:
                topic, payload = STATUS.format(reply.body["operationId"]), b" "
                await asyncio.sleep(self._pause_s)
            else:
                await asyncio.sleep(max(self._pause_s, reply.retry_after_s))


def _assignment(body: Mapping[str, Any]) -> Assignment:
    state = body.get("registrationState") or {}
    if state.get("status") != "assigned":
        raise Refused(f"the registration is {state.get('status')}: {state.get('errorMessage')}")
    return Assignment(hub=state["assignedHub"], device_id=state["deviceId"])
