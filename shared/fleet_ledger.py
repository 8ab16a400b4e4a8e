"""The works on fleets: heads and batches, in a table beside the ledger's.

    PartitionKey          RowKey                                what
    group.<group ID>      fleet.000003.evict.000                the work "evict" of the group's third rollover, round 0
                          batch.000003.evict.000.000017         its batch 17: at most a hundred devices
    removed.group.<ID>    <SHA-256 of the device ID>            the twin of a deleted identity (shared.kept_twins)
    open                  group.<group ID>.000003.evict.000     a work that a timer must look at

A table of its own: a fleet has rows by the hundred thousand, and the timer searches the ledger's table every minute.
A batch is born in the same transaction that moves the listing on, so no device is listed twice or left out by a crash.
Every replacement carries the ETag that was read.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.errors import Conflict, RolloverError
from shared.events import LogEvent, log
from shared.fleet import FleetProgress, Wave, Work
from shared.fleet_rows import (
    COUNTED,
    LARGEST_BATCH,
    Batch,
    Head,
    Phase,
    Row,
    batch_from_row,
    batch_key,
    batch_row,
    head_from_row,
    head_row,
)
from shared.kept_twins import KeptTwins
from shared.ledger import UNREADABLE, Table, Write
from shared.lines import Lines
from shared.nudges import Nudges
from shared.pins import Pins
from shared.quota import Quota
from shared.rollover import Rollover
from shared.rows import stamp
from shared.settings import Settings

OPEN = "open"
MOST_NAMES = 100


@dataclass(frozen=True)
class Waiting:
    """A batch that waits for its moment."""

    number: int
    size: int
    etag: str
    planned: bool = False
    """Nothing of it is to be read before its devices may be asked."""


class Fleets:
    """Heads and batches, over a ``Table``; what is to be looked at is nudged."""

    def __init__(self, table: Table, nudges: Nudges, settings: Settings, now: Callable[[], datetime]) -> None:
        self._table = table
        self._nudges = nudges
        self._settings = settings
        self._now = now
        self.lines = Lines(table, now)

    def kept(self, partition: str) -> KeptTwins:
        """The twins that are kept for a group."""
        return KeptTwins(self._table, partition)

    @property
    def pins(self) -> Pins:
        """What the hub was seen to pin."""
        return Pins(self._table)

    # --- for the rollover's steps ---------------------------------------------------------------------------------

    def begin(self, rollover: Rollover, work: str) -> None:
        """Begin a work in the rollover's present round: note it, so that it goes on by itself.

        Raises:
            Conflict: it is begun already.
        """
        now = self._now()
        head = Head(rollover.id, Work(work), rollover.round, begun_at=now, due_at=now)
        index = {"PartitionKey": OPEN, "RowKey": f"{head.partition}.{head.key}", "open": True, "due_at": stamp(now)}
        with suppress(Conflict):  # noted by a beginning that was cut off
            self._table.commit([Write(index | {"rollover_id": rollover.id, "work": head.work, "round": head.round})])
        self._table.commit([Write(head_row(head))])
        self.nudge(head)

    def progress(self, rollover: Rollover, work: str) -> FleetProgress | None:
        """How far a work is in the rollover's present round; None when it is not begun."""
        head = self.head(rollover, Work(work))
        return self.counted(head, rollover) if head else None

    def counted(self, head: Head, rollover: Rollover) -> FleetProgress:
        """How far this work is."""
        tally = _Tally()
        for row, _ in self._table.slice(head.partition, batch_key(head, head.first), _beyond(head), columns=COUNTED):
            tally.add(row)
        share = self._settings.waves.complete_share
        quota = Quota(head.tier, head.units)
        left = tally.devices - tally.done
        return FleetProgress(
            work=head.work,
            listed=head.listed,
            devices=tally.devices,
            done=tally.done,
            batches=tally.batches,
            batches_done=tally.batches_done,
            stragglers=tuple(tally.names),
            waves=tally.waves(),
            halted=self.halted(head, rollover),
            spared=head.spared,
            newcomers=tally.newcomers,
            threshold_reached=head.listed and tally.is_enough(share),
            seconds_left=quota.eviction_seconds(left) if head.work is Work.EVICT else None,
            digest=tally.digest.hexdigest(),
        )

    def halted(self, head: Head, rollover: Rollover) -> str | None:
        """Why the work is halted, unless a person's retry has made it go on since."""
        if head.halted_at is None or (rollover.reopened_at is not None and rollover.reopened_at >= head.halted_at):
            return None
        return head.halted

    # --- heads ----------------------------------------------------------------------------------------------------

    def head(self, rollover: Rollover, work: Work) -> Head | None:
        """The work as it stands; None when it is not begun in the rollover's present round."""
        now = self._now()
        sought = Head(rollover.id, work, rollover.round, now, now)
        found = self._table.read(sought.partition, f"fleet.{sought.key}")
        return head_from_row(*found) if found else None

    def save_head(self, head: Head, batches: Sequence[Batch] = ()) -> Head:
        """Replace the head that was read; with new batches in the same transaction.

        Raises:
            Conflict: another turn of it was faster.
        """
        writes = [Write(head_row(head), head.etag), *(Write(batch_row(head, one)) for one in batches)]
        return replace(head, etag=self._table.commit(writes)[0])

    def close(self, key: tuple[str, str]) -> None:
        """Let the timer look at a work no more (as ``open_works`` gave it)."""
        row, etag = key
        with suppress(Conflict):
            self._table.commit([Write({"PartitionKey": OPEN, "RowKey": row, "open": False}, etag, merge=True)])

    def open_works(self) -> Iterator[tuple[tuple[str, str], str, Work, int]]:
        """Works that a timer must look at: key, rollover, work, round. A row that cannot be read hides no other."""
        for row, etag in self._table.slice(OPEN, "", "~", is_open=True):
            try:
                found = (row["RowKey"], etag), row["rollover_id"], Work(row["work"]), row["round"]
            except UNREADABLE as error:
                log(LogEvent.ROW_UNREADABLE, row=f"{OPEN}/{row['RowKey']}", why=type(error).__name__)
                continue
            yield found

    # --- batches --------------------------------------------------------------------------------------------------

    def batch(self, head: Head, number: int) -> Batch | None:
        """One batch as it stands."""
        found = self._table.read(head.partition, batch_key(head, number))
        return batch_from_row(*found) if found else None

    def save_batch(self, head: Head, batch: Batch) -> Batch:
        """Replace the batch that was read.

        Raises:
            Conflict: another turn of it was faster.
        """
        return replace(batch, etag=self._table.commit([Write(batch_row(head, batch), batch.etag)])[0])

    def waiting(self, head: Head, first: int, beyond: int) -> list[Waiting]:
        """Batches by number that wait for their moment."""
        rows = self._table.slice(
            head.partition,
            batch_key(head, first),
            batch_key(head, beyond),
            columns=("RowKey", "open", "size", "done", "left", "phase"),
        )
        return [
            Waiting(
                number=int(row["RowKey"].rpartition(".")[2]),
                size=row["size"] - row["done"] - row["left"],
                etag=etag,
                planned=not row["open"] or row["phase"] != Phase.LISTED,
            )
            for row, etag in rows
        ]

    def give_moments(self, head: Head, waiting: Sequence[Waiting], moments: Sequence[datetime]) -> Head:
        """Give batches their moments, with the head that has moved on past them; then nudge each for its moment.

        Raises:
            Conflict: another turn was faster.
        """
        due = [
            Write(
                {"PartitionKey": head.partition, "RowKey": batch_key(head, one.number), "due_at": stamp(moment)},
                one.etag,
                merge=True,
            )
            for one, moment in zip(waiting, moments, strict=True)
        ]
        head = replace(head, etag=self._table.commit([Write(head_row(head), head.etag), *due])[0])
        for one, moment in zip(waiting, moments, strict=True):
            self.nudge(head, one.number, moment)
        return head

    def overdue(self, head: Head, since: datetime) -> Iterator[int]:
        """Numbers of open batches whose moment passed before ``since``: a nudge was lost, or a host killed."""
        rows = self._table.slice(
            head.partition, batch_key(head, head.first), _beyond(head), columns=("RowKey",), due=stamp(since)
        )
        for row, _ in rows:
            yield int(row["RowKey"].rpartition(".")[2])

    def any_open(self, head: Head) -> bool:
        """Whether a batch has not come to its end."""
        rows = self._table.slice(
            head.partition, batch_key(head, head.first), _beyond(head), columns=("RowKey",), is_open=True
        )
        return next(iter(rows), None) is not None

    def with_somebody_left(self, head: Head, first: int) -> tuple[list[Batch], int | None]:
        """Batches from number ``first`` on with devices that are not done, until they have a hundred of those; and the
        number at which to go on, or None at the end."""
        found: list[Batch] = []
        rows = self._table.slice(
            head.partition,
            batch_key(head, max(first, head.first)),
            _beyond(head),
            columns=("RowKey", "size", "done"),
        )
        left = 0
        for row, _ in rows:
            number = int(row["RowKey"].rpartition(".")[2])
            if left >= LARGEST_BATCH:
                return found, number
            batch = self.batch(head, number) if row["done"] < row["size"] else None
            if batch is not None:
                found.append(batch)
                left += row["size"] - row["done"]
        return found, None

    def nudge(self, head: Head, number: int | None = None, at: datetime | None = None) -> None:
        """Wake a work, or one batch of it, at its moment; what cannot be sent the timer sends.

        Queues count whole seconds: to the nearest, for always later adds up where turns follow each other.
        """
        about = f"{head.rollover_id}/{head.work}" + ("" if number is None else f"/{number}")
        delay = timedelta(seconds=max(round(((at or head.due_at) - self._now()).total_seconds()), 0))
        try:
            self._nudges.send(head.work.step, about, delay)
        except RolloverError as error:
            log(LogEvent.NUDGE_IGNORED, rollover_id=about, step=head.work.step, why=str(error))


