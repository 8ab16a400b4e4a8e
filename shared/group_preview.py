"""What the preview of a breach says of one group. Pure but for ``count_group``."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.certificate import is_among
from shared.group import slots_with
from shared.group_targets import GroupTarget
from shared.incident import Mode
from shared.plans import Plan
from shared.rollover import Rollover, does_already
from shared.services import Services
from shared.suspects import Scope
from shared.tags import LEAVES_TAG
from shared.targets import shown_of_any


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
    latest = target.vault.latest.latest if target.vault.latest else None
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
        "escape_routes_note": _routes_note(target),
        **shown_of_any(
            Plan.GROUP_BREACH,
            certificate_name=target.vault.name,
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
    names = target.vault.latest.tags.get(LEAVES_TAG, "").strip() if target.vault.latest else ""
    issued = f" (which the CA in the vault issues, where that has one called {names!r})" if names else ""
    lost = [
        f"{devices} devices lose their connection, each until it registers with a new certificate under the new CA"
        + issued,
        "their queued cloud-to-device messages, which cannot be saved",
        "their reported properties, until they report them again (tags and desired properties are restored)",
    ]
    lost += [f"{use}: its devices can register no more once it is deleted" for use in target.users]
    return lost


def _replacement_note(target: GroupTarget, *, fresh: bool) -> str:
    vault = target.vault
    if vault.unread_note:
        return vault.unread_note
    if not vault.name:
        return "no certificate of the vault is tied to this group: it rests contained until one is tagged for it"
    if vault.latest is None:
        return f"the vault holds no certificate {vault.name!r}: it rests contained until there is one"
    version = vault.latest.latest.version
    if fresh:
        return f"version {version} of the vault takes over; every device needs a new certificate under it"
    if is_among(vault.latest.latest.certificate, target.compromised):
        return "the vault's latest version is compromised: a new one is asked for; until then it rests contained"
    if target.unread is not None:
        return (
            f"whether version {version} of the vault can take over is not known, for the CA certificates of the DPS"
            f" cannot be read ({target.unread}): it rests contained until they can"
        )
    why = "; ".join(target.problems) or "it is disabled"
    return f"version {version} of the vault cannot take over ({why}): until another can, it rests contained"


def _routes_note(target: GroupTarget) -> str | None:
    if target.unread is None:
        return None
    return (
        f"not complete, for the CA certificates of the DPS cannot be read ({target.unread}): by what other groups name"
        " devices may get in; that is looked at before containment is stated"
    )
