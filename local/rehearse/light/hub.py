"""A device's session with IoT Hub by MQTT (docs, "Communicate with an IoT hub using the MQTT protocol")."""

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from device.errors import Unreachable
from device.ports import MethodReply
from device.store import Assignment
from local.rehearse.light.mqtt import ANSWER_S, Link
from local.rehearse.light.network import Network

log = logging.getLogger(__name__)

VERSION = "2021-04-12"
METHODS, METHOD = "$iothub/methods/POST/#", "$iothub/methods/POST/"
TWIN_REPLIES, TWIN_REPLY = "$iothub/twin/res/#", "$iothub/twin/res/"
GET_TWIN = "$iothub/twin/GET/?$rid=1"

type OnMethod = Callable[[str, Any], MethodReply]


class LightHub:
    """The device side of IoT Hub (a `device.ports.Hub`)."""

    def __init__(self, network: Network, keep_alive_s: int = 60) -> None:
        self._network = network
        self._keep_alive_s = keep_alive_s

    def open(
        self, assignment: Assignment, credential_file: Path, on_method: OnMethod, on_lost: Callable[[], None]
    ) -> "LightSession":
        """Connect, ready for methods on return. Raises Refused or Unreachable; then nothing is left open."""
        return self._network.run(self._open(assignment, credential_file, on_method, on_lost))

    async def _open(
        self, assignment: Assignment, credential_file: Path, on_method: OnMethod, on_lost: Callable[[], None]
    ) -> "LightSession":
        username = f"{assignment.hub}/{assignment.device_id}/?api-version={VERSION}"
        tls = self._network.tls(credential_file)
        link = await Link.connect(
            assignment.hub,
            tls,
            assignment.device_id,
            username,
            keep_alive_s=self._keep_alive_s,
            address=self._network.address,
        )
        session = LightSession(self._network, link, on_method)
        link.on_message = session.take
        link.on_lost = on_lost
        try:
            await link.subscribe(METHODS)
        except Unreachable:
            link.close()
            raise
        return session


class LightSession:
    """One connection to the hub, until `close` or its loss."""

    def __init__(self, network: Network, link: Link, on_method: OnMethod) -> None:
        self._network = network
        self._link = link
        self._on_method = on_method
        self._twin: asyncio.Future[bytes] | None = None
        self._answering: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """End it; no error, whatever state it is in."""
        self._network.run(self._close())

    async def _close(self) -> None:
        self._link.close()

    def twin(self) -> dict[str, Any]:
        """The device's twin, as the hub shows it to the device: desired and reported. Raises Unreachable."""
        return self._network.run(self._get_twin())

    async def _get_twin(self) -> dict[str, Any]:
        await self._link.subscribe(TWIN_REPLIES)
        self._twin = asyncio.get_running_loop().create_future()
        await self._link.publish(GET_TWIN, b"")
        try:
            async with asyncio.timeout(ANSWER_S):
                found: dict[str, Any] = json.loads(await self._twin)
        except TimeoutError:
            raise Unreachable("the hub did not send the twin") from None
        return found

    def take(self, topic: str, payload: bytes) -> None:
        """A message of the hub."""
        if topic.startswith(METHOD):
            task = asyncio.get_running_loop().create_task(self._answer(topic, payload))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        elif topic.startswith(TWIN_REPLY) and self._twin is not None and not self._twin.done():
            self._twin.set_result(payload)

    async def _answer(self, topic: str, payload: bytes) -> None:
        path, _, query = topic.partition("?")
        name, request_id = path.removeprefix(METHOD).strip("/"), parse_qs(query)["$rid"][0]
        asked = json.loads(payload or b"null")
        loop = asyncio.get_running_loop()
        # A device may make a key to answer: not in the loop that all of them share.
        reply = await loop.run_in_executor(self._network.workers, self._on_method, name, asked)
        answer = f"$iothub/methods/res/{reply.status}/?$rid={request_id}"
        try:
            await self._link.publish(answer, json.dumps(reply.payload).encode())
        except Unreachable as error:  # who asked may be gone; what was asked for is done all the same
            log.warning("the answer to method %s was not sent: %s", name, error)
        if reply.afterwards:
            reply.afterwards()
