"""What a breach would do to one enrollment: looked up once, shown as a preview, compared at the confirmation. Pure
but for ``look_at``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.certificate import Outgoing
from shared.enrollment import Enrollment, HubIdentity, Slot, why_not_ours
from shared.errors import BadInput, Unsuitable
from shared.escape import Compromised, Route, escape_routes, holding
from shared.exposure import SESSION_ENDS
from shared.group import Group
from shared.incident import Incident, Mode
from shared.plans import ESTABLISHES, PLANS, Plan
from shared.replacement import InVault, look_in_vault
from shared.rollover import Rollover, does_already
from shared.seen import VaultVersion
from shared.selecting import device_of
from shared.services import Services

DPS_WRITE = timedelta(seconds=2)
HUB_WRITES_PER_MINUTE = 100
"""Of the identity registry of one S1 or S2 unit (azure-docs iot-hub-devguide-quotas-throttling)."""


@dataclass(frozen=True)
class Named:
    """One enrollment that a breach call selects, and what of it the call takes for compromised."""

    enrollment: Enrollment
    slots: Sequence[Slot]
    last: Rollover | None
    """The target's latest rollover."""
    unfinished: Sequence[Outgoing]
    """What that one was about, if it is a breach that did not come to its end (``shared.selecting``)."""

    def certificates(self) -> list[Compromised]:
        """All that is compromised, each once, those in slots first."""
        enrolled = [self.enrollment.slots[slot] for slot in self.slots]
        found: dict[str, Compromised] = {}
        for one in (*enrolled, *self.unfinished):
            if one is not None:
                found.setdefault(one.sha256_thumbprint, one)
        return list(found.values())


@dataclass(frozen=True)
class Target:
    """One enrollment that a breach call names, with everything that its preview says."""

    enrollment: Enrollment
    device_id: str
    vault: InVault
    compromised: tuple[Outgoing, ...]
    identity: HubIdentity | None
    last: Rollover | None
    routes: tuple[Route, ...]

    @property
    def registration_id(self) -> str:
        return self.enrollment.registration_id

    @property
    def key(self) -> str:
        """By which the preview knows it."""
        return self.registration_id

    @property
    def enabled(self) -> bool:
        """Whether DPS admits the device."""
        return self.enrollment.enabled

    @property
    def closes(self) -> frozenset[str]:
        """The names of the escape routes that a breach of it closes."""
        return names_of(self.registration_id, self.device_id)

    def material(self, mode: Mode) -> dict[str, Any]:
        """What the caller agrees to: whatever of it differs at the confirmation makes that a different plan.

        What a thief can change again and again (the thumbprints at the hub, sessions) is not in it, for it changes
        nothing of what is done; nor is a new version in the vault.
        """
        preempts = preempted_by(self)
        slots = {slot: one.sha256_thumbprint if (one := self.enrollment.slots[slot]) else None for slot in Slot}
        return {
            "device_id": self.device_id,
            "enrollment enabled": self.enrollment.enabled,
            **{f"slot {slot.value}": held for slot, held in slots.items()},
            "compromised": sorted(one.sha256_thumbprint for one in self.compromised),
            "steps": list(PLANS[plan_of(mode)]),
            "preempts": preempts.id if preempts else None,
            "escape routes": sorted(route.name for route in self.routes),
        }

    def begins(self, incident: Incident, who: str, now: datetime) -> Rollover:
        """The rollover that contains it."""
        registration = self.enrollment.registration
        holding = self.enrollment.slots_holding(self.compromised[0].sha256_thumbprint)
        return Rollover(
            id="",  # the ledger gives it
            plan=plan_of(incident.mode),
            registration_id=self.registration_id,
            device_id=self.device_id,
            certificate_name=self.vault.name,
            cause=f"breach call of {who}",
            started_at=now,
            outgoing=self.compromised[0],
            standby=holding[0].other if holding else Slot.SECONDARY,
            baseline=registration.last_updated if registration else None,
            incident=incident,
            due_at=incident.approve_by or now,
        )


def plan_of(mode: Mode) -> Plan:
    """The plan by which a containment mode goes."""
    return Plan.BREACH_REPROVISION if mode is Mode.REPROVISION else Plan.BREACH


