"""The hub's device side: MQTT 3.1.1 over TLS on port 8883.

docs, "Communicate with an IoT hub using the MQTT protocol". Client ID = device ID; user name
`{host}/{device ID}/?api-version=…`; the certificate of the TLS handshake instead of a password.
"""

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from local.azure.iothub.admission import pins, reason_of_time, reason_to_refuse
from local.azure.iothub.connection_log import THROTTLED as LOG_THROTTLED
from local.azure.iothub.hub import DESIRED_FILTER
from local.azure.iothub.methods import FILTER as METHODS_FILTER
from local.azure.iothub.refusals import HubRefusal
from local.azure.iothub.twins import device_view
from local.azure.mqtt import ACCEPTED, NOT_AUTHORIZED, REFUSED_FILTER, MqttSession

if TYPE_CHECKING:
    from local.azure.world import World

UNAVAILABLE = 3  # CONNACK "server unavailable"
TWIN_FILTER = "$iothub/twin/res/#"
THROTTLED = 429


class HubMqtt:
    """What the hub does with its devices' packets (an MqttService)."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._hub = world.hub

    def refuse_in_handshake(self, leaf: bytes) -> bool:
        """With the knob `hub_refusal` at "tls": turn away what no enabled device can connect with, by a TLS alert."""
        if self._world.knobs.hub_refusal != "tls":
            return False
        reason = reason_of_time(leaf, self._world.clock.now())
        identities = (device.identity for device in self._hub.store.devices.values())
        if reason is None and not any(one["status"] == "enabled" and pins(one, leaf) for one in identities):
            reason = "the certificate's thumbprint is in no slot of any enabled device"
        if reason is not None:
            self._hub.sessions.refuse(None, leaf, reason, address=None)
        return reason is not None

    async def on_connect(self, session: MqttSession) -> int:
        """Judge the device; its certificate is looked at now and never again."""
        sessions, world = self._hub.sessions, self._world
        leaf = session.peer_chain[0] if session.peer_chain else None
        device_id = _device_id(session.username or "", self._hub.host_name)
        reason: str | None
        if world.throttles.take("iothub", "connections") is not None:
            reason = "too many new connections"
            sessions.refuse(device_id, leaf, reason, address=session.address, code=LOG_THROTTLED)
            return UNAVAILABLE
        if device_id is None or device_id != session.client_id:
            reason = "the user name does not name this hub and the device of the client ID"
        else:
            device = self._hub.store.devices.get(device_id)
            reason = reason_to_refuse(device.identity if device else None, session.peer_chain, world.clock.now())
        if device_id is not None and leaf is not None and reason is None:
            sessions.open(device_id, leaf, session)
            return ACCEPTED
        sessions.refuse(device_id, leaf, reason or "", address=session.address)
        if world.knobs.hub_refusal == "tls":
            session.close(reason="refused")  # the nearest to an alert, once the handshake is over
        return NOT_AUTHORIZED

    async def on_subscribe(self, session: MqttSession, topic_filter: str, qos: int) -> int:
        """Only the hub's own topics. There are four of them, so its limit of five subscriptions is never reached."""
        offered = (METHODS_FILTER, TWIN_FILTER, DESIRED_FILTER, f"devices/{session.client_id}/messages/devicebound/#")
        if topic_filter not in offered:
            return REFUSED_FILTER
        if topic_filter == METHODS_FILTER:
            self._hub.methods.ready(session.client_id)
        return min(qos, 1)

    async def on_publish(self, session: MqttSession, topic: str, payload: bytes, qos: int) -> None:
        """Telemetry, a method's answer, or a question about the twin; anything else ends the connection."""
        device_id = session.client_id
        if self._hub.store.devices.get(device_id) is None:
            return  # deleted; the connection is about to be cut
        self._hub.sessions.seen(device_id)
        path, _, query = topic.partition("?")
        request_id = parse_qs(query).get("$rid", [""])[0]
        match path.strip("/").split("/"):
            case ["devices", sender, "messages", "events", *_] if sender == device_id:
                self._hub.telemetry[device_id] += 1
            case ["$iothub", "methods", "res", status] if status.lstrip("-").isdigit():
                self._hub.methods.answered(device_id, request_id, int(status), payload)
            case ["$iothub", "twin", "GET"]:
                await self._send_twin(session, request_id)
            case ["$iothub", "twin", "PATCH", "properties", "reported"]:
                await self._take_reported(session, request_id, payload)
            case _:
                session.close(reason="a topic that the hub does not know")

    async def on_disconnect(self, session: MqttSession, reason: str) -> None:
        """The device is away, unless another connection of it took over before."""
        self._hub.sessions.close(session, reason)

    async def _send_twin(self, session: MqttSession, request_id: str) -> None:
        if self._world.throttles.take("iothub", "twin_reads") is not None:
            await _answer(session, THROTTLED, request_id)
            return
        view = device_view(self._hub.store.get(session.client_id))
        await _answer(session, 200, request_id, json.dumps(view).encode())

    async def _take_reported(self, session: MqttSession, request_id: str, payload: bytes) -> None:
        if self._world.throttles.take("iothub", "twin_updates") is not None:
            await _answer(session, THROTTLED, request_id)
            return
        try:
            patch = json.loads(payload)
            version = self._hub.twins.report(session.client_id, patch)
        except (ValueError, AttributeError, HubRefusal):
            await _answer(session, 400, request_id)
            return
        await _answer(session, 204, f"{request_id}&$version={version}")


async def _answer(session: MqttSession, status: int, request_id: str, payload: bytes = b"") -> None:
    await session.publish(f"$iothub/twin/res/{status}/?$rid={request_id}", payload)


def _device_id(username: str, host: str) -> str | None:
    """The device that `{host}/{device ID}/?api-version=…` names; None for modules and other hubs."""
    place, _, query = username.partition("?")
    parts = place.strip("/").split("/")
    ours = len(parts) == 2 and parts[0].lower() == host.lower()
    return parts[1] if ours and "api-version" in parse_qs(query) else None
