"""Pages of the rollovers, latest first.

Where nearly all may be meant, they are read in the order in which they began, as far as the page goes. Where a filter
leaves few, the table is asked for those.
"""

from collections.abc import Mapping, Sequence

from shared.beginnings import beginning_key, is_beginning_key
from shared.errors import BadInput
from shared.overdue import overdue
from shared.paging import Key, after_of, limit_of, mark_of, page
from shared.rollover import Outcome, Rollover
from shared.services import Services

LOOKS = 2_000
"""Rollovers that one page is looked for among, in their order."""


def page_of_rollovers(filters: Mapping[str, str], services: Services) -> tuple[Sequence[Rollover], str | None]:
    """The page that is asked for, and the mark of the next; None on the last.

    Raises:
        BadInput: a limit or a mark that is none, or filters that exclude each other.
    """
    after = after_of(filters)
    if after is not None and not (len(after) == 1 and is_beginning_key(after[0])):
        raise BadInput("continuation must be the one that the last page gave")
    narrowed = any(filters.get(name) for name in ("registration_id", "enrollment_group", "incident", "overdue"))
    if not narrowed and filters.get("status", Outcome.DONE) == Outcome.DONE:
        return _in_order(after[0] if after else "", limit_of(filters), filters.get("status"), services)
    return page(sorted(_matching(filters, services), key=beginning_key), _key, filters)


def _in_order(after: str, limit: int, status: str | None, services: Services) -> tuple[Sequence[Rollover], str | None]:
    """A page may be short, and not the last, where most that were looked at have another status."""
    shown: list[Rollover] = []
    for number, rollover in enumerate(services.ledger.latest(after), 1):
        if len(shown) == limit:
            return shown, mark_of(_key(shown[-1]))
        if status in (None, rollover.status):
            shown.append(rollover)
        if number == LOOKS:
            return shown, mark_of(_key(rollover))
    return shown, None


def _matching(filters: Mapping[str, str], services: Services) -> list[Rollover]:
    ledger, status, incident = services.ledger, filters.get("status"), filters.get("incident")
    registration_id, group_id = filters.get("registration_id"), filters.get("enrollment_group")
    if registration_id and group_id:
        raise BadInput("registration_id and enrollment_group name different targets; name one")
    if group_id:
        found = ledger.rollovers_of_group(group_id)
    elif registration_id:
        found = ledger.rollovers(registration_id)
    else:
        columns = {name: value for name, value in (("status", status), ("incident", incident)) if value}
        found = ledger.matching(is_open="overdue" in filters, **columns)
    now, policy = services.now(), services.settings.policy
    return [
        one
        for one in found
        if status in (None, one.status)
        and (not incident or (one.incident is not None and one.incident.id == incident))
        and ("overdue" not in filters or overdue(one, now, policy) is not None)
    ]


def _key(rollover: Rollover) -> Key:
    return (beginning_key(rollover),)
