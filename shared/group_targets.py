"""What a breach would do to one enrollment group: looked up once, shown as a preview, compared at the confirmation.

Pure but for ``select_groups`` and ``look_at_group``.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shared.authorities import read_authorities
from shared.authority import DpsCertificate
from shared.breach_call import Asking
from shared.certificate import Outgoing, is_among
from shared.chain_of_trust import Trust, problems_of_anchor
from shared.enrollment import Enrolled, Slot
from shared.errors import BadInput, NotFound, ServiceRefused, Unsuitable
from shared.escape import Route
from shared.escape_ca import routes_of_ca, users_of
from shared.group import Group, distinct, slots_with, why_group_is_not_ours
from shared.incident import Incident, Mode
from shared.rollover import PLANS, Outcome, Plan, Rollover, does_already
from shared.selecting import Selector, unfinished
from shared.services import Services, Tagged
from shared.suspects import Scope, scope_of
from shared.tags import certificate_for_group, group_of
from shared.targets import shown_of_any


@dataclass(frozen=True)
class GroupTarget:
    """One group that a breach call names, with everything that its preview says but for the number of devices."""

    group: Group
    anchors: Mapping[Slot, Enrolled | None]
    certificate_name: str
    compromised: tuple[Outgoing, ...]
    latest: Tagged | None
    problems: tuple[str, ...]
    """Why the vault's latest version cannot be what the group trusts instead."""
    last: Rollover | None
    routes: tuple[Route, ...]
    users: tuple[str, ...]
    """Other groups, in words, that need what leaves the DPS."""
    scope: Scope | None = None
    """Whom the call would evict first, or only; None where it says no time of the theft."""

    @property
    def key(self) -> str:
        """By which the preview knows it; no registration ID has a blank."""
        return f"group {self.group.enrollment_group_id}"

    @property
    def enabled(self) -> bool:
        return self.group.enabled

    @property
    def closes(self) -> frozenset[str]:
        """The names of the escape routes that a breach of it closes."""
        return frozenset({self.key})

    def material(self, _mode: Mode) -> dict[str, Any]:
        """What the caller agrees to. Not the number of devices: who has the CA's key can make any number of them."""
        preempts = self.last if self.last is not None and self.last.outcome is None else None
        held = {slot: one.sha1_thumbprint if (one := self.anchors[slot]) else None for slot in Slot}
        return {
            "group enabled": self.group.enabled,
            **{f"slot {slot.value}": thumbprint for slot, thumbprint in held.items()},
            "compromised": sorted(one.sha1_thumbprint for one in self.compromised),
            "steps": list(PLANS[Plan.GROUP_BREACH]),
            "preempts": preempts.id if preempts else None,
            "escape routes": sorted(route.name for route in self.routes),
            "evicts": "suspects" if self.scope and self.scope.only else "everybody",
            "compromised since": self.scope.since.isoformat() if self.scope else None,
        }

    def begins(self, incident: Incident, who: str, now: datetime) -> Rollover:
        """The rollover that contains it."""
        holding = slots_with(self.anchors, self.compromised[0])
        return Rollover(
            id="",  # the ledger gives it
            plan=Plan.GROUP_BREACH,
            registration_id="",
            device_id="",
            group_id=self.group.enrollment_group_id,
            certificate_name=self.certificate_name,
            cause=f"breach call of {who}",
            started_at=now,
            outgoing=self.compromised[0],
            standby=holding[0].other if holding else Slot.SECONDARY,
            incident=incident,
            due_at=incident.approve_by or now,
        )


def scope_of_group(asking: Asking, services: Services) -> Scope | None:
    """How far a call narrows the eviction of a group's devices.

    Raises:
        BadInput: the theft is yet to come.
    """
    if asking.compromised_since is None:
        return None
    if asking.compromised_since > services.now():
        raise BadInput("compromised_since must not be in the future")
    seen = services.fleet.pins.round() if asking.leaf_keys_safe else None
    return scope_of(
        asking.compromised_since,
        leaf_keys_safe=asking.leaf_keys_safe,
        by_authority=services.hub.by_authority() if asking.leaf_keys_safe else [],
        known_since=seen.complete_since if seen else None,
    )


def select_groups(selector: Selector, services: Services) -> list[Group]:
    """The groups that the selector names; none where it can only name enrollments.

    Raises:
        NotFound: it names a group that there is not.
    """
    match selector.kind:
        case "enrollment_group":
            found = services.provisioning.group(selector.value)
            if found is None:
                raise NotFound(f"there is no enrollment group {selector.value!r}")
            return [found]
        case "certificate_name":
            tagged = services.vault.latest(selector.value)
            group_id = group_of(tagged) if tagged else None
            return select_groups(Selector("enrollment_group", group_id), services) if group_id else []
        case "thumbprint":
            return _of_thumbprint(selector.value, services)
        case _:
            return []