def _beyond(head: Head) -> str:
    return f"batch.{head.key}.~"


class _Tally:
    """Counts rows of batches; keeps no more of them than a hundred names."""

    def __init__(self) -> None:
        self.devices = self.done = self.batches = self.batches_done = self.newcomers = 0
        self.names: list[str] = []
        self.digest = hashlib.sha256()
        self._waves: dict[int, Wave] = {}

    def add(self, row: Row) -> None:
        self.devices += row["size"]
        self.done += row["done"]
        self.newcomers += row.get("newcomers") or 0  # rows of earlier releases have none
        self.batches += 1
        self.batches_done += not row["open"]
        names = json.loads(row["names"])
        self.names += names[: MOST_NAMES - len(self.names)]
        self.digest.update(row["digest"].encode())
        if row["wave"]:
            asked_at = datetime.fromisoformat(row["first_asked_at"]) if row["first_asked_at"] else None
            wave = self._waves.get(row["wave"], Wave(row["wave"], 0, 0, asked=True))
            self._waves[wave.number] = replace(
                wave,
                size=wave.size + row["size"],
                moved=wave.moved + row["done"],
                asked=wave.asked and (asked_at is not None or not row["open"]),
                reachable=wave.reachable + row["reachable"],
                stragglers=(wave.stragglers + tuple(names))[:MOST_NAMES],
                asked_at=max(filter(None, (wave.asked_at, asked_at)), default=None),
            )

    def is_enough(self, share: float) -> bool:
        """Whether the rest holds up nothing; newcomers that are left do not count, once anybody is done at all."""
        awaited = self.devices - self.newcomers
        return self.done >= share * awaited and (self.done > 0 or not self.newcomers)

    def waves(self) -> tuple[Wave, ...]:
        return tuple(wave for _, wave in sorted(self._waves.items()))
