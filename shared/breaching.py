"""A breach call: a preview first, and with its token the real thing.

Nothing destructive is done without a preview, a confirmation of exactly that, and a caller whose name stands in the
history. Who repeats a call gets the rollovers that it began.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shared.asked_once import asked_once
from shared.body import accepted_routes, text_of
from shared.breach_call import Asking, parse_asking
from shared.callers import Caller
from shared.enrollment import Twin
from shared.errors import BadInput, NotFound, RolloverError, Unsuitable
from shared.events import Lifecycle, LogEvent, log
from shared.group_preview import Counted, count_group, shown_group
from shared.group_targets import (
    GroupTarget,
    check_all_known,
    group_restores,
    look_at_group,
    scope_of_group,
    select_groups,
)
from shared.incident import Incident, Mode
from shared.left_at_hub import left_at_hub
from shared.opening import begin, shut_doors
from shared.plans import Plan
from shared.previews import Preview
from shared.quota import Quota
from shared.rollover import Outcome, Rollover
from shared.rows import History
from shared.selecting import device_of, select, unfinished
from shared.services import Services
from shared.targets import (
    Named,
    Target,
    closed_by,
    differences,
    eta,
    look_around,
    look_at,
    preempted_by,
    shown,
    slots_of,
)

APPROVAL = timedelta(hours=1)
"""How long a second person may take to approve what exceeds the fuse; after that nothing is done."""
CONFIRMING = ("confirm", "break_glass", "accept_escape_routes")


AnyTarget = Target | GroupTarget


class WorldChanged(Unsuitable):
    """What was previewed is not what would be done now."""

    def __init__(self, found: list[dict[str, Any]]) -> None:
        super().__init__("the world has changed since the preview; nothing was done: look at a new preview")
        self.members = {"difference": found}


@dataclass(frozen=True)
class Confirmed:
    """What a confirmation began."""

    incident_id: str
    rollovers: list[Rollover]


def preview(body: Mapping[str, Any], caller: Caller, services: Services) -> dict[str, Any]:
    """What a breach call would do, with the token that confirms exactly this. Changes nothing.

    Raises:
        BadInput, NotFound, Unsuitable: nothing, or not one thing, is named.
    """
    asking = parse_asking(body)
    services = asked_once(services)
    targets = _targets(asking, services)
    counts = {one.key: _count(one, services) for one in targets}
    devices = sum(one.touched for one in counts.values())
    plans = {target.key: target.material(asking.mode) for target in targets}
    now = services.now()
    kept, token = services.previews.keep(caller.object_id, asking.as_json(), plans, now, devices=devices)
    log(LogEvent.BREACH_PREVIEWED, incident=kept.incident_id, caller=caller.who, devices=devices)
    limit = services.settings.breach_fuse
    groups = [one for one in targets if isinstance(one, GroupTarget)]
    in_groups = sum(counts[one.key].touched for one in groups)
    # Only of a group does the quota bind, and only for one is Resource Manager asked.
    quota = services.hub.quota() if groups else Quota()
    return {
        "preview": True,
        "incident": {
            "selector": {asking.selector.kind: asking.selector.value},
            "reason": asking.reason,
            "ticket": asking.ticket,
            "mode": asking.mode,
            "requested_by": caller.who,
        },
        "devices": devices,
        "targets": [_shown(one, counts[one.key], asking.mode, quota, now) for one in targets],
        "fuse": {"limit": limit, "exceeded": devices > limit},
        "eta": eta(
            len(targets) - len(groups),
            asking.mode,
            services.settings.policy.settle,
            len(groups),
            quota.eviction_seconds(in_groups),
        ),
        "confirm_token": token,
        "expires_at": kept.expires_at.isoformat(),
    }


def _count(target: AnyTarget, services: Services) -> Counted:
    """How many devices it has and a breach of it touches."""
    return Counted(1, 1) if isinstance(target, Target) else count_group(target, services)


def _shown(target: AnyTarget, counted: Counted, mode: Mode, quota: Quota, now: datetime) -> dict[str, Any]:
    if isinstance(target, Target):
        return shown(target, mode, now)
    return shown_group(target, counted, quota.eviction_seconds(counted.touched), now)


def _targets(asking: Asking, services: Services, known: Iterable[str] = ()) -> list[AnyTarget]:
    """What the call names. What one target is to another is no escape route: the call contains both; ``known`` are
    the names of those that it may no longer select."""
    thumbprint = asking.selector.value if asking.selector.kind == "thumbprint" else None
    groups = [
        look_at_group(group, asking.compromised, thumbprint, services)
        for group in select_groups(asking.selector, services)
    ]
    scope = scope_of_group(asking, services)
    if scope and not groups:
        raise Unsuitable("compromised_since narrows the breach of a group's CA; this call names no group")
    groups = [replace(one, scope=scope) for one in groups]
    found: list[AnyTarget] = [*groups, *_individuals(asking, thumbprint, services, alone=not groups)]
    for one in found:
        _check_mode(one, asking.mode)
    together = {*known}.union(*(one.closes for one in found))
    return [replace(one, routes=tuple(r for r in one.routes if r.name not in together)) for one in found]


def _individuals(asking: Asking, thumbprint: str | None, services: Services, *, alone: bool) -> list[Target]:
    """The individual enrollments that the call names; ``alone`` when it names no group, so that none is an error."""
    if not alone and thumbprint is None:
        return []
    named = []
    try:
        enrollments = select(asking.selector, services)
    except NotFound as error:
        if not alone:
            return []
        if thumbprint is not None:
            check_all_known(services)
        raise NotFound(f"{error}{left_at_hub(asking.selector, services)}") from None
    for enrollment in enrollments:
        slots = slots_of(asking.compromised, enrollment, thumbprint)
        last = services.ledger.last(enrollment.registration_id)
        named.append(Named(enrollment, slots, last, unfinished(last, thumbprint)))
    compromised = [certificate for one in named for certificate in one.certificates()]
    around = look_around(compromised, [one.enrollment.registration_id for one in named], services)
    return [look_at(one, around, services) for one in named]


def _check_mode(target: AnyTarget, mode: Mode) -> None:
    """Mode reprovision takes the place of no breach that has begun to shut the device out at the hub.

    It would have the hub accept again, for a while, what is contained, in sessions that may not have ended. The devices
    of a group are removed from the hub, and nothing else: a thief may have made identities that nobody knows.
    """
    if isinstance(target, GroupTarget):
        if mode is not Mode.REMOVE:
            raise Unsuitable(
                f"{target.key}: a group is contained by mode remove only, not by mode {mode}: identities that"
                " stay at the hub may be a thief's"
            )
        return
    before = preempted_by(target)
    if before is None or mode is not Mode.REPROVISION or before.plan is not Plan.BREACH or before.awaits_approval:
        return
    raise Unsuitable(
        f"the breach {before.id} is at work on {target.registration_id} in a mode that contains sooner, and goes on by"
        f" itself: see GET /api/rollovers/{before.id}"
    )


def confirm(body: Mapping[str, Any], caller: Caller, services: Services) -> Confirmed:
    """Do what was previewed, and nothing else.

    Raises:
        BadInput: not a token, or the call beside it is not the previewed one.
        Unsuitable: the token is unknown, of somebody else, or its time is over.
        WorldChanged: something else would be done now.
    """
    services = asked_once(services)
    kept = _previewed(body, caller, services)
    asking = parse_asking(kept.request)
    glass = text_of(body, "break_glass")
    routes = accepted_routes(body)
    begun = {name: last for name in kept.plans if (last := _begun(name, kept, services))}
    if glass and any(one.awaits_approval for one in begun.values()):
        raise Unsuitable("this preview was confirmed without break_glass; confirm a new one with it")
    if len(begun) < len(kept.plans):
        if services.now() >= kept.expires_at and not begun:
            raise Unsuitable("the preview can no longer be confirmed; look at a new one")
        targets = _as_previewed(asking, kept, set(begun), services)
        for target in targets:
            incident = _incident(kept, asking, target, caller, glass, routes, services)
            begun[target.key] = _begin(target, incident, caller, services)
    rollovers = [begun[name] for name in kept.plans]
    shut_doors([one for one in rollovers if one.incident and one.incident.id == kept.incident_id], services)
    rollovers = [services.ledger.read(one.id) for one in rollovers]
    return Confirmed(kept.incident_id, rollovers)


def _previewed(body: Mapping[str, Any], caller: Caller, services: Services) -> Preview:
    token = body.get("confirm")
    if not isinstance(token, str) or not token:
        raise BadInput("confirm must be the confirm_token of a preview")
    kept = services.previews.find(token)
    if kept is None:
        raise Unsuitable("there is no preview with this confirm token; look at a new one")
    if kept.caller_id != caller.object_id:
        raise Unsuitable("the preview was somebody else's; look at one of your own")
    again = {name: value for name, value in body.items() if name not in CONFIRMING}
    if again and parse_asking(again).as_json() != kept.request:
        raise BadInput("the call is not the one that was previewed; leave all but confirm away, or preview this one")
    return kept


def _begun(key: str, kept: Preview, services: Services) -> Rollover | None:
    """The rollover that an earlier confirmation of this very preview began."""
    group_id = key.removeprefix("group ")
    of_group = group_id != key
    rollovers = services.ledger.rollovers_of_group(group_id) if of_group else services.ledger.rollovers(key)
    return next((one for one in rollovers if one.incident and one.incident.id == kept.incident_id), None)


def _as_previewed(asking: Asking, kept: Preview, begun: set[str], services: Services) -> list[AnyTarget]:
    try:
        targets = {target.key: target for target in _targets(asking, services, _together(kept))}
    except (NotFound, Unsuitable) as error:
        previewed = f"the call names {', '.join(kept.plans)}"
        raise WorldChanged([{"what": "selection", "previewed": previewed, "now": str(error)}]) from None
    found = []
    for name in {**kept.plans, **targets}:
        if name in begun:
            continue
        if (name in kept.plans) != (name in targets):
            found.append({"what": f"{name}: selected", "previewed": name in kept.plans, "now": name in targets})
        else:
            found += differences(kept.plans[name], targets[name].material(asking.mode), name)
    if found:
        raise WorldChanged(found)
    return [target for name, target in targets.items() if name not in begun]


def _together(kept: Preview) -> frozenset[str]:
    return frozenset().union(*(closed_by(key, plan) for key, plan in kept.plans.items()))


def _incident(
    kept: Preview,
    asking: Asking,
    target: AnyTarget,
    caller: Caller,
    glass: str | None,
    routes: tuple[str, ...],
    services: Services,
) -> Incident:
    exceeded = kept.devices > services.settings.breach_fuse
    return Incident(
        id=kept.incident_id,
        mode=asking.mode,
        reason=asking.reason,
        requested_by=caller.who,
        requested_by_id=caller.object_id,
        compromised=target.compromised,
        ticket=asking.ticket,
        accepted_routes=routes,
        together=tuple(sorted(_together(kept) - target.closes)),
        break_glass=glass if exceeded else None,
        approve_by=services.now() + APPROVAL if exceeded and not glass else None,
        was_enabled=target.enabled or _disabled_by_us(target, services),
        restores=_restores(target, services),
        **_narrowed(target),
    )


def _narrowed(target: AnyTarget) -> dict[str, Any]:
    scope = None if isinstance(target, Target) else target.scope
    return {"compromised_since": scope.since, "suspects_only": scope.only} if scope else {}


def _restores(target: AnyTarget, services: Services) -> str | None:
    """The breach whose unfinished work this one takes over: an open one, or one that ended and left the identity gone,
    or made anew and not touched since (a thief may have registered).

    Where somebody has worked on the new twin since, it is not to be overwritten.
    """
    last = target.last
    if isinstance(target, GroupTarget):
        return group_restores(target)
    if last is None or not last.plan.replaces or last.outcome is Outcome.DONE:
        return None
    if last.outcome is None or target.identity is None or _has_initial_twin(target, services):
        return last.id
    return None


def _has_initial_twin(target: Target, services: Services) -> bool:
    """Whether the hub shows the twin that DPS makes at a registration. No call waits, or fails, for that answer."""
    initial = target.enrollment.body.get("initialTwin") or {}
    desired = (initial.get("properties") or {}).get("desired") or {}
    try:
        twin = services.hub.twin(device_of(target.enrollment))
    except RolloverError:
        return False
    return twin is not None and twin.equals(Twin("", initial.get("tags") or {}, desired))


def _disabled_by_us(target: AnyTarget, services: Services) -> bool:
    """Whether an earlier breach that is still open, or ended without enabling it, disabled the enrollment. One that is
    done has enabled it again, and one that nobody approved has disabled nothing: then it was a person.
    """
    if target.last is None:
        return False
    acted = [
        one for one in services.ledger.rollovers_in(target.last.partition) if one.done or one.acted_at or one.backs
    ]
    if not acted or not acted[-1].plan.contains or (acted[-1].plan.replaces and acted[-1].outcome is Outcome.DONE):
        return False
    return acted[-1].incident is not None and acted[-1].incident.was_enabled


def _begin(target: AnyTarget, incident: Incident, caller: Caller, services: Services) -> Rollover:
    now = services.now()
    new = replace(target.begins(incident, caller.who, now), outbox=_outbox(incident))
    return begin(new, target.last, _history(incident, caller, now), services)


def _outbox(incident: Incident) -> tuple[str, ...]:
    kinds = [Lifecycle.STARTED]
    kinds += [Lifecycle.APPROVAL_NEEDED] if incident.awaits_approval else []
    kinds += [Lifecycle.GLASS_BROKEN] if incident.break_glass else []
    return tuple(f"{kind.value}/{f'1.{n}' if n else '1'}" for n, kind in enumerate(kinds))


def _history(incident: Incident, caller: Caller, now: datetime) -> History:
    why = f"{incident.reason}{f' ({incident.ticket})' if incident.ticket else ''}; mode {incident.mode}"
    if incident.break_glass:
        log(LogEvent.GLASS_BROKEN, incident=incident.id, caller=caller.who, why=incident.break_glass)
        return History(now, caller.who, "BROKE THE GLASS", f"{why}; without a second person: {incident.break_glass}")
    if incident.awaits_approval:
        return History(now, caller.who, "asked for approval", why)
    return History(now, caller.who, "confirmed", why)
