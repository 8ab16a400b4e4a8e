"""Begins rollovers of enrollment groups: from the vault certificate that is the CA certificate a group trusts."""

from datetime import datetime

from shared.authorities import read_authorities
from shared.certificate import is_among, is_same
from shared.events import Lifecycle, LogEvent, log
from shared.group import Group, distinct
from shared.group_target import decide_group_start
from shared.plans import Plan
from shared.ports import Tagged
from shared.rollover import Outcome, Rollover
from shared.services import Services
from shared.starting import TRY_AGAIN_AFTER, Started, begin_new, cannot, go_on_with_breach, hasten, keeps_breach_open
from shared.tags import GROUP_TAG
from shared.target import Begin, CannotBegin, NothingToDo


def start_group_rollover(group_id: str, tagged: Tagged, cause: str, services: Services, *, hint: bool) -> Started:
    """Begin, or go on with, the rollover of the group that this vault certificate is tagged for.

    Raises:
        ServiceUnavailable, ServiceRefused, Misconfigured: as ``start_rollover``.
    """
    how = f"its tag {GROUP_TAG} says so"
    group = services.provisioning.group(group_id)
    if group is None:
        return cannot(tagged.name, f"no enrollment group {group_id!r} in DPS ({how})", services)
    last = services.ledger.last_of_group(group_id)
    if last is not None and keeps_breach_open(last):
        return _after_breach(last, tagged, group, services, hint=hint)
    if last is not None and last.outcome is None:
        return hasten(last, services) if hint else Started("open", f"{last.id} is {last.status}", last.id)
    decision = _look_and_decide(tagged, group, services)
    match decision:
        case NothingToDo(why=why):
            log(LogEvent.NOTHING_TO_DO, group_id=group_id, why=why)
            return Started("nothing", why)
        case CannotBegin(why=why):
            return cannot(tagged.name, why, services)
        case Begin() if _would_bring_back_compromised(decision, tagged, group, services):
            why = f"the vault's latest version, {tagged.latest.version}, is one that was reported compromised"
            return cannot(tagged.name, why, services)
        case Begin():
            if last is not None and _ended_alike(last, decision, tagged, services.now()):
                return Started("nothing", f"{last.id} ended as {last.status}: {last.outcome_reason}", last.id)
            new = _new_rollover(decision, tagged, group, f"{cause} ({how})", services.now())
            return begin_new(new, last, decision.why, services, alone=not hint)


def _after_breach(last: Rollover, tagged: Tagged, group: Group, services: Services, *, hint: bool) -> Started:
    """Go on with a breach that is not over; what it keeps from being rolled, although that is due, is said."""
    started = go_on_with_breach(last, tagged, services, hint=hint)
    if started.what == "nothing" and isinstance(_look_and_decide(tagged, group, services), Begin):
        return cannot(tagged.name, f"{last.id} needs a person first: {last.next_action}", services)
    return started


def _look_and_decide(tagged: Tagged, group: Group, services: Services) -> Begin | NothingToDo | CannotBegin:
    authorities = read_authorities(services, tagged.name)
    older = [one for one in distinct(group.anchors(authorities)) if not is_same(one, tagged.latest.certificate)]
    versions: dict[str, str] = {}
    if older:
        for sha1_thumbprint, version in services.vault.versions(tagged.name).items():
            trusted = any(one.sha1_thumbprint == sha1_thumbprint for one in older)
            key = services.vault.public_key_sha256(tagged.name, version) if trusted else ""
            versions[sha1_thumbprint] = key
    return decide_group_start(
        group=group,
        authorities=authorities,
        latest=tagged.latest,
        versions=versions,
        now=services.now(),
        due=services.settings.due,
    )


def _would_bring_back_compromised(begin: Begin, tagged: Tagged, group: Group, services: Services) -> bool:
    if is_same(tagged.latest.certificate, begin.outgoing):
        return False  # a new version is asked for
    reported, newest = services.ledger.compromised_of_group(group.enrollment_group_id), tagged.latest.certificate
    return not reported.isdisjoint((newest.sha256_thumbprint, newest.sha1_thumbprint))


def _ended_alike(last: Rollover, begin: Begin, tagged: Tagged, now: datetime) -> bool:
    """Whether the last rollover was this very one, and ended too recently to be worth another try."""
    if last.plan is not Plan.GROUP_EXPIRY or not is_same(last.outgoing, begin.outgoing):
        return False
    tried = (last.incoming, last.outgoing) if last.incoming else (last.outgoing,)
    if not is_among(tagged.latest.certificate, tried) or last.outcome is Outcome.DONE:
        return False
    return last.ended_at is not None and now - last.ended_at < TRY_AGAIN_AFTER


def _new_rollover(decision: Begin, tagged: Tagged, group: Group, cause: str, now: datetime) -> Rollover:
    return Rollover(
        id="",  # the ledger gives it
        plan=Plan.GROUP_EXPIRY,
        registration_id="",
        device_id="",
        group_id=group.enrollment_group_id,
        certificate_name=tagged.name,
        cause=cause,
        started_at=now,
        outgoing=decision.outgoing,
        standby=decision.standby,
        due_at=now,
        outbox=(f"{Lifecycle.STARTED.value}/1",),
    )
