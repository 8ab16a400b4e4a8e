"""A breach call: a preview first, and with its token the real thing.

Nothing destructive is done without a preview, a confirmation of exactly that, and a caller whose name stands in the
history. Who repeats a call gets the rollovers that it began.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shared.body import accepted_routes, only, required_text, text_of
from shared.callers import Caller
from shared.enrollment import Slot
from shared.errors import BadInput, NotFound, Unsuitable
from shared.events import Lifecycle, LogEvent, log
from shared.incident import Incident, Mode
from shared.opening import begin, shut_doors
from shared.previews import Preview
from shared.rollover import Outcome, Plan, Rollover
from shared.rows import History
from shared.selecting import KINDS, Selector, parse_selector, select, unfinished
from shared.services import Services
from shared.targets import (
    Named,
    Target,
    differences,
    eta,
    look_around,
    look_at,
    material,
    names_of,
    plan_of,
    preempted_by,
    shown,
    slots_of,
)

APPROVAL = timedelta(hours=1)
"""How long a second person may take to approve what exceeds the fuse; after that nothing is done."""
ASKING = (*KINDS, "reason", "ticket", "compromised", "mode")
CONFIRMING = ("confirm", "break_glass", "accept_escape_routes")


class WorldChanged(Unsuitable):
    """What was previewed is not what would be done now."""

    def __init__(self, found: list[dict[str, Any]]) -> None:
        super().__init__("the world has changed since the preview; nothing was done: look at a new preview")
        self.members = {"difference": found}


@dataclass(frozen=True)
class Asking:
    """What a breach call asks for."""

    selector: Selector
    mode: Mode
    reason: str
    ticket: str | None
    compromised: Any

    def as_json(self) -> dict[str, Any]:
        """As it is kept, and as a call has it."""
        given = {"reason": self.reason, "ticket": self.ticket, "mode": self.mode, "compromised": self.compromised}
        return {self.selector.kind: self.selector.value} | {k: v for k, v in given.items() if v is not None}


@dataclass(frozen=True)
class Confirmed:
    """What a confirmation began."""

    incident_id: str
    rollovers: list[Rollover]


def parse_asking(body: Mapping[str, Any]) -> Asking:
    """Read a breach call.

    Raises:
        BadInput: naming what is wrong; an unknown member is wrong too, for it may be a selector with a slip in it.
    """
    only(body, *ASKING)
    mode = body.get("mode", Mode.REMOVE.value)
    if mode not in tuple(Mode):
        raise BadInput(f"mode must be one of {', '.join(Mode)}")
    return Asking(
        selector=parse_selector(body),
        mode=Mode(mode),
        reason=required_text(body, "reason"),
        ticket=text_of(body, "ticket"),
        compromised=body.get("compromised"),
    )


def preview(body: Mapping[str, Any], caller: Caller, services: Services) -> dict[str, Any]:
    """What a breach call would do, with the token that confirms exactly this. Changes nothing.

    Raises:
        BadInput, NotFound, Unsuitable: nothing, or not one thing, is named.
    """
    asking = parse_asking(body)
    targets = _targets(asking, services)
    plans = {target.registration_id: material(target, asking.mode) for target in targets}
    kept, token = services.previews.keep(caller.object_id, asking.as_json(), plans, services.now())
    log(LogEvent.BREACH_PREVIEWED, incident=kept.incident_id, caller=caller.who, devices=len(targets))
    limit = services.settings.breach_fuse
    return {
        "preview": True,
        "incident": {
            "selector": {asking.selector.kind: asking.selector.value},
            "reason": asking.reason,
            "ticket": asking.ticket,
            "mode": asking.mode,
            "requested_by": caller.who,
        },
        "devices": len(targets),
        "targets": [shown(target, asking.mode, services.now()) for target in targets],
        "fuse": {"limit": limit, "exceeded": len(targets) > limit},
        "eta": eta(len(targets), asking.mode, services.settings.policy.settle),
        "confirm_token": token,
        "expires_at": kept.expires_at.isoformat(),
    }


def _targets(asking: Asking, services: Services, known: Iterable[str] = ()) -> list[Target]:
    """What the call names. What one target is to another is no escape route: the call contains both; ``known`` are
    the names of those that it may no longer select."""
    thumbprint = asking.selector.value if asking.selector.kind == "thumbprint" else None
    named = []
    for enrollment in select(asking.selector, services):
        slots = slots_of(asking.compromised, enrollment, thumbprint)
        last = services.ledger.last(enrollment.registration_id)
        named.append(Named(enrollment, slots, last, unfinished(last, thumbprint)))
    compromised = [certificate for one in named for certificate in one.certificates()]
    around = look_around(compromised, [one.enrollment.registration_id for one in named], services)
    found = [look_at(one, around, services) for one in named]
    for one in found:
        _check_mode(one, asking.mode)
    together = {*known}.union(*(names_of(one.registration_id, one.device_id) for one in found))
    return [replace(one, routes=tuple(r for r in one.routes if r.name not in together)) for one in found]


def _check_mode(target: Target, mode: Mode) -> None:
    """Mode reprovision takes the place of no breach that has begun to shut the device out at the hub.

    It would have the hub accept again, for a while, what is contained, in sessions that may not have ended.
    """
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
            begun[target.registration_id] = _begin(target, incident, caller, services)
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


def _begun(registration_id: str, kept: Preview, services: Services) -> Rollover | None:
    """The rollover that an earlier confirmation of this very preview began."""
    rollovers = services.ledger.rollovers(registration_id)
    return next((one for one in rollovers if one.incident and one.incident.id == kept.incident_id), None)


def _as_previewed(asking: Asking, kept: Preview, begun: set[str], services: Services) -> list[Target]:
    try:
        targets = {target.registration_id: target for target in _targets(asking, services, _together(kept))}
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
            found += differences(kept.plans[name], material(targets[name], asking.mode), name)
    if found:
        raise WorldChanged(found)
    return [target for name, target in targets.items() if name not in begun]


def _together(kept: Preview) -> frozenset[str]:
    return frozenset().union(*(names_of(name, plan["device_id"]) for name, plan in kept.plans.items()))


def _incident(
    kept: Preview,
    asking: Asking,
    target: Target,
    caller: Caller,
    glass: str | None,
    routes: tuple[str, ...],
    services: Services,
) -> Incident:
    exceeded = len(kept.plans) > services.settings.breach_fuse
    return Incident(
        id=kept.incident_id,
        mode=asking.mode,
        reason=asking.reason,
        requested_by=caller.who,
        requested_by_id=caller.object_id,
        compromised=target.compromised,
        ticket=asking.ticket,
        accepted_routes=routes,
        together=tuple(sorted(_together(kept) - names_of(target.registration_id, target.device_id))),
        break_glass=glass if exceeded else None,
        approve_by=services.now() + APPROVAL if exceeded and not glass else None,
        was_enabled=target.enrollment.enabled or _disabled_by_us(target),
        restores=_restores(target),
    )


def _restores(target: Target) -> str | None:
    """The breach whose unfinished work this one takes over: an open one, or one that ended with the identity gone.

    Where the device has come back in between by a person's hand, its twin is a new one, and is not to be overwritten.
    """
    last = target.last
    if last is None or not last.plan.replaces or last.outcome is Outcome.DONE:
        return None
    return last.id if last.outcome is None or target.identity is None else None


def _disabled_by_us(target: Target) -> bool:
    """Whether an earlier breach that is still open, or ended without enabling it, disabled the enrollment."""
    last = target.last
    return last is not None and last.plan.contains and bool(last.incident and last.incident.was_enabled)


def _begin(target: Target, incident: Incident, caller: Caller, services: Services) -> Rollover:
    registration = target.enrollment.registration
    holding = target.enrollment.slots_holding(target.compromised[0].sha256_thumbprint)
    new = Rollover(
        id="",  # the ledger gives it
        plan=plan_of(incident.mode),
        registration_id=target.registration_id,
        device_id=target.device_id,
        certificate_name=target.certificate_name,
        cause=f"breach call of {caller.who}",
        started_at=services.now(),
        outgoing=target.compromised[0],
        standby=holding[0].other if holding else Slot.SECONDARY,
        baseline=registration.last_updated if registration else None,
        incident=incident,
        due_at=incident.approve_by or services.now(),
        outbox=_outbox(incident),
    )
    return begin(new, target.last, _history(incident, caller, services.now()), services)


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
