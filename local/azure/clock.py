"""Time that rehearsals can move. Every service here asks this clock, never the system's."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class Clock:
    """UTC now, plus an offset that may jump in either direction.

    The real time is read once and carried on by the monotonic clock: a client that travels in time inside
    the same process (time-machine patches the wall clock) must not move the services with it.
    """

    def __init__(self) -> None:
        self.offset = timedelta(0)
        self._origin = datetime.now(UTC)
        self._started = time.monotonic()
        self._callbacks: list[Callable[[timedelta], None]] = []

    def real(self) -> datetime:
        """Real time, aware, UTC."""
        return self._origin + timedelta(seconds=time.monotonic() - self._started)

    def now(self) -> datetime:
        """Real time plus the offset, aware, UTC."""
        return self.real() + self.offset

    def advance(self, delta: timedelta) -> None:
        """Move by `delta` (negative moves back), then tell the subscribers the distance."""
        self.offset += delta
        for callback in self._callbacks:
            callback(delta)

    def set(self, when: datetime) -> None:
        """Move so that `now()` is `when` (aware)."""
        self.advance(when - self.now())

    def reset(self) -> None:
        """Back to real time."""
        if self.offset:
            self.advance(-self.offset)

    def subscribe(self, callback: Callable[[timedelta], None]) -> None:
        """Call `callback(distance)` after each move, in the caller's thread (the services' event loop)."""
        self._callbacks.append(callback)


def iso(when: datetime) -> str:
    """UTC text with microseconds and a Z, e.g. 2026-11-24T11:30:00.123456Z."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_iso(text: str) -> datetime:
    """The aware moment that ISO 8601 text names; text without a zone is UTC. ValueError otherwise."""
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)
