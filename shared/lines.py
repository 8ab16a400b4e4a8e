"""The lines before the quotas of hub and DPS, kept beside the works: one for each quota, whichever group asks.

One row each; a claim is one replacement under the ETag that was read. A claim whose turn never came to be (a crash)
leaves a gap in the line, which costs time and nothing else.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from shared.errors import Conflict, ServiceUnavailable
from shared.ledger import Row, Table, Write
from shared.line import Line, claimed, slowed
from shared.quota import DPS_SERVICE, LISTING, USED, VAULT_KEYS, Quota
from shared.rows import stamp

PARTITION = "lines"
TRIES = 20
HORIZON = timedelta(minutes=2)
"""How far ahead moments are given: a slower or faster line, or another number of units, shows after this time."""
EVER = timedelta(days=36500)


class Lane(StrEnum):
    """What is waited for."""

    EVICTIONS = "evictions"
    TWIN_READS = "twin_reads"
    TWIN_WRITES = "twin_writes"
    JOB_DEVICES = "job_devices"
    LISTING = "listing"
    REGISTRATIONS = "registrations"
    VAULT_KEYS = "vault_keys"

    def rate(self, quota: Quota) -> float:
        """Operations a second that the works take of it."""
        match self:
            case Lane.EVICTIONS:
                return quota.evictions * USED
            case Lane.TWIN_READS:
                return quota.twin_reads * USED
            case Lane.TWIN_WRITES:
                return min(quota.twin_reads, quota.twin_updates) * USED
            case Lane.JOB_DEVICES:
                return quota.job_devices * USED
            case Lane.LISTING:
                return DPS_SERVICE * LISTING
            case Lane.REGISTRATIONS:
                return min(DPS_SERVICE * (USED - LISTING), quota.twin_reads)
            case Lane.VAULT_KEYS:
                return VAULT_KEYS * USED


class Lines:
    """Every line, over the table of the works."""

    def __init__(self, table: Table, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now

    def claim(self, lane: Lane, costs: Sequence[int], quota: Quota, within: timedelta = HORIZON) -> list[datetime]:
        """Moments for the first of these costs (in operations): as many as begin within the time.

        Raises:
            ServiceUnavailable: too many others claim at this moment.
        """
        moments: list[datetime] = []

        def change(line: Line, now: datetime) -> Line:
            nonlocal moments
            line, moments = claimed(line, costs, lane.rate(quota), now, now + within)
            return line

        self._change(lane, change)
        return moments

    def last_place(self, lane: Lane, cost: int, quota: Quota) -> datetime:
        """The moment at the end of the line, however far away."""
        return self.claim(lane, [cost], quota, EVER)[0]

    def slow_down(self, lane: Lane, retry_after: timedelta | None) -> None:
        """The service throttles: let the line go slower for a while."""
        self._change(lane, lambda line, now: slowed(line, now, retry_after))

    def _change(self, lane: Lane, change: Callable[[Line, datetime], Line]) -> None:
        for _ in range(TRIES):
            found = self._table.read(PARTITION, lane)
            now = self._now()
            before = _from_row(found[0]) if found else Line(now)
            after = change(before, now)
            if after == before:
                return
            try:
                self._table.commit([Write(_row(lane, after), found[1] if found else None)])
            except Conflict:
                continue
            return
        raise ServiceUnavailable(f"the line for {lane} is in use by too many at once", timedelta(seconds=2))


def _row(lane: Lane, line: Line) -> Row:
    return {
        "PartitionKey": PARTITION,
        "RowKey": lane.value,
        "next_at": stamp(line.next_at),
        "slowness": line.slowness,
        "slowed_at": stamp(line.slowed_at) if line.slowed_at else "",
        "given_until": stamp(line.given_until) if line.given_until else "",
    }


def _from_row(row: Row) -> Line:
    slowed_at, given_until = (
        datetime.fromisoformat(row[name]) if row.get(name) else None for name in ("slowed_at", "given_until")
    )
    return Line(datetime.fromisoformat(row["next_at"]), float(row["slowness"]), slowed_at, given_until)
