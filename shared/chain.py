"""History that cannot be edited quietly: every record carries the hash of the one before it. Pure.

One chain for each target, through its rollovers in their order:

    genesis <── record 1 <── record 2 <── ... <── record n <── record 1 of the next rollover <── ...
                                                     └─ its hash is the head that the rollover's row keeps

Who can write the table can also make the whole chain anew. Heads that were published (anchors) lie outside the
table and show even that (docs/decisions/0008-history-is-chained.md).
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
Anchors = Mapping[str, Collection[tuple[int, str]]]
"""Rollover ID → what published events say of it: how many records it had, and the hash of the last of them."""

_RECORD = re.compile(r"history\.(\d{6,9})\.(\d{5,9})", re.ASCII)
_ROLLOVER = re.compile(r"rollover\.(\d{6,9})", re.ASCII)


def genesis(partition: str) -> str:
    """What the first record of a target that carries a hash follows."""
    return hashlib.sha256(f"genesis of {partition}".encode()).hexdigest()


def canonical(row: Row) -> str:
    """A record as it is hashed: JSON of the whole row without its hash, columns sorted, nothing but ASCII.

    The keys hold rollover ID and number; ``before`` and ``after`` are the text that lies in the table, so that no
    number is ever written in two ways.

    Raises:
        ValueError: a column is not text.
    """
    said = {column: value for column, value in row.items() if column != "hash"}
    if strange := [column for column, value in said.items() if not isinstance(value, str)]:
        raise ValueError(f"column {min(strange)!r} is not text")
    return json.dumps(said, sort_keys=True, separators=(",", ":"))


def digest(row: Row) -> str:
    """The hash of a record: SHA-256 of its canonical form, in hex.

    Raises:
        ValueError: a column is not text.
    """
    return hashlib.sha256(canonical(row).encode()).hexdigest()


def sealed(row: Row, head: str) -> dict[str, Any]:
    """The row of a new record with the columns ``previous`` and ``hash``; ``head`` is the hash before it, if any."""
    chained = {**row, "previous": head or genesis(row["PartitionKey"])}
    return {**chained, "hash": digest(chained)}


@dataclass(frozen=True)
class Break:
    """The first thing that is wrong with the history of a target."""

    rollover_id: str
    record: int
    """Number of the record; 0 when it is the rollover itself, or the target."""
    what: str


@dataclass(frozen=True)
class Verified:
    """What a look at the history of one target found. The counts go up to the break, if there is one."""

    partition: str
    first_break: Break | None
    rollovers: int
    covered: int
    """Records that carry a hash, which holds."""
    older: Mapping[str, int]
    """Rollover ID → how many records at its beginning are not covered: a release without hashes wrote them."""
    anchored: int
    """Anchors that hold."""


def verify(partition: str, rows: Iterable[Row], anchors: Anchors | None = None) -> Verified:
    """Check the whole history of a target: ``rows`` are all rows of its partition, in any order.

    A changed column, key or hash is named at its own record. What was chained anew from some record on is named at
    the record that still names the old hash: the next one, or the same one by the rollover's row or an anchor.
    """
    walk = _Walk(partition, rows, anchors or {})
    first = next(walk.breaks(), None)
    return Verified(partition, first, walk.rollovers_seen, walk.covered, walk.older, walk.anchored)


class _Walk:
    """From the first record of a target to the last; ``breaks`` is only good up to the first."""

    def __init__(self, partition: str, rows: Iterable[Row], anchors: Anchors) -> None:
        self.rollovers_seen = self.covered = self.anchored = 0
        self.older: dict[str, int] = {}
        self._partition = partition
        self._head = ""
        self._target: Row | None = None
        self._rollovers: dict[int, Row] = {}
        self._records: dict[int, dict[int, Row]] = {}
        self._strange: list[str] = []
        self._anchors: dict[int, Collection[tuple[int, str]]] = {}
        for row in rows:
            self._sort_in(row)
        for rollover_id, said in anchors.items():
            where, _, number = rollover_id.rpartition(".")
            if where == partition:
                self._anchors[int(number)] = said

    def _sort_in(self, row: Row) -> None:
        key = row["RowKey"]
        rollover, record = _ROLLOVER.fullmatch(key), _RECORD.fullmatch(key)
        if key == "target":
            self._target = row
        elif rollover and key == f"rollover.{max(int(rollover[1]), 1):06}":
            self._rollovers[int(rollover[1])] = row
        elif record and key == f"history.{max(int(record[1]), 1):06}.{max(int(record[2]), 1):05}":
            self._records.setdefault(int(record[1]), {})[int(record[2])] = row
        elif key.startswith(("history.", "rollover.")):
            self._strange.append(key)

    def breaks(self) -> Iterator[Break]:
        """What is wrong."""
        numbers = (*self._rollovers, *self._records, *self._anchors)
        begun = max(numbers, default=0)
        last = self._target["last"] if self._target and "last" in self._target else 0
        counts = type(last) is int
        for number in range(1, max(begun, last if counts else 0) + 1):
            yield from self._rollover(number)
            self.rollovers_seen += 1
        if last != begun or not counts:
            yield Break(self._partition, 0, f"the target row counts {last!r} rollovers, there are {begun}")
        if self._strange:
            yield Break(self._partition, 0, f"the ledger writes no row with the key {min(self._strange)!r}")

    def _rollover(self, number: int) -> Iterator[Break]:
        rollover_id = f"{self._partition}.{number}"
        row, records = self._rollovers.get(number), self._records.get(number, {})
        if row is None:
            left = f"; {len(records)} of its records are left" if records else ""
            yield Break(rollover_id, 0, f"the rollover is missing{left}")
            return
        kept = _count_and_head(row)
        if kept is None:
            yield Break(rollover_id, 0, "the rollover's row does not say how many records there are")
            return
        count, head = kept
        published = self._anchors.get(number, ())
        before = self._head
        for seq in range(1, max(count, *records, *(n for n, _ in published), 1) + 1):
            record = records.get(seq)
            if record is None:
                what: str | None = "the record is missing"
            elif seq > count:
                what = f"the record is one too many: the rollover's row counts {count}"
            else:
                said = [named for n, named in published if n == seq]
                what = self._wrong(record, rollover_id) or self._against(record, said)
            if what:
                yield Break(rollover_id, seq, what)
        if head != (self._head if self._head != before else ""):
            yield Break(rollover_id, count, "the rollover's row names another hash of its last record")

    def _wrong(self, record: Row, rollover_id: str) -> str | None:
        if not record.keys() & {"hash", "previous"}:
            if self._head:
                return "the record carries no hash, though one before it does"
            self.older[rollover_id] = self.older.get(rollover_id, 0) + 1
            return None
        try:
            holds = record.get("hash") == digest(record)
        except ValueError as error:
            return str(error)
        if not holds:
            return "the record's hash is not that of what it says: a column was changed, or the hash"
        if record.get("previous") != (self._head or genesis(self._partition)):
            return "the record follows another one than the record before it: one was removed, added or written anew"
        self._head = record["hash"]
        self.covered += 1
        return None

    def _against(self, record: Row, published: Collection[str]) -> str | None:
        if any(named != record.get("hash", "") for named in published):
            return "a published event names another hash of this record: it was written anew, or one before it"
        self.anchored += len(published)
        return None


def _count_and_head(row: Row) -> tuple[int, str] | None:
    """How many records a rollover's row counts, and the hash of the last; rows of the release before have no head."""
    try:
        facts = json.loads(row["facts"])
        count, head = facts["records"], facts.get("head", "")
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
    return (count, head) if type(count) is int and isinstance(head, str) else None
