"""What the lists of DPS and hub say of some targets, and whether that is as their rollovers left it. Pure.

The lists have all that ``shared.drift`` goes by, so it goes by them as by what is read target by target; whatever they
do not tell, or show as drifted, is looked at closely.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shared.authority import DpsCertificate
from shared.drift import drifts, group_drifts
from shared.enrollment import Accepted, Enrollment
from shared.group import Group
from shared.rollover import Rollover
from shared.survey import Source

CHARACTERS = 8_000
"""Of device IDs, in one query of the hub."""


@dataclass(frozen=True)
class Target:
    """A target whose last rollover left something."""

    partition: str
    rollovers: Sequence[Rollover]
    """All of them, oldest first."""
    last: Rollover
    """The one that left it (``shared.drift.left_by``)."""


@dataclass(frozen=True)
class Holdings:
    """What DPS lists of some targets, by partition."""

    enrollments: Mapping[str, Enrollment] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    authorities: tuple[DpsCertificate, ...] = ()
    missing: frozenset[Source] = frozenset()
    """Lists that did not come, or not to their end: who is not in one may be there all the same."""


Told = Mapping[str, Accepted | None]
"""Device ID → what the hub's list shows of it; None: there is no such device."""


def is_as_left(target: Target, held: Holdings, told: Told) -> bool:
    """Whether the lists show a target as its rollovers left it.

    Args:
        told: has no key for a device that the list was not asked for or does not tell of.
    """
    last, rollovers = target.last, target.rollovers
    source = Source.GROUPS if last.group_id else Source.ENROLLMENTS
    group, enrollment = held.groups.get(target.partition), held.enrollments.get(target.partition)
    if group is None and enrollment is None and source in held.missing:
        return False
    if last.group_id:
        by_name = group is not None and group.by_reference
        if by_name and Source.AUTHORITIES in held.missing:
            return False
        return not group_drifts(rollovers, group, held.authorities if by_name else ())
    if last.device_id and last.device_id not in told:
        return False
    return not drifts(rollovers, enrollment, told.get(last.device_id))


def in_queries(targets: Sequence[Target]) -> Iterator[list[Target]]:
    """The targets in parts, each with no more device IDs than one query of the hub takes."""
    some: list[Target] = []
    length = 0
    for target in targets:
        device_id = target.last.device_id
        more = len(device_id) + device_id.count("'") + len("'', ")
        if some and length + more > CHARACTERS:
            yield some
            some, length = [], 0
        some.append(target)
        length += more
    if some:
        yield some
