"""Journal entries in the shape that the stand-in writes them, for tests of what is made of them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

from local.rehearse.journal import DeviceFacts, facts_of

OLD, NEW, NEWEST = "A" * 64, "B" * 64, "C" * 64
UNTIL = 30.0
HOME = "10.0.0.1"


class Notes:
    """A journal. Seconds stand for the real time."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self._seq: Iterator[int] = count(1)

    def _add(self, kind: str, wall: float, **fields: Any) -> None:
        at = datetime.fromtimestamp(wall, UTC).isoformat()
        self.entries.append({"seq": next(self._seq), "kind": kind, "at": at, "wall": wall, **fields})

    def on(self, wall: float, session: int, sha256: str, device: str = "meter-01", address: str = HOME) -> None:
        about = {"service": "iothub", "device_id": device, "sha256": sha256, "session": session, "address": address}
        self._add("connect", wall, accepted=True, reason="accepted", **about)

    def off(
        self, wall: float, session: int, reason: str = "gone", address: str = HOME, device: str = "meter-01"
    ) -> None:
        about = {"service": "iothub", "device_id": device, "session": session, "address": address}
        self._add("disconnect", wall, reason=reason, **about)

    def refused(self, wall: float, service: str = "iothub", address: str = HOME, device: str = "meter-01") -> None:
        about = {"service": service, "device_id": device, "sha256": OLD, "session": None, "address": address}
        self._add("connect", wall, accepted=False, reason="401003", **about)

    def registered(
        self, wall: float, sha256: str, status: str = "assigned", address: str = HOME, device: str = "meter-01"
    ) -> None:
        about = {"service": "dps", "registration_id": device, "sha256": sha256, "address": address}
        self._add("registration", wall, status=status, **about)

    def register_answered(self, wall: float, status: int, method: str = "MQTT", principal: str = "meter-01") -> None:
        self._add("request", wall, service="dps", method=method, status=status, principal=principal)

    def facts(self, device: str = "meter-01") -> DeviceFacts:
        return facts_of(self.entries, [device], UNTIL)[0]

    def written(self, wall: float, service: str, path: str, principal: str = "rollover", status: int = 200) -> None:
        about = {"service": service, "method": "PUT", "path": path, "principal": principal, "writes": True}
        self._add("request", wall, status=status, **about)

    def event(self, wall: float, event_id: str, outcome: str = "published") -> None:
        self._add("event", wall, service="eventgrid", id=event_id, outcome=outcome)

    def delivered(self, wall: float, event_id: str, outcome: str = "Delivered") -> None:
        about = {"service": "eventgrid", "id": event_id, "subscription": "certificates", "attempt": 1}
        self._add("event", wall, outcome=outcome, **about)
