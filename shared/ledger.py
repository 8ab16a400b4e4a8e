"""The ledger: every rollover and its history, in one table. It is the truth; messages are only nudges.

One partition per target, so that a rollover and its history record are written in one transaction:

    PartitionKey            RowKey                 what
    individual.<reg. ID>    target                 number of the last rollover
    or group.<group ID>
                            rollover.000003        the third rollover: facts (JSON), and columns to query by
                            history.000003.00007   the seventh record of its history, chained to the sixth
                            removed.000003         the hub identity that the third rollover deleted, with its twin
    refused-input           <hash>                 an input that could not be used, with the reason
    devices                 <hash>                 which enrollment a device ID belongs to (shared.devices)
    hub-log                 looks, strangers       how often the hub's log may cost a look (shared.looks)
    timers                  <function>             when a timer last came to its end (shared.timers)
    incidents               <hash>                 what a caller was shown before a breach (shared.previews)
    started                 <time left>.<ID>       that a rollover began (shared.beginnings)

Every replacement carries the ETag that was read.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from types import MappingProxyType
from typing import Any, Protocol

from shared.beginnings import BEGINNINGS, LAST_KEY, beginning_key, beginning_row, rollover_id_of
from shared.chain import sealed
from shared.enrollment import Removed
from shared.errors import BadInput, Conflict, NotFound
from shared.events import LogEvent, log
from shared.plans import Plan
from shared.rollover import Rollover, group_partition, individual_partition, reported_compromised
from shared.rows import (
    History,
    from_row,
    history_from_row,
    history_row,
    removed_from_row,
    removed_row,
    stamp,
    to_row,
)
from shared.transitions import preempted

Row = dict[str, Any]
REFUSED_INPUT = "refused-input"
ID = r"(individual|group)\.[A-Za-z0-9._:\-]{1,128}\.\d{1,9}"
"""A rollover's ID; in the middle what a registration or group ID may be made of (azure-docs concepts-service)."""
UNREADABLE = (KeyError, ValueError, TypeError, AttributeError)
"""What reading a row raises that a person edited or a later release wrote."""


@dataclass(frozen=True)
class Write:
    """One row of a transaction: an insert when ``etag`` is None, else a replacement of what was read."""

    row: Row
    etag: str | None = None
    merge: bool = False
    """Only the columns that are named are replaced."""


