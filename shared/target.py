"""Whether a rollover begins, and from which certificate to which slot. Pure.

The outgoing certificate is the one that the device really uses, and that is what the hub identity shows, not
what a slot is called: after an odd number of rollovers the certificate in use lies in *secondary*.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.certificate import Outgoing, is_near_expiry
from shared.enrollment import Enrolled, Enrollment, HubIdentity, Slot, why_not_ours
from shared.seen import VaultVersion


@dataclass(frozen=True)
class Begin:
    """A rollover begins, from this outgoing certificate."""

    outgoing: Outgoing
    standby: Slot
    replaces: str | None
    on_incoming_at_start: bool
    why: str


@dataclass(frozen=True)
class NothingToDo:
    """All is well; ``why`` says so."""

    why: str


@dataclass(frozen=True)
class CannotBegin:
    """A rollover is due or may be, and cannot begin; ``why`` names what is in the way."""

    why: str


@dataclass(frozen=True)
class Due:
    """When a certificate counts as near its expiry."""

    window: timedelta
    share: float


def decide_start(
    *,
    enrollment: Enrollment,
    identity: HubIdentity | None,
    hub: str,
    latest: VaultVersion,
    versions: Mapping[str, str],
    now: datetime,
    due: Due,
) -> Begin | NothingToDo | CannotBegin:
    """Whether to begin rolling the certificate of ``enrollment`` to (or beyond) the vault's ``latest`` version.

    Args:
        hub: host name of the hub that this deployment manages.
        versions: SHA-1 thumbprint of every version of the vault's certificate → SHA-256 of its public key, the
            latter empty when it was not read (the vault lists SHA-1 only).
    """
    if reason := _not_manageable(enrollment, identity, hub):
        return CannotBegin(reason)
    if not enrollment.enabled:
        return NothingToDo("the enrollment is disabled; nothing is rolled until it is enabled")
    candidates = enrollment.certificates()
    newest = latest.certificate
    others = [c for c in candidates if c.sha256_thumbprint != newest.sha256_thumbprint]
    # What lies beside the certificate in use is retired first, but not while that one is itself due.
    in_use_is_due = is_near_expiry(newest.not_before, newest.not_after, now, window=due.window, share=due.share)
    retirable = [c for c in others if c.sha1_thumbprint in versions or c.not_after <= now]
    if in_use_is_due:
        retirable = []
    outgoing = _in_use(candidates, others, retirable, identity, newest.sha256_thumbprint, now)
    if isinstance(outgoing, CannotBegin):
        return outgoing
    if outgoing is None or outgoing.sha256_thumbprint == newest.sha256_thumbprint:
        return _on_latest(enrollment, latest, versions, now, due)
    if not latest.enabled:
        return CannotBegin(f"the latest version of the vault's certificate, {latest.version}, is disabled")
    on_incoming = identity is not None and set(identity.thumbprints()) == {newest.sha256_thumbprint}
    return _begin(
        enrollment,
        outgoing,
        newest.sha256_thumbprint,
        versions,
        now,
        on_incoming=on_incoming,
        why=f"the vault has version {latest.version}; the device's certificate is an older one",
    )


def _not_manageable(enrollment: Enrollment, identity: HubIdentity | None, hub: str) -> str | None:
    if reason := why_not_ours(enrollment):
        return reason
    if not enrollment.certificates():
        return "the enrollment has no certificate in either slot"
    assigned = enrollment.registration.assigned_hub if enrollment.registration else None
    if reason := is_another_hub(assigned, hub):
        return reason
    if identity is not None and identity.authentication != "selfSigned":
        return (
            f"the hub identity authenticates by {identity.authentication}, not by thumbprint (selfSigned);"
            " DPS did not make it"
        )
    return None


def is_another_hub(assigned: str | None, hub: str) -> str | None:
    """That DPS assigned a device to another hub than the one that this deployment manages; None when it did not."""
    if not assigned or _host(assigned) == _host(hub):
        return None
    return f"the device is assigned to the hub {assigned}; this deployment manages {_host(hub)}"


def _host(name: str) -> str:
    return name.partition(":")[0].lower()


def _in_use(
    candidates: list[Enrolled],
    others: list[Enrolled],
    retirable: list[Enrolled],
    identity: HubIdentity | None,
    newest: str,
    now: datetime,
) -> Enrolled | CannotBegin | None:
    """The certificate the device uses; None when it can only be the newest."""
    if identity is not None:
        shown = [c for c in candidates if identity.holds(c.sha1_thumbprint, c.sha256_thumbprint)]
        if not shown:
            return CannotBegin(
                "the hub identity accepts none of the enrollment's certificates"
                f" ({', '.join(identity.thumbprints()) or 'no thumbprint'}): somebody changed one of the two; put the"
                " certificate that the device uses into a slot, or delete the identity: it registers again"
            )
        older = [c for c in shown if c.sha256_thumbprint != newest]
        # Accepting two means staged and not yet moved, so the older is in use. Accepting only the newest means
        # moved; what is left to do is to retire the other, if it is one of ours or of no more use.
        candidates = older or retirable or shown
    else:
        candidates = others or candidates
    # Of two, the device can use only one that still lives; of two dead ones, the younger is the likelier.
    living = [c for c in candidates if c.not_after > now]
    if len(living) > 1:
        # Neither may be overwritten: a device whose certificate leaves its slot is locked out once it has to register.
        return CannotBegin(
            "both slots hold older certificates and the hub does not show which one the device uses; it will once the"
            " device has registered with one of them"
        )
    return max(living or candidates, key=lambda c: c.not_after, default=None)


def _on_latest(
    enrollment: Enrollment, latest: VaultVersion, versions: Mapping[str, str], now: datetime, due: Due
) -> Begin | NothingToDo | CannotBegin:
    certificate = latest.certificate
    if not is_near_expiry(certificate.not_before, certificate.not_after, now, window=due.window, share=due.share):
        return NothingToDo(
            f"the device's certificate is the vault's latest version and lives until {certificate.not_after:%Y-%m-%d}"
        )
    in_use = Enrolled(certificate.sha1_thumbprint, certificate.sha256_thumbprint, certificate.not_after)
    return _begin(
        enrollment,
        in_use,
        None,
        {**versions, certificate.sha1_thumbprint: certificate.public_key_sha256},
        now,
        on_incoming=False,
        why=f"the device's certificate ends on {certificate.not_after:%Y-%m-%d %H:%M:%SZ}",
    )


def _begin(
    enrollment: Enrollment,
    outgoing: Enrolled,
    incoming: str | None,
    versions: Mapping[str, str],
    now: datetime,
    *,
    on_incoming: bool,
    why: str,
) -> Begin | CannotBegin:
    holding = enrollment.slots_holding(outgoing.sha256_thumbprint)
    standby = holding[0].other
    occupant = enrollment.slots[standby]
    replaces = None
    if occupant is not None and occupant.sha256_thumbprint not in (outgoing.sha256_thumbprint, incoming):
        if occupant.sha1_thumbprint not in versions and occupant.not_after > now:
            return CannotBegin(
                f"the standby slot ({standby.value}) holds a certificate that is still valid and not from the vault"
                f" (SHA-256 {occupant.sha256_thumbprint}); take it out if it is not needed"
            )
        replaces = occupant.sha256_thumbprint
    return Begin(
        outgoing=outgoing.as_outgoing(versions.get(outgoing.sha1_thumbprint) or None),
        standby=standby,
        replaces=replaces,
        on_incoming_at_start=on_incoming,
        why=why,
    )
