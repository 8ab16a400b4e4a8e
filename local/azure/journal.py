"""What happened, in order: tests and reports read here what no client can see."""

import time
from collections import deque
from typing import Any

from local.azure.clock import Clock, iso

KEPT = 100_000  # a long rehearsal writes a few thousand; bounded so that a stand-in left running does not grow


class Journal:
    """Entries with a sequence number that never repeats, not even over a reset.

    Kinds: `request`, `connect`, `disconnect`, `registration`, `event`. Each entry is a dict with `seq`, `kind`,
    `at` (the stand-in's clock, ISO), `wall` (real time, seconds since 1970) and the kind's own fields. What a device
    did has the `address` that it came from: two that hold the same key differ in nothing else.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seq = 0
        self._entries: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def append(self, kind: str, **fields: Any) -> int:
        """Write one entry; gives its sequence number."""
        self._seq += 1
        entry = {"seq": self._seq, "kind": kind, "at": iso(self._clock.now()), "wall": time.time(), **fields}
        self._entries.append(entry)
        return self._seq

    def entries(self, since: int = 0, kind: str | None = None, service: str | None = None) -> list[dict[str, Any]]:
        """Entries after sequence number `since`, oldest first, narrowed to a kind and a service."""
        return [
            entry
            for entry in self._entries
            if entry["seq"] > since
            and (kind is None or entry["kind"] == kind)
            and (service is None or entry.get("service") == service)
        ]

    def clear(self) -> None:
        """Forget the entries; numbering goes on."""
        self._entries.clear()
