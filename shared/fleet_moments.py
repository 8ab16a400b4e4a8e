"""Giving batches their moments in a line, as far ahead as moments are given."""

from dataclasses import replace
from itertools import takewhile

from shared.fleet_rows import Head
from shared.lines import Lane
from shared.quota import Quota
from shared.services import Services

TOGETHER = 90
"""Batches that are given their moments in one transaction, of 100 rows at most."""


def first_moments(head: Head, lane: Lane, services: Services) -> Head:
    """Give the next batches the moments of their first turns.

    Raises:
        Conflict: another turn of the work was faster.
    """
    fleet, quota = services.fleet, Quota(head.tier, head.units)
    while head.dispatched < head.batches:
        waiting = fleet.waiting(head, head.dispatched, min(head.batches, head.dispatched + TOGETHER))
        moments = fleet.lines.claim(lane, [one.size for one in waiting], quota)
        if moments:
            after = replace(head, dispatched=head.dispatched + len(moments))
            head = fleet.give_moments(after, waiting[: len(moments)], moments)
        if len(moments) < len(waiting):
            break
    return head


def moments_to_ask(head: Head, beyond: int, services: Services) -> Head:
    """Give the next batches, below number ``beyond``, the moments at which their devices are asked.

    Raises:
        Conflict: another turn of the work was faster.
    """
    fleet, quota = services.fleet, Quota(head.tier, head.units)
    while head.asked < beyond:
        waiting = fleet.waiting(head, head.asked, min(beyond, head.asked + TOGETHER))
        planned = list(takewhile(lambda one: one.planned, waiting))
        moments = fleet.lines.claim(Lane.JOB_DEVICES, [one.size for one in planned], quota)
        if moments:
            after = replace(head, asked=head.asked + len(moments))
            head = fleet.give_moments(after, planned[: len(moments)], moments)
        if len(moments) < len(waiting):
            break
    return head
