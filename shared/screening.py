"""Which certificates of the vault must be looked at closely, as far as the lists can tell. Pure.

A close look (``shared.starting``) reads certificate, enrollment, hub identity and ledger. The lists are enough to see
that a certificate is well: it lies alone in its enrollment's slots, or is all that its group trusts, and is not near
its end. Whatever they leave open is looked at. Of a group's device no slot tells: it is looked at near its end, and in
turn with the others.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from shared.certificate import is_near_expiry
from shared.enrollment import Enrolled, Enrollment, why_not_ours
from shared.group import Group, distinct, why_group_is_not_ours
from shared.plans import Plan, Step
from shared.rollover import Rollover, group_partition
from shared.seen import Listed
from shared.survey import Source, Survey
from shared.tags import group_of
from shared.target import Due


class Sight(StrEnum):
    """What the lists say of a certificate of the vault; all but a close look are counted under these names."""

    CALM = "nothing"
    OPEN = "open"
    UNSEEN = "unseen"
    """Not near its end, and nobody can tell more: the list that it would be compared with could not be read."""
    CLOSE = "close"


def screen(listed: Listed, survey: Survey, now: datetime, due: Due) -> Sight:
    """Whether a certificate of the vault must be looked at closely."""
    if (ca := survey.ca_of_member(listed)) is not None:
        return _screen_member(listed, ca, survey, now, due)
    partition = survey.ties.get(listed.name, "")
    enrollment, group = survey.enrollments.get(partition), survey.groups.get(partition)
    if (rollover := survey.open.get(partition)) is not None:
        undone = Source.ENROLLMENTS not in survey.missing and is_undone(rollover, enrollment)
        return Sight.CLOSE if undone or _changes_breach(listed, rollover) else Sight.OPEN
    if _is_ours_and_disabled(enrollment, group):
        return Sight.CALM
    if is_due(listed, now, due):
        return Sight.CLOSE
    source = Source.GROUPS if partition.startswith("group.") else Source.ENROLLMENTS
    if enrollment is None and group is None:
        return Sight.UNSEEN if source in survey.missing else Sight.CLOSE
    if enrollment is not None:
        alone = not why_not_ours(enrollment) and is_alone(listed, enrollment.certificates())
    else:
        alone = group is not None and _is_all_that_is_trusted(listed, group, survey)
    return Sight.CALM if alone else Sight.CLOSE


def _screen_member(listed: Listed, ca: Listed, survey: Survey, now: datetime, due: Due) -> Sight:
    if listed.name in survey.members:
        return Sight.OPEN
    if is_left_to_group(listed, ca, survey):
        return Sight.CALM
    rolls = is_due(listed, now, due) and not ends_with_ca(listed, ca, now, due)
    return Sight.CLOSE if rolls or listed.name in survey.given_up else Sight.CALM


def is_left_to_group(listed: Listed, ca: Listed, survey: Survey) -> bool:
    """Whether the group's open rollover is there to bring this device another certificate, or the group is disabled.

    A version that began after the rollover did is one that it brought, as far as lists tell.
    """
    partition = group_partition(group_of(ca) or "")
    group, rollover = survey.groups.get(partition), survey.open.get(partition)
    if group is not None and not group.enabled:
        return True
    if rollover is None or (rollover.plan is Plan.GROUP_EXPIRY and Step.INVOKE_REPROVISION_JOB in rollover.done):
        return False
    return listed.starts is None or listed.starts < rollover.started_at


def ends_with_ca(listed: Listed, ca: Listed, now: datetime, due: Due) -> bool:
    """Whether a new certificate of a group's device would live no longer, for its CA ends too and is due itself."""
    return listed.ends is not None and ca.ends is not None and ca.ends <= listed.ends and is_due(ca, now, due)


def members_in_turn(survey: Survey, sights: Mapping[str, Sight], now: datetime) -> set[str]:
    """Vault certificates of groups' devices that are looked at closely although nothing is seen of them: no list tells
    what the device of one uses, so a new version whose event was lost shows only at the hub.

    Another part each hour, so that all are seen within three days, or, of more than 7,200, in turn all the same.
    """
    calm = (one for one in survey.vault if sights[one.name] is Sight.CALM)
    names = [one.name for one in calm if (ca := survey.ca_of_member(one)) and not is_left_to_group(one, ca, survey)]
    part = min(max(len(names) // ROUND_HOURS + 1, LEAST_IN_TURN), MOST_IN_TURN, len(names))
    first = int(now.timestamp()) // 3600 * part
    return {names[(first + number) % len(names)] for number in range(part)}


ROUND_HOURS, LEAST_IN_TURN, MOST_IN_TURN = 72, 10, 100
"""A close look costs about five requests, one of them of the hub's registry, which takes 100 a minute."""


def is_undone(rollover: Rollover, enrollment: Enrollment | None) -> bool:
    """Whether the enrollment of an open expiry rollover is gone, or lost what the rollover put there. Its step may wait
    for the outgoing certificate's end, months away, and would look no sooner.
    """
    if rollover.plan is not Plan.EXPIRY or rollover.incoming is None or Step.UPLOAD_SECONDARY not in rollover.done:
        return False
    return enrollment is None or not enrollment.holds(rollover.incoming.sha256_thumbprint)


def is_due(listed: Listed, now: datetime, due: Due) -> bool:
    """Whether it is near its end by our own threshold, or nobody says when it ends."""
    if listed.ends is None:
        return True
    if listed.starts is None:
        return listed.ends - now <= due.window
    return is_near_expiry(listed.starts, listed.ends, now, window=due.window, share=due.share)


def is_alone(listed: Listed, held: list[Enrolled]) -> bool:
    """Whether these certificates are one, and it is the vault's latest version."""
    return bool(listed.sha1_thumbprint) and [one.sha1_thumbprint for one in held] == [listed.sha1_thumbprint]


def _changes_breach(listed: Listed, rollover: Rollover) -> bool:
    """Whether a breach that is under way would take this version, or does not know this certificate yet."""
    leaving = {one.sha1_thumbprint for one in rollover.leaving}
    return rollover.plan.replaces and (not rollover.certificate_name or listed.sha1_thumbprint not in leaving)


def _is_ours_and_disabled(enrollment: Enrollment | None, group: Group | None) -> bool:
    if enrollment is not None:
        return not enrollment.enabled and not why_not_ours(enrollment)
    return group is not None and not group.enabled and not why_group_is_not_ours(group)


def _is_all_that_is_trusted(listed: Listed, group: Group, survey: Survey) -> bool:
    if why_group_is_not_ours(group) or group.dangling(survey.authorities):
        return False
    return is_alone(listed, distinct(group.anchors(survey.authorities)))
