"""The device API over MQTT (azure-docs iot-mqtt-connect-to-iot-dps): the same entities, topics instead of
routes.
"""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from local.azure import x509
from local.azure.dps import refusals
from local.azure.dps.device_routes import RETRY_AFTER_S
from local.azure.dps.http import check_version
from local.azure.faults import Fault
from local.azure.mqtt import ACCEPTED, NOT_AUTHORIZED, REFUSED_FILTER, MqttSession

if TYPE_CHECKING:
    from local.azure.world import World

REPLIES = "$dps/registrations/res/#"
_USERNAME = re.compile(r"(?P<scope>[^/]+)/registrations/(?P<id>[^/]+)/(?P<options>api-version=.+)")
_REGISTER = "$dps/registrations/PUT/iotdps-register/"
_STATUS = "$dps/registrations/GET/iotdps-get-operationstatus/"


@dataclass(frozen=True)
class Device:
    """Who a connection says it is, from its user name."""

    registration_id: str
    api_version: str


@dataclass(frozen=True)
class Answer:
    """A status for the topic, a body, and when to ask again."""

    status: int
    body: dict[str, Any]
    retry_after: int | None = None


class DpsMqtt:
    """One DPS, seen by its devices."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._devices: dict[MqttSession, Device] = {}

    async def on_connect(self, session: MqttSession) -> int:
        """Accepts who shows a certificate with the right name; which entry admits it is judged at register.

        That split is a guess: for X.509 no source tells what a refused CONNECT looks like.
        """
        device = self._identified(session)
        reason = None if device else "user name, client ID and certificate do not name the same device"
        leaf = session.peer_chain[0] if session.peer_chain else None
        self._world.journal.append(
            "connect",
            service="dps",
            device_id=session.client_id,
            accepted=device is not None,
            reason=reason,
            sha256=x509.sha256_thumbprint(leaf) if leaf else None,
            address=session.address,
            session=id(session),
        )
        if device is None:
            return NOT_AUTHORIZED
        self._devices[session] = device
        return ACCEPTED

    def _identified(self, session: MqttSession) -> Device | None:
        found = _USERNAME.fullmatch(session.username or "")
        if found is None or found["scope"].lower() != self._world.names.id_scope.lower():
            return None
        version = parse_qs(found["options"]).get("api-version", [""])[0]
        try:
            check_version(version)
            named = x509.common_name(session.peer_chain[0]) if session.peer_chain else None
        except (refusals.BadRequest, ValueError):
            return None
        # Without a certificate there must be a token, for the kinds of attestation that are answered with
        # 501.
        names = {session.client_id.lower(), found["id"].lower()}
        names |= {(named or "").lower()} if session.peer_chain else set()
        if len(names) != 1 or not (session.peer_chain or session.password):
            return None
        return Device(found["id"], version)

    async def on_subscribe(self, session: MqttSession, topic_filter: str, qos: int) -> int:
        """Only the replies, at most once or at least once."""
        return min(qos, 1) if topic_filter == REPLIES else REFUSED_FILTER

    async def on_disconnect(self, session: MqttSession, reason: str) -> None:
        """Nothing is kept of a session."""
        self._devices.pop(session, None)
        self._world.journal.append(
            "disconnect",
            service="dps",
            device_id=session.client_id,
            reason=reason,
            address=session.address,
            session=id(session),
        )

    async def on_publish(self, session: MqttSession, topic: str, payload: bytes, qos: int) -> None:
        """A request; the reply goes to a topic that repeats its $rid."""
        path, _, query = topic.partition("?")
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        device = self._devices[session]
        if path == _REGISTER:
            await self._answer(
                session, "DeviceRegister", topic, asked, lambda: self._register(session, device, payload)
            )
        elif path == _STATUS:
            operation_id = asked.get("operationId", "")
            await self._answer(
                session,
                "DeviceOperationStatus",
                topic,
                asked,
                lambda: self._status(session, device, operation_id),
            )
        else:
            session.close(reason=f"DPS has no topic {path}")

    def _register(self, session: MqttSession, device: Device, payload: bytes) -> Answer:
        wait = self._world.throttles.take("dps", "register")
        if wait is not None:
            raise refusals.TooManyRequests(wait)
        try:
            body = json.loads(payload)
        except ValueError:
            raise refusals.BadRequest("The payload is not JSON.") from None
        one = self._world.dps.assignments.register(
            device.registration_id, session.peer_chain, body, device.api_version, session.address
        )
        return Answer(202, one.as_json(), RETRY_AFTER_S)

    def _status(self, session: MqttSession, device: Device, operation_id: str) -> Answer:
        one = self._world.dps.assignments.look_at(device.registration_id, session.peer_chain, operation_id)
        return Answer(200, one.as_json()) if one.result else Answer(202, one.as_json(), RETRY_AFTER_S)

    async def _answer(
        self,
        session: MqttSession,
        operation: str,
        topic: str,
        asked: dict[str, str],
        work: Callable[[], Answer],
    ) -> None:
        writes = operation == "DeviceRegister"
        faults = self._world.faults.striking("dps", operation, "MQTT", writes=writes)
        answer = await self._outcome(faults, work)
        cut = answer is None or any(fault.kind == "lost_reply" for fault in faults)
        self._world.journal.append(
            "request",
            service="dps",
            operation=operation,
            method="MQTT",
            path=topic,
            status=answer.status if answer else None,
            principal=session.client_id,
            address=session.address,
            fault=faults[-1].kind if faults else None,
            writes=writes,
        )
        if cut or answer is None:
            session.close(reason="a fault on request")
            return
        wait = "" if answer.retry_after is None else f"&retry-after={answer.retry_after}"
        reply = f"$dps/registrations/res/{answer.status}/?$rid={asked.get('$rid', '')}{wait}"
        await session.publish(reply, json.dumps(answer.body).encode())

    async def _outcome(self, faults: list[Fault], work: Callable[[], Answer]) -> Answer | None:
        for fault in faults:
            if fault.kind == "latency":
                await asyncio.sleep(fault.seconds)
            elif fault.kind == "reset":
                return None
            elif fault.kind == "status":
                wait = None if fault.retry_after is None else int(fault.retry_after)
                return Answer(
                    fault.status,
                    {"errorCode": fault.status * 1000 + 1, "message": "a fault on request"},
                    wait,
                )
        try:
            return work()
        except refusals.TooManyRequests as no:
            return Answer(no.status, refusals.error_body(no, self._world.clock), no.retry_after)
        except refusals.DpsRefusal as no:
            return Answer(no.status, refusals.error_body(no, self._world.clock))