@dataclass(frozen=True)
class Around:
    """What else DPS and hub hold that a compromised certificate could get in by: looked up once for all targets."""

    enrollments: tuple[Enrollment, ...]
    groups: tuple[Group, ...]
    identities: tuple[HubIdentity, ...]


def look_around(compromised: Sequence[Compromised], registration_ids: Sequence[str], services: Services) -> Around:
    """Every other entry and hub identity that matters for these certificates of these enrollments.

    All enrollments are paged through (DPS cannot search them), and only those that hold one are kept.
    """
    thumbprints = [t for one in compromised for t in (one.sha1_thumbprint, one.sha256_thumbprint)]
    # One of type certificateAuthority pins nothing; it lets in the leaf whose common name is its device ID.
    holders = {*services.hub.holders(thumbprints), *registration_ids}
    identities = [services.hub.identity(device_id) for device_id in sorted(holders)]
    return Around(
        enrollments=tuple(holding(services.provisioning.enrollments(), compromised)),
        groups=tuple(services.provisioning.groups()),
        identities=tuple(one for one in identities if one is not None),
    )


def look_at(named: Named, around: Around, services: Services) -> Target:
    """Look up what is known about one enrollment.

    Raises:
        Unsuitable: its certificates are not ours to replace, or the named slots hold none.
    """
    enrollment, certificates = named.enrollment, named.certificates()
    if reason := why_not_ours(enrollment):
        raise Unsuitable(f"{enrollment.registration_id}: {reason}")
    if not certificates:
        slots = " and ".join(slot.value for slot in named.slots)
        raise Unsuitable(f"{enrollment.registration_id}: there is no certificate in slot {slots}")
    device_id = device_of(enrollment)
    vault = look_in_vault(enrollment, [one.sha1_thumbprint for one in certificates], named.last, services)
    compromised = tuple(
        one if isinstance(one, Outgoing) else one.as_outgoing(vault.keys.get(one.sha1_thumbprint))
        for one in certificates
    )
    routes = escape_routes(
        compromised,
        registration_id=enrollment.registration_id,
        device_id=device_id,
        enrollments=around.enrollments,
        groups=around.groups,
        identities=[one for one in around.identities if one.device_id != device_id],
    )
    return Target(
        enrollment=enrollment,
        device_id=device_id,
        vault=vault,
        compromised=compromised,
        identity=services.hub.identity(device_id),
        last=named.last,
        routes=tuple(routes),
    )


def slots_of(given: Any, enrollment: Enrollment, thumbprint: str | None) -> list[Slot]:
    """The compromised slots: as the caller says, else those that hold the thumbprint, else both.

    Raises:
        BadInput: not a list of slots.
    """
    if given is not None:
        if not isinstance(given, list) or not given or not all(one in tuple(Slot) for one in given):
            raise BadInput('compromised must be a list of "primary" and "secondary"')
        return [slot for slot in Slot if slot in given]
    if thumbprint is None:
        return list(Slot)
    held = {slot: enrollment.slots[slot] for slot in Slot}
    return [s for s, one in held.items() if one and thumbprint in (one.sha1_thumbprint, one.sha256_thumbprint)]


def preempted_by(target: Target) -> Rollover | None:
    """The open rollover whose place a breach takes."""
    return target.last if target.last is not None and target.last.outcome is None else None


def names_of(registration_id: str, device_id: str) -> frozenset[str]:
    """The names that a target's own entries have as escape routes of another target."""
    return frozenset({f"enrollment {registration_id}", f"hub identity {device_id}"})


def closed_by(key: str, plan: Mapping[str, Any]) -> frozenset[str]:
    """The same, of a target as its preview was kept; the key of a group is its name as an escape route."""
    return names_of(key, plan["device_id"]) if "device_id" in plan else frozenset({key})


