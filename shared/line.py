"""A line before a quota: who takes so much of it comes when. Pure.

Nobody sleeps for a quota: a turn is given a moment at the end of the line, and its message is invisible until then.
When a service throttles all the same (others use it too), the line goes slower, and by and by faster again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

BACK_OFF = timedelta(seconds=10)
"""After a 429 without Retry-After: "Wait 10 seconds and try again" (text of 429003, telemetry-simulator#39)."""
RECOVERY = timedelta(minutes=1)
"""In this time without a 429 half of the slowness goes."""
SLOWEST = 64.0


@dataclass(frozen=True)
class Line:
    """One line, for one quota."""

    next_at: datetime
    """The moment that is free."""
    slowness: float = 1.0
    """How many times slower than the quota it went at ``slowed_at``."""
    slowed_at: datetime | None = None
    given_until: datetime | None = None
    """Moments before this one were given at the former pace: a 429 at one of them says nothing of the new one."""

    def slowness_at(self, now: datetime) -> float:
        """How many times slower than the quota it goes."""
        if self.slowed_at is None:
            return 1.0
        halvings = max(timedelta(), now - self.slowed_at) / RECOVERY
        return max(1.0, self.slowness / 2**halvings)


def claimed(
    line: Line, costs: Sequence[int], rate: float, now: datetime, until: datetime
) -> tuple[Line, list[datetime]]:
    """Moments for the first of ``costs`` (in operations), as many as begin before ``until``; the line after them."""
    seconds = line.slowness_at(now) / rate
    at, moments = max(line.next_at, now), []
    for cost in costs:
        if at > until:
            break
        moments.append(at)
        at += timedelta(seconds=cost * seconds)
    return replace(line, next_at=at) if moments else line, moments


def slowed(line: Line, now: datetime, retry_after: timedelta | None) -> Line:
    """The line after a 429: nobody is given a moment before the service may answer again, and then half as many."""
    next_at = max(line.next_at, now + (retry_after or BACK_OFF))
    if line.given_until is not None and now < line.given_until:
        return replace(line, next_at=next_at)
    return Line(next_at, min(2 * line.slowness_at(now), SLOWEST), now, given_until=next_at)
