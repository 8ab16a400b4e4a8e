"""MQTT 3.1.1, the server's side of single connections; no routing between clients.

Packets are taken apart and put together by amqtt (`amqtt.mqtt`); its broker is not used, because the IoT services
speak request and response on topics of their own and a broker would leak between devices.
"""

import asyncio
import contextlib
import logging
from typing import Any, Protocol

from amqtt.adapters import BufferReader
from amqtt.errors import AMQTTError, CodecError, MQTTError, NoDataError
from amqtt.mqtt import packet_class
from amqtt.mqtt.connack import ConnackPacket
from amqtt.mqtt.connect import ConnectPacket
from amqtt.mqtt.disconnect import DisconnectPacket
from amqtt.mqtt.packet import MQTTFixedHeader, MQTTPacket
from amqtt.mqtt.pingreq import PingReqPacket
from amqtt.mqtt.pingresp import PingRespPacket
from amqtt.mqtt.puback import PubackPacket
from amqtt.mqtt.publish import PublishPacket
from amqtt.mqtt.suback import SubackPacket
from amqtt.mqtt.subscribe import SubscribePacket
from amqtt.mqtt.unsuback import UnsubackPacket
from amqtt.mqtt.unsubscribe import UnsubscribePacket
from OpenSSL import SSL

from local.azure.tls import Refuse, serve_tls

log = logging.getLogger(__name__)
CONNECT_S = 20.0
LARGEST_PACKET = 256 * 1024  # what IoT Hub takes from a device in one message
ACCEPTED, BAD_CREDENTIALS, NOT_AUTHORIZED = 0, 4, 5
REFUSED_FILTER = 0x80
GOODBYE = "the client said goodbye"
type Packet = MQTTPacket[Any, Any, Any]
_BROKEN = (AMQTTError, CodecError, MQTTError, NoDataError, ValueError)


class MqttService(Protocol):
    """What the device side of a service does; `<service>/mqtt.py` implements it."""

    async def on_connect(self, session: "MqttSession") -> int:
        """The CONNACK return code: 0 accepted, 4 bad user name or password, 5 not authorized."""

    async def on_publish(self, session: "MqttSession", topic: str, payload: bytes, qos: int) -> None:
        """A message of the client; PUBACK for QoS 1 is sent by the core, before this is called."""

    async def on_subscribe(self, session: "MqttSession", topic_filter: str, qos: int) -> int:
        """The granted QoS, or 0x80 to refuse the filter."""

    async def on_disconnect(self, session: "MqttSession", reason: str) -> None:
        """The connection of an accepted client is over."""


class MqttSession:
    """One accepted TCP connection, from its CONNECT to its end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._packet_id = 0
        self.peer_chain: list[bytes] = writer.get_extra_info("peer_chain") or []
        self.address = str((writer.get_extra_info("peername") or [""])[0])
        self.client_id = ""
        self.username: str | None = None
        self.password: str | None = None
        self.keep_alive = 0
        self.clean_session = True
        self.subscriptions: set[str] = set()
        self.closed_reason: str | None = None

    async def publish(self, topic: str, payload: bytes, qos: int = 0) -> None:
        """Send a message, if the client subscribed to its topic and is still there."""
        if self.closed_reason is not None or not any(matches(one, topic) for one in self.subscriptions):
            return
        packet_id = None
        if qos:
            self._packet_id = self._packet_id % 0xFFFF + 1
            packet_id = self._packet_id
        await self.send(PublishPacket.build(topic, payload, packet_id, dup_flag=False, qos=qos, retain=False))

    def close(self, *, reason: str) -> None:
        """Cut the connection; the first reason given is the one that is kept."""
        if self.closed_reason is None:
            self.closed_reason = reason
        self._writer.close()

    async def send(self, packet: Packet) -> None:
        """Send one packet; a client that has gone meanwhile is no error here."""
        with contextlib.suppress(ConnectionError, RuntimeError):
            self._writer.write(packet.to_bytes())
            await self._writer.drain()

    async def read(self, timeout_s: float | None) -> Packet | None:
        """The next packet; None when the client has gone. TimeoutError when nothing came in time."""
        async with asyncio.timeout(timeout_s):
            try:
                # The header goes byte by byte, where a short read cannot happen; the rest is read whole, because
                # amqtt takes a short read for an end.
                header = await MQTTFixedHeader.from_stream(self._reader)
                if header is None:
                    return None
                if header.remaining_length > LARGEST_PACKET:
                    raise ValueError("the packet is too large")
                body = await self._reader.readexactly(header.remaining_length)
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
        packet: Packet = await packet_class(header).from_stream(BufferReader(body), fixed_header=header)
        return packet


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a subscription to `topic_filter` covers `topic` (MQTT 3.1.1, section 4.7)."""
    wanted, given = topic_filter.split("/"), topic.split("/")
    for position, part in enumerate(wanted):
        if part == "#":
            return True
        if position >= len(given) or part not in ("+", given[position]):
            return False
    return len(wanted) == len(given)


