"""Reads what DPS and hub hold of some targets from their lists, a request a page."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from shared.enrollment import Accepted
from shared.errors import RolloverError
from shared.events import LogEvent, log
from shared.holdings import Holdings, Target, Told, in_queries, is_as_left
from shared.rollover import group_partition, individual_partition
from shared.services import Services
from shared.survey import Source

PAGES = 10
"""Of the hub's list, a turn: half of the queries that one S1 unit answers in a minute (docs of IoT Hub, quotas: 20).
Breaches and pins ask by query, too."""


def screened(targets: Sequence[Target], services: Services) -> Iterator[bool]:
    """Of each target, in order, whether the lists show it as it was left; of fewer when the hub's pages of this turn
    are used up. A list that does not come leaves open what it would have told.
    """
    held, pages = _held(targets, services), 0
    for some in in_queries(targets):
        if pages >= PAGES:
            return
        told, asked = _told(sorted({one.last.device_id for one in some} - {""}), services)
        pages += asked
        for target in some:
            yield is_as_left(target, held, told)


def _held(targets: Sequence[Target], services: Services) -> Holdings:
    """Only of these targets, whatever else is listed: DPS lists all or nothing."""
    wanted = {one.partition: bool(one.last.group_id) for one in targets}
    missing: set[Source] = set()

    def read[Item](source: Source, items: Callable[[], Iterable[Item]]) -> Iterator[Item]:
        try:
            yield from items()
        except Exception as error:  # noqa: BLE001  whatever it is, its targets are read one by one then
            log(LogEvent.SOURCE_UNREAD, source=source, why=_why(error))
            missing.add(source)

    enrollments, groups = {}, {}
    if not all(wanted.values()):
        for one in read(Source.ENROLLMENTS, services.provisioning.enrollments):
            if (partition := individual_partition(one.registration_id)) in wanted:
                enrollments[partition] = one
    if any(wanted.values()):
        for group in read(Source.GROUPS, services.provisioning.groups):
            if (partition := group_partition(group.enrollment_group_id)) in wanted:
                groups[partition] = group
    by_name = any(group.by_reference for group in groups.values())
    authorities = tuple(read(Source.AUTHORITIES, services.authorities.all)) if by_name else ()
    return Holdings(enrollments, groups, authorities, frozenset(missing))


def _told(device_ids: Sequence[str], services: Services) -> tuple[Told, int]:
    """What the hub's list says of these devices, and in how many pages."""
    if not device_ids:
        return {}, 0
    rows: dict[str, Accepted | None] = {}
    pages = 0
    try:
        for page in services.hub.accepted(device_ids):
            pages += 1
            rows.update(page)
    except Exception as error:  # noqa: BLE001  the same
        log(LogEvent.SOURCE_UNREAD, source="device identities of the hub", why=_why(error))
        return {}, pages + 1
    untold = {device_id for device_id, row in rows.items() if row is None}
    return {one: rows.get(one) for one in device_ids if one not in untold}, pages


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, RolloverError) else type(error).__name__
