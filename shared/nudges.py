"""A nudge: "look at this rollover". It carries a rollover ID and nothing else; the ledger is the truth.

A nudge may come twice, late, or never: the step compares with the ledger, and a timer nudges what is due.
"""

import json
import math
from datetime import timedelta
from typing import Protocol

from shared.errors import BadInput
from shared.plans import Step

LONGEST_DELAY = timedelta(minutes=10)
"""Longer waits are left to the timer: a message that is invisible for days still counts as load for the
scaling of the app (azure-docs functions-target-based-scaling)."""


class Nudges(Protocol):
    """Where nudges are sent."""

    def send(self, step: Step, rollover_id: str, delay: timedelta = timedelta(), life: timedelta | None = None) -> None:
        """Wake ``step`` for this rollover after ``delay``; a nudge with a ``life`` is gone after it.

        Raises:
            ServiceUnavailable: the queue cannot be reached; the timer will nudge in its place.
        """


def encode_nudge(rollover_id: str) -> str:
    """The text of a queue message."""
    return json.dumps({"rollover_id": rollover_id})


def decode_nudge(body: bytes) -> str:
    """The rollover ID of a queue message.

    Raises:
        BadInput: the message is not a nudge.
    """
    try:
        rollover_id = json.loads(body)["rollover_id"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadInput('the queue message is not a nudge: {"rollover_id": ...} was expected') from None
    if not isinstance(rollover_id, str):
        raise BadInput("the queue message is not a nudge: its rollover_id is not a text")
    return rollover_id


def visibility_seconds(delay: timedelta) -> int:
    """Whole seconds that a message stays invisible, rounded up: a nudge before its time would be ignored."""
    return max(0, math.ceil(delay.total_seconds()))
