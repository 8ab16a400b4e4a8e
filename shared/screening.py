"""Which certificates of the vault must be looked at closely, as far as the lists can tell. Pure.

A close look (``shared.starting``) reads certificate, enrollment, hub identity and ledger. The lists are enough to see
that a certificate is well: it lies alone in its enrollment's slots, or is all that its group trusts, and is not near
its end. Whatever they leave open is looked at.
"""

from datetime import datetime
from enum import StrEnum

from shared.certificate import is_near_expiry
from shared.enrollment import Enrolled, Enrollment, why_not_ours
from shared.group import Group, distinct, why_group_is_not_ours
from shared.plans import Plan, Step
from shared.rollover import Rollover
from shared.seen import Listed
from shared.survey import Source, Survey
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
    partition = survey.ties.get(listed.name, "")
    if not partition and listed.name in survey.leaves:
        return Sight.CALM
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