def differences(previewed: Mapping[str, Any], now: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """What differs between two ``material``s, in the words of a problem document."""
    names = [name for name in {**previewed, **now} if previewed.get(name) != now.get(name)]
    return [{"what": f"{key}: {name}", "previewed": previewed.get(name), "now": now.get(name)} for name in names]


def shown(target: Target, mode: Mode, now: datetime) -> dict[str, Any]:
    """One target of a preview."""
    preempts = preempted_by(target)
    named = [one.sha256_thumbprint for one in target.compromised]
    same = preempts is not None and does_already(preempts, plan_of(mode), mode, named, now)
    return {
        "registration_id": target.registration_id,
        "device_id": target.device_id,
        "loses": losses(target, mode),
        "queued_messages": target.identity.queued_messages if target.identity else 0,
        "replacement_note": target.vault.note(named),
        **shown_of_any(
            plan_of(mode),
            certificate_name=target.vault.name,
            compromised=[(one, target.enrollment.slots_holding(one.sha256_thumbprint)) for one in target.compromised],
            replacement=target.vault.fresh(named),
            preempts=preempts,
            same=same,
            routes=target.routes,
        ),
    }


def shown_of_any(
    plan: Plan,
    *,
    certificate_name: str,
    compromised: Sequence[tuple[Outgoing, Sequence[Slot]]],
    replacement: VaultVersion | None,
    preempts: Rollover | None,
    same: bool,
    routes: Sequence[Route],
) -> dict[str, Any]:
    """What a preview says of every target, be it a device's or a group's; ``same``: what is open does this already."""
    return {
        "certificate_name": certificate_name or None,
        "compromised": [
            {
                "slots": [slot.value for slot in slots],
                "sha1_thumbprint": one.sha1_thumbprint,
                "sha256_thumbprint": one.sha256_thumbprint or None,
                "not_after": one.not_after.isoformat(),
            }
            for one, slots in compromised
        ],
        "steps": [{"step": step, "establishes": ESTABLISHES[step]} for step in PLANS[plan]],
        "replacement": {
            "version": replacement.version,
            "sha256_thumbprint": replacement.certificate.sha256_thumbprint,
            "not_after": replacement.certificate.not_after.isoformat(),
        }
        if replacement is not None
        else None,
        "preempts": preempts.id if preempts and not same else None,
        "goes_on_with": preempts.id if preempts and same else None,
        "escape_routes": [{"route": route.name, "certain": route.certain, "why": route.why} for route in routes],
    }


def losses(target: Target, mode: Mode) -> list[str]:
    """What the device loses, in plain words."""
    identity = target.identity
    if identity is None:
        return ["nothing: the hub has no identity of this device"]
    if mode is Mode.REPROVISION:
        return [
            "nothing; but the hub goes on accepting what is compromised until the device has registered again, and who"
            " has the key can keep it from that by taking its session and answering in its place"
        ]
    lost = ["its connection, until it has its new certificate"]
    if mode is Mode.DISABLE:
        return lost
    count = identity.queued_messages
    lost.append(f"{count} queued cloud-to-device message{'' if count == 1 else 's'}, which cannot be saved")
    lost.append("its reported properties, until it reports them again (tags and desired properties are restored)")
    if identity.iot_edge:
        lost.append("its modules and their twins: it is an IoT Edge device; mode disable keeps them")
    if identity.device_scope or identity.parent_scopes:
        lost.append("its place in the gateway hierarchy (device scope, parents)")
    if not identity.enabled:
        why = identity.status_reason or "no reason given"
        lost.append(f"its status disabled at the hub ({why}): it comes back enabled")
    return lost


def eta(devices: int, mode: Mode, settle: timedelta, groups: int = 0, groups_s: float = 0.0) -> dict[str, Any]:
    """Upper estimates in seconds from the confirmation on, for one S1 unit; the device's return takes its own time.

    ``groups_s`` is the least time that the hub's own quota leaves for the eviction of the groups' devices.
    """
    door = DPS_WRITE.total_seconds() * (devices + groups)
    if mode is Mode.REPROVISION:
        note = "contained only when each device has registered again with its new certificate"
        return {"door_shut_s": door, "evicted_s": None, "verified_s": None, "note": note}
    written = door + 2 * devices * 60 / HUB_WRITES_PER_MINUTE + groups_s
    evicted = written + SESSION_ENDS.total_seconds()
    verified = written + max(SESSION_ENDS, settle).total_seconds() + 2 * DPS_WRITE.total_seconds()
    note = "the hub ends sessions within a minute, most within seconds; a throttled service adds to it"
    if groups:
        verified += groups_s
        note += "; of a group, every identity is removed and then looked at again, as fast as the hub's quota lets"
    return {"door_shut_s": door, "evicted_s": round(evicted, 1), "verified_s": round(verified, 1), "note": note}
