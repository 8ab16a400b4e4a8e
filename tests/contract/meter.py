"""Counts what is asked of the services, and keeps below the hub's quota when told to.

Every HTTP client here (requests, azure-core, msrest) sends through requests' adapter, and every MQTT client
(azure-iot-device, paho) connects through paho: those two places are where it counts.
"""

import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from requests.adapters import HTTPAdapter

REGISTRY = "hub registry"
QUERIES = "hub queries"
# S1 allows 100 registry operations a minute, and the registrations of DPS count too (docs: quotas and throttling).
LIVE_PACE: Mapping[str, int] = {REGISTRY: 60}
MINUTE_S = 60.0
_KINDS = (
    (r"GET /[^/]+/registrations/.+/operations/", "DPS polls of a registration"),
    (r"(PUT|POST) /[^/]+/registrations/", "DPS registrations"),
    (r"\w+ /(enrollments|enrollmentGroups|registrations)\b", "DPS service API"),
    (r"\w+ /devices/query", QUERIES),
    (r"\w+ /(devices|statistics)\b", REGISTRY),
    (r"\w+ /twins/.+/methods", "hub methods"),
    (r"\w+ /twins/", "hub twins"),
    (r"\w+ /jobs/", "hub jobs"),
    (r"\w+ /(certificates|deletedcertificates|secrets)\b", "Key Vault"),
)
CONNECTS = "MQTT connects"


def kind_of(method: str, url: str) -> str | None:
    """Which quota a request counts against; None for what is no service of ours (tokens, the control port)."""
    asked = f"{method} {urlsplit(url).path}"
    return next((kind for pattern, kind in _KINDS if re.match(pattern, asked)), None)


class Meter:
    """Requests by kind, retries of clients included."""

    def __init__(self, pace: Mapping[str, int] | None = None) -> None:
        self.counted: Counter[str] = Counter()
        self._pace = pace or {}
        self._sent: dict[str, deque[float]] = {kind: deque() for kind in self._pace}
        self._lock = threading.Lock()

    @contextmanager
    def running(self) -> Iterator["Meter"]:
        """Count until the end of the block."""
        send, connect = HTTPAdapter.send, paho.Client.reconnect

        def counting_send(adapter: Any, request: Any, *rest: Any, **more: Any) -> Any:
            self._note(kind_of(request.method, request.url))
            return send(adapter, request, *rest, **more)

        def counting_connect(client: Any, *rest: Any, **more: Any) -> Any:
            self._note(CONNECTS)
            return connect(client, *rest, **more)

        HTTPAdapter.send, paho.Client.reconnect = counting_send, counting_connect  # type: ignore[method-assign]
        try:
            yield self
        finally:
            HTTPAdapter.send, paho.Client.reconnect = send, connect  # type: ignore[method-assign]

    def _note(self, kind: str | None) -> None:
        if kind is None:
            return
        self._wait(kind, time.sleep)
        with self._lock:
            self.counted[kind] += 1

    def _wait(self, kind: str, sleep: Callable[[float], None]) -> None:
        if kind not in self._pace:
            return
        with self._lock:
            sent = self._sent[kind]
            while len(sent) >= self._pace[kind] and sent[0] > time.monotonic() - MINUTE_S:
                sleep(max(0.0, sent[0] + MINUTE_S - time.monotonic()))
            while len(sent) >= self._pace[kind]:
                sent.popleft()
            sent.append(time.monotonic())

    def in_words(self) -> str:
        """One line, most first."""
        parts = [f"{number} {kind}" for kind, number in self.counted.most_common()]
        return ", ".join(parts) or "nothing was asked"
