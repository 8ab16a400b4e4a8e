"""The devices that are connected, and what ends a connection.

An identity that is disabled or deleted loses its live connection (azure-iot-sdk-c#2300, azure-iot-sdk-csharp#42); an
expired certificate does not (azure-iot-sdk-python#968). A second connection closes the first.
"""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from local.azure.clock import Clock, iso
from local.azure.iothub.admission import pins
from local.azure.iothub.connection_log import NEW_CONNECTION, REMOTE, UNAUTHORIZED, ConnectionLog
from local.azure.iothub.store import Json, Store
from local.azure.journal import Journal
from local.azure.knobs import Knobs
from local.azure.mqtt import GOODBYE, MqttSession
from local.azure.x509 import sha256_thumbprint

REPLACED = "400027 ConnectionForcefullyClosedOnNewConnection"
DELETED, DISABLED = "the device identity was deleted", "the device identity was disabled"
UNPINNED = "the certificate's thumbprint is in neither slot any more"
CODES = {
    REPLACED: NEW_CONNECTION,
    GOODBYE: None,
    # No source says how the log calls these; what the SAS token that ran out is called (docs: error codes) is nearest.
    DELETED: UNAUTHORIZED,
    DISABLED: UNAUTHORIZED,
    UNPINNED: UNAUTHORIZED,
}
"""What the log calls the end of a connection; anything else is the other end's (404104)."""


@dataclass
class Connection:
    """A device that was let in. `generation` is the identity's, so that a recreated device ID is another device."""

    number: int
    device_id: str
    generation: str
    leaf: bytes
    mqtt: MqttSession


class Sessions:
    """One live connection for each device ID, at most."""

    def __init__(self, store: Store, clock: Clock, knobs: Knobs, journal: Journal, log: ConnectionLog) -> None:
        self._store = store
        self._clock = clock
        self._knobs = knobs
        self._journal = journal
        self._log = log
        self._numbers = itertools.count(1)
        self._live: dict[str, Connection] = {}
        # Subscriptions outlive a connection that was not clean (docs: MQTT support, "CleanSession").
        self._kept_subscriptions: dict[str, set[str]] = {}
        # Called with the device ID after a connection has ended.
        self.ended: list[Callable[[str], None]] = []

    def __len__(self) -> int:
        return len(self._live)

    def of(self, device_id: str) -> Connection | None:
        """The device's live connection."""
        return self._live.get(device_id)

    def subscribed(self, device_id: str, topic_filter: str) -> MqttSession | None:
        """The device's session if it is there and subscribed to `topic_filter`."""
        connection = self._live.get(device_id)
        return connection.mqtt if connection and topic_filter in connection.mqtt.subscriptions else None

    def refuse(
        self, device_id: str | None, leaf: bytes | None, reason: str, *, address: str | None, code: str = UNAUTHORIZED
    ) -> None:
        """Note a connect that was turned away. One that ended in the handshake never got as far as the hub's log."""
        self._note_connect(device_id, leaf, reason, address, accepted=False, session=None)
        if device_id is not None and self._knobs.hub_refusal == "connack":
            self._log.refused(device_id, address, code)

    def open(self, device_id: str, leaf: bytes, mqtt: MqttSession) -> None:
        """Let a device in; its former connection is closed."""
        former = self._live.get(device_id)
        if former is not None:
            former.mqtt.close(reason=REPLACED)
            self._end(former, REPLACED)
        device = self._store.get(device_id)
        connection = Connection(next(self._numbers), device_id, device.identity["generationId"], leaf, mqtt)
        self._live[device_id] = connection
        if mqtt.clean_session:
            self._kept_subscriptions.pop(device_id, None)
        else:
            mqtt.subscriptions = self._kept_subscriptions.setdefault(device_id, mqtt.subscriptions)
        self._show_state(device_id, "Connected")
        self._note_connect(device_id, leaf, "accepted", mqtt.address, accepted=True, session=connection.number)
        self._log.connected(device_id, mqtt.address)

    def close(self, mqtt: MqttSession, reason: str) -> None:
        """A session is over; nothing happens if it was replaced or dropped before."""
        connection = self._live.get(mqtt.client_id)
        if connection is not None and connection.mqtt is mqtt:
            self._end(connection, reason)

    def seen(self, device_id: str) -> None:
        """The device did something."""
        self._show(device_id)

    def identity_changed(self, device_id: str) -> None:
        """Judge the device's live connection again, once the hub gets round to it (knob `identity_drop_delay_s`)."""
        if device_id not in self._store.devices:
            self._kept_subscriptions.pop(device_id, None)
        if (connection := self._live.get(device_id)) is not None and self._reason_to_drop(connection):
            loop = asyncio.get_running_loop()
            loop.call_later(self._knobs.identity_drop_delay_s, self._drop, connection)

    def _drop(self, connection: Connection) -> None:
        # Looked at again: the change may have been taken back, or the device may be gone.
        reason = self._reason_to_drop(connection)
        if self._live.get(connection.device_id) is connection and reason:
            connection.mqtt.close(reason=reason)
            self._end(connection, reason)

    def _reason_to_drop(self, connection: Connection) -> str | None:
        device = self._store.devices.get(connection.device_id)
        if device is None or device.identity["generationId"] != connection.generation:
            return DELETED
        if device.identity["status"] != "enabled":
            return DISABLED
        if self._knobs.drop_session_on_thumbprint_change and not pins(device.identity, connection.leaf):
            return UNPINNED
        return None

    def _end(self, connection: Connection, reason: str) -> None:
        device_id = connection.device_id
        del self._live[device_id]
        self._show_state(device_id, "Disconnected")
        self._journal.append(
            "disconnect",
            service="iothub",
            device_id=device_id,
            reason=reason,
            address=connection.mqtt.address,
            session=connection.number,
        )
        self._log.disconnected(device_id, connection.mqtt.address, CODES.get(reason, REMOTE))
        for tell in self.ended:
            tell(device_id)

    def _show_state(self, device_id: str, state: str) -> None:
        """Let the identity say whether its device is connected, now or later (knob `connection_state_lag_s`)."""
        device = self._store.devices.get(device_id)
        if device is None:
            return

        def show() -> None:
            if self._store.devices.get(device_id) is device:  # not an identity that was made again meanwhile
                self._show(device_id, connectionState=state, connectionStateUpdatedTime=self._now())

        if lag_s := self._knobs.connection_state_lag_s:
            self._show(device_id)
            asyncio.get_running_loop().call_later(lag_s, show)
        else:
            show()

    def _show(self, device_id: str, **fields: str) -> None:
        device = self._store.devices.get(device_id)
        if device is not None:
            self._store.changing(device_id)
            shown: Json = {"lastActivityTime": self._now(), **fields}
            device.identity = device.identity | shown

    def _note_connect(
        self,
        device_id: str | None,
        leaf: bytes | None,
        reason: str,
        address: str | None,
        *,
        accepted: bool,
        session: int | None,
    ) -> None:
        self._journal.append(
            "connect",
            service="iothub",
            device_id=device_id,
            accepted=accepted,
            reason=reason,
            sha256=sha256_thumbprint(leaf) if leaf else None,
            address=address,
            session=session,
        )

    def _now(self) -> str:
        return iso(self._clock.now())

    def clear(self) -> None:
        """Cut every connection without a word in the journal."""
        live, self._live = self._live, {}
        for connection in live.values():
            connection.mqtt.close(reason="the stand-in was reset")
        self._kept_subscriptions.clear()
