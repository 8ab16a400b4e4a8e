"""MQTT 3.1.1 over TLS, a client's side of single connections, on asyncio streams.

Packets are taken apart and put together by amqtt (`amqtt.mqtt`). Its client is not used: it reconnects by itself, which
a device must not leave to anybody (device/README.md, row 7).
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from typing import Any

from amqtt.adapters import BufferReader
from amqtt.errors import AMQTTError, CodecError, MQTTError, NoDataError
from amqtt.mqtt import packet_class
from amqtt.mqtt.connack import ConnackPacket
from amqtt.mqtt.connect import ConnectPacket, ConnectPayload, ConnectVariableHeader
from amqtt.mqtt.disconnect import DisconnectPacket
from amqtt.mqtt.packet import MQTTFixedHeader, MQTTPacket
from amqtt.mqtt.pingreq import PingReqPacket
from amqtt.mqtt.pingresp import PingRespPacket
from amqtt.mqtt.puback import PubackPacket
from amqtt.mqtt.publish import PublishPacket
from amqtt.mqtt.suback import SubackPacket
from amqtt.mqtt.subscribe import SubscribePacket

from device.errors import Refused, Unreachable

log = logging.getLogger(__name__)

PORT = 8883
ANSWER_S = 20.0
LARGEST_PACKET = 256 * 1024
BAD_CREDENTIALS, NOT_AUTHORIZED, REFUSED_FILTER = 4, 5, 0x80
BROKEN = (OSError, EOFError, TimeoutError, AMQTTError, CodecError, MQTTError, NoDataError, ValueError)
"""What reading and writing raise when the other side is gone, silent or speaks something else."""

# A closed connection is read to its end, and by then nobody else may hold the task: the loop does not.
_conversations: set[asyncio.Task[None]] = set()

type Packet = MQTTPacket[Any, Any, Any]
type OnMessage = Callable[[str, bytes], None]


class Link:
    """One connection, from `connect` to `close` or its loss. Used inside one event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._acknowledged: dict[int, asyncio.Future[None]] = {}
        self._packet_id = 0
        self._pinging: asyncio.TimerHandle | None = None
        self._heard = True
        self.on_message: OnMessage = lambda _topic, _payload: None
        self.on_lost: Callable[[], None] = lambda: None
        """Called once, when the connection ends other than by `close`."""

    @classmethod
    async def connect(
        cls,
        host: str,
        tls: ssl.SSLContext,
        client_id: str,
        username: str,
        *,
        keep_alive_s: int = 60,
        address: str | None = None,
    ) -> "Link":
        """A connection that was accepted; `address` is the local one to come from.

        Raises:
            Refused: CONNACK 4 or 5, or a TLS alert (azure-iot-sdk-python#968).
            Unreachable: any other answer, or none.
        """
        came_from = (address, 0) if address else None
        try:
            async with asyncio.timeout(ANSWER_S):
                streams = await asyncio.open_connection(host, PORT, ssl=tls, local_addr=came_from)
        except ssl.SSLError as error:
            kind = Refused if "ALERT" in (error.reason or "") else Unreachable
            raise kind(f"TLS with {host}: {error.reason}") from None
        except (OSError, TimeoutError) as error:
            raise Unreachable(f"no connection to {host}: {type(error).__name__}") from None
        link = cls(*streams)
        try:
            await link._introduce(client_id, username, keep_alive_s)
        except BaseException:
            link._writer.close()
            raise
        return link

    async def _introduce(self, client_id: str, username: str, keep_alive_s: int) -> None:
        header = ConnectVariableHeader(keep_alive=keep_alive_s)
        header.clean_session_flag = header.username_flag = True
        payload = ConnectPayload(client_id=client_id, username=username)
        self._send(ConnectPacket(variable_header=header, payload=payload))
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await self._read()
        except BROKEN as error:
            raise Unreachable(f"CONNECT was not answered: {type(error).__name__}") from None
        code = answer.return_code if isinstance(answer, ConnackPacket) else None
        if code in (BAD_CREDENTIALS, NOT_AUTHORIZED):
            raise Refused(f"CONNACK {code}")
        if code != 0:
            raise Unreachable(f"CONNACK {code}")
        loop = asyncio.get_running_loop()
        reading = loop.create_task(self._converse())
        _conversations.add(reading)
        reading.add_done_callback(_conversations.discard)
        self._pinging = loop.call_later(keep_alive_s, self._ping, keep_alive_s)

    async def subscribe(self, topic_filter: str) -> None:
        """Ask for its messages, at least once each. Unreachable when the connection ends before the answer."""
        await self._acknowledgement(lambda number: SubscribePacket.build([(topic_filter, 1)], number))

    async def publish(self, topic: str, payload: bytes) -> None:
        """Send at least once. Unreachable when the connection ends before it is acknowledged."""

        def packet(number: int) -> Packet:
            return PublishPacket.build(topic, payload, number, dup_flag=False, qos=1, retain=False)

        await self._acknowledgement(packet)

    async def _acknowledgement(self, build: Callable[[int], Packet]) -> None:
        self._packet_id = number = self._packet_id % 0xFFFF + 1
        done = self._acknowledged[number] = asyncio.get_running_loop().create_future()
        try:
            self._send(build(number))
            async with asyncio.timeout(ANSWER_S):
                await done
        except BROKEN as error:
            raise Unreachable(f"the connection is gone: {type(error).__name__}") from None
        finally:
            self._acknowledged.pop(number, None)

    def close(self) -> None:
        """Say goodbye; nothing is called any more."""
        self.on_message, self.on_lost = lambda _topic, _payload: None, lambda: None
        with contextlib.suppress(OSError):
            self._send(DisconnectPacket())
        self._end()

    def _end(self) -> None:
        if self._pinging is not None:
            self._pinging.cancel()
        for waiting in self._acknowledged.values():
            if not waiting.done():
                waiting.set_exception(ConnectionResetError())
        self._writer.close()

    def _send(self, packet: Packet) -> None:
        if self._writer.is_closing():  # asyncio's TLS transport takes no write any more, and says so badly
            raise ConnectionResetError
        self._writer.write(packet.to_bytes())

    async def _read(self) -> Packet:
        header = await MQTTFixedHeader.from_stream(self._reader)
        if header is None:
            raise EOFError
        if header.remaining_length > LARGEST_PACKET:
            raise ValueError("the packet is too large")
        body = await self._reader.readexactly(header.remaining_length)
        packet: Packet = await packet_class(header).from_stream(BufferReader(body), fixed_header=header)
        return packet

    async def _converse(self) -> None:
        try:
            while True:
                self._take(await self._read())
        except BROKEN:
            pass
        except Exception:
            log.exception("a message could not be taken")
        self._end()
        self.on_lost()

    def _take(self, packet: Packet) -> None:
        self._heard = True
        match packet:
            case PublishPacket():
                if packet.qos:
                    self._send(PubackPacket.build(packet.packet_id or 0))
                self.on_message(packet.topic_name or "", packet.data or b"")
            case SubackPacket() if REFUSED_FILTER in packet.payload.return_codes:
                raise ValueError("a subscription was refused")
            case PubackPacket() | SubackPacket():
                waiting = self._acknowledged.get(packet.variable_header.packet_id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(None)
            case PingRespPacket():
                pass
            case _:
                raise ValueError("a packet that no server may send")

    def _ping(self, keep_alive_s: int) -> None:
        """MQTT 3.1.1, 3.1.2.10: a client that hears nothing for a while after its PINGREQ closes the connection."""
        if not self._heard or self._writer.is_closing():
            self._writer.transport.abort()
            return
        self._heard = False
        self._send(PingReqPacket())
        self._pinging = asyncio.get_running_loop().call_later(keep_alive_s, self._ping, keep_alive_s)