class MqttServer:
    """Runs the sessions of one service on one address."""

    def __init__(self, service: MqttService) -> None:
        self._service = service
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The life of one connection."""
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        session = MqttSession(reader, writer)
        try:
            if await self._let_in(session):
                await self._converse(session)
        except asyncio.CancelledError:
            session.close(reason="the stand-in stops")
        finally:
            writer.close()

    async def _let_in(self, session: MqttSession) -> bool:
        try:
            packet = await session.read(CONNECT_S)
        except (TimeoutError, *_BROKEN):
            return False
        if not isinstance(packet, ConnectPacket) or packet.variable_header is None or packet.payload is None:
            return False
        session.client_id = packet.client_id or ""
        session.username, session.password = packet.username, packet.password
        session.keep_alive, session.clean_session = packet.keep_alive, packet.clean_session_flag
        try:
            code = await self._service.on_connect(session)
        except Exception:
            log.exception("on_connect failed")
            return False
        await session.send(ConnackPacket.build(0, code))
        return code == ACCEPTED

    async def _converse(self, session: MqttSession) -> None:
        patience = session.keep_alive * 1.5 or None
        try:
            while session.closed_reason is None:
                packet = await session.read(patience)
                if packet is None:
                    session.close(reason="the client has gone")
                elif isinstance(packet, DisconnectPacket):
                    session.close(reason=GOODBYE)
                else:
                    await self._handle(session, packet)
        except TimeoutError:
            session.close(reason="nothing was heard for 1.5 keep-alives")
        except _BROKEN:
            session.close(reason="the client broke the protocol")
        except asyncio.CancelledError:
            session.close(reason="the stand-in stops")
        except Exception:
            log.exception("a handler failed")
            session.close(reason="the stand-in failed")
        await self._service.on_disconnect(session, session.closed_reason or "")

    async def _handle(self, session: MqttSession, packet: Packet) -> None:
        match packet:
            case PublishPacket():
                if packet.qos == 2:
                    session.close(reason="QoS 2 is not supported")
                    return
                if packet.qos == 1:
                    await session.send(PubackPacket.build(packet.packet_id or 0))
                await self._service.on_publish(session, packet.topic_name or "", packet.data or b"", packet.qos or 0)
            case SubscribePacket():
                granted = []
                for topic_filter, qos in packet.payload.topics:
                    code = await self._service.on_subscribe(session, topic_filter, qos)
                    if code != REFUSED_FILTER:
                        session.subscriptions.add(topic_filter)
                    granted.append(code)
                await session.send(SubackPacket.build(packet.variable_header.packet_id, granted))
            case UnsubscribePacket():
                session.subscriptions.difference_update(packet.payload.topics)
                await session.send(UnsubackPacket.build(packet.variable_header.packet_id))
            case PingReqPacket():
                await session.send(PingRespPacket.build())
            case PubackPacket():
                pass  # nothing is kept for a second try
            case _:
                raise ValueError("a packet that no client may send")

    async def stop(self) -> None:
        """End every session."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def serve_mqtt(
    service: MqttService, host: str, port: int, context: SSL.Context, refuse: Refuse | None = None
) -> tuple[asyncio.Server, MqttServer]:
    """Listen on `host:port`; gives the socket's server, and the sessions' (to be stopped after it)."""
    server = MqttServer(service)

    def connection() -> asyncio.StreamReaderProtocol:
        reader = asyncio.StreamReader(limit=LARGEST_PACKET * 2)
        return asyncio.StreamReaderProtocol(reader, server.accept)

    return await serve_tls(connection, host, port, context, refuse), server
