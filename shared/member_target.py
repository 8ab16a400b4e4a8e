"""Whether the rollover of a group's device begins, and from which certificate. Pure.

The outgoing certificate is the one that the device really uses: what the hub identity shows. DPS tells only that the
device registered, not through which group, nor with what.
"""

from collections.abc import Sequence
from datetime import datetime

from shared.certificate import Certificate, Outgoing, is_near_expiry, is_same
from shared.decide_member import kept_out_by
from shared.enrollment import Enrollment, HubIdentity, Registration, Slot
from shared.group import Group, why_group_is_not_ours
from shared.seen import VaultVersion
from shared.target import Begin, CannotBegin, Due, NothingToDo, is_another_hub


def in_use(
    *,
    enrollment: Enrollment | None,
    registration: Registration | None,
    identity: HubIdentity | None,
    hub: str,
    latest: VaultVersion,
    shown: Sequence[Certificate],
    now: datetime,
    due: Due,
) -> Certificate | NothingToDo | CannotBegin:
    """The certificate that the device uses, if it is one of the vault's and may be rolled.

    What is in the way is said when the latest version is near its end: a certificate that is made for a device before
    it first registers is nobody's business.

    Args:
        enrollment: an individual one of the same name; only a disabled one leaves the device to its group.
        hub: host name of the hub that this deployment manages.
        shown: the versions of the vault's certificate that the hub accepts.
    """
    one = latest.certificate
    near = is_near_expiry(one.not_before, one.not_after, now, window=due.window, share=due.share)
    not_seen = CannotBegin if near else NothingToDo
    if registration is None:
        return not_seen("DPS knows no registration of this device: nothing is rolled before it has registered")
    if reason := is_another_hub(registration.assigned_hub, hub):
        return not_seen(reason)
    if identity is None:
        return not_seen(
            "the hub has no identity of this device: it is rolled once it has registered again; if it is out of"
            " service, disable its certificate in the vault"
        )
    if identity.authentication != "selfSigned":
        return not_seen(
            f"the hub identity authenticates by {identity.authentication}, not by thumbprint (selfSigned);"
            " DPS did not make it"
        )
    if kept_out_by(enrollment, tuple(identity.thumbprints())):
        return NothingToDo(
            "a disabled enrollment of its own keeps the device out; nothing is rolled until it is let in"
        )
    if not identity.enabled:
        return CannotBegin("the hub identity is disabled; nothing is rolled until it is enabled")
    strangers = [one for one in identity.thumbprints() if not any(_has(version, one) for version in shown)]
    if strangers or not shown:
        return not_seen(
            f"the hub accepts a certificate of this device that is no version of the vault's ({', '.join(strangers)}):"
            " the device got it elsewhere"
        )
    older = [one for one in shown if not is_same(one, latest.certificate)]
    living = [one for one in older if one.not_after > now]
    if len(living) > 1:
        return CannotBegin(
            "the hub accepts two older certificates and does not show which one the device uses; it will once the"
            " device has registered with one of them"
        )
    return max(living or older, key=lambda one: one.not_after, default=latest.certificate)


def _has(certificate: Certificate, thumbprint: str) -> bool:
    return thumbprint in (certificate.sha1_thumbprint, certificate.sha256_thumbprint)


def decide_in_use(
    used: Certificate, latest: VaultVersion, now: datetime, due: Due
) -> Begin | NothingToDo | CannotBegin:
    """Whether what the device uses is to be rolled to (or beyond) the vault's ``latest`` version."""
    if not latest.enabled:
        return CannotBegin(f"the latest version of the vault's certificate, {latest.version}, is disabled")
    newest = latest.certificate
    if not is_same(used, newest):
        return _begin(used, f"the vault has version {latest.version}; the device's certificate is an older one")
    if not is_near_expiry(newest.not_before, newest.not_after, now, window=due.window, share=due.share):
        return NothingToDo(
            f"the device's certificate is the vault's latest version and lives until {newest.not_after:%Y-%m-%d}"
        )
    return _begin(used, f"the device's certificate ends on {newest.not_after:%Y-%m-%d %H:%M:%SZ}")


def _begin(used: Certificate, why: str) -> Begin:
    outgoing = Outgoing(
        used.sha1_thumbprint, used.sha256_thumbprint, used.not_after, used.public_key_sha256, used.subject, used.issuer
    )
    # No slot holds it.
    return Begin(outgoing=outgoing, standby=Slot.SECONDARY, replaces=None, on_incoming_at_start=False, why=why)


def why_group_holds_back(group: Group | None, group_id: str) -> NothingToDo | CannotBegin | None:
    """Why no device of the group is rolled now; None when each may be."""
    if group is None:
        return CannotBegin(f"no enrollment group {group_id!r} in DPS: its CA's tag rollover-group names it")
    if reason := why_group_is_not_ours(group):
        return CannotBegin(reason)
    if not group.enabled:
        return NothingToDo(f"the group {group_id} is disabled; nothing is rolled until it is enabled")
    return None


def ends_with_its_ca(used: Certificate, ca: Certificate, now: datetime, due: Due) -> bool:
    """Whether a new certificate would live no longer, for its CA ends too, and is itself near that: then the CA's own
    rollover brings the device a new one."""
    near = is_near_expiry(ca.not_before, ca.not_after, now, window=due.window, share=due.share)
    return near and ca.not_after <= used.not_after
