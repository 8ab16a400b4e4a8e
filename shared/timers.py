"""What the timers remember: when each last came to its end, and how far the watch has compared.

A timer that begins and never ends looks alive to the host, which counts invocations. Only an end counts here.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from shared.errors import Conflict, ServiceUnavailable
from shared.events import LogEvent, log
from shared.ledger import UNREADABLE, Row, Table, Write
from shared.rows import stamp
from shared.telemetry import Metric, measure

if TYPE_CHECKING:
    from shared.services import Services

PARTITION = "timers"
PLACE = "place"


class Timer(StrEnum):
    """The timers that rollovers rely on, by the name of their function."""

    SWEEP = "sweep_certificates"
    RESUME = "resume_rollovers"
    WATCH = "watch_rollovers"


@dataclass(frozen=True)
class Completed:
    """The last run of a timer that came to its end."""

    at: datetime
    took: timedelta


@dataclass(frozen=True)
class Place:
    """How far a round of comparing is."""

    after: str = ""
    """The partition of the last target that was tried; empty between two rounds."""
    began: datetime | None = None
    """When the round began."""


class Timers:
    """One row for each timer, and one for the place, in the ledger's table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def completed(self, timer: Timer) -> Completed | None:
        """The last complete run; None when there never was one."""
        found = self._table.read(PARTITION, timer)
        try:
            if found is not None:
                at = datetime.fromisoformat(found[0]["completed_at"])
                return Completed(at, timedelta(seconds=found[0]["took_seconds"]))
        except UNREADABLE:
            pass  # a person edited it; the next run writes it anew
        return None

    def note_completed(self, timer: Timer, began: datetime, now: datetime) -> None:
        """A run came to its end just now."""
        took = int((now - began).total_seconds())
        self._put({"PartitionKey": PARTITION, "RowKey": timer.value, "completed_at": stamp(now), "took_seconds": took})

    def place(self) -> Place:
        """Where the watch goes on to compare."""
        found = self._table.read(PARTITION, PLACE)
        try:
            if found is not None:
                return Place(found[0]["after"], datetime.fromisoformat(found[0]["began"]))
        except UNREADABLE:
            pass  # a person edited it; the next round begins
        return Place()

    def go_on(self, after: str, began: datetime | None) -> None:
        """From there, next time, in the round that began then."""
        row = {"PartitionKey": PARTITION, "RowKey": PLACE, "after": after, "began": stamp(began) if began else ""}
        self._put(row)

    def _put(self, row: Row) -> None:
        found = self._table.read(row["PartitionKey"], row["RowKey"])
        with suppress(Conflict):  # another instance's run ended at this moment, which is as good
            self._table.commit([Write(row, found[1] if found else None)])


@contextmanager
def completing(timer: Timer, services: "Services") -> Iterator[None]:
    """One run of a timer: a heartbeat in the ledger and in the metrics, if and only if it comes to its end."""
    began = services.now()
    yield
    measure(Metric.COMPLETED, timer=timer)
    try:
        services.timers.note_completed(timer, began, services.now())
    except ServiceUnavailable as error:
        log(LogEvent.STORAGE_DOWN, why=str(error))
