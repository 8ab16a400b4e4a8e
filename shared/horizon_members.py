"""The horizon of groups' devices: what becomes of each certificate of theirs that is in the vault. Pure.

No slot holds them, and no list tells what a device uses. So the vault's latest version is told, and of an open rollover
what it replaces.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from shared.group import why_group_is_not_ours
from shared.horizon import LATELY, PATIENCE, Expiry, Fate, Kind, due_at
from shared.rollover import Outcome, Rollover, group_partition
from shared.screening import ends_with_ca, is_left_to_group
from shared.seen import Listed
from shared.survey import Source, Survey
from shared.tags import group_of
from shared.target import Due


def horizon_of_members(survey: Survey, now: datetime, due: Due, refused: Mapping[str, str]) -> list[Expiry]:
    """Every certificate of a group's device that the vault has; ``refused`` as for ``shared.horizon``."""
    kept_out = {
        held.sha1_thumbprint for one in survey.enrollments.values() if not one.enabled for held in one.certificates()
    }
    found = []
    for listed in survey.vault:
        if (ca := survey.ca_of_member(listed)) is None:
            continue
        expiry = Expiry(
            Kind.MEMBER,
            listed.name,
            (),
            listed.sha1_thumbprint,
            "",
            listed.starts,
            listed.ends,
            Fate.ROLLS,
            "",
            certificate_name=listed.name,
            used_by=(group_of(ca) or "",),
        )
        rollover = survey.members.get(listed.name) or survey.given_up.get(listed.name)
        if rollover is not None:
            found.append(_to_replace(rollover, expiry))
        if rollover is None or rollover.outgoing.sha1_thumbprint != listed.sha1_thumbprint:
            idle = listed.sha1_thumbprint in kept_out
            found.append(_fate(expiry, listed, ca, survey, now, due, refused.get(listed.name), idle=idle))
    return found


def _to_replace(rollover: Rollover, latest: Expiry) -> Expiry:
    """What a rollover replaces, or was to; a person's cancel holds for a day."""
    match rollover.outcome:
        case None:
            fate, why, at = Fate.ROLLING, f"{rollover.id} is {rollover.status}", None
        case Outcome.CANCELLED if rollover.ended_at is not None:
            fate, why, at = Fate.ROLLS, f"{rollover.id} was cancelled", rollover.ended_at + LATELY
        case _:
            why = f"{rollover.id} ended as {rollover.status}: {rollover.outcome_reason}"
            fate, at = Fate.UNCOVERED, None
    outgoing = rollover.outgoing
    starts = latest.starts if outgoing.sha1_thumbprint == latest.sha1_thumbprint else None
    return replace(
        latest,
        sha1_thumbprint=outgoing.sha1_thumbprint,
        sha256_thumbprint=outgoing.sha256_thumbprint,
        starts=starts,
        ends=outgoing.not_after,
        fate=fate,
        why=why,
        due_at=at,
        rollover_id=rollover.id,
    )


def _fate(
    expiry: Expiry,
    listed: Listed,
    ca: Listed,
    survey: Survey,
    now: datetime,
    due: Due,
    refused: str | None,
    *,
    idle: bool,
) -> Expiry:
    partition = group_partition(group_of(ca) or "")
    group, rollover = survey.groups.get(partition), survey.open.get(partition)

    def comes_to(fate: Fate, why: str, at: datetime | None = None) -> Expiry:
        return replace(expiry, fate=fate, why=why, due_at=at)

    if group is None and Source.GROUPS in survey.missing:
        return comes_to(Fate.UNKNOWN, f"the {Source.GROUPS} could not be read")
    if group is None:
        return comes_to(
            Fate.UNCOVERED, f"no enrollment group {group_of(ca)!r} in DPS, which the tag of {ca.name} names"
        )
    if reason := why_group_is_not_ours(group):
        return comes_to(Fate.OTHERS, reason)
    if idle:
        return comes_to(Fate.IDLE, "a disabled enrollment of its own keeps the device out")
    if not group.enabled:
        return comes_to(Fate.IDLE, "its group is disabled; nothing is rolled until it is enabled")
    if refused:
        return comes_to(Fate.UNCOVERED, refused)
    if rollover is not None and is_left_to_group(listed, ca, survey):
        why = f"{rollover.id} is {rollover.status}, and brings the device another one"
        return replace(comes_to(Fate.ROLLING, why), rollover_id=rollover.id)
    ends = listed.ends or now
    with_ca = ends_with_ca(listed, ca, now, due)
    at = due_at(ca if with_ca else listed, due) or now
    if min(at + PATIENCE, ends) <= now:
        whose = f" with its CA {ca.name}" if with_ca else ""
        return comes_to(Fate.UNCOVERED, f"due{whose} since {at:%Y-%m-%d %H:%M:%SZ}, and no rollover is open")
    why = f"it ends with its CA {ca.name}, and is renewed when that is rolled" if with_ca else ""
    return comes_to(Fate.ROLLS, why or "its rollover begins near its end", at)
