"""How soon a rollover looks again. Pure."""

from datetime import datetime, timedelta

from shared.rollover import Rollover, has_waited

LATER = timedelta(minutes=30)
"""How often a rollover looks at what only a person or a device can bring about."""
FIRST_PATIENCE = timedelta(minutes=5)
LONGEST_PATIENCE = timedelta(hours=12)
"""How long a reprovision job is given before the next one: doubling from the first to the longest."""


def patience(rollover: Rollover, now: datetime) -> timedelta:
    """Look again soon at first, ever more rarely later: half of the time since it acted or began, 1 s to 30 min."""
    since = rollover.acted_at or rollover.started_at
    return min(max((now - since) / 2, timedelta(seconds=1)), timedelta(minutes=30))


def pace(rollover: Rollover, why: str, now: datetime, longest: timedelta) -> timedelta:
    """The same, by how long it has waited for this very reason: what was waited for before does not count."""
    waited = has_waited(rollover, why, now)
    return min(max(waited / 2, timedelta(seconds=1)), longest)


def job_patience(rollover: Rollover) -> timedelta:
    """How long the device is given to do what the last job asked."""
    return min(FIRST_PATIENCE * (1 << min(max(rollover.acts - 1, 0), 10)), LONGEST_PATIENCE)
