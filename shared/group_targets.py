"""What a breach would do to one enrollment group: looked up once, shown as a preview, compared at the confirmation.

Pure but for ``select_groups`` and ``look_at_group``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.authorities import read_authorities, read_authorities_alone
from shared.authority import DpsCertificate, keys_in
from shared.breach_call import Asking
from shared.certificate import Outgoing
from shared.chain_of_trust import Trust, problems_of_anchor
from shared.enrollment import Enrolled, Slot
from shared.errors import BadInput, NotFound, ServiceRefused, ServiceUnavailable, Unsuitable
from shared.escape import Route
from shared.escape_ca import routes_of_ca, users_of
from shared.group import Group, distinct, slots_with, why_group_is_not_ours
from shared.incident import Incident, Mode
from shared.plans import PLANS, Plan
from shared.replacement import InVault, look_in_vault_for_group, name_for_group
from shared.rollover import Outcome, Rollover
from shared.selecting import Selector, unfinished
from shared.services import Services
from shared.suspects import Scope, scope_of
from shared.tags import group_of


@dataclass(frozen=True)
class GroupTarget:
    """One group that a breach call names, with everything that its preview says but for the number of devices."""

    group: Group
    anchors: Mapping[Slot, Enrolled | None]
    vault: InVault
    compromised: tuple[Outgoing, ...]
    problems: tuple[str, ...]
    """Why the vault's latest version cannot be what the group trusts instead."""
    last: Rollover | None
    routes: tuple[Route, ...]
    users: tuple[str, ...]
    """Other groups, in words, that need what leaves the DPS."""
    unread: str | None = None
    """Why the CA certificates of the DPS could not be read; then what other groups name is not among the routes."""
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
            certificate_name=self.vault.name,
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
    known = known_authorities(services)
    found = []
    for group in groups:
        held = any(thumbprint in (one.sha1_thumbprint, one.sha256_thumbprint) for one in _held(group, known))
        if held or unfinished(services.ledger.last_of_group(group.enrollment_group_id), thumbprint):
            found.append(group)
    # A query's answer may be late; each is read again by itself.
    return [one for one in (services.provisioning.group(group.enrollment_group_id) for group in found) if one]


def check_all_known(services: Services) -> None:
    """See that a thumbprint that nothing is found by is not that of a CA certificate which a group names.

    Raises:
        ServiceUnavailable, ServiceRefused: what groups name cannot be read.
    """
    if any(one.by_reference for one in services.provisioning.groups()):
        read_authorities(services, "")


def _held(group: Group, known: "KnownAuthorities") -> list[Enrolled]:
    return distinct(group.anchors(known.found))


@dataclass(frozen=True)
class KnownAuthorities:
    """The CA certificates of the DPS, as far as they could be read."""

    found: tuple[DpsCertificate, ...] = ()
    unread: str | None = None
    """Why there are none here: Resource Manager cannot be read, or the app is not told of its DPS resource."""


def known_authorities(services: Services, name: str = "", *, needed: bool = False) -> KnownAuthorities:
    """The CA certificates of the DPS; without contents that only a vault has which is down.

    Raises:
        ServiceUnavailable, ServiceRefused: they cannot be read, and are ``needed``.
    """
    try:
        found, _ = read_authorities_alone(services, name)
    except (ServiceUnavailable, ServiceRefused) as error:
        if needed:
            raise
        return KnownAuthorities(unread=str(error))
    return KnownAuthorities(found)


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
    last = services.ledger.last_of_group(group_id)
    named = name_for_group(group_id, last, services)
    known = known_authorities(services, named.name, needed=group.by_reference)
    anchors = group.anchors(known.found)
    slots = _slots(given, anchors, thumbprint)
    found = {one.sha1_thumbprint: one.as_outgoing() for slot in slots if (one := anchors[slot])}
    for left in unfinished(last, thumbprint):
        found.setdefault(left.sha1_thumbprint, left)
    if not found:
        raise Unsuitable(f"group {group_id}: it trusts nothing by slot {' and '.join(one.value for one in slots)}")
    vault = look_in_vault_for_group(named, group_id, list(found), services)
    keys = {**vault.keys, **keys_in(known.found)}
    compromised = tuple(one.with_key(keys.get(one.sha1_thumbprint)) for one in found.values())
    certificate = vault.latest.latest.certificate if vault.latest else None
    trust = Trust(known.found, group.by_reference, services.now(), services.settings.policy.clock_skew)
    routes = routes_of_ca(
        compromised,
        group=group,
        others=others,
        authorities=known.found,
        latest=certificate,
        good=None,
        by_authority=services.hub.by_authority(),
        about_to_go=True,
    )
    return GroupTarget(
        group=group,
        anchors=anchors,
        vault=vault,
        compromised=compromised,
        problems=tuple(problems_of_anchor(certificate, compromised, trust)) if certificate else (),
        last=last,
        routes=tuple(routes),
        users=users_of(compromised, others, known.found),
        unread=known.unread,
    )


def _slots(given: Any, anchors: Mapping[Slot, Enrolled | None], thumbprint: str | None) -> list[Slot]:
    if given is not None:
        if not isinstance(given, list) or not given or not all(one in tuple(Slot) for one in given):
            raise BadInput('compromised must be a list of "primary" and "secondary"')
        return [slot for slot in Slot if slot in given]
    if thumbprint is None:
        return list(Slot)
    return [s for s in Slot if (one := anchors[s]) and thumbprint in (one.sha1_thumbprint, one.sha256_thumbprint)]


def group_restores(target: GroupTarget) -> str | None:
    """The breach whose unfinished work this one takes over."""
    last = target.last
    return last.id if last is not None and last.plan.replaces and last.outcome is not Outcome.DONE else None
