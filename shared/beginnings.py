"""When rollovers began: rows in that order, latest first, beside the rollovers, which lie by their targets. Pure.

A row is its key and nothing else, and is never changed: what it says of a rollover does not change.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.rollover import Rollover

BEGINNINGS = "started"
"""The partition."""
LAST_KEY = "~"
"""Behind every key."""
KEY = r"\d{20}\.[A-Za-z0-9._:\-]{1,160}"


def beginning_key(rollover: Rollover) -> str:
    """What orders rollovers latest first: so much less of all time is left after its beginning, the later it began."""
    left = datetime.max.replace(tzinfo=UTC) - rollover.started_at
    return f"{left // timedelta(microseconds=1):020}.{rollover.id}"


def is_beginning_key(text: str) -> bool:
    """Whether a text may be one."""
    return re.fullmatch(KEY, text, re.ASCII) is not None


def rollover_id_of(key: str) -> str:
    """The rollover that a key belongs to."""
    return key.partition(".")[2]


def beginning_row(rollover: Rollover) -> dict[str, Any]:
    """The row of a rollover that is about to begin."""
    return {"PartitionKey": BEGINNINGS, "RowKey": beginning_key(rollover)}