def _of_thumbprint(thumbprint: str, services: Services) -> list[Group]:
    groups = list(services.provisioning.groups())
    authorities = authorities_for(groups, services)
    found = []
    for group in groups:
        held = any(thumbprint in (one.sha1_thumbprint, one.sha256_thumbprint) for one in _held(group, authorities))
        if held or unfinished(services.ledger.last_of_group(group.enrollment_group_id), thumbprint):
            found.append(group)
    # A query's answer may be late; each is read again by itself.
    return [one for one in (services.provisioning.group(group.enrollment_group_id) for group in found) if one]


def _held(group: Group, authorities: Sequence[DpsCertificate]) -> list[Enrolled]:
    return distinct(group.anchors(authorities))


def authorities_for(groups: Sequence[Group], services: Services, name: str = "") -> tuple[DpsCertificate, ...]:
    """The CA certificates of the DPS; none where the app is not told of its DPS resource and no group names one."""
    if any(one.by_reference for one in groups):
        return read_authorities(services, name)
    with suppress(ServiceRefused):
        return read_authorities(services, name)
    return ()


def look_at_group(group: Group, given: Any, thumbprint: str | None, services: Services) -> GroupTarget:
    """Look up what is known about one group that a call names; ``given`` are the slots that the caller names.

    Raises:
        Unsuitable: what it trusts is not ours to replace, or the named slots trust nothing.
        BadInput: not a list of slots.
    """
    group_id = group.enrollment_group_id
    if reason := why_group_is_not_ours(group):
        raise Unsuitable(f"group {group_id}: {reason}")
    others = [one for one in services.provisioning.groups() if one.enrollment_group_id.lower() != group_id.lower()]
    tagged_name = certificate_for_group(group_id, set(), services)
    authorities = authorities_for([group, *others], services, tagged_name)
    anchors = group.anchors(authorities)
    last = services.ledger.last_of_group(group_id)
    slots = _slots(given, anchors, thumbprint)
    found = {one.sha1_thumbprint: one.as_outgoing() for slot in slots if (one := anchors[slot])}
    for left in unfinished(last, thumbprint):
        found.setdefault(left.sha1_thumbprint, left)
    if not found:
        raise Unsuitable(f"group {group_id}: it trusts nothing by slot {' and '.join(one.value for one in slots)}")
    name = tagged_name or certificate_for_group(group_id, set(found), services)
    compromised = _with_keys(tuple(found.values()), name, authorities, services)
    tagged = services.vault.latest(name) if name else None
    certificate = tagged.latest.certificate if tagged else None
    trust = Trust(authorities, group.by_reference, services.now(), services.settings.policy.clock_skew)
    routes = routes_of_ca(
        compromised,
        group=group,
        others=others,
        authorities=authorities,
        latest=certificate,
        good=None,
        by_authority=services.hub.by_authority(),
        about_to_go=True,
    )
    return GroupTarget(
        group=group,
        anchors=anchors,
        certificate_name=name,
        compromised=compromised,
        latest=tagged,
        problems=tuple(problems_of_anchor(certificate, compromised, trust)) if certificate else (),
        last=last,
        routes=tuple(routes),
        users=users_of(compromised, others, authorities),
    )


def _slots(given: Any, anchors: Mapping[Slot, Enrolled | None], thumbprint: str | None) -> list[Slot]:
    if given is not None:
        if not isinstance(given, list) or not given or not all(one in tuple(Slot) for one in given):
            raise BadInput('compromised must be a list of "primary" and "secondary"')
        return [slot for slot in Slot if slot in given]
    if thumbprint is None:
        return list(Slot)
    return [s for s in Slot if (one := anchors[s]) and thumbprint in (one.sha1_thumbprint, one.sha256_thumbprint)]


def _with_keys(
    compromised: tuple[Outgoing, ...], name: str, authorities: Sequence[DpsCertificate], services: Services
) -> tuple[Outgoing, ...]:
    """With the public keys, where the DPS's CA certificates or the vault's versions tell them."""
    keys = {one.sha1_thumbprint: one.certificate.public_key_sha256 for one in authorities if one.certificate}
    versions = services.vault.versions(name) if name and services.vault.latest(name) else {}
    found = []
    for one in compromised:
        key = one.public_key_sha256 or keys.get(one.sha1_thumbprint)
        if key is None and (version := versions.get(one.sha1_thumbprint)):
            key = services.vault.public_key_sha256(name, version)
        found.append(replace(one, public_key_sha256=key))
    return tuple(found)