class Table(Protocol):
    """The table as the ledger needs it."""

    def read(self, partition: str, row: str) -> tuple[Row, str] | None:
        """One row with its ETag."""

    def commit(self, writes: Sequence[Write]) -> list[str]:
        """Write rows of one partition, all or none; the new ETags.

        Raises:
            Conflict: a row exists already, or is not the one that was read.
        """

    def scan(
        self,
        prefix: str,
        *,
        partition: str | None = None,
        due: str | None = None,
        is_open: bool = False,
        given_up: str | None = None,
        after: str = "",
        equal: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterator[tuple[Row, str]]:
        """Rows whose key starts with ``prefix``, with ETags; with ``due``, only rows that a timer must see:
        open and due by that stamp, or with an unpublished event; with ``is_open``, only rollovers that are open;
        ``given_up``: only those of that plan that ended without being done, and in whose place none was put;
        ``after``: of partitions behind that one; ``equal``: only those with these values in these columns."""

    def slice(
        self,
        partition: str,
        first: str,
        beyond: str,
        *,
        columns: Sequence[str] | None = None,
        due: str | None = None,
        is_open: bool = False,
    ) -> Iterator[tuple[Row, str]]:
        """Rows of a partition from key ``first`` to before ``beyond``, in order, page by page: whole or in part; only
        open ones, or only open ones that were due by a stamp."""


@dataclass(frozen=True)
class RefusedInput:
    """An event, message or certificate that could not be used."""

    source: str
    subject: str
    reason: str
    first_seen: datetime
    last_seen: datetime
    count: int
    announced: bool
    """Whether the topic was told."""


class Ledger:
    """Rollovers and their history, over a ``Table``."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def read(self, rollover_id: str) -> Rollover:
        """The rollover as it stands.

        Raises:
            BadInput: the ID has not the form of one.
            NotFound: there is none with this ID.
        """
        partition, number = split_id(rollover_id)
        found = self._table.read(partition, f"rollover.{number:06}")
        if found is None:
            raise NotFound(f"there is no rollover {rollover_id!r}")
        try:
            return from_row(*found)
        except UNREADABLE as error:
            raise BadInput(f"the row of rollover {rollover_id!r} cannot be read ({type(error).__name__})") from None

    def last(self, registration_id: str) -> Rollover | None:
        """The latest rollover of an individual enrollment, ended or not; None when there never was one."""
        return self._last(individual_partition(registration_id))

    def last_of_group(self, group_id: str) -> Rollover | None:
        """The latest rollover of an enrollment group, ended or not; None when there never was one."""
        return self._last(group_partition(group_id))

    def last_like(self, rollover: Rollover) -> Rollover | None:
        """The latest rollover of the target that this one has or is to have."""
        return self._last(rollover.partition)

    def last_in(self, partition: str) -> Rollover | None:
        """The latest rollover of the target with this partition."""
        return self._last(partition)

    def _last(self, partition: str) -> Rollover | None:
        found = self._table.read(partition, "target")
        return self.read(f"{partition}.{found[0]['last']}") if found else None

    def begin(
        self, rollover: Rollover, last: Rollover | None, record: History, *, preempting: History | None = None
    ) -> Rollover:
        """Insert a new rollover after ``last`` (as read). Its ID follows from the target and the last number.

        ``preempting`` is the record with which ``last``, still open, ends in the same transaction.

        Raises:
            Conflict: another one began in the meantime, or ``last`` went on or was opened again.
        """
        partition = rollover.partition
        number = split_id(last.id)[1] + 1 if last else 1
        target = self._table.read(partition, "target")
        if (target[0]["last"] if target else 0) != number - 1:
            raise Conflict("another rollover of this target began in the meantime")
        new = replace(rollover, id=f"{partition}.{number}", records=1)
        # Written even where it does not change: whoever opens the last one again at this moment must notice.
        ending = [Write(to_row(last), last.etag)] if last is not None else []
        if last is not None and last.outcome is None:
            if preempting is None:
                raise Conflict(f"{last.id} is open")
            last, ending = _with_record(preempted(last, new.id, record.at), preempting)
        written = sealed(history_row(new, record), last.head if last else "")
        new = replace(new, head=written["hash"], quiet_at=last.writes_until if last else None)
        # Before the rollover, so that there is none without it; one without a rollover does no harm.
        with suppress(Conflict):
            self._table.commit([Write(beginning_row(new))])
        row = {"PartitionKey": partition, "RowKey": "target", "last": number}
        etags = self._table.commit(
            [
                Write(to_row(new)),
                Write(written),
                Write(row, target[1] if target else None),
                *ending,
            ]
        )
        return replace(new, etag=etags[0])

    def record(self, rollover: Rollover, record: History | None) -> Rollover:
        """Replace the rollover that was read, with a history record in the same transaction.

        Raises:
            Conflict: it was changed since.
        """
        if record is None:
            return replace(rollover, etag=self._table.commit([Write(to_row(rollover), rollover.etag)])[0])
        new, writes = _with_record(rollover, record)
        return replace(new, etag=self._table.commit(writes)[0])

    def history(self, rollover: Rollover) -> list[History]:
        """Its records, oldest first."""
        partition, number = split_id(rollover.id)
        rows = self._table.scan(f"history.{number:06}.", partition=partition)
        return [history_from_row(row) for row, _ in rows]

    def compromised(self, registration_id: str) -> set[str]:
        """SHA-256 thumbprints of every certificate of this target that was ever reported compromised."""
        return reported_compromised(self.rollovers(registration_id))

    def compromised_of_group(self, group_id: str) -> set[str]:
        """The same, of what an enrollment group trusted."""
        return reported_compromised(self.rollovers_of_group(group_id))

    def removed(self, rollover: Rollover) -> Removed | None:
        """The hub identity that this rollover deleted, or was about to, or else the breach whose work it took
        over (``Incident.restores``); None when there is none.
        """
        partition, number = split_id(rollover.id)
        if found := self._table.read(partition, f"removed.{number:06}"):
            return removed_from_row(found[0])
        before = rollover.incident.restores if rollover.incident else None
        return self.removed(self.read(before)) if before else None

    def keep_removed(self, rollover_id: str, removed: Removed) -> None:
        """Keep a hub identity's twin before it is deleted.

        Raises:
            Conflict: somebody kept one at this moment.
        """
        partition, number = split_id(rollover_id)
        key = f"removed.{number:06}"
        found = self._table.read(partition, key)
        self._table.commit([Write(removed_row(partition, key, removed), found[1] if found else None)])

    def rollovers(self, registration_id: str | None = None) -> Iterator[Rollover]:
        """All rollovers, or those of one individual enrollment."""
        partition = individual_partition(registration_id) if registration_id else None
        return _readable(self._table.scan("rollover.", partition=partition))

    def rollovers_of_group(self, group_id: str) -> Iterator[Rollover]:
        """All rollovers of one enrollment group."""
        return _readable(self._table.scan("rollover.", partition=group_partition(group_id)))

    def latest(self, after: str = "") -> Iterator[Rollover]:
        """All rollovers, latest first, those behind the one with the ``beginning_key`` of ``after``: each is read when
        it is asked for. At the end come those that a release began which knew no beginnings, after one scan of all.
        """
        end = after
        for row, _ in self._table.slice(BEGINNINGS, after, LAST_KEY, columns=["PartitionKey", "RowKey"]):
            if (key := row["RowKey"]) == after:
                continue
            end = key
            rollover = self._begun(rollover_id_of(key))
            if rollover is not None and beginning_key(rollover) == key:
                yield rollover
        yield from sorted((one for one in self.rollovers() if beginning_key(one) > end), key=beginning_key)

    def _begun(self, rollover_id: str) -> Rollover | None:
        try:
            return self.read(rollover_id)
        except (NotFound, BadInput):
            return None

    def matching(self, *, is_open: bool = False, **columns: str) -> Iterator[Rollover]:
        """The rollovers with these values in the columns ``status`` or ``incident`` of their rows."""
        return _readable(self._table.scan("rollover.", is_open=is_open, equal=columns))

    def due(self, now: datetime) -> Iterator[Rollover]:
        """Open rollovers that it is time to look at, and any whose lifecycle events are unpublished."""
        return _readable(self._table.scan("rollover.", due=stamp(now)))

    def open(self) -> Iterator[Rollover]:
        """Every rollover that has not ended: one at most of each target."""
        return self.matching(is_open=True)

    def given_up(self, plan: Plan) -> Iterator[Rollover]:
        """Every rollover of a plan that ended without being done, and is the last one of its target."""
        found = _readable(self._table.scan("rollover.", given_up=plan.value))
        return (one for one in found if (last := self._last(one.partition)) is not None and last.id == one.id)

    def targets(self, after: str) -> Iterator[tuple[str, list[Rollover]]]:
        """The targets behind the partition called ``after``, in order, each with its rollovers, oldest first. Read page
        by page, as far as they are asked for."""
        rows = self._table.scan("rollover.", after=after)
        for partition, some in groupby(rows, key=lambda one: str(one[0]["PartitionKey"])):
            yield partition, list(_readable(some))

    def rollovers_in(self, partition: str) -> list[Rollover]:
        """All rollovers of a target, oldest first."""
        return list(_readable(self._table.scan("rollover.", partition=partition)))

    def refused_input(self, source: str, subject: str, reason: str) -> RefusedInput | None:
        """The note of exactly this refusal, if there is one."""
        found = self._table.read(REFUSED_INPUT, _refusal_key(source, subject, reason))
        return _refused_from_row(found[0]) if found else None

    def note_refused(
        self, source: str, subject: str, reason: str, now: datetime, *, announced: bool = False, times: int = 1
    ) -> None:
        """Remember an input that could not be used; the same again is counted."""
        key = _refusal_key(source, subject, reason)
        found = self._table.read(REFUSED_INPUT, key)
        row: Row = {
            "PartitionKey": REFUSED_INPUT,
            "RowKey": key,
            "source": source,
            "subject": subject[:512],
            "reason": reason[:2048],
            "first_seen": found[0]["first_seen"] if found else stamp(now),
            "last_seen": stamp(now),
            "count": (found[0]["count"] if found else 0) + times,
            "announced": announced,
        }
        # Somebody noting the same thing at the same moment is as good as our own note.
        with suppress(Conflict):
            self._table.commit([Write(row, found[1] if found else None)])

    def refused_inputs(self) -> list[RefusedInput]:
        """What could not be used, latest first."""
        rows = self._table.scan("", partition=REFUSED_INPUT)
        return sorted((_refused_from_row(row) for row, _ in rows), key=lambda r: r.last_seen, reverse=True)


def _with_record(rollover: Rollover, record: History) -> tuple[Rollover, list[Write]]:
    """The rollover with one record more, and the writes that make it so."""
    new = replace(rollover, records=rollover.records + 1)
    written = sealed(history_row(new, record), rollover.head)
    new = replace(new, head=written["hash"])
    return new, [Write(to_row(new), rollover.etag), Write(written)]


def _readable(rows: Iterable[tuple[Row, str]]) -> Iterator[Rollover]:
    """One row that a person edited, or a later release wrote, must not hide the others."""
    for row, etag in rows:
        try:
            yield from_row(row, etag)
        except UNREADABLE as error:
            log(LogEvent.ROW_UNREADABLE, row=f"{row['PartitionKey']}/{row['RowKey']}", why=type(error).__name__)


def _refusal_key(source: str, subject: str, reason: str) -> str:
    return hashlib.sha256(f"{source}\n{subject}\n{reason}".encode()).hexdigest()[:32]


def _refused_from_row(row: Row) -> RefusedInput:
    return RefusedInput(
        source=row["source"],
        subject=row["subject"],
        reason=row["reason"],
        first_seen=datetime.fromisoformat(row["first_seen"]),
        last_seen=datetime.fromisoformat(row["last_seen"]),
        count=row["count"],
        announced=row["announced"],
    )


def split_id(rollover_id: str) -> tuple[str, int]:
    """Partition and number of a rollover ID such as ``individual.dev-01.3``.

    Raises:
        BadInput: it has not that form.
    """
    partition, _, number = rollover_id.rpartition(".")
    well_formed = re.fullmatch(ID, rollover_id, re.ASCII) is not None
    if not well_formed:
        raise BadInput(f"not a rollover ID: {rollover_id[:160]!r}")
    return partition, int(number)