@dataclass(frozen=True)
class Counted:
    """How many devices a target has, and a breach of it touches."""

    devices: int
    touched: int
    """At most: who registered since the theft, and may turn out to be pinned to the leaf of before."""
    since: int | None = None
    """How many registered since the theft."""
    since_earlier: int | None = None
    """How many registered since a month before that."""


EARLIER = timedelta(days=30)


def count_group(target: GroupTarget, services: Services) -> Counted:
    """Count the group's devices, page by page."""
    group_id, scope = target.group.enrollment_group_id, target.scope
    if scope is None:
        (devices,) = services.provisioning.count_members(group_id)
        return Counted(devices, devices)
    devices, since, earlier = services.provisioning.count_members(group_id, scope.since, scope.since - EARLIER)
    return Counted(devices, since if scope.only else devices, since, earlier)


def shown_group(target: GroupTarget, counted: Counted, seconds: float, now: datetime) -> dict[str, Any]:
    """One group of a preview, with how many devices it has and the least time that their eviction takes."""
    preempts = target.last if target.last is not None and target.last.outcome is None else None
    named = [one.known_as for one in target.compromised]
    same = preempts is not None and does_already(preempts, Plan.GROUP_BREACH, Mode.REMOVE, named, now)
    same = same and preempts is not None and _covers(preempts, target.scope)
    latest = target.latest.latest if target.latest else None
    fresh = latest is not None and latest.enabled and not target.problems
    fresh = fresh and latest is not None and not is_among(latest.certificate, target.compromised)
    return {
        "enrollment_group": target.group.enrollment_group_id,
        "trusts": "ca_references" if target.group.by_reference else "signing_certificates",
        "devices": counted.devices,
        "eviction": _eviction(target.scope, counted),
        "eviction_bound_s": round(seconds, 1),
        "loses": _losses(target, counted.touched),
        "replacement_note": _replacement_note(target, fresh=fresh),
        **shown_of_any(
            Plan.GROUP_BREACH,
            certificate_name=target.certificate_name,
            compromised=[(one, slots_with(target.anchors, one)) for one in target.compromised],
            replacement=latest if fresh else None,
            preempts=preempts,
            same=same,
            routes=target.routes,
        ),
    }


def _covers(rollover: Rollover, scope: Scope | None) -> bool:
    incident = rollover.incident
    since = scope.since if scope else None
    return incident is not None and incident.covers(since, suspects_only=bool(scope and scope.only))


def _eviction(scope: Scope | None, counted: Counted) -> dict[str, Any]:
    """Who is evicted, and what another time of the theft would mean."""
    if scope is None:
        why = "the call does not say since when the CA may be compromised (compromised_since)"
        return {"who": "everybody", "why": why}
    who = "suspects only" if scope.only else "everybody, suspects first"
    return {
        "who": who,
        "why": scope.why,
        "registered_since": counted.since,
        "registered_since_30_days_earlier": counted.since_earlier,
        "left_alone": counted.devices - counted.touched,
    }


def _losses(target: GroupTarget, devices: int) -> list[str]:
    lost = [
        f"{devices} devices lose their connection, each until it registers with a new certificate under the new CA",
        "their queued cloud-to-device messages, which cannot be saved",
        "their reported properties, until they report them again (tags and desired properties are restored)",
    ]
    lost += [f"{use}: its devices can register no more once it is deleted" for use in target.users]
    return lost


def _replacement_note(target: GroupTarget, *, fresh: bool) -> str:
    if not target.certificate_name:
        return "no certificate of the vault is tied to this group: it rests contained until one is tagged for it"
    if target.latest is None:
        return f"the vault holds no certificate {target.certificate_name!r}: it rests contained until there is one"
    version = target.latest.latest.version
    if fresh:
        return f"version {version} of the vault takes over; every device needs a new certificate under it"
    if is_among(target.latest.latest.certificate, target.compromised):
        return "the vault's latest version is compromised: a new one is asked for; until then it rests contained"
    why = "; ".join(target.problems) or "it is disabled"
    return f"version {version} of the vault cannot take over ({why}): until another can, it rests contained"


def group_restores(target: GroupTarget) -> str | None:
    """The breach whose unfinished work this one takes over."""
    last = target.last
    return last.id if last is not None and last.plan.replaces and last.outcome is not Outcome.DONE else None
